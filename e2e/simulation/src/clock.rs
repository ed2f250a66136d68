//! Virtual time, and the clocks of the machines in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// When every run begins, milliseconds since 1970 UTC: 2027-01-15 08:00.
pub const EPOCH_MS: i64 = 1_800_000_000_000;

/// A machine's clock: it says a time of its own while true time goes by.
#[derive(Debug, Clone)]
pub struct MachineClock {
    /// What it said when it was last set, and when that was in true time.
    set: (i64, i64),
    /// How fast it goes; 1 is right.
    rate: f64,
    /// What it says now, for SQLite and the server.
    shown: Arc<AtomicI64>,
}

impl MachineClock {
    /// A clock that is `offset_ms` off and goes at `rate`.
    #[must_use]
    pub fn new(offset_ms: i64, rate: f64) -> Self {
        let shown = Arc::new(AtomicI64::new(EPOCH_MS + offset_ms));
        Self { set: (EPOCH_MS + offset_ms, EPOCH_MS), rate, shown }
    }

    /// What it says at a true time; everybody who shares it sees that from now on.
    pub fn read(&self, true_ms: i64) -> i64 {
        let said = self.set.0 + ((true_ms - self.set.1) as f64 * self.rate) as i64;
        self.shown.store(said, Ordering::SeqCst);
        said
    }

    /// Sets it forward or back.
    pub fn jump(&mut self, true_ms: i64, by_ms: i64) {
        self.set = (self.read(true_ms) + by_ms, true_ms);
        self.read(true_ms);
    }

    /// How long, in true time, until it says `at_ms`; at least 1.
    #[must_use]
    pub fn until(&self, true_ms: i64, at_ms: i64) -> i64 {
        let left = at_ms.saturating_sub(self.read(true_ms));
        ((left.min(1 << 50) as f64 / self.rate) as i64).max(0) + 1
    }

    /// What it shows, shared.
    #[must_use]
    pub fn shown(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.shown)
    }
}

/// A machine's clock as the server reads it.
pub struct ServerClock(pub Arc<AtomicI64>);

impl tidemark_server::clock::Clock for ServerClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
