//! What the server counts and measures, for Prometheus: names, labels and meaning of each metric stand in this room.
//!
//! | file | what lives there |
//! |---|---|
//! | `make` | how an instrument is made, and the buckets of histograms |
//! | `requests` | requests and refusals, connections, waits for a turn |
//! | `batches` | batches and changes on their way into the database |
//! | `fleet` | the stations, by what they last reported |
//! | `health` | the database, roll-ups, backups, and how old these figures are |
//! | `tls` | until when the certificates are good; handshakes that fail |
//! | `settings` | who may read them, and how many stations have a label of their own |
//!
//! Nothing here asks the database: what only that knows is set by one task (`figures` in [`crate::http`]). Counting is
//! a few atomic operations for each request and batch, none for a change. Each server of a process has metrics of its
//! own. docs/internals/metrics.md says what each metric means.

mod batches;
mod fleet;
mod health;
mod make;
mod requests;
mod settings;
mod tls;

use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{IntGaugeVec, Registry, TextEncoder};

pub use self::batches::{Batches, Stage};
pub use self::fleet::{Fleet, FleetFigures, StationFigures};
pub use self::health::{DatabaseFigures, Health};
pub use self::make::seconds;
pub use self::requests::{Queue, Requests};
pub use self::settings::MetricsSettings;
pub use self::tls::Tls;

/// The media type of the text ([Prometheus: text-based format][1]).
///
/// [1]: https://prometheus.io/docs/instrumenting/exposition_formats/
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests, refusals, connections, turns.
    pub requests: Requests,
    /// Batches and changes.
    pub batches: Batches,
    /// Stations.
    pub fleet: Fleet,
    /// The database, backups, roll-ups.
    pub health: Health,
    /// Certificates and handshakes.
    pub tls: Tls,
    build: IntGaugeVec,
    /// Held while several figures are set that belong together, and while they are read.
    reading: Mutex<()>,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let build = make::gauges(
            &registry,
            "tidemark_build_info",
            "The version of the server and the schema that it serves; always 1.",
            &["version", "schema", "schema_version"],
        );
        // Memory, processor time and open files of the process.
        #[cfg(target_os = "linux")]
        let _ = registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        Self {
            requests: Requests::new(&registry),
            batches: Batches::new(&registry),
            fleet: Fleet::new(&registry),
            health: Health::new(&registry),
            tls: Tls::new(&registry),
            build,
            reading: Mutex::default(),
            registry,
        }
    }
}

impl Metrics {
    /// Says what is served.
    pub fn serves(&self, schema: &str, schema_version: u32) {
        let labels = [env!("CARGO_PKG_VERSION"), schema, &schema_version.to_string()];
        self.build.with_label_values(&labels).set(1);
    }

    /// Takes in what somebody else measures, a store for example. One that is there already is not taken twice.
    pub fn take_in(&self, collectors: Vec<Box<dyn Collector>>) {
        for collector in collectors {
            let _ = self.registry.register(collector);
        }
    }

    /// Sets figures that belong together: nobody reads some of them.
    pub fn set_together(&self, set: impl FnOnce(&Self)) {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        set(self);
    }

    /// Sets what is known of the fleet; `stations_max` stations have labels of their own.
    pub fn set_fleet(&self, figures: &FleetFigures, stations_max: usize) {
        self.set_together(|metrics| metrics.fleet.set(figures, stations_max));
    }

    /// All of them as text.
    #[must_use]
    pub fn text(&self) -> String {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // What it fails for is a family without a metric, and the registry leaves these out.
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
