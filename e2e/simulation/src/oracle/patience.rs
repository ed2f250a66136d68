//! How a process treats a server that does not take its batches: it waits longer each time, and asks before it sends
//! them again.

use std::collections::VecDeque;

use tidemark_client::sync::{Failure, FailureKind, Reply};

use super::verdict::Verdict;

/// Failures in a row that are looked at.
const FAILURES: usize = 12;
/// A process that waits 1 s at first and twice as long each time, at random up to that, needs longer for so many but
/// once in ten thousand outages. One that waits only as long as a server whose database is away tells it does not.
const TOO_SOON_MS: i64 = 68_000;
/// The longest wait where no connection was made, also for who is told that there is no network.
const UNREACHED_MS: i64 = 60_000;

/// A batch this small is as good as a question.
const SMALL_BYTES: usize = 1024;
const SMALL_ROWS: u32 = 100;

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

    /// It sends a batch of so many changes in a frame of so many bytes.
    ///
    /// # Errors
    /// When the last one failed, and the server was not asked anything small before.
    pub fn sends_a_batch(&self, rows: u32, frame_bytes: usize) -> Verdict {
        let is_small = rows <= SMALL_ROWS && frame_bytes <= SMALL_BYTES;
        ensure!(
            !self.failed || is_small,
            "a batch is sent after one that failed, and the server was not heard in between"
        );
        Ok(())
    }

    /// It waits for so long after this.
    ///
    /// # Errors
    /// When it is not back soon where no connection was made, or comes sooner than the server asked for.
    pub fn waits(&self, outcome: &Result<Reply, Failure>, wait_ms: i64) -> Verdict {
        match outcome {
            Err(Failure { kind: FailureKind::Unreached, .. }) => {
                ensure!(wait_ms <= UNREACHED_MS, "where no connection was made it waits for {wait_ms} ms");
            }
            Ok(Reply { status: 429 | 503, retry_after: Some(after), .. }) => {
                let asked_ms = after.parse::<i64>().map_or(0, |seconds| seconds * 1_000);
                ensure!(wait_ms >= asked_ms, "it was asked to wait for {after} s, and waits for {wait_ms} ms");
            }
            _ => {}
        }
        Ok(())
    }

    /// It heard that a request failed for now; `is_batch`: a batch that got no answer, or one that says that the server
    /// is not well.
    ///
    /// # Errors
    /// When it has tried too often in too short a time, unless nobody was there.
    pub fn failed(&mut self, is_batch: bool, outcome: &Result<Reply, Failure>, now_ms: i64) -> Verdict {
        self.failed |= is_batch;
        if matches!(outcome, Err(Failure { kind: FailureKind::Unreached, .. })) {
            return Ok(());
        }
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
