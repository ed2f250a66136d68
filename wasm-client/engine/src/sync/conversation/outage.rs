//! When the server does not take batches: first a small question, then less at once.
//!
//! ```text
//! batch ── no answer, or a refusal that passes ──▶ wait ──▶ where do you stand? ──▶ batch, then a quarter of it ──▶ …
//!                                                   ▲                 │
//!                                                   └── no answer ────┘
//! ```
//!
//! An outage of any length costs a batch, or less than three if only batches are refused: from the second on each has a
//! quarter of the changes of the one before. Waits grow until a
//! batch goes through; that the question was answered does not shorten them.

use tidemark_core::planted::{Bug, planted};

use crate::sync::Pace;

/// The knowledge of a server that did not take the last batch.
#[derive(Debug, Default)]
pub(in crate::sync) struct Outage {
    /// Batches in a row that got no answer, or a refusal that passes.
    batches: u32,
    /// Requests in a row that failed.
    requests: u32,
    /// The server is to answer something small before it is sent a batch again.
    probe: bool,
}

impl Outage {
    pub(in crate::sync) const fn new() -> Self {
        Self { batches: 0, requests: 0, probe: false }
    }

    /// A batch of `rows` changes got no answer, or a refusal that passes; `was_slow`: because the time was over, for
    /// which it was made smaller.
    pub(in crate::sync) fn refused(&mut self, pace: Option<&mut Pace>, rows: u32, was_slow: bool) {
        self.batches = self.batches.saturating_add(1);
        self.probe = !planted(Bug::NoProbe);
        if let (Some(pace), true, false) = (pace, self.batches > 1, was_slow) {
            pace.was_too_much(rows);
            pace.was_too_much(rows);
        }
    }

    /// A request failed.
    pub(in crate::sync) const fn failed(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    /// How often in a row: requests, or batches with questions answered in between, whichever are more.
    pub(in crate::sync) fn failures(&self) -> u32 {
        self.requests.max(self.batches)
    }

    /// Another process met one, or this one before it was asked to go on.
    pub(in crate::sync) const fn suspect(&mut self) {
        self.probe = true;
    }

    /// The server answered the question.
    pub(in crate::sync) const fn answered(&mut self) {
        self.probe = false;
        self.requests = 0;
    }

    /// A batch went through, or nothing is left to send.
    pub(in crate::sync) const fn end(&mut self) {
        *self = Self::new();
    }

    /// Whether no batch was refused since one went through.
    pub(in crate::sync) const fn is_over(&self) -> bool {
        self.batches == 0
    }

    /// Whether a small question goes before the next batch.
    pub(in crate::sync) const fn probes(&self) -> bool {
        self.probe
    }
}
