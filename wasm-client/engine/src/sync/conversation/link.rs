//! The knowledge that a running engine has of its server that the file does not say: how much it takes at once, and how
//! it fared of late.

use tidemark_core::limits::FrameLimits;

use super::outage::Outage;
use crate::sync::Pace;

/// Frames the server found damaged, in a row, before the engine stops: bytes can be altered on the way, but not every
/// time.
pub(super) const BAD_FRAMES_MAX: u32 = 4;

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
}

impl Link {
    /// Nothing is known yet.
    pub(in crate::sync) const fn new() -> Self {
        Self { pace: None, outage: Outage::new(), ask_station: false, bad_frames: 0, limits_asked: false }
    }

    /// How much is sent at once; begins with the limits the server told last.
    pub(super) fn pace(&mut self, limits: Option<FrameLimits>) -> &mut Pace {
        self.pace.get_or_insert_with(|| Pace::new(limits.unwrap_or_default()))
    }

    /// A batch of `rows` changes got no answer, or a refusal that passes; `was_slow`: the time was over, so less is
    /// sent at once.
    pub(super) fn refused(&mut self, rows: u32, was_slow: bool) {
        if let (Some(pace), true) = (&mut self.pace, was_slow) {
            pace.was_too_much(rows);
        }
        self.outage.refused(self.pace.as_mut(), rows, was_slow);
    }

    /// A batch went through.
    pub(super) const fn went_through(&mut self) {
        self.outage.end();
        self.begin_again();
    }

    /// Forgets what was counted towards a stop.
    pub(in crate::sync) const fn begin_again(&mut self) {
        self.bad_frames = 0;
        self.limits_asked = false;
    }
}
