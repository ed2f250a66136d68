//! An endpoint: one upstream, the bounds of its requests, and what they share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use tidemark_core::joincode::Pin;

use super::access::AccessLog;
use super::cors::Cors;
use super::forwarded::Forwarded;
use super::health::Health;
use super::load::Load;
use super::memory::Memory;
use super::operators;
use super::order::Order;
use super::origin::Origin;
use super::proxies::Proxies;
use super::scraped::Scraped;
use super::site::Site;
use super::stopping::Stopping;
use super::tokens::{self, Attempts, Tokens};
use super::turns::Turns;
use crate::bounds::HttpLimits;
use crate::fleet::Fleet;
use crate::ingest::Ingest;
use crate::live::Live;
use crate::metrics::MetricsSettings;
use crate::panics::Panics;

/// How often the database is asked for its stations, and how soon after a failure.
const EXPECT_EVERY: Duration = Duration::from_secs(60);
const EXPECT_AGAIN: Duration = Duration::from_secs(5);
/// Batches of one station that are decoded or wait in memory at once: the one that is applied, and the one after it.
const DECODES_EACH: usize = 2;

/// A request's body: hyper's own when it came over a socket, any other in a simulation.
pub type RequestBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The endpoint of one upstream: what its requests are answered with, and what they share.
pub struct Endpoint {
    pub(super) ingest: Arc<Ingest>,
    pub(super) limits: Live<HttpLimits>,
    /// The bodies in memory.
    pub(super) bodies: Arc<Memory>,
    /// The batches that are being decoded, and the memory of those that were.
    pub(super) decoding: Arc<Turns>,
    /// The batches that are being applied.
    pub(super) applying: Arc<Turns>,
    /// The pushes that are under way.
    pub(super) order: Order,
    /// The surveys that run.
    pub(super) surveys: Arc<Turns>,
    pub(super) load: Load,
    /// What is known of tokens.
    pub(super) tokens: Tokens,
    /// Whether the server is being stopped.
    pub(super) stopping: Stopping,
    pub(super) health: Health,
    /// What was heard of stations.
    pub(super) fleet: Arc<Fleet>,
    /// The turns of operators.
    pub(super) operators: operators::Turns,
    /// How much the metrics say of single stations.
    pub(super) metrics: MetricsSettings,
    /// The hash of the token that reads them where stations ask; and their text.
    pub(super) metrics_token: Live<Option<[u8; 32]>>,
    pub(super) scraped: Scraped,
    pub(super) access: AccessLog,
    /// The proxies that say for whom they ask, and the requests that came over them.
    pub(super) proxies: Proxies,
    pub(super) forwarded: Arc<Forwarded>,
    /// The web pages of other origins that may read the answers.
    pub(super) cors: Cors,
    /// The pin of the codes that it makes.
    pub(super) pin: Option<Pin>,
    /// The field notebook.
    pub(super) site: Arc<Site>,
}

const fn attempts(limits: &HttpLimits) -> Attempts {
    Attempts { burst: limits.attempts_max, per_second: limits.attempts_per_second }
}

impl Endpoint {
    /// An endpoint for one upstream, without a notebook, and for no web page of another origin.
    #[must_use]
    pub fn new(ingest: Arc<Ingest>, limits: HttpLimits) -> Self {
        let fleet = Arc::new(Fleet::new(ingest.clock().now_ms()));
        Self {
            ingest,
            limits: limits.into(),
            bodies: Memory::new(limits.memory_bytes_max / 4, limits.station_bodies_max),
            decoding: Turns::each(DECODES_EACH, limits.decodes_max, limits.memory_bytes_max / 4),
            applying: Turns::new(limits.applies_max, usize::MAX),
            order: Order::default(),
            surveys: Turns::new(limits.surveys_max, limits.memory_bytes_max / 8),
            load: Load::default(),
            tokens: Tokens::new(attempts(&limits)),
            stopping: Stopping::default(),
            health: Health::default(),
            fleet,
            operators: operators::Turns::default(),
            metrics: MetricsSettings::default(),
            metrics_token: None.into(),
            scraped: Scraped::default(),
            access: AccessLog::default(),
            proxies: Proxies::default(),
            forwarded: Arc::default(),
            cors: Cors::default(),
            pin: None,
            site: Arc::default(),
        }
    }

    /// The bounds of requests, as they are now.
    #[must_use]
    pub fn limits(&self) -> HttpLimits {
        self.limits.get()
    }

    /// Has other bounds from now on. What was let in before stays within those before.
    pub fn set_limits(&self, limits: HttpLimits) {
        self.bodies.set(limits.memory_bytes_max / 4, limits.station_bodies_max);
        self.decoding.set(limits.decodes_max, limits.memory_bytes_max / 4);
        self.applying.set(limits.applies_max, usize::MAX);
        self.surveys.set(limits.surveys_max, limits.memory_bytes_max / 8);
        self.tokens.set(attempts(&limits));
        self.limits.set(limits);
    }

    /// Lets the pages of these origins use it from now on, and of no others.
    pub fn set_origins(&self, origins: Vec<Origin>) {
        self.cors.set(origins);
    }

    /// From now on the token with this hash reads the metrics where stations ask, and no other does.
    pub fn set_metrics_token(&self, token_hash: Option<[u8; 32]>) {
        self.metrics_token.set(token_hash);
    }

    /// Believes these proxies.
    #[must_use]
    pub fn with_proxies(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }

    /// Lets the pages of these origins use it.
    #[must_use]
    pub fn with_origins(self, origins: Vec<Origin>) -> Self {
        Self { cors: Cors::new(origins), ..self }
    }

    /// Answers who may read its metrics as it is told.
    #[must_use]
    pub fn with_metrics(self, metrics: MetricsSettings) -> Self {
        Self { metrics_token: metrics.token_hash.into(), metrics, ..self }
    }

    /// Has the stations that it invites know it by the certificate of this pin.
    #[must_use]
    pub fn with_pin(self, pin: Option<Pin>) -> Self {
        Self { pin, ..self }
    }

    /// Serves a notebook.
    #[must_use]
    pub fn with_site(self, site: Arc<Site>) -> Self {
        Self { site, ..self }
    }

    /// Learns which tokens are stations', at once and every minute, so that none of these is taken for one that
    /// somebody makes up. It never ends.
    pub async fn expect_stations(&self) {
        loop {
            let again = match self.ingest.upstream().stations().await {
                Ok(stations) => {
                    let tokens = stations.into_iter().filter_map(|station| station.record.token_hash);
                    tokens.take(tokens::EXPECTED_MAX).for_each(|token_hash| self.tokens.expect(token_hash));
                    EXPECT_EVERY
                }
                Err(_) => EXPECT_AGAIN,
            };
            tokio::time::sleep(again).await;
        }
    }

    /// What was heard of stations and is not written yet.
    #[must_use]
    pub const fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The panics of this program while it answered, and in its tasks.
    #[must_use]
    pub fn panics(&self) -> &Arc<Panics> {
        self.ingest.panics()
    }
}
