//! When the server does not take batches: first a small question, then less at once.
//!
//! ```text
//! batch ── no answer, or a refusal that passes ──▶ wait ──▶ where do you stand? ──▶ batch, then a quarter of it ──▶ …
//!                                                   ▲                 │
//!                                                   └── no answer ────┘
//! ```
//!
//! A batch that is as small as a question goes without one.
//!
//! An outage of any length costs a batch, or less than three if only batches are refused: from the second on each has a
//! quarter of the changes of the one before. Waits grow until a batch goes through; that the question was answered does
//! not shorten them.

use tidemark_core::planted::{Bug, planted};

use crate::sync::Pace;

/// Whether the server is to answer something small before it is sent a batch again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Probe {
    /// It is well, as far as is known.
    #[default]
    None,
    /// Before a batch that is not small.
    BeforeLarge,
    /// Before any.
    Before,
}

/// The knowledge of a server that did not take the last batch.
#[derive(Debug, Default)]
pub(in crate::sync) struct Outage {
    /// Batches in a row that got no answer, or a refusal that passes.
    batches: u32,
    /// Requests in a row that failed.
    requests: u32,
    probe: Probe,
}

impl Outage {
    pub(in crate::sync) const fn new() -> Self {
        Self { batches: 0, requests: 0, probe: Probe::None }
    }

    /// A batch of `rows` changes, in a frame of so many bytes, met a refusal that passes, or broke off.
    pub(in crate::sync) fn refused(&mut self, pace: Option<&mut Pace>, rows: u32, frame_bytes: usize) {
        self.batch_failed(rows, frame_bytes);
        if let (Some(pace), true) = (pace, self.batches > 1) {
            pace.was_refused(rows, frame_bytes);
        }
    }

    /// A batch failed, and the next need not be smaller for this: it never arrived, or is smaller already.
    pub(in crate::sync) fn batch_failed(&mut self, rows: u32, frame_bytes: usize) {
        self.batches = self.batches.saturating_add(1);
        self.probe = if planted(Bug::NoProbe) {
            Probe::None
        } else if Pace::is_small(rows, frame_bytes) {
            Probe::BeforeLarge
        } else {
            Probe::Before
        };
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
        self.probe = Probe::Before;
    }

    /// The server answered the question.
    pub(in crate::sync) const fn answered(&mut self) {
        self.probe = Probe::None;
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
    pub(in crate::sync) fn probes(&self) -> bool {
        self.probe == Probe::Before
    }

    /// Whether one goes before this batch, and then before any.
    pub(in crate::sync) fn probes_before(&mut self, rows: u32, frame_bytes: usize) -> bool {
        let probes = self.probe != Probe::None && !Pace::is_small(rows, frame_bytes);
        if probes {
            self.probe = Probe::Before;
        }
        probes
    }
}
