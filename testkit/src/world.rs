//! The one place of the harness that reads the clock, waits, or draws anything by chance.
#![allow(clippy::disallowed_methods)] // real processes run in real time

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// A moment; only for measuring how long something took.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970 UTC.
#[must_use]
pub fn unix_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Waits.
pub fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

/// Asks `probe` every few milliseconds until it has an answer.
///
/// # Errors
/// When the probe fails, or has none within `limit`; `what` says in the message what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = now();
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs_f64());
        }
        pause(Duration::from_millis(5));
    }
}

/// A small seeded generator (splitmix64): every run of a test can be repeated by its seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts from `TIDEMARK_TEST_SEED`, else from the clock; prints the seed.
    #[must_use]
    pub fn from_env() -> Self {
        let seed = std::env::var("TIDEMARK_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| unix_ms() as u64);
        println!("seed {seed} (TIDEMARK_TEST_SEED={seed} repeats it)");
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (which is not 0).
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number of at least 0 and below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
