//! Torture: a real world on disk, struck at random moments, and checked after every round.
//!
//! ```text
//! writers (SQL) ─▶ station files ─ tidemark run / push ─▶ wire ─▶ tidemark-server ×2 ─▶ PostgreSQL + TimescaleDB
//!    │ SIGKILL                        SIGKILL          cut, half-closed,  SIGKILL, SIGSTOP   SIGKILL: all of it,
//!    ▼                                                 held, slow, severed                   or one backend
//! journals ─▶ ledger: what must be where ─▶ check: station files, upstream rows, rejects, cursors, chains
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`plan`] | who is struck, when and how: a pure function of seed and round |
//! | [`wire`] | the network: bytes that pass, or not |
//! | [`writer`] | the program that writes, and says in its journal what it committed |
//! | [`journal`] | the form of journals, and what became of their transactions |
//! | [`ledger`] | what must be where, worked out from journals alone |
//! | [`books`] | what both sides have written down beside the rows |
//! | [`check`] | the comparison after a round |
//! | [`tally`] | numbers, and the lines that show them |
//! | `round`, `server`, `station`, `deployment` | the world and its actors, a thread each |
//!
//! A round: for a second or so the plan's blows fall while everything runs; what was killed is started again, as a
//! service manager would; then all is left in peace, and every log must become empty by itself within bounded time. The
//! world stays from round to round, gets further stations, which join in the middle of it, and gives way to a new one
//! after [`ROUNDS_PER_WORLD`] rounds.
//!
//! The plan of a round can be repeated; on which instruction a blow falls cannot. SIGKILL is not a power cut: the
//! system keeps what was written and not yet on disk.

pub mod books;
pub mod check;
mod deployment;
pub mod journal;
pub mod ledger;
pub mod plan;
mod round;
mod server;
mod station;
pub mod tally;
pub mod wire;
pub mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

pub use self::deployment::Database;
use self::deployment::Deployment;
use self::plan::{Plan, Shape};
pub use self::station::markers;
use self::tally::{Tally, Totals};
use crate::world::now;

/// Rounds that one world lives.
pub const ROUNDS_PER_WORLD: u64 = 20;

/// What to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The first round; a world begins with each multiple of [`ROUNDS_PER_WORLD`], and with this.
    pub from: u64,
    /// How many rounds; `None` is for ever.
    pub rounds: Option<u64>,
    /// No round begins after so long; `None` is for ever.
    pub duration: Option<Duration>,
    /// What all plans are drawn from.
    pub seed: u64,
    /// How large the world is.
    pub shape: Shape,
    /// Its upstream database.
    pub database: Database,
    /// Whether the files of the world stay after a failure. Logs always do.
    pub keep: bool,
    /// The program with the command `write`: this harness's own binary.
    pub writer: PathBuf,
    /// Raised to stop.
    pub interrupted: Arc<AtomicBool>,
}

impl Options {
    /// The command that follows the same plans from the beginning of a round's world to that round.
    fn command(&self, round: u64) -> String {
        let from = self.from.max(round - round % ROUNDS_PER_WORLD);
        let flavour = self.database.name();
        let Shape { servers, stations } = self.shape;
        format!(
            "scripts/torture --seed {} --from {from} --rounds {} --servers {servers} --stations {stations} --flavour {flavour} --keep",
            self.seed,
            round - from + 1
        )
    }
}

impl Database {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        use crate::postgres::Flavour;
        match self {
            Self::Postgres(Flavour::Timescale) => "timescale",
            Self::Postgres(Flavour::Plain) => "plain",
            Self::Embedded => "embedded",
        }
    }
}

/// Runs the rounds, printing a line for each. Whoever raises `interrupted` gets the totals so far, and every process is
/// ended.
///
/// # Errors
/// The first round that went wrong: what was found, where the logs are, and how to follow the same plan again.
pub fn run(options: &Options) -> Result<Totals> {
    let start = now();
    let mut totals = Totals::default();
    let mut world: Option<Deployment> = None;
    let mut round = options.from;
    println!("torture: seed {}, {:?} on {}", options.seed, options.shape, options.database.name());
    while options.rounds.is_none_or(|rounds| round - options.from < rounds)
        && options.duration.is_none_or(|duration| start.elapsed() < duration)
        && !options.interrupted.load(Ordering::Relaxed)
    {
        if round.is_multiple_of(ROUNDS_PER_WORLD) {
            world = None;
        }
        let world = match &mut world {
            Some(world) => world,
            none => {
                let made = Deployment::start(options.database, options.shape).context("a new world")?;
                totals.worlds += 1;
                totals.stations += made.stations() as u64;
                none.insert(made)
            }
        };
        let logs = tempfile::Builder::new().prefix("tidemark-torture-logs-").tempdir()?;
        let before = world.stations();
        match one_round(world, options, round, logs.path()) {
            Ok(tally) => {
                println!("round {round}: {tally}");
                totals.take(&tally);
                totals.stations += (world.stations() - before) as u64;
            }
            Err(_) if options.interrupted.load(Ordering::Relaxed) => break,
            Err(error) => return Err(failed(error, world, options, round, logs)),
        }
        round += 1;
    }
    drop(world);
    totals.elapsed = start.elapsed();
    Ok(totals)
}

fn one_round(world: &mut Deployment, options: &Options, round: u64, logs: &Path) -> Result<Tally> {
    let plan = Plan::draw(options.seed, round, options.shape);
    if plan.newcomer && world.stations() < options.shape.stations {
        world.add_station()?;
    }
    let mut tally = world.ride(&plan, &options.writer, logs, &options.interrupted)?;
    tally.rows = world.check()?.rows;
    Ok(tally)
}

fn failed(
    error: anyhow::Error,
    world: &mut Deployment,
    options: &Options,
    round: u64,
    logs: tempfile::TempDir,
) -> anyhow::Error {
    let saved = world.save_logs(logs.path());
    let logs = logs.keep();
    let mut message = format!("round {round} failed: {error:#}\nlogs of all processes: {}", logs.display());
    if let Err(error) = saved {
        message += &format!(" (incomplete: {error:#})");
    }
    if options.keep {
        for folder in world.keep() {
            message += &format!("\nfiles of the world: {}", folder.display());
        }
    }
    let command = options.command(round);
    message += &format!("\nthe same plan again (its blows will not fall at the very same moments): {command}");
    anyhow!(message)
}
