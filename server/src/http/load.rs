//! The time after which a refused client is to come back.
//!
//! A refused client is told a time of its own to come back: as many a second as cost the server nothing, one after
//! the other. So the time grows with how many are refused, and those who were refused together do not come together.

use std::sync::{Mutex, PoisonError};

/// Nobody is told to come back sooner, in milliseconds.
const SOONEST_MS: i64 = 2_000;
/// Nor later: whoever is told so tries again within an outage that takes long.
const LATEST_MS: i64 = 300_000;
/// Refused clients come back one in this many milliseconds: 20 a second.
const APART_MS: i64 = 50;

/// The load of the server, as refused clients feel it.
#[derive(Debug, Default)]
pub(super) struct Load {
    told: Mutex<Told>,
}

/// The refused clients that were told when to come back.
#[derive(Debug, Default)]
struct Told {
    /// When, milliseconds since 1970 UTC.
    at_ms: i64,
    /// The time until the last of them comes, from then on.
    queue_ms: i64,
}

impl Load {
    /// After how many seconds somebody who is refused now is to come back.
    pub(super) fn retry_after_s(&self, now_ms: i64) -> i64 {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back does not make anybody wait.
        let passed_ms = now_ms.saturating_sub(told.at_ms);
        let queue_ms = if passed_ms < 0 { 0 } else { told.queue_ms.saturating_sub(passed_ms).max(0) };
        *told = Told { at_ms: now_ms, queue_ms: (queue_ms + APART_MS).min(LATEST_MS) };
        ((SOONEST_MS + queue_ms) / 1_000).min(LATEST_MS / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    #[test]
    fn the_more_are_refused_the_later_the_next_comes_back() {
        let load = Load::default();
        let told: Vec<i64> = (0..1_000).map(|_| load.retry_after_s(NOW_MS)).collect();
        assert_eq!((told[0], told[19], told[20], told[999]), (2, 2, 3, 51));
        // As many a second, and no more.
        for second in 3..51 {
            assert_eq!(told.iter().filter(|&&s| s == second).count(), 20, "second {second}");
        }
        (0..10_000).for_each(|_| assert!(load.retry_after_s(NOW_MS) <= 300));
        assert_eq!(load.retry_after_s(NOW_MS), 300);
    }

    #[test]
    fn the_load_passes_with_time_and_with_a_clock_that_was_set_back() {
        let load = Load::default();
        (0..400).for_each(|_| assert!(load.retry_after_s(NOW_MS) >= 2));
        assert_eq!(load.retry_after_s(NOW_MS + 10_000), 12);
        assert_eq!(load.retry_after_s(NOW_MS + 60_000), 2);
        (0..400).for_each(|_| assert!(load.retry_after_s(NOW_MS + 60_000) >= 2));
        assert_eq!(load.retry_after_s(NOW_MS - 86_400_000), 2);
    }
}
