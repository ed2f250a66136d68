//! How much is sent at once: as much as the server takes and the network carries in about a second.

use tidemark_core::frame::HEADER_BYTES;
use tidemark_core::limits::FrameLimits;
use tidemark_core::planted::{Bug, planted};

use crate::outbox::Caps;

/// Changes of the first batch.
const ROWS_FIRST: u32 = 5_000;
/// Most changes of any batch of ours, whatever the server takes: memory stays small, and a browser's tabs do not wait
/// long for a worker that cuts one.
const ROWS_MAX: u32 = if cfg!(target_arch = "wasm32") { 20_000 } else { 50_000 };
/// Most bytes of any batch of ours, unless a single change has more.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Most cells of any batch of ours.
const CELLS_MAX: usize = 1 << 20;
/// A frame no longer than the head before it, with few changes, costs as little as a question: less in it would only
/// mean more requests.
const SMALL_FRAME_BYTES: usize = 1024;
/// Most changes in it.
const SMALL_ROWS: u32 = 100;
/// A batch should take about this long, from request to reply.
const TARGET_MS: i64 = 1_000;

/// The adaptive size of batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    rows: u32,
    limits: FrameLimits,
}

impl Pace {
    /// Begins with the limits the server told last.
    #[must_use]
    pub fn new(limits: FrameLimits) -> Self {
        let mut pace = Self { rows: ROWS_FIRST, limits };
        pace.set_limits(limits);
        pace
    }

    /// The server's limits. A limit of nothing would let nothing through: one change is always tried.
    pub fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = FrameLimits { rows_max: limits.rows_max.max(1), ..limits };
        self.rows = self.rows.min(self.rows_max());
    }

    /// The server's limits.
    #[must_use]
    pub const fn limits(&self) -> &FrameLimits {
        &self.limits
    }

    fn rows_max(&self) -> u32 {
        self.limits.rows_max.min(ROWS_MAX)
    }

    /// The bounds of the next batch.
    #[must_use]
    pub fn caps(&self) -> Caps {
        // What does not compress becomes a little longer; a frame must fit nevertheless.
        let frame = (self.limits.frame_bytes_max as usize).saturating_sub(HEADER_BYTES);
        let frame = frame - frame / 128;
        Caps {
            rows: self.rows,
            body_bytes: BODY_BYTES_MAX.min(self.limits.body_bytes_max as usize).min(frame),
            cells: CELLS_MAX.min(self.limits.cells_max as usize),
        }
    }

    /// A batch of `rows` changes, in a frame of so many bytes, went through in `took_ms`; `capped` tells that more were
    /// waiting.
    pub fn went_through(&mut self, rows: u32, frame_bytes: usize, capped: bool, took_ms: i64) {
        if took_ms > TARGET_MS * 2 {
            if Self::is_small(rows, frame_bytes) {
                // It waited for its turn, or the way is long.
                return;
            }
            self.rows = (rows / 2).max(1);
        } else if capped && took_ms < TARGET_MS / 2 && rows >= self.rows {
            self.rows = self.rows.saturating_mul(2);
        }
        self.rows = self.rows.clamp(1, self.rows_max());
    }

    /// Whether a batch of `rows` changes, in a frame of so many bytes, costs as little as a question.
    #[must_use]
    pub const fn is_small(rows: u32, frame_bytes: usize) -> bool {
        rows <= SMALL_ROWS && frame_bytes <= SMALL_FRAME_BYTES
    }

    /// The server refused a batch of `rows` changes for now: what is tried meanwhile is a quarter of it, unless its
    /// frame is small already.
    pub fn was_refused(&mut self, rows: u32, frame_bytes: usize) {
        if !Self::is_small(rows, frame_bytes) {
            self.was_too_much(rows);
            self.was_too_much(rows);
        }
    }

    /// A batch of `rows` changes was too much. Returns whether less can be tried.
    pub fn was_too_much(&mut self, rows: u32) -> bool {
        if !planted(Bug::NeverSmaller) {
            self.rows = (rows.min(self.rows) / 2).max(1);
        }
        rows > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_batches_grow_up_to_what_the_server_takes() {
        let mut pace = Pace::new(FrameLimits { rows_max: 12_000, ..FrameLimits::DEFAULT });
        for expected in [5_000, 10_000, 12_000, 12_000] {
            assert_eq!(pace.caps().rows, expected);
            pace.went_through(expected, 9_000, true, 100);
        }
        let mut pace = Pace::new(FrameLimits::DEFAULT);
        (0..9).for_each(|_| pace.went_through(pace.caps().rows, 9_000, true, 1));
        assert_eq!(pace.caps().rows, ROWS_MAX);
    }

    #[test]
    fn a_batch_that_held_all_there_was_says_nothing_about_speed() {
        let mut pace = Pace::new(FrameLimits::DEFAULT);
        pace.went_through(5_000, 9_000, false, 1);
        pace.went_through(3, 9_000, true, 1);
        assert_eq!(pace.caps().rows, ROWS_FIRST);
    }

    #[test]
    fn bytes_stay_below_what_the_server_takes_even_if_they_do_not_compress() {
        let caps = |limits| Pace::new(limits).caps().body_bytes;
        assert_eq!(caps(FrameLimits::DEFAULT), BODY_BYTES_MAX);
        assert_eq!(caps(FrameLimits { body_bytes_max: 10_000, ..FrameLimits::DEFAULT }), 10_000);
        assert!((9_000..9_900).contains(&caps(FrameLimits { frame_bytes_max: 10_000, ..FrameLimits::DEFAULT })));
    }

    #[test]
    fn slow_batches_shrink_to_one_change_and_no_further() {
        let mut pace = Pace::new(FrameLimits::DEFAULT);
        pace.went_through(5_000, 9_000, true, 5_000);
        assert_eq!(pace.caps().rows, 2_500);
        let mut halvings = 0;
        while pace.was_too_much(pace.caps().rows) {
            halvings += 1;
        }
        assert_eq!((pace.caps().rows, halvings), (1, 11));
    }

    #[test]
    fn a_small_frame_that_waits_or_is_refused_stays_as_it_is() {
        let mut pace = Pace::new(FrameLimits::DEFAULT);
        pace.went_through(20, SMALL_FRAME_BYTES, false, 19_000);
        pace.was_refused(20, SMALL_FRAME_BYTES);
        assert_eq!(pace.caps().rows, ROWS_FIRST);
        pace.was_refused(400, SMALL_FRAME_BYTES);
        assert_eq!(pace.caps().rows, 100);
        pace.was_refused(20, SMALL_FRAME_BYTES + 1);
        assert_eq!(pace.caps().rows, 5);
    }

    #[test]
    fn limits_of_nothing_let_single_changes_through() {
        let pace = Pace::new(FrameLimits { rows_max: 0, frame_bytes_max: 0, body_bytes_max: 0, cells_max: 0 });
        assert_eq!(pace.caps(), Caps { rows: 1, body_bytes: 0, cells: 0 });
    }
}
