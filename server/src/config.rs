//! Where the upstream database is, and how the server behaves. A database URL is the only secret here: its password is never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;
use tidemark_core::timestamp::DAY_US;

use crate::http::{Origin, Site};

/// The database when none is named.
pub const DEFAULT_DATABASE: &str = "sqlite:///tidemark-upstream.db";
/// How often the roll-ups of reports are brought up to date unless told otherwise.
pub const REPORTS_EVERY: Duration = Duration::from_secs(60);
/// How long a statement may take in PostgreSQL unless told otherwise.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// How many chunks one transaction may touch unless told otherwise. PostgreSQL locks a handful of things for each chunk, in a table that
/// holds 64 for each connection it allows (`max_locks_per_transaction`) and that all of them share.
pub const CHUNKS_MAX: u32 = 128;
/// Where the server listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8787";

/// Which upstream database.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// The embedded one: `sqlite:///relative.db`, `sqlite:////absolute.db`.
    Sqlite(PathBuf),
    /// `postgresql://…` or `postgres://…`.
    Postgres(Box<tokio_postgres::Config>),
}

/// A word that names no database this server can use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatabaseUrlError {
    /// Another scheme, or none.
    #[error(
        "{0} names no database: use sqlite:///relative.db, sqlite:////absolute/path.db or postgresql://user:password@host:port/database"
    )]
    Scheme(String),
    /// `sqlite://` without a path.
    #[error(
        "{0} names no file: write sqlite:///relative.db or sqlite:////absolute/path.db (three slashes, then the path)"
    )]
    SqlitePath(String),
    /// Not a connection string.
    #[error("{url} is not a PostgreSQL URL: {message}; its form is postgresql://user:password@host:port/database")]
    Postgres {
        /// The URL, its password hidden.
        url: String,
        /// What is wrong.
        message: String,
    },
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = url.strip_prefix("sqlite://") {
            let path = rest.strip_prefix('/').filter(|path| !path.is_empty() && !path.ends_with('/'));
            return path
                .map(|path| Self::Sqlite(PathBuf::from(path)))
                .ok_or_else(|| DatabaseUrlError::SqlitePath(hide_password(url)));
        }
        if url.starts_with("postgresql://") || url.starts_with("postgres://") {
            let bad =
                |message: &str| DatabaseUrlError::Postgres { url: hide_password(url), message: message.to_owned() };
            // The driver's own words could quote the text; that it is wrong is enough.
            let config: tokio_postgres::Config =
                url.parse().map_err(|_| bad("host, port or an option is not well formed"))?;
            let cut = |host: &tokio_postgres::config::Host| match host {
                tokio_postgres::config::Host::Tcp(name) => name.contains('@'),
                tokio_postgres::config::Host::Unix(_) => false,
            };
            if config.get_hosts().iter().any(cut) {
                return Err(bad("an @ in the password is written %40"));
            }
            return Ok(Self::Postgres(Box::new(config)));
        }
        Err(DatabaseUrlError::Scheme(hide_password(url)))
    }
}

/// The URL with everything that may be a password replaced by `***`: between user and the last `@`, and in options.
#[must_use]
pub fn hide_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (before, after) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
    let mut shown = String::new();
    if !scheme.is_empty() {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    if let Some(before) = before {
        let user = before.split_once(':').map_or(before, |(user, _)| user);
        shown.push_str(user);
        if user.len() < before.len() {
            shown.push_str(":***");
        }
        shown.push('@');
    }
    let (path, options) = after.split_once('?').map_or((after, None), |(path, options)| (path, Some(options)));
    shown.push_str(path);
    if let Some(options) = options {
        let options: Vec<String> = options
            .split('&')
            .map(|option| match option.split_once('=') {
                Some((name, _)) if name.contains("pass") => format!("{name}=***"),
                _ => option.to_owned(),
            })
            .collect();
        shown.push('?');
        shown.push_str(&options.join("&"));
    }
    shown
}

impl fmt::Display for DatabaseUrl {
    /// What may be shown: no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:///{}", path.display()),
            Self::Postgres(config) => {
                let host = config.get_hosts().first().map(|host| match host {
                    tokio_postgres::config::Host::Tcp(name) => name.clone(),
                    tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
                });
                let port = config.get_ports().first().copied().unwrap_or(5432);
                let user = config.get_user().unwrap_or_default();
                let database = config.get_dbname().unwrap_or(user);
                write!(f, "postgresql://{user}@{}:{port}/{database}", host.as_deref().unwrap_or("localhost"))
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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

/// 2000-01-01, microseconds since 1970 UTC.
const YEAR_2000_US: i64 = 10_957 * DAY_US;

/// Which times the server takes in a table's time column: a wrong clock would make stray chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockWindow {
    /// Earliest, microseconds since 1970 UTC.
    pub floor_us: i64,
    /// How far ahead of the server's clock, microseconds.
    pub skew_us: i64,
}

impl ClockWindow {
    /// From 2000 to 7 days ahead: a clock whose battery is empty says 1970, 1980 or the year of its firmware.
    pub const DEFAULT: Self = Self { floor_us: YEAR_2000_US, skew_us: 7 * DAY_US };
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where it applies.
    pub database: DatabaseUrl,
    /// The address it listens on; port 0 takes a free one.
    pub listen: String,
    /// The schema it serves.
    pub schema: Arc<Schema>,
    /// Which times it takes.
    pub window: ClockWindow,
    /// The bounds of one frame.
    pub limits: FrameLimits,
    /// The bounds of the HTTP side.
    pub http: HttpLimits,
    /// Most connections to PostgreSQL.
    pub pool_max: usize,
    /// How long a statement may take in PostgreSQL.
    pub statement_timeout: Duration,
    /// Most chunks of tables with a time column that one transaction touches; a batch with more is applied in several.
    pub chunks_max: u32,
    /// Which web pages of other origins may use it from a browser.
    pub origins: Vec<Origin>,
    /// The field notebook it serves: [`Site::embedded`], [`Site::read`], or none.
    pub site: Arc<Site>,
    /// How often the roll-ups of reports are brought up to date; `None`: somebody else does it.
    pub reports_every: Option<Duration>,
    /// How long settled rejects and prints of changes are kept; `None`: for ever.
    pub keep: Option<Duration>,
}

/// The bounds of the HTTP side.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Most connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// Most bytes of bodies in memory at once, over all connections.
    pub body_bytes_total: usize,
    /// Most batches decoded and applied at once.
    pub applies_max: usize,
    /// Most surveys of rows (`POST /v1/digest`) at once.
    pub surveys_max: usize,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long a body may stand still.
    pub body_idle_timeout: Duration,
    /// How long a body may take in all.
    pub body_timeout: Duration,
    /// How long a request may wait for its turn to be applied, or to survey rows.
    pub turn_timeout: Duration,
    /// How long running requests may take after the signal to stop.
    pub drain_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            body_bytes_total: 256 << 20,
            applies_max: 16,
            surveys_max: 4,
            head_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(300),
            turn_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl ServerConfig {
    /// The shipped schema, the default bounds, a free port on the loopback address; no notebook, no page of another origin.
    #[must_use]
    pub fn new(database: DatabaseUrl) -> Self {
        Self {
            database,
            listen: "127.0.0.1:0".to_owned(),
            schema: Arc::new(tidemark_core::schema::shrinkage()),
            window: ClockWindow::DEFAULT,
            limits: FrameLimits::DEFAULT,
            http: HttpLimits::default(),
            pool_max: 30,
            statement_timeout: STATEMENT_TIMEOUT,
            chunks_max: CHUNKS_MAX,
            origins: Vec::new(),
            site: Arc::default(),
            reports_every: Some(REPORTS_EVERY),
            keep: Some(crate::upkeep::KEEP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_urls_follow_sqlalchemy() {
        let path = |url: &str| match url.parse() {
            Ok(DatabaseUrl::Sqlite(path)) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(path("sqlite:///a/b.db"), Path::new("a/b.db"));
        assert_eq!(path("sqlite:////a/b.db"), Path::new("/a/b.db"));
        for bad in ["sqlite://", "sqlite:///", "sqlite://a.db", "sqlite:///dir/"] {
            assert!(matches!(bad.parse::<DatabaseUrl>(), Err(DatabaseUrlError::SqlitePath(_))), "{bad}");
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for bad in ["", "x.db", "mysql://u:secret@h/d", "http://h", "sqlite:/x", "file:secret"] {
            let error = bad.parse::<DatabaseUrl>().unwrap_err();
            assert!(matches!(error, DatabaseUrlError::Scheme(_)), "{bad}");
            assert!(!error.to_string().contains("u:secret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgresql://u:s3cr3t@h:1/d",
            "postgres://u:s3cr3t@h:x/d",
            "postgres://u:s3:cr3t@s3cr3t@h/d?password=s3cr3t",
            "postgres://h/d?password=s3cr3t&bogus=1",
            "mysql://u:s3cr3t@h/d",
            "postgres://u:s3cr3t@[::1/d",
        ] {
            let shown = match url.parse::<DatabaseUrl>() {
                Ok(url) => format!("{url} {url:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("cr3t"), "{shown}");
        }
    }
}
