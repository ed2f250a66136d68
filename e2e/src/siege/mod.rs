//! A siege: hostile peers against a real server, and what good stations notice of it.
//!
//! ```text
//! good stations (steady, small) ──┐                          ┌─ watched: memory, files, log
//! questions after health ─────────┼──▶ tidemark-server ──────┴─▶ PostgreSQL + TimescaleDB ─▶ each row once?
//! attack: hostile peers ──────────┘    (a process)
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`log`] | a station's log: rows in, frames out |
//! | [`door`] | the way to the server, plain or over TLS |
//! | [`http`] | a small HTTP client that goes out from a chosen address |
//! | [`site`] | cluster, server process, joined stations, and the count of what arrived |
//! | [`station`] | an honest station: pushes, waits, asks where it stands |
//! | [`good`] | the good stations of a siege, and what they lived through |
//! | [`watch`] | questions after health; memory and descriptors of the server |
//! | [`peer`], [`asks`] | hostile peers: raw connections, and whole requests |
//! | [`attack`] | the attacks, one file per family |
//! | [`report`] | the table, and what must not be |
//! | [`fleet`] | what many honest stations cost |
//! | [`descriptors`], `runtime` | how many files may be open; threads |
//!
//! Good stations and hostile peers run on threads of their own, so that an attack does not slow what measures it. All
//! of it is on loopback; sources are 127.0.0.1, which the good stations have, and further addresses of it.

pub mod asks;
pub mod attack;
pub mod descriptors;
pub mod door;
pub mod fleet;
pub mod good;
pub mod http;
pub mod log;
pub mod peer;
pub mod report;
mod runtime;
pub mod site;
pub mod station;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tidemark_core::protocol::path;
use tokio::runtime::Runtime;

use self::attack::{Attack, Cast};
use self::good::{Good, Pace};
use self::log::Table;
use self::peer::Battle;
use self::report::{HEAD, HEALTH_GOAL, KEPT_GOAL, Outcome, Peers};
use self::runtime::runtime;
use self::site::Site;
use self::station::Station;
use self::watch::{Meter, Prober};
use crate::postgres::Flavour;
use crate::world::{now, pause, wait_for};

/// How often memory and descriptors of the server are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long what goes on may go on after an attack.
const SETTLE: Duration = Duration::from_secs(480);

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database.
    pub flavour: Flavour,
    /// Further arguments of `tidemark-server serve`.
    pub serve_args: Vec<String>,
    /// The server has a certificate, and all but a few peers shake hands before anything else.
    pub over_tls: bool,
    /// How many files the server may have open at its start; `None` is what this process may.
    pub descriptors: Option<u64>,
    /// How many good stations there are.
    pub stations: usize,
    /// What they push.
    pub pace: Pace,
    /// How long nobody attacks before the first attack.
    pub calm: Duration,
    /// What is done after one another, and for how long; attacks in one list go on together.
    pub waves: Vec<(Vec<Attack>, Duration)>,
    /// The share of each attack's peers that come.
    pub scale: f64,
    /// The most memory that the server may take, bytes.
    pub rss_max: u64,
    /// Whether a goal that was missed is a fault.
    pub strict: bool,
}

/// Lays siege, prints what happened, and returns what must not be: nothing, when all is well.
///
/// # Errors
/// When the siege itself does not work.
pub fn run(options: &Options) -> Result<Vec<String>> {
    // The server is started first: what the siege itself may is not what a shell allows.
    if let Some(count) = options.descriptors {
        descriptors::allow(count)?;
    }
    let site = Site::start(options.flavour, &options.serve_args, options.over_tls)?;
    let most = descriptors::allow_most()?;
    println!("siege: {} on {}, {} good stations, {most} files", site.door().url(), site.pid(), options.stations);
    let (calm, storm) = (runtime()?, runtime()?);
    let stations = calm.block_on(site.join("good", options.stations))?;
    let stations = stations.iter().map(|it| Station::new(it, site.schema(), site.door().clone(), Table::Reading));
    let stations = stations.collect::<Result<Vec<_>>>()?;
    let cast = Arc::new(calm.block_on(Cast::join(&site))?);
    let (good, prober) = calm.block_on(async { (Good::start(stations, options.pace), Prober::start(site.door())) });

    // The first batches find nothing prepared.
    pause(Duration::from_secs(1));
    let began = now();
    pause(options.calm);
    let peace = good.lived(began, now());
    println!(
        "in calm: {:.0} rows/s, push p50 {:.0?}, p95 {:.0?}, max {:.0?}\n\n{HEAD}",
        peace.rows_per_s,
        peace.quantile(0.5),
        peace.quantile(0.95),
        peace.quantile(1.0)
    );
    let mut faults = Vec::new();
    for (wave, length) in &options.waves {
        let siege = Siege { site: &site, good: &good, prober: &prober, cast: &cast, calm_rows_per_s: peace.rows_per_s };
        let outcome = siege.stand(&storm, wave, *length, options.scale)?;
        println!("{outcome}");
        faults.extend(outcome.faults(options.rss_max));
        if options.strict {
            faults.extend(goals(&outcome));
        }
    }
    drop(prober);
    faults.extend(good.failures());
    let mut logs: Vec<_> = calm.block_on(good.end())?.into_iter().map(|station| station.log).collect();
    logs.extend(calm.block_on(cast.logs()));
    match site.check(logs.iter()) {
        Ok(rows) => println!("\n{rows} rows of {} stations were acknowledged, and are there once", logs.len()),
        Err(error) => faults.push(format!("{error:#}")),
    }
    let output = site.output();
    if output.contains("panicked at") {
        faults.push("the server panicked".to_owned());
    }
    if let Err(error) = site.end() {
        faults.push(format!("{error:#}"));
    }
    if !faults.is_empty() {
        let (file, path) = tempfile::Builder::new().prefix("tidemark-siege-").suffix(".log").tempfile()?.keep()?;
        drop(file);
        std::fs::write(&path, output)?;
        println!("the server's log: {}", path.display());
    }
    Ok(faults)
}

/// The goals that an attack made the server miss.
fn goals(outcome: &Outcome) -> Vec<String> {
    let name = outcome.peers.first().map_or("", |peers| peers.name);
    let mut missed = Vec::new();
    if outcome.kept() < KEPT_GOAL {
        missed.push(format!("{name}: good stations kept {:.0} % of their rate", outcome.kept() * 100.0));
    }
    let slowest = outcome.health.slowest.max(outcome.ready.slowest);
    if slowest > HEALTH_GOAL {
        missed.push(format!("{name}: a question after health took {slowest:.1?}"));
    }
    missed
}

/// All that an attack needs.
struct Siege<'s> {
    site: &'s Site,
    good: &'s Good,
    prober: &'s Prober,
    cast: &'s Arc<Cast>,
    calm_rows_per_s: f64,
}

impl Siege<'_> {
    /// Lets attacks go on together, then waits until the good stations have what they waited for.
    fn stand(&self, storm: &Runtime, attacks: &[Attack], length: Duration, scale: f64) -> Result<Outcome> {
        let lines = self.site.output().lines().count();
        let mut meter = Meter::start(self.site.pid());
        let began = now();
        let until = began + length;
        let begin = |attack: &Attack| {
            let battle = Battle::new(self.site.door().clone(), attack.source, until, scale);
            let battle = Arc::new(if attack.is_raw { battle.without_handshake() } else { battle });
            let course = storm.spawn(attack.begin(Arc::clone(&battle), Arc::clone(self.cast)));
            (*attack, battle, course)
        };
        let battles: Vec<_> = attacks.iter().map(begin).collect();
        let mut settled = None;
        while battles.iter().any(|(_, _, course)| !course.is_finished()) {
            meter.look();
            if settled.is_none() && now() >= until && !self.good.waits_since_before(until) {
                settled = Some(until.elapsed());
            }
            if began.elapsed() > length + SETTLE {
                bail!("{} does not end", battles.iter().map(|(attack, ..)| attack.name).collect::<Vec<_>>().join("+"));
            }
            pause(LOOK);
        }
        let ended = until.min(now());
        let drained = ended.elapsed();
        wait_for("the good stations' batches", SETTLE, || Ok((!self.good.waits_since_before(ended)).then_some(())))?;
        let settled = settled.unwrap_or_else(|| ended.elapsed());
        let mut peers = Vec::new();
        for (attack, battle, course) in battles {
            let ended = storm.block_on(course).context("BUG: an attack panicked")?;
            peers.push(Peers {
                name: attack.name,
                source: attack.source.shown(),
                cut_within: attack.cut_within,
                fates: battle.fates(),
                answers: battle.answers(),
                failure: ended.err().map(|error| format!("{error:#}")),
            });
        }
        Ok(Outcome {
            took: ended - began,
            good: self.good.lived(began, ended),
            calm_rows_per_s: self.calm_rows_per_s,
            health: self.prober.answered(path::HEALTH, began, ended),
            ready: self.prober.answered(path::READY, began, ended),
            meter,
            log_lines: self.site.output().lines().count() - lines,
            settled,
            drained,
            peers,
        })
    }
}
