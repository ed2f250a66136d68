//! A station on disk: the processes that push it and the writers, all of them killed now and then and started again.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rusqlite::Connection;
use tidemark_core::schema::Schema;

use super::journal::{self, MARKER_COLUMN, MARKER_TABLE, Told};
use super::ledger::Ledger;
use super::plan::{Mode, StationPlan, WriterPlan};
use super::round::{Round, Strikes, back_at, end_of};
use super::tally::{Hit, Tally};
use crate::compare::open_sqlite;
use crate::field::{EXIT_UNREACHABLE, Station};
use crate::process::{Running, python, python_script};

/// How long a station may take to drain once everything is left in peace.
const PATIENCE: Duration = Duration::from_secs(90);
/// How soon `tidemark push` is started again.
const PUSH_AGAIN: Duration = Duration::from_millis(100);
/// How often a log is looked at for being empty.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A station of a world.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) station: Station,
    pub(super) ledger: Ledger,
    /// Its number, once it has joined.
    pub(super) number: Option<u32>,
    code: String,
    url: String,
    daemon: Option<Running>,
    journals: PathBuf,
    journals_made: u32,
}

impl Victim {
    pub(super) fn new(station: Station, schema: &Schema, code: String, url: String, journals: PathBuf) -> Self {
        let ledger = Ledger::new(schema);
        Self { station, ledger, number: None, code, url, daemon: None, journals, journals_made: 0 }
    }

    /// What the running daemon has printed.
    pub(super) fn output(&self) -> Option<(&str, String)> {
        Some((&self.station.name, self.daemon.as_ref()?.output_so_far()))
    }

    /// Lives through a round, until its writers have ended and its log is empty.
    pub(super) fn ride(&mut self, writer: &Path, plan: &StationPlan, round: &Round<'_>) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut sync = Sync { push: None, join: None, start_at: Duration::ZERO };
        let mut strikes = Strikes::new(&plan.sync);
        let mut writers: Vec<Writer<'_>> = plan.writers.iter().map(Writer::new).collect();
        let mut looked_at = Duration::ZERO;
        if plan.mode == Mode::Push
            && let Some(daemon) = self.daemon.take()
        {
            round.keep(&self.station.name, &daemon.terminate()?.success()?)?;
        }
        let told = loop {
            if !round.goes_on() {
                break None;
            }
            if let Some(strike) = strikes.due(round) {
                tally.add(Hit::Station, self.kill(&mut sync, round)?);
                sync.start_at = back_at(round, &strike);
            }
            self.keep_up(&mut sync, plan.mode, round)?;
            for writer_of in &mut writers {
                tally.add(Hit::Writer, writer_of.tick(self, writer, round)?);
            }
            let written = round.rough_left().is_zero() && writers.iter().all(|writer| writer.process.is_none());
            if written && self.number.is_some() && looked_at + LOOK_EVERY <= round.elapsed() {
                looked_at = round.elapsed();
                if self.station.waiting()? == 0 {
                    tally.drain = round.calm_since();
                    break Some(self.read_journals(&writers)?);
                }
            }
            if round.calm_since() > PATIENCE {
                let status = self.station.run(&["status"])?.output();
                let output = self.daemon.as_ref().map(Running::output_so_far).unwrap_or_default();
                bail!("{} did not drain within {} s:\n{status}{output}", self.station.name, PATIENCE.as_secs());
            }
        };
        for process in [sync.push, sync.join].into_iter().flatten() {
            round.keep(&self.station.name, &process.kill()?)?;
        }
        if let Some(told) = told {
            tally.committed = told.committed.len() as u64;
            (tally.in_doubt, tally.rolled_back, tally.cut_off) =
                (told.in_doubt_committed, told.rolled_back, told.cut_off);
            let (seq, rejected) = (self.ledger.last_seq, self.ledger.rejected.len() as u64);
            self.ledger.take(told.committed)?;
            tally.pushed = self.ledger.last_seq - seq;
            tally.rejected = self.ledger.rejected.len() as u64 - rejected;
        }
        Ok(tally)
    }

    /// Kills what pushes; returns how many processes that were.
    fn kill(&mut self, sync: &mut Sync, round: &Round<'_>) -> Result<u64> {
        let mut killed = 0;
        for process in [self.daemon.take(), sync.push.take(), sync.join.take()].into_iter().flatten() {
            let ended = process.kill()?;
            killed += u64::from(ended.code.is_none());
            round.keep(&self.station.name, &ended)?;
        }
        Ok(killed)
    }

    /// Starts what is wanted and is not running, and judges what has ended by itself.
    fn keep_up(&mut self, sync: &mut Sync, mode: Mode, round: &Round<'_>) -> Result<()> {
        if let Some(daemon) = &mut self.daemon
            && daemon.has_ended()?
        {
            let output = daemon.output_so_far();
            round.note(&self.station.name, &output)?;
            bail!("the daemon of {} ended by itself:\n{output}", self.station.name);
        }
        let joining = self.number.is_none();
        let command = if joining { &mut sync.join } else { &mut sync.push };
        if let Some(ended) = ended(command)? {
            round.keep(&self.station.name, &ended)?;
            match ended.code {
                Some(0) if joining => self.number = Some(self.station.number()?),
                Some(0 | EXIT_UNREACHABLE) => sync.start_at = round.elapsed() + PUSH_AGAIN,
                _ => bail!(
                    "{} of {} ended with {}:\n{}",
                    ended.command,
                    self.station.name,
                    end_of(&ended),
                    ended.output()
                ),
            }
        }
        if sync.start_at > round.elapsed() {
            return Ok(());
        }
        if self.number.is_none() {
            if sync.join.is_none() {
                sync.join = Some(self.station.start(&["join", &self.code, "--server", &self.url])?);
            }
            return Ok(());
        }
        if mode != Mode::Push && self.daemon.is_none() {
            self.daemon = Some(self.station.start(&["run"])?);
        }
        if mode != Mode::Daemon && sync.push.is_none() {
            sync.push = Some(self.station.start(&["push"])?);
        }
        Ok(())
    }

    /// A name for a further journal.
    fn next_journal(&mut self) -> PathBuf {
        self.journals_made += 1;
        self.journals.join(format!("{}-{}.jsonl", self.station.name, self.journals_made))
    }

    /// What the writers of this round have committed.
    fn read_journals(&self, writers: &[Writer<'_>]) -> Result<Told> {
        let db = open_sqlite(&self.station.file)?;
        let markers = markers(&db)?;
        let mut told = Told::default();
        for path in writers.iter().flat_map(|writer| &writer.journals).filter(|path| path.exists()) {
            journal::read(path, |name| Ok(markers.contains(name)), &mut told)
                .with_context(|| format!("station {}", self.station.name))?;
        }
        Ok(told)
    }
}

/// The names of the transactions that a station's file holds.
///
/// # Errors
/// SQLite's.
pub fn markers(db: &Connection) -> Result<HashSet<String>> {
    let mut query =
        db.prepare(&format!("SELECT {MARKER_COLUMN} FROM {MARKER_TABLE} WHERE {MARKER_COLUMN} IS NOT NULL"))?;
    let names = query.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

/// The processes that push besides the daemon, which outlives a round.
#[derive(Debug)]
struct Sync {
    push: Option<Running>,
    join: Option<Running>,
    start_at: Duration,
}

/// What a process printed, when it has ended.
fn ended(process: &mut Option<Running>) -> Result<Option<crate::process::Ended>> {
    match process.take_if(|process| process.has_ended().unwrap_or(true)) {
        Some(process) => process.wait().map(Some),
        None => Ok(None),
    }
}

/// A writer's place: one process after the other.
#[derive(Debug)]
struct Writer<'p> {
    plan: &'p WriterPlan,
    strikes: Strikes<'p>,
    process: Option<Running>,
    start_at: Duration,
    journals: Vec<PathBuf>,
}

impl<'p> Writer<'p> {
    fn new(plan: &'p WriterPlan) -> Self {
        let strikes = Strikes::new(&plan.strikes);
        Self { plan, strikes, process: None, start_at: Duration::ZERO, journals: Vec::new() }
    }

    /// Looks after the process; returns how many it killed.
    fn tick(&mut self, victim: &mut Victim, program: &Path, round: &Round<'_>) -> Result<u64> {
        let name = format!("{}-writer", victim.station.name);
        if let Some(ended) = ended(&mut self.process)? {
            round.keep(&name, &ended)?;
            // Its time is over.
            ended.success()?;
            self.start_at = Duration::MAX;
        }
        if let Some(strike) = self.strikes.due(round)
            && let Some(process) = self.process.take()
        {
            round.keep(&name, &process.kill()?)?;
            self.start_at = back_at(round, &strike);
            return Ok(1);
        }
        let left_ms = round.rough_left().as_millis();
        if self.process.is_none() && self.start_at <= round.elapsed() && left_ms > 0 {
            let journal = victim.next_journal();
            let seed = self.plan.seed.wrapping_add(self.journals.len() as u64);
            self.process = Some(start_writer(program, self.plan.python, victim, &journal, seed, left_ms)?);
            self.journals.push(journal);
        }
        Ok(0)
    }
}

/// Starts a writer on a station's file.
fn start_writer(
    program: &Path,
    is_python: bool,
    victim: &Victim,
    journal: &Path,
    seed: u64,
    milliseconds: u128,
) -> Result<Running> {
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is text");
    let (seed, milliseconds) = (seed.to_string(), milliseconds.to_string());
    let place = [text(&victim.station.file)?, text(journal)?, seed, milliseconds];
    let (program, first) = if is_python {
        (python()?, text(&python_script("torture_writer.py"))?)
    } else {
        (program.to_owned(), "write".to_owned())
    };
    let args: Vec<&str> = [first.as_str()].into_iter().chain(place.iter().map(String::as_str)).collect();
    let env = BTreeMap::from([("PYTHONUTF8".to_owned(), "1".to_owned())]);
    Running::spawn(&program, &args, &victim.journals, &env)
}
