//! The time after which a refused client is to come back.
//!
//! A refused client is told a time of its own to come back: as many a second as cost the server nothing, one after
//! the other. So the time grows with how many are refused, and those who were refused together do not come together.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tidemark_core::ids::StationNumber;

/// Nobody is told to come back sooner, in milliseconds.
const SOONEST_MS: i64 = 2_000;
/// Nor later: whoever is told so tries again within an outage that takes long.
const LATEST_MS: i64 = 300_000;
/// Refused stations come back one in this many milliseconds: 20 a second.
const APART_MS: i64 = 50;
/// Of more stations than this those are forgotten whose time has come.
const REMEMBERED_MAX: usize = 4096;

/// The load of the server, as refused clients feel it.
#[derive(Debug, Default)]
pub(super) struct Load {
    told: Mutex<Told>,
}

/// The refused stations that were told when to come back.
#[derive(Debug, Default)]
struct Told {
    /// When the last of them was told, milliseconds since 1970 UTC.
    at_ms: i64,
    /// The time until the last of them comes, from then on.
    queue_ms: i64,
    /// When each of them comes, milliseconds since 1970 UTC.
    comes_ms: HashMap<StationNumber, i64>,
}

impl Load {
    /// After how many seconds somebody who is refused now is to come back. A station has one place among them, however
    /// often it asks before its time; who is not known has none.
    pub(super) fn retry_after_s(&self, station: Option<StationNumber>, now_ms: i64) -> i64 {
        let Some(station) = station else { return SOONEST_MS / 1_000 };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(comes_ms) = told.comes_ms.get(&station) {
            let left_ms = comes_ms - now_ms;
            if (1..=LATEST_MS).contains(&left_ms) {
                return (left_ms / 1_000).max(SOONEST_MS / 1_000);
            }
        }
        // A clock that was set back does not make anybody wait.
        let passed_ms = now_ms.saturating_sub(told.at_ms);
        let queue_ms = if passed_ms < 0 { 0 } else { told.queue_ms.saturating_sub(passed_ms).max(0) };
        let wait_ms = (SOONEST_MS + queue_ms).min(LATEST_MS);
        (told.at_ms, told.queue_ms) = (now_ms, (queue_ms + APART_MS).min(LATEST_MS));
        if told.comes_ms.len() >= REMEMBERED_MAX {
            told.comes_ms.retain(|_, comes_ms| (1..=LATEST_MS).contains(&(*comes_ms - now_ms)));
        }
        told.comes_ms.insert(station, now_ms + wait_ms);
        wait_ms / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn station(number: u32) -> Option<StationNumber> {
        StationNumber::new(number).ok()
    }

    #[test]
    fn the_more_are_refused_the_later_the_next_comes_back() {
        let load = Load::default();
        let told: Vec<i64> = (1..=1_000).map(|number| load.retry_after_s(station(number), NOW_MS)).collect();
        assert_eq!((told[0], told[19], told[20], told[999]), (2, 2, 3, 51));
        // As many a second, and no more.
        for second in 3..51 {
            assert_eq!(told.iter().filter(|&&s| s == second).count(), 20, "second {second}");
        }
        (1_001..9_000).for_each(|number| assert!(load.retry_after_s(station(number), NOW_MS) <= 300));
        assert_eq!(load.retry_after_s(station(9_000), NOW_MS), 300);
    }

    #[test]
    fn who_asks_again_and_again_takes_one_place_and_a_stranger_none() {
        let load = Load::default();
        (0..10_000).for_each(|_| assert_eq!(load.retry_after_s(None, NOW_MS), 2));
        (0..10_000).for_each(|_| assert_eq!(load.retry_after_s(station(1), NOW_MS), 2));
        assert_eq!(load.retry_after_s(station(2), NOW_MS), 2);
        (3..=41).for_each(|number| assert!(load.retry_after_s(station(number), NOW_MS) >= 2));
        assert_eq!(load.retry_after_s(station(41), NOW_MS), 4);
        assert_eq!(load.retry_after_s(station(41), NOW_MS + 1_000), 3, "what is left of its time");
        assert_eq!(load.retry_after_s(station(41), NOW_MS + 4_000), 2, "another time");
    }

    #[test]
    fn the_load_passes_with_time_and_with_a_clock_that_was_set_back() {
        let load = Load::default();
        (1..=400).for_each(|number| assert!(load.retry_after_s(station(number), NOW_MS) >= 2));
        assert_eq!(load.retry_after_s(station(401), NOW_MS + 10_000), 12);
        assert_eq!(load.retry_after_s(station(402), NOW_MS + 60_000), 2);
        (403..=803).for_each(|number| assert!(load.retry_after_s(station(number), NOW_MS + 60_000) >= 2));
        assert_eq!(load.retry_after_s(station(403), NOW_MS - 86_400_000), 2);
    }
}
