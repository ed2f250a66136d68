//! The configuration of one server, put together from [`crate::database`], [`crate::bounds`] and what the endpoint is
//! told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemark_core::joincode::Pin;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;

pub use crate::bounds::{CHUNKS_MAX, ClockWindow, HttpLimits, STATEMENT_TIMEOUT};
pub use crate::database::{DEFAULT_DATABASE, DatabaseUrl, DatabaseUrlError, hide_password};
use crate::http::{Origin, Proxies, Site};
use crate::metrics::MetricsSettings;
use crate::tls::TlsFiles;

/// The time between two refreshes of the roll-ups of reports, unless told otherwise.
pub const REPORTS_EVERY: Duration = Duration::from_secs(60);
/// The address the server listens on unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8787";

/// Reads a schema file.
///
/// # Errors
/// When the file cannot be read, or says something wrong; names the file.
pub fn load_schema(file: &Path) -> anyhow::Result<Schema> {
    let bytes =
        std::fs::metadata(file).map_err(|error| anyhow::anyhow!("schema file {}: {error}", file.display()))?.len();
    if bytes > tidemark_core::limits::SCHEMA_BYTES_MAX as u64 {
        anyhow::bail!(
            "schema file {}: {bytes} bytes, a schema has at most {}",
            file.display(),
            tidemark_core::limits::SCHEMA_BYTES_MAX
        );
    }
    let text =
        std::fs::read_to_string(file).map_err(|error| anyhow::anyhow!("schema file {}: {error}", file.display()))?;
    Schema::parse(&text).map_err(|error| anyhow::anyhow!("schema file {}:\n{error}", file.display()))
}

/// The configuration of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The database it applies to.
    pub database: DatabaseUrl,
    /// The address it listens on; port 0 takes a free one.
    pub listen: String,
    /// Its certificate; without one it serves plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The certificate that the stations it invites are to know it by, where no public authority vouches for it.
    pub pin: Option<Pin>,
    /// It may serve plain HTTP to other machines: something in front of it does TLS, or the network is trusted.
    pub plain_http_allowed: bool,
    /// The schema it serves.
    pub schema: Arc<Schema>,
    /// The times it takes.
    pub window: ClockWindow,
    /// The bounds of one frame.
    pub limits: FrameLimits,
    /// The bounds of the HTTP side.
    pub http: HttpLimits,
    /// Most connections to PostgreSQL.
    pub pool_max: usize,
    /// The time a statement may take in PostgreSQL.
    pub statement_timeout: Duration,
    /// Most chunks of tables with a time column that one transaction touches; a batch with more is applied in several.
    pub chunks_max: u32,
    /// The proxies before it that are believed.
    pub proxies: Proxies,
    /// The web pages of other origins that may use it from a browser.
    pub origins: Vec<Origin>,
    /// The field notebook it serves: [`Site::embedded`], [`Site::read`], or none.
    pub site: Arc<Site>,
    /// The time between two refreshes: the roll-ups of reports are brought up to date; `None`: somebody else does it.
    pub reports_every: Option<Duration>,
    /// The time for which settled rejects and prints of changes are kept; `None`: for ever.
    pub keep: Option<Duration>,
    /// Who may read what it counts and measures.
    pub metrics: MetricsSettings,
}

impl ServerConfig {
    /// The shipped schema, the default bounds, a free port on the loopback address; no notebook, no page of another
    /// origin.
    #[must_use]
    pub fn new(database: DatabaseUrl) -> Self {
        Self {
            database,
            listen: "127.0.0.1:0".to_owned(),
            tls: None,
            pin: None,
            plain_http_allowed: false,
            schema: Arc::new(tidemark_core::schema::shrinkage()),
            window: ClockWindow::DEFAULT,
            limits: FrameLimits::DEFAULT,
            http: HttpLimits::default(),
            pool_max: 30,
            statement_timeout: STATEMENT_TIMEOUT,
            chunks_max: CHUNKS_MAX,
            proxies: Proxies::default(),
            origins: Vec::new(),
            site: Arc::default(),
            reports_every: Some(REPORTS_EVERY),
            keep: Some(crate::upkeep::KEEP),
            metrics: MetricsSettings::default(),
        }
    }
}
