//! An endpoint: one upstream, the bounds of its requests, and what they share.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use tokio::sync::Semaphore;

use super::cors::Cors;
use super::health::Health;
use super::load::Load;
use super::origin::Origin;
use super::site::Site;
use crate::bounds::HttpLimits;
use crate::ingest::Ingest;
use crate::panics::Panics;

/// Bytes of bodies are counted in units of this many, so that they fit a semaphore.
pub(super) const BODY_UNIT_BYTES: usize = 1024;

/// A request's body: hyper's own when it came over a socket, any other in a simulation.
pub type RequestBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The endpoint of one upstream: what its requests are answered with, and what they share.
pub struct Endpoint {
    pub(super) ingest: Arc<Ingest>,
    pub(super) limits: HttpLimits,
    /// Units of body bytes that may be in memory.
    pub(super) body_units: Arc<Semaphore>,
    /// Batches that may be decoded and applied at once.
    pub(super) turns: Arc<Semaphore>,
    /// Surveys that may run at once.
    pub(super) surveys: Arc<Semaphore>,
    pub(super) load: Load,
    pub(super) health: Health,
    /// The web pages of other origins that may read the answers.
    pub(super) cors: Cors,
    /// The field notebook.
    pub(super) site: Arc<Site>,
}

impl Endpoint {
    /// An endpoint for one upstream, without a notebook, and for no web page of another origin.
    #[must_use]
    pub fn new(ingest: Arc<Ingest>, limits: HttpLimits) -> Self {
        let body_units = Arc::new(Semaphore::new(limits.body_bytes_total.div_ceil(BODY_UNIT_BYTES)));
        let turns = Arc::new(Semaphore::new(limits.applies_max));
        let surveys = Arc::new(Semaphore::new(limits.surveys_max));
        Self {
            ingest,
            limits,
            body_units,
            turns,
            surveys,
            load: Load::default(),
            health: Health::default(),
            cors: Cors::default(),
            site: Arc::default(),
        }
    }

    /// Lets the pages of these origins use it.
    #[must_use]
    pub fn with_origins(self, origins: Vec<Origin>) -> Self {
        Self { cors: Cors::new(origins), ..self }
    }

    /// Serves a notebook.
    #[must_use]
    pub fn with_site(self, site: Arc<Site>) -> Self {
        Self { site, ..self }
    }

    /// The panics of this program while it answered.
    #[must_use]
    pub fn panics(&self) -> &Panics {
        self.ingest.panics()
    }
}
