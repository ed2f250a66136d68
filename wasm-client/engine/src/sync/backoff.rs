//! Waiting after failures: exponential, bounded, with full jitter, so that a thousand stations do not come back at
//! once; and never shorter than the server asked for.
//!
//! Where no server of ours was met the bound is lower: that costs it nothing, and who tries often is back soon after it
//! is. The two kinds are counted apart, so that the first refusal after a long outage is waited out as a first one.

use tidemark_core::planted::{Bug, planted};

/// Bounds of the waiting time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffBounds {
    /// The first wait is drawn from 0 to this, in milliseconds; each further one from twice as much.
    pub first_ms: u64,
    /// No wait is drawn from more than this.
    pub max_ms: u64,
    /// Nor, where no connection was made, from more than this.
    pub unreached_max_ms: u64,
}

/// Never shorter than this: a server that answers nonsense at once is not asked in a tight loop.
const FLOOR_MS: u64 = 50;
/// The longest `Retry-After` that is obeyed to the letter.
const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

/// Counts failures and draws waiting times.
#[derive(Debug, Clone)]
pub struct Backoff {
    bounds: BackoffBounds,
    /// Failures since the last success that cost the server something.
    failures: u32,
    /// And those where no connection was made.
    unreached: u32,
    random: u64,
}

impl Backoff {
    /// `seed` makes stations differ; the same seed gives the same waits.
    #[must_use]
    pub const fn new(bounds: BackoffBounds, seed: u64) -> Self {
        Self { bounds, failures: 0, unreached: 0, random: seed }
    }

    /// How many failures there were since the last success.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures + self.unreached
    }

    /// Something worked.
    pub const fn reset(&mut self) {
        self.failures = 0;
        self.unreached = 0;
    }

    /// Something failed: how long to wait, in milliseconds. The longer of what is drawn and of `retry_after_ms`, when
    /// the server named it: a server knows how busy it is, and not how often this station has asked already.
    pub fn next_wait_ms(&mut self, retry_after_ms: Option<u64>) -> u64 {
        let ceiling = self.ceiling(self.failures, self.bounds.max_ms);
        let ceiling = if planted(Bug::BackoffExplodes) {
            self.bounds.first_ms.saturating_pow(self.failures.min(5) + 1)
        } else {
            ceiling
        };
        self.failures = self.failures.saturating_add(1);
        let own = self.draw(ceiling);
        let Some(asked) = retry_after_ms else { return own };
        // A little later than asked, so that those who were all told the same do not come together.
        let asked = asked.min(RETRY_AFTER_MAX_MS);
        let asked = asked + self.below(asked / 10 + FLOOR_MS);
        if planted(Bug::RetryAfterAlone) { asked } else { own.max(asked) }
    }

    /// No connection was made: how long to wait, in milliseconds.
    pub fn next_wait_unreached_ms(&mut self) -> u64 {
        if planted(Bug::UnreachedWaitsLong) {
            return self.next_wait_ms(None);
        }
        let ceiling = self.ceiling(self.unreached, self.bounds.unreached_max_ms.min(self.bounds.max_ms));
        self.unreached = self.unreached.saturating_add(1);
        self.draw(ceiling)
    }

    /// After so many failures.
    fn ceiling(&self, failures: u32, max_ms: u64) -> u64 {
        self.bounds.first_ms.saturating_mul(1_u64 << failures.min(30)).min(max_ms)
    }

    fn draw(&mut self, ceiling: u64) -> u64 {
        self.below(ceiling + 1).max(FLOOR_MS)
    }

    /// splitmix64 (Steele, Lea, Flood 2014): enough to spread stations in time.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// The milliseconds of a `Retry-After` header in seconds. The form with a date is not read: it would need both clocks
/// to agree.
#[must_use]
pub(crate) fn retry_after_ms(header: Option<&str>) -> Option<u64> {
    header?.trim().parse::<u64>().ok().map(|seconds| seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: BackoffBounds = BackoffBounds { first_ms: 1000, max_ms: 60_000, unreached_max_ms: 10_000 };

    #[test]
    fn waits_grow_and_stay_within_bounds() {
        let mut longest = [0; 40];
        for seed in 0..500 {
            let mut backoff = Backoff::new(BOUNDS, seed);
            for (n, longest) in longest.iter_mut().enumerate() {
                let wait = backoff.next_wait_ms(None);
                let ceiling = (1000_u64 << n.min(20)).min(60_000);
                assert!((FLOOR_MS..=ceiling).contains(&wait), "{n}: {wait}");
                *longest = wait.max(*longest);
            }
        }
        // Full jitter: all of the range is used.
        assert!(longest[0] > 950 && longest[3] > 7_500 && longest[39] > 57_000, "{longest:?}");
    }

    #[test]
    fn retry_after_is_a_lower_bound() {
        for seed in 0..100 {
            let wait = Backoff::new(BOUNDS, seed).next_wait_ms(Some(20_000));
            assert!((20_000..=22_050).contains(&wait), "{wait}");
        }
        let wait = Backoff::new(BOUNDS, 1).next_wait_ms(Some(u64::MAX));
        assert!(wait <= RETRY_AFTER_MAX_MS / 10 * 11 + FLOOR_MS);
    }

    #[test]
    fn retry_after_does_not_keep_waits_from_growing() {
        let mut longest = [0; 12];
        for seed in 0..200 {
            let mut backoff = Backoff::new(BOUNDS, seed);
            for longest in &mut longest {
                let wait = backoff.next_wait_ms(Some(2_000));
                assert!((2_000..=60_000).contains(&wait), "{wait}");
                *longest = wait.max(*longest);
            }
        }
        assert!(longest[0] <= 2_250 && longest[4] > 14_000 && longest[11] > 55_000, "{longest:?}");
    }

    #[test]
    fn who_finds_nobody_there_tries_again_sooner_and_is_then_refused_for_the_first_time() {
        let (mut longest, mut refused) = (0, 0);
        for seed in 0..500 {
            let mut backoff = Backoff::new(BOUNDS, seed);
            (0..40).for_each(|_| longest = backoff.next_wait_unreached_ms().max(longest));
            assert_eq!(backoff.failures(), 40);
            refused = backoff.next_wait_ms(None).max(refused);
        }
        assert!((9_900..=10_000).contains(&longest) && (900..=1_000).contains(&refused), "{longest}, {refused}");
    }

    #[test]
    fn a_success_starts_again_from_the_first_wait() {
        let mut backoff = Backoff::new(BOUNDS, 3);
        (0..20).for_each(|_| assert!(backoff.next_wait_ms(None) > 0));
        backoff.reset();
        assert!(backoff.next_wait_ms(None) <= 1000);
    }

    #[test]
    fn retry_after_reads_seconds_only() {
        assert_eq!(retry_after_ms(Some(" 7 ")), Some(7000));
        assert_eq!(retry_after_ms(Some("99999999999999999999")), None);
        assert_eq!(retry_after_ms(Some("Fri, 31 Dec 1999 23:59:59 GMT")), None);
        assert_eq!(retry_after_ms(Some("-1")), None);
        assert_eq!(retry_after_ms(None), None);
    }
}
