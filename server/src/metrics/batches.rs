//! Batches on their way into the database: how many, how large, what became of their changes, where the time went.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, Registry};
use tidemark_core::reject::RejectCode;

use super::make::{self, CHANGES, OFFSET_SECONDS, SECONDS, seconds};

/// Where the time of a batch goes, in the order of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A frame becomes a batch.
    Decode,
    /// A connection, and the beginning of the transaction.
    Begin,
    /// Changes are checked and planned.
    Plan,
    /// The database answers what the plan has to know.
    Ask,
    /// Rows are written.
    Write,
    /// Cursor, rejects and history are read and written.
    Ledger,
    /// The transaction becomes durable.
    Commit,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Decode, Self::Begin, Self::Plan, Self::Ask, Self::Write, Self::Ledger, Self::Commit];

    const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Begin => "begin",
            Self::Plan => "plan",
            Self::Ask => "ask",
            Self::Write => "write",
            Self::Ledger => "ledger",
            Self::Commit => "commit",
        }
    }
}

/// The instruments of what is taken in.
#[derive(Debug)]
pub struct Batches {
    batches: IntCounterVec,
    applied: IntCounter,
    duplicate: IntCounter,
    rejected: IntCounter,
    by_code: IntCounterVec,
    bytes: IntCounter,
    changes: Histogram,
    stages: [Histogram; Stage::ALL.len()],
    offset: Histogram,
}

impl Batches {
    pub(super) fn new(registry: &Registry) -> Self {
        let changes = make::counters(
            registry,
            "tidemark_changes_total",
            "Changes of acknowledged batches, by verdict: applied, duplicate or rejected.",
            &["verdict"],
        );
        let by_code = make::counters(
            registry,
            "tidemark_changes_rejected_total",
            "Changes that the server rejected, by code; a verdict that is told again counts again.",
            &["code"],
        );
        for code in RejectCode::ALL {
            by_code.with_label_values(&[code.as_str()]);
        }
        let stages = make::histograms(
            registry,
            "tidemark_batch_stage_seconds",
            "Where the time of acknowledged batches went: decode, begin, plan, ask, write, ledger, commit.",
            &SECONDS,
            &["stage"],
        );
        let batches = make::counters(
            registry,
            "tidemark_batches_total",
            "Batches, by what became of them: acknowledged, gap, forked, or failed.",
            &["outcome"],
        );
        for outcome in ["acknowledged", "gap", "forked", "failed"] {
            batches.with_label_values(&[outcome]);
        }
        let verdict = |verdict: &str| changes.with_label_values(&[verdict]);
        Self {
            batches,
            applied: verdict("applied"),
            duplicate: verdict("duplicate"),
            rejected: verdict("rejected"),
            by_code,
            bytes: make::counter(registry, "tidemark_batch_bytes_total", "Bytes of the frames that were decoded."),
            changes: make::histogram(registry, "tidemark_batch_changes", "Changes in one batch.", &CHANGES),
            stages: Stage::ALL.map(|stage| stages.with_label_values(&[stage.name()])),
            offset: make::histogram(
                registry,
                "tidemark_clock_offset_seconds",
                "How far the clock of a station that sent a batch was from the server's, in either direction.",
                &OFFSET_SECONDS,
            ),
        }
    }

    /// A frame was decoded.
    pub fn decoded(&self, bytes: usize, took: Duration) {
        self.bytes.inc_by(bytes as u64);
        self.stages[Stage::Decode as usize].observe(seconds(took));
    }

    /// A batch of so many changes, sent by a clock that was that far from ours, was acknowledged.
    pub fn acknowledged(
        &self,
        changes: u32,
        clock_offset_ms: i64,
        (applied, duplicate): (u32, u32),
        rejected: impl Iterator<Item = RejectCode>,
    ) {
        self.batches.with_label_values(&["acknowledged"]).inc();
        self.changes.observe(f64::from(changes));
        self.offset.observe(clock_offset_ms.unsigned_abs() as f64 / 1_000.0);
        self.applied.inc_by(applied.into());
        self.duplicate.inc_by(duplicate.into());
        for code in rejected {
            self.rejected.inc();
            self.by_code.with_label_values(&[code.as_str()]).inc();
        }
    }

    /// A batch was not: `gap`, `forked` or `failed`.
    pub fn declined(&self, outcome: &'static str) {
        self.batches.with_label_values(&[outcome]).inc();
    }

    /// An acknowledged batch was so long in a stage.
    pub fn took(&self, stage: Stage, time: Duration) {
        self.stages[stage as usize].observe(seconds(time));
    }
}
