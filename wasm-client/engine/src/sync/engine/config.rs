//! How patient an engine is.

use crate::sync::{BackoffBounds, Stop, Trouble};

/// How an engine behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bounds of the waits between failures.
    pub backoff: BackoffBounds,
    /// Makes stations wait differently: any random number.
    pub seed: u64,
    /// How a stop or a wait is said to the people of this program: so it stands in the file, where `status` finds it.
    pub words: Words,
    /// How often the server is told that there is nothing to push, in milliseconds; `None`: it is told nothing.
    pub contact_every_ms: Option<u64>,
}

/// Makes words of what the engine met.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// Of a stop. The remedy that the server names is not said: it stands beside the words as a fact.
    pub stop: fn(&Stop) -> String,
    /// Of what it waits for.
    pub trouble: fn(&Trouble) -> String,
}

impl Words {
    /// The facts, without what to do in any one program.
    pub const FACTS: Self = Self { stop: |stop| stop.to_string(), trouble: |why| why.to_string() };
}

impl Config {
    /// The same, and the server is told how the station fares, at least so often, in milliseconds.
    #[must_use]
    pub const fn in_contact(self, every_ms: u64) -> Self {
        Self { contact_every_ms: Some(every_ms), ..self }
    }

    /// For a process that stays: waits from 1 s to 5 min; to 30 s where no connection is made, so that it is back
    /// within a minute once the server is.
    #[must_use]
    pub const fn daemon(seed: u64) -> Self {
        let backoff = BackoffBounds { first_ms: 1_000, max_ms: 300_000, unreached_max_ms: 30_000 };
        Self { backoff, seed, words: Words::FACTS, contact_every_ms: None }
    }

    /// For somebody who watches: waits from 0.25 s to 5 s.
    #[must_use]
    pub const fn interactive(seed: u64) -> Self {
        let backoff = BackoffBounds { first_ms: 250, max_ms: 5_000, unreached_max_ms: 5_000 };
        Self { backoff, seed, words: Words::FACTS, contact_every_ms: None }
    }
}
