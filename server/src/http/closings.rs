//! What the operator reads of connections that were closed because a bound was reached: one line per bound and minute.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time between two lines on one bound.
const APART: Duration = Duration::from_secs(60);

/// The bound that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Bound {
    /// Of one address, without a token.
    Address(usize),
    /// Of all without a token.
    Unknown(usize),
    /// Of one token.
    Token(usize),
    /// Of all.
    All(usize),
    /// The system's own: no file descriptor is left.
    Descriptors,
}

impl Bound {
    /// Its name in the metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Unknown(_) => "unknown",
            Self::Token(_) => "token",
            Self::All(_) => "all",
            Self::Descriptors => "descriptors",
        }
    }
}

/// The closed connections that the operator has not read of, and when there was a line.
#[derive(Debug, Default)]
pub(super) struct Closings(Mutex<HashMap<Bound, Told>>);

#[derive(Debug, Default)]
struct Told {
    closed: u64,
    at: Option<Instant>,
}

impl Closings {
    /// Counts a connection that was closed for this bound, which `peer` reached, and tells the operator when it is
    /// time to.
    pub(super) fn tell(&self, bound: Bound, peer: &dyn Display) {
        let Some(closed) = self.count(bound, Instant::now()) else { return };
        let closed = match closed {
            1 => "a connection was closed".to_owned(),
            _ => format!("{closed} connections were closed since the last such line"),
        };
        match bound {
            Bound::Address(max) => tracing::warn!(
                "{closed}, the longest idle first: without a token {peer} may have {max} (--address-connections-max); \
                 behind a proxy all stations have its address"
            ),
            Bound::Unknown(max) => tracing::warn!(
                "{closed}, the longest idle first: without a token there may be {max}, half of --connections-max; the last came from {peer}"
            ),
            Bound::Token(max) => tracing::warn!(
                "{closed}, the longest idle first: station or reader {peer} may have {max} (--station-connections-max)"
            ),
            Bound::All(max) => tracing::warn!(
                "{closed}, the longest idle first: there may be {max} (--connections-max); the last came from {peer}"
            ),
            Bound::Descriptors => tracing::warn!(
                "{closed}, the longest idle first: no file descriptor is left. Raise the limit of open files (LimitNOFILE in systemd, \
                 `ulimit -n` in a shell), or lower --connections-max"
            ),
        }
    }

    /// The number that there is to tell now.
    fn count(&self, bound: Bound, now: Instant) -> Option<u64> {
        let mut bounds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = bounds.entry(bound).or_default();
        told.closed += 1;
        if told.at.is_some_and(|at| now.duration_since(at) < APART) {
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_reached_all_the_time_is_told_once_a_minute_with_the_number() {
        let (closings, now) = (Closings::default(), Instant::now());
        assert_eq!(closings.count(Bound::All(9), now), Some(1));
        for _ in 0..100 {
            assert_eq!(closings.count(Bound::All(9), now + APART / 2), None);
        }
        assert_eq!(closings.count(Bound::Descriptors, now), Some(1), "another bound has lines of its own");
        assert_eq!(closings.count(Bound::All(9), now + APART), Some(101));
    }
}
