//! The server's tests share these: databases, stations that cut batches, stores to run a contract against, servers over
//! them.
#![allow(dead_code, reason = "every test program uses a part")]

pub mod client;
pub mod cluster;
pub mod door;
pub mod log;
pub mod program;
pub mod serving;
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
pub struct TestClock {
    now_ms: AtomicI64,
    /// How often it can still be looked at.
    looks: AtomicI64,
}

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicI64::new(NOON_MS), looks: AtomicI64::new(i64::MAX) })
    }

    pub fn forward_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Who looks at it after so many others panics, until it is mended.
    pub fn break_after(&self, looks: i64) {
        self.looks.store(looks, Ordering::Relaxed);
    }

    pub fn mend(&self) {
        self.looks.store(i64::MAX, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        assert!(self.looks.fetch_sub(1, Ordering::Relaxed) > 0, "the clock is broken");
        self.now_ms.load(Ordering::Relaxed)
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
