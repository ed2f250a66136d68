//! The knowledge that a running engine has of its server that the file does not say: how much it takes at once, and how
//! it fared of late.

use tidemark_core::limits::FrameLimits;

use super::outage::Outage;
use crate::sync::{FailureKind, Pace};

/// Frames the server found damaged, in a row, before the engine stops: bytes can be altered on the way, but not every
/// time.
pub(super) const BAD_FRAMES_MAX: u32 = 4;

/// Batches that go one after the other once one that was sent early did not go through.
const EARLY_RESTS: u32 = 64;

/// The knowledge of the server.
#[derive(Debug)]
pub(in crate::sync) struct Link {
    /// How much is sent at once; `None` before the first batch.
    pub pace: Option<Pace>,
    /// The fate of the last batches.
    pub outage: Outage,
    /// The next thing to do is to ask the server where it stands.
    pub ask_station: bool,
    /// Frames in a row that the server found damaged.
    pub bad_frames: u32,
    /// The server was asked for its limits since something last went through: it is not asked again before the engine
    /// stops.
    pub limits_asked: bool,
    /// So many batches are still to go through before one is sent early again.
    early_rests: u32,
}

impl Link {
    /// Nothing is known yet.
    pub(in crate::sync) const fn new() -> Self {
        Self {
            pace: None,
            outage: Outage::new(),
            ask_station: false,
            bad_frames: 0,
            limits_asked: false,
            early_rests: 0,
        }
    }

    /// How much is sent at once; begins with the limits the server told last.
    pub(super) fn pace(&mut self, limits: Option<FrameLimits>) -> &mut Pace {
        self.pace.get_or_insert_with(|| Pace::new(limits.unwrap_or_default()))
    }

    /// A batch of `rows` changes got no answer.
    pub(super) fn unanswered(&mut self, rows: u32, frame_bytes: usize, kind: FailureKind) {
        match kind {
            FailureKind::Timeout => self.was_slow(rows, frame_bytes),
            FailureKind::Broken => self.refused(rows, frame_bytes),
            FailureKind::Unreached | FailureKind::Untrusted(_) => self.outage.batch_failed(rows, frame_bytes),
        }
    }

    /// The time was over for a batch of `rows` changes: less is sent at once.
    pub(super) fn was_slow(&mut self, rows: u32, frame_bytes: usize) {
        if let Some(pace) = &mut self.pace {
            pace.was_too_much(rows);
        }
        self.outage.batch_failed(rows, frame_bytes);
    }

    /// A batch of `rows` changes, in a frame of so many bytes, met a refusal that passes, or broke off.
    pub(super) fn refused(&mut self, rows: u32, frame_bytes: usize) {
        self.outage.refused(self.pace.as_mut(), rows, frame_bytes);
    }

    /// A batch went through.
    pub(super) const fn went_through(&mut self) {
        self.outage.end();
        self.early_rests = self.early_rests.saturating_sub(1);
        self.begin_again();
    }

    /// Whether a batch may be sent before the one before it was acknowledged.
    pub(super) const fn takes_early(&self) -> bool {
        self.early_rests == 0 && self.outage.is_over() && !self.ask_station
    }

    /// One that was sent early did not go through, or had one before it that did not.
    pub(super) const fn rest_early(&mut self) {
        self.early_rests = EARLY_RESTS;
    }

    /// Forgets what was counted towards a stop.
    pub(in crate::sync) const fn begin_again(&mut self) {
        self.bad_frames = 0;
        self.limits_asked = false;
    }
}
