//! What the store measures of its connections: how many there are, and how long one is waited for.

use std::time::Duration;

use deadpool::managed::Pool;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntGaugeVec, Opts};

use super::connection::Connector;

/// From a connection that is free to one that is waited for in vain.
const SECONDS: [f64; 8] = [0.0001, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The instruments of the pool.
#[derive(Clone)]
pub(super) struct Pooled {
    pool: Pool<Connector>,
    waits: HistogramVec,
    connections: IntGaugeVec,
}

impl Pooled {
    pub(super) fn new(pool: Pool<Connector>) -> Self {
        let waits = HistogramOpts::new(
            "tidemark_pool_wait_seconds",
            "How long a connection to PostgreSQL was waited for, by what for; one that had to be made included.",
        );
        let waits = HistogramVec::new(waits.buckets(SECONDS.to_vec()), &["purpose"]);
        let connections = Opts::new(
            "tidemark_pool_connections",
            "Connections to PostgreSQL in the pool: used, idle, and the most there may be; readiness has one beside it.",
        );
        let connections = IntGaugeVec::new(connections, &["state"]);
        let is_well_formed = "BUG: names and labels are well formed";
        Self { pool, waits: waits.expect(is_well_formed), connections: connections.expect(is_well_formed) }
    }

    pub(super) fn waited(&self, purpose: &str, wait: Duration) {
        self.waits.with_label_values(&[purpose]).observe(wait.as_secs_f64());
    }
}

impl Collector for Pooled {
    fn desc(&self) -> Vec<&Desc> {
        [self.waits.desc(), self.connections.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let status = self.pool.status();
        let idle = status.available.min(status.size);
        for (state, count) in [("used", status.size - idle), ("idle", idle), ("max", status.max_size)] {
            self.connections.with_label_values(&[state]).set(count as i64);
        }
        [self.waits.collect(), self.connections.collect()].concat()
    }
}
