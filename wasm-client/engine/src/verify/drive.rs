//! Verifying on a blocking transport: push, search, and when wished repair and search again.

use super::repair::repair;
use super::report::Report;
use super::search::{Heard, Search, Step};
use crate::error::Result;
use crate::store::Store;
use crate::sync::{
    Backoff, Clock, Config, Drained, Engine, FailureKind, Patience, Stop, Summary, Transport, agree, drain,
};

/// Repairs in one go: each mends at most [`super::report::DIFFERENCES_MAX`] rows.
const REPAIRS_MAX: u32 = 100;

/// Searches in one go, where rows are pruned meanwhile.
const SEARCHES_MAX: u32 = 20;

/// The wish that a verify is started with.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The one table to compare; `None` for all.
    pub table: Option<String>,
    /// Push first what waits in the log. Else nothing may wait.
    pub push: bool,
    /// Send what differs once more.
    pub repair: bool,
    /// The first so many differences say which cells differ.
    pub detailed: usize,
}

/// The outside world that a verify needs: a network and a clock.
pub struct Means<'a> {
    /// Performs requests.
    pub transport: &'a mut dyn Transport,
    /// The time.
    pub clock: &'a mut dyn Clock,
    /// The point at which it gives up.
    pub patience: Patience,
    /// Waits between failures, and what makes stations wait differently.
    pub config: Config,
}

/// The rows that a repair sent once more, or could not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The rows that differed at first, and were repaired or tried to.
    pub differences: u64,
    /// Rows sent once more.
    pub rewritten: u64,
    /// Rows that only upstream had, deleted there.
    pub removed: u64,
    /// Rows that only upstream has, under keys or times that no change of this station can name: only the server's
    /// operator reaches them.
    pub out_of_reach: u64,
    /// Rows of append tables that are upstream with other values, or that only upstream has: they stay as they are.
    pub append_only: u64,
    /// Changes that the server rejected meanwhile.
    pub rejected: u64,
}

/// The end of a verify.
#[derive(Debug)]
pub enum Outcome {
    /// The tables were compared.
    Compared {
        /// The report of the last search.
        report: Report,
        /// The repairs that were made before it.
        repaired: Option<Repaired>,
    },
    /// So many changes wait, and pushing was not wished: nothing was compared.
    Waiting(u64),
    /// The server could not be reached.
    Unreachable(String),
    /// It cannot go on by itself.
    Stopped(Stop),
}

/// The reason why a part of a verify or prune ended early.
pub(crate) enum Ended {
    Unreachable(String),
    Stopped(Stop),
    Store(crate::Error),
}

impl From<crate::Error> for Ended {
    fn from(error: crate::Error) -> Self {
        Self::Store(error)
    }
}

/// Verifies that upstream equals the station.
///
/// # Errors
/// When the store fails.
pub fn verify(store: &mut Store, means: &mut Means<'_>, wish: &Wish) -> Result<Outcome> {
    match attempt(store, means, wish) {
        Ok(outcome) => Ok(outcome),
        Err(Ended::Unreachable(message)) => Ok(Outcome::Unreachable(message)),
        Err(Ended::Stopped(stop)) => Ok(Outcome::Stopped(stop)),
        Err(Ended::Store(error)) => Err(error),
    }
}

fn attempt(store: &mut Store, means: &mut Means<'_>, wish: &Wish) -> std::result::Result<Outcome, Ended> {
    means.agree(store)?;
    if wish.push {
        means.push(store)?;
    } else {
        let pending = store.status()?.pending;
        if pending > 0 {
            return Ok(Outcome::Waiting(pending));
        }
    }
    let mut repaired: Option<Repaired> = None;
    let mut left = u64::MAX;
    for _ in 0..REPAIRS_MAX {
        let report = means.search(store, wish)?;
        let found = report.found();
        // As many as before: repairing once more would not help.
        let stuck = found >= left && report.complete;
        // Of pruned rows nothing can be repaired from here.
        if !wish.repair || report.differences.is_empty() || stuck {
            return Ok(Outcome::Compared { report, repaired });
        }
        left = found;
        let logged = repair(store, &report.differences)?;
        let rejected = means.push(store)?;
        let so_far = repaired.get_or_insert_default();
        so_far.differences += found;
        so_far.rewritten += logged.rewritten;
        so_far.removed += logged.removed;
        so_far.out_of_reach += logged.out_of_reach;
        so_far.append_only += logged.append_only;
        so_far.rejected += rejected;
    }
    let report = means.search(store, wish)?;
    Ok(Outcome::Compared { report, repaired })
}

impl Means<'_> {
    /// Compares the log's chain with the server's.
    pub(crate) fn agree(&mut self, store: &mut Store) -> std::result::Result<(), Ended> {
        let mut engine = Engine::new(self.config);
        engine.resume(store)?;
        done(agree(store, &mut engine, self.transport, self.clock, self.patience)?).map(|_| ())
    }

    /// Pushes; returns how many changes were rejected.
    pub(crate) fn push(&mut self, store: &mut Store) -> std::result::Result<u64, Ended> {
        let mut engine = Engine::new(self.config);
        engine.resume(store)?;
        let drained = drain(store, &mut engine, self.transport, self.clock, self.patience, &mut |_| ())?;
        done(drained).map(|summary| summary.rejected_here + summary.rejected_by_server)
    }

    /// Searches, once more where rows were pruned meanwhile: what they were taken for before does not hold then.
    fn search(&mut self, store: &mut Store, wish: &Wish) -> std::result::Result<Report, Ended> {
        for _ in 0..SEARCHES_MAX {
            let pruned = store.pruned_rows()?;
            let report = self.search_once(store, wish)?;
            if store.pruned_rows()? == pruned {
                return Ok(report);
            }
        }
        Err(Ended::Unreachable("rows are being pruned all the time".to_owned()))
    }

    fn search_once(&mut self, store: &mut Store, wish: &Wish) -> std::result::Result<Report, Ended> {
        let mut search = Search::new(store, wish.table.as_deref(), wish.detailed)?;
        let mut backoff = Backoff::new(self.config.backoff, self.config.seed);
        loop {
            let request = match search.ask(store)? {
                Step::Send(request) => request,
                Step::Done => {
                    let mut report = search.report();
                    // Where another process pushed all the time: the station's tidemark, whose chain was compared when
                    // it moved there.
                    report.agreed.get_or_insert(store.meta()?.tidemark);
                    return Ok(report);
                }
                Step::Stopped(stop) => return Err(Ended::Stopped(stop)),
            };
            let heard = match self.transport.send(&request) {
                Ok(reply) => search.hear(store, request.id, &reply)?,
                Err(failure) => {
                    search.on_failure(request.id, failure.kind == FailureKind::Timeout);
                    Heard::Failed { message: failure.message, retry_after_ms: None }
                }
            };
            match heard {
                Heard::Progress => backoff.reset(),
                Heard::Stopped(stop) => return Err(Ended::Stopped(stop)),
                Heard::OtherHistory => {
                    self.agree(store)?;
                    self.wait(&mut backoff, "the server's answers contradict each other", None)?;
                }
                Heard::Failed { message, retry_after_ms } => self.wait(&mut backoff, &message, retry_after_ms)?,
            }
        }
    }

    /// Waits after a failure, unless it is time to give up.
    pub(crate) fn wait(
        &mut self,
        backoff: &mut Backoff,
        message: &str,
        retry_after_ms: Option<u64>,
    ) -> std::result::Result<(), Ended> {
        let wait_ms = i64::try_from(backoff.next_wait_ms(retry_after_ms)).unwrap_or(i64::MAX);
        if backoff.failures() >= self.patience.failures || wait_ms > self.patience.wait_ms {
            return Err(Ended::Unreachable(message.to_owned()));
        }
        let until_ms = self.clock.now_ms().saturating_add(wait_ms);
        while self.clock.now_ms() < until_ms {
            self.clock.sleep_until(until_ms);
        }
        Ok(())
    }
}

fn done(drained: Drained) -> std::result::Result<Summary, Ended> {
    match drained {
        Drained::Done(summary) => Ok(summary),
        Drained::Unreachable { why, .. } => Err(Ended::Unreachable(why.to_string())),
        Drained::Stopped { stop, .. } => Err(Ended::Stopped(stop)),
    }
}
