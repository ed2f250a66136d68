//! Where the time of one batch goes: added up while it is applied, in as many pieces and tries as that takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::metrics::{Batches, Stage};

/// The nanoseconds of each stage so far.
#[derive(Debug, Default)]
pub struct Stages([AtomicU64; Stage::ALL.len()]);

impl Stages {
    /// So long something took, which belongs to a stage.
    pub fn add(&self, stage: Stage, time: Duration) {
        self.0[stage as usize].fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The time since then belongs to a stage; returns now.
    pub fn since(&self, stage: Stage, began: Instant) -> Instant {
        let now = Instant::now();
        self.add(stage, now.duration_since(began));
        now
    }

    /// The time of a stage so far.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.0[stage as usize].load(Ordering::Relaxed))
    }

    /// Tells all but decoding, which was told when it was done.
    pub(super) fn tell(&self, batches: &Batches) {
        Stage::ALL
            .into_iter()
            .filter(|stage| *stage != Stage::Decode)
            .for_each(|stage| batches.took(stage, self.of(stage)));
    }
}
