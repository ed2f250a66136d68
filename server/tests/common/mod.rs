//! The server's tests share these: databases, stations that cut batches, stores to run a contract against, servers over
//! them.
#![allow(dead_code, reason = "every test program uses a part")]

pub mod client;
pub mod cluster;
pub mod program;
pub mod site;
pub mod station;
pub mod stores;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidemark_core::schema::Schema;
use tidemark_server::clock::Clock;

/// 2026-01-15 12:00:00 UTC, where the tests' clocks begin.
pub const NOON_MS: i64 = 1_768_478_400_000;

/// A clock that stands still until it is moved.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOON_MS)))
    }

    pub fn forward_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// Whoever looks at it panics, until it is mended.
    pub fn set_broken(&self, broken: bool) {
        self.0.store(if broken { i64::MIN } else { NOON_MS }, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        let now_ms = self.0.load(Ordering::Relaxed);
        assert_ne!(now_ms, i64::MIN, "the clock is broken");
        now_ms
    }
}

pub use tidemark_testkit::schemas::FIELD as FIELD_TOML;

pub fn field() -> Arc<Schema> {
    Arc::new(Schema::parse(FIELD_TOML).unwrap())
}

/// Each case as a test of its own against each store.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        tidemark_testkit::contract!(
            [
                memory = crate::common::stores::Kind::Memory,
                embedded = crate::common::stores::Kind::Sqlite,
                plain_postgres = crate::common::stores::Kind::PlainPostgres,
                timescale = crate::common::stores::Kind::Timescale,
            ],
            crate::common::stores::Store::of_field,
            { $($case),* }
        );
    };
}
pub(crate) use contract;
