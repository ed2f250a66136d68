//! How a process treats a server that does not take its batches: it waits longer each time, and asks before it sends
//! them again.

use std::collections::VecDeque;

use super::verdict::Verdict;

/// Failures in a row that are looked at.
const FAILURES: usize = 12;
/// A process that waits 1 s at first and twice as long each time, at random up to that, needs longer for so many but
/// once in a million outages.
const TOO_SOON_MS: i64 = 30_000;

/// What is known of a process and its server.
#[derive(Debug)]
pub struct Patience {
    /// Whether its waits are a daemon's.
    daemon: bool,
    /// A batch failed, and the server has answered nothing since.
    failed: bool,
    /// When it heard of its last failures in a row.
    failures: VecDeque<i64>,
}

impl Patience {
    /// Of a process that starts.
    #[must_use]
    pub const fn new(daemon: bool) -> Self {
        Self { daemon, failed: false, failures: VecDeque::new() }
    }

    /// It sends a batch.
    ///
    /// # Errors
    /// When the last one failed, and the server was not asked anything small before.
    pub fn sends_a_batch(&self) -> Verdict {
        ensure!(!self.failed, "a batch is sent after one that failed, and the server was not heard in between");
        Ok(())
    }

    /// It heard that a request failed for now; `is_batch`: a batch that got no answer, or one that says that the server
    /// is not well.
    ///
    /// # Errors
    /// When it has tried too often in too short a time.
    pub fn failed(&mut self, is_batch: bool, now_ms: i64) -> Verdict {
        self.failed |= is_batch;
        self.failures.push_back(now_ms);
        if self.failures.len() > FAILURES {
            self.failures.pop_front();
        }
        let took_ms = now_ms - self.failures[0];
        ensure!(
            !self.daemon || self.failures.len() < FAILURES || took_ms > TOO_SOON_MS,
            "a daemon failed {FAILURES} times in a row within {took_ms} ms"
        );
        Ok(())
    }

    /// Something worked, or there is nothing to send.
    pub fn worked(&mut self) {
        self.failed = false;
        self.hurried();
    }

    /// Something made it try at once: a hint, a clock.
    pub fn hurried(&mut self) {
        self.failures.clear();
    }
}
