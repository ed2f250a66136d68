//! How patient an engine is.

use crate::sync::{BackoffBounds, Stop};

/// How an engine behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bounds of the waits between failures.
    pub backoff: BackoffBounds,
    /// Makes stations wait differently: any random number.
    pub seed: u64,
    /// How a stop is said to the people of this program: so it stands in the file, where `status` finds it.
    pub words: Words,
}

/// Makes words of a stop.
pub type Words = fn(&Stop) -> String;

/// The facts, without what to do in any one program.
const FACTS: Words = |stop| stop.to_string();

impl Config {
    /// For a process that stays: waits from 1 s to 5 min.
    #[must_use]
    pub const fn daemon(seed: u64) -> Self {
        Self { backoff: BackoffBounds { first_ms: 1_000, max_ms: 300_000 }, seed, words: FACTS }
    }

    /// For somebody who watches: waits from 0.25 s to 5 s.
    #[must_use]
    pub const fn interactive(seed: u64) -> Self {
        Self { backoff: BackoffBounds { first_ms: 250, max_ms: 5_000 }, seed, words: FACTS }
    }
}
