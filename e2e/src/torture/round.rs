//! The clock of a round, which all actors share: when the blows end, when all is drained, when to give up.

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::plan::Strike;
use crate::process::Ended;
use crate::world::{now, pause};

/// How often an actor looks around.
const TICK: Duration = Duration::from_millis(5);

/// A round that is going on.
#[derive(Debug)]
pub(super) struct Round<'a> {
    start: Instant,
    length: Duration,
    logs: &'a Path,
    interrupted: &'a AtomicBool,
    drained: AtomicBool,
    failed: AtomicBool,
}

impl<'a> Round<'a> {
    pub(super) fn begin(length_ms: u64, logs: &'a Path, interrupted: &'a AtomicBool) -> Self {
        let (drained, failed) = Default::default();
        Self { start: now(), length: Duration::from_millis(length_ms), logs, interrupted, drained, failed }
    }

    /// Since its beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// How long the blows still go on; zero when they are over.
    pub(super) fn rough_left(&self) -> Duration {
        self.length.saturating_sub(self.elapsed())
    }

    /// How long everything has been left in peace.
    pub(super) fn calm_since(&self) -> Duration {
        self.elapsed().saturating_sub(self.length)
    }

    /// Waits a moment. `false` when there is nothing more to wait for: every log is empty, somebody failed, or Ctrl-C
    /// was pressed.
    pub(super) fn goes_on(&self) -> bool {
        pause(TICK);
        !self.drained.load(Ordering::Relaxed) && !self.failed.load(Ordering::Relaxed) && !self.is_interrupted()
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Every log is empty.
    pub(super) fn drained(&self) {
        self.drained.store(true, Ordering::Relaxed);
    }

    /// Lets all others stop when an actor fails.
    pub(super) fn watch<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Keeps what a process printed.
    ///
    /// # Errors
    /// When it panicked; or the log cannot be written.
    pub(super) fn keep(&self, name: &str, ended: &Ended) -> Result<()> {
        self.note(name, &format!("{} → {}\n{}", ended.command, end_of(ended), ended.output()))
    }

    /// Keeps a text in the log of a name.
    ///
    /// # Errors
    /// When it tells of a panic; or the log cannot be written.
    pub(super) fn note(&self, name: &str, text: &str) -> Result<()> {
        let mut log = std::fs::File::options().create(true).append(true).open(self.logs.join(format!("{name}.log")))?;
        writeln!(log, "[{:.3} s] {}", self.elapsed().as_secs_f64(), text.trim_end())?;
        if text.contains("panicked at") {
            bail!("{name} panicked:\n{text}");
        }
        Ok(())
    }
}

/// How a process ended, in words.
pub(super) fn end_of(ended: &Ended) -> String {
    ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
}

/// The strikes that are still to come, in order.
#[derive(Debug)]
pub(super) struct Strikes<'p>(std::iter::Peekable<std::slice::Iter<'p, Strike>>);

impl<'p> Strikes<'p> {
    pub(super) fn new(strikes: &'p [Strike]) -> Self {
        Self(strikes.iter().peekable())
    }

    /// The next strike, when its time has come and the blows are not over.
    pub(super) fn due(&mut self, round: &Round<'_>) -> Option<Strike> {
        let strike = self.0.next_if(|strike| Duration::from_millis(strike.at_ms) <= round.elapsed())?;
        (!round.rough_left().is_zero()).then_some(*strike)
    }
}

/// When something that was struck now may come back.
pub(super) fn back_at(round: &Round<'_>, strike: &Strike) -> Duration {
    round.elapsed() + Duration::from_millis(strike.down_ms)
}
