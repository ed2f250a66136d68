//! A running server: upstream opened, address bound, connections served until it is told to stop.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tidemark_core::schema::Schema;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

use crate::bounds::HttpLimits;
use crate::clock::{Clock, SystemClock};
use crate::config::{DatabaseUrl, ServerConfig};
use crate::fleet::Writer;
use crate::http::{Endpoint, Origin, serve, serve_metrics};
use crate::ingest::Ingest;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::panics::Panics;
use crate::plain::{self, Listener};
use crate::stores::postgres::{self, PostgresUpstream};
use crate::stores::sqlite::{self, SqliteUpstream};
use crate::tls::{self, Tls};
use crate::upstream::Upstream;
use crate::{fleet, reports, supervision, upkeep};

/// How long the last write of what was heard may take when the server stops.
const LAST_WRITE: Duration = Duration::from_secs(3);
/// Between two looks for connections to the database that stand idle.
const SHED_EVERY: Duration = Duration::from_secs(30);

/// Starts servers.
#[derive(Debug, Clone, Copy)]
pub struct Server;

/// A server that runs in this process. Dropped without [`RunningServer::shutdown`], it stops without waiting for
/// running requests.
pub struct RunningServer {
    addr: SocketAddr,
    metrics_addr: Option<SocketAddr>,
    tls: Option<Arc<Tls>>,
    upstream: Arc<dyn Upstream>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    /// Writes what is heard of stations.
    writer: Writer,
    metrics: Arc<Metrics>,
    /// What goes on beside the requests.
    tasks: Vec<JoinHandle<()>>,
    endpoint: Arc<Endpoint>,
    keep: Live<Option<Duration>>,
    reports_every: Live<Option<Duration>>,
}

/// What may change while a server runs.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// The bounds of the HTTP side.
    pub http: HttpLimits,
    /// The web pages of other origins that may use it from a browser.
    pub origins: Vec<Origin>,
    /// The time between two refreshes of reports; `None`: somebody else does it.
    pub reports_every: Option<Duration>,
    /// The time for which settled rejects and prints of changes are kept; `None`: for ever.
    pub keep: Option<Duration>,
    /// The hash of the token that reads the metrics where stations ask; `None`: nobody does.
    pub metrics_token_hash: Option<[u8; 32]>,
}

/// Opens the database of a URL. The embedded one is made and migrated when it is new.
///
/// # Errors
/// When it does not answer, refuses, or does not match the schema; never shows a password.
pub async fn open_upstream(config: &ServerConfig) -> anyhow::Result<Arc<dyn Upstream>> {
    let schema = Arc::clone(&config.schema);
    Ok(match &config.database {
        DatabaseUrl::Sqlite(path) => {
            let path = path.clone();
            Arc::new(tokio::task::spawn_blocking(move || SqliteUpstream::open(&path, schema)).await??)
        }
        DatabaseUrl::Postgres(postgres) => {
            let upstream = PostgresUpstream::open(postgres, schema, config.pool_max).await?;
            Arc::new(upstream.with_statement_timeout(config.statement_timeout))
        }
    })
}

/// Says so where requests that the endpoint lets in would wait for each other's connections.
fn warn_of_few_connections(config: &ServerConfig) {
    let DatabaseUrl::Postgres(_) = config.database else { return };
    let (wanted, there) = (config.http.applies_max + config.http.surveys_max, postgres::work_max(config.pool_max));
    if wanted > there {
        tracing::warn!(
            "{} batches and {} surveys may run at once, and of {} connections to PostgreSQL {there} are for them: the others wait",
            config.http.applies_max,
            config.http.surveys_max,
            config.pool_max,
        );
    }
}

/// The schema a database was last migrated to: what commands go by that concern the database and not a schema file.
/// `None` for one that is new.
///
/// # Errors
/// When it cannot be opened or its record is not readable; never shows a password.
pub async fn schema_of_database(database: &DatabaseUrl) -> anyhow::Result<Option<Schema>> {
    let newest = match database {
        // Asking does not make the file.
        DatabaseUrl::Sqlite(path) if !path.exists() => None,
        DatabaseUrl::Sqlite(path) => {
            let path = path.clone();
            let read = move || anyhow::Ok(tidemark_migrations::sqlite::newest_schema(&mut sqlite::connect(&path)?)?);
            tokio::task::spawn_blocking(read).await??
        }
        DatabaseUrl::Postgres(config) => {
            tidemark_migrations::postgres::newest_schema(&mut postgres::connect(config).await?).await?
        }
    };
    let schema = newest.map(|toml| Schema::parse(&toml)).transpose();
    schema.with_context(|| format!("the schema recorded in {database} is not readable"))
}

/// The error of an address that cannot be bound, with what to do.
fn cannot_listen(listen: &str, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind;
    let hint = match error.kind() {
        ErrorKind::AddrInUse => ": is another server running there?",
        ErrorKind::AddrNotAvailable => ": this machine has no such address; 0.0.0.0 stands for all it has",
        ErrorKind::PermissionDenied => {
            ": ports below 1024 need a right of their own; take a higher one, behind a proxy"
        }
        ErrorKind::InvalidInput => ": its form is ADDR:PORT",
        _ => "",
    };
    anyhow::Error::new(error).context(format!("cannot listen on {listen}{hint}"))
}

/// Refuses plain HTTP where others on the way can read it, unless that was asked for.
fn check_plain(config: &ServerConfig, addr: SocketAddr, listener: Listener) -> anyhow::Result<()> {
    Ok(plain::check(listener, addr, config.tls.is_some(), config.plain_http_allowed)?)
}

/// Binds the listener for metrics, and serves them there: over TLS where other machines reach it and the server has a
/// certificate.
fn scraped_at(
    listen: &str,
    config: &ServerConfig,
    endpoint: &Arc<Endpoint>,
    tls: Option<&Arc<Tls>>,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let bind = || {
        let listener = std::net::TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let listener = bind().map_err(|error| cannot_listen(listen, error)).context("metrics")?;
    let addr = listener.local_addr()?;
    check_plain(config, addr, Listener::Metrics).context("--metrics-listen")?;
    let tls = tls.filter(|_| !plain::is_local(addr)).map(Arc::clone);
    tracing::info!("metrics: {}://{addr}/metrics", if tls.is_some() { "https" } else { "http" });
    if !plain::is_local(addr) {
        tracing::warn!(
            "the metrics at {addr} are for everybody who reaches that address: nobody is asked for a token there"
        );
    }
    let (listener, served) = (Arc::new(listener), Arc::clone(endpoint));
    let serving = supervision::spawn(endpoint.panics(), "taking connections for metrics", move || {
        serve_metrics(Arc::clone(&listener), Arc::clone(&served), tls.clone())
    });
    Ok((addr, serving))
}

/// The tasks that go on beside the requests of an endpoint, and use it.
fn beside(endpoint: &Arc<Endpoint>, ingest: &Ingest, tls: Option<&Arc<Tls>>) -> Vec<JoinHandle<()>> {
    let panics = endpoint.panics();
    let (expecting, figuring) = (Arc::clone(endpoint), Arc::clone(endpoint));
    let (notices, shedding) = (Arc::downgrade(ingest.notices()), Arc::clone(ingest.upstream()));
    let mut tasks = vec![
        supervision::spawn(panics, "learning which tokens are stations'", move || {
            let endpoint = Arc::clone(&expecting);
            async move { endpoint.expect_stations().await }
        }),
        supervision::spawn(panics, "asking for the figures of the metrics", move || {
            let endpoint = Arc::clone(&figuring);
            async move { endpoint.refresh_figures().await }
        }),
        supervision::spawn(panics, "summing up refusals", move || Notices::tell(notices.clone())),
        supervision::spawn(panics, "closing idle connections to the database", move || shed(Arc::clone(&shedding))),
    ];
    tasks.extend(tls.map(|tls| {
        let tls = Arc::downgrade(tls);
        supervision::spawn(panics, "looking for a new certificate", move || Tls::watch(tls.clone()))
    }));
    tasks
}

/// Lets connections to the database go that are not needed any more.
async fn shed(upstream: Arc<dyn Upstream>) {
    loop {
        tokio::time::sleep(SHED_EVERY).await;
        upstream.shed();
    }
}

impl Server {
    /// Opens the database, binds the address and serves.
    ///
    /// # Errors
    /// When the database cannot be used, the address cannot be bound or is open to others without TLS, or the
    /// certificate cannot be served with.
    pub async fn start(config: ServerConfig) -> anyhow::Result<RunningServer> {
        warn_of_few_connections(&config);
        let listener = TcpListener::bind(&config.listen).await.map_err(|error| cannot_listen(&config.listen, error))?;
        check_plain(&config, listener.local_addr()?, Listener::Stations)?;
        // Before the database, which may be waited for.
        if let Some(files) = &config.tls {
            tls::examine(files, config.pin, SystemClock.now_ms())?;
        }
        let upstream = open_upstream(&config).await?;
        Self::serve(listener, upstream, &config, Arc::new(SystemClock))
    }

    /// Serves an upstream that is open already, on an address that is bound already.
    ///
    /// # Errors
    /// When the address is not one, is open to others without TLS, or the certificate cannot be served with.
    pub fn serve(
        listener: TcpListener,
        upstream: Arc<dyn Upstream>,
        config: &ServerConfig,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<RunningServer> {
        let addr = listener.local_addr()?;
        check_plain(config, addr, Listener::Stations)?;
        tracing::info!("upstream: {}", upstream.describe());
        let (keep, reports_every) = (Live::from(config.keep), Live::from(config.reports_every));
        let ingest = Ingest::new(
            Arc::clone(&upstream),
            Arc::clone(&config.schema),
            config.window,
            config.limits,
            Arc::clone(&clock),
        )
        .with_chunks_max(config.chunks_max);
        let (metrics, panics) = (Arc::clone(ingest.metrics()), Arc::clone(ingest.panics()));
        let tls = config.tls.clone().map(|files| Tls::open(files, config.pin, &metrics)).transpose()?;
        let ingest = Arc::new(ingest);
        let endpoint = Endpoint::new(Arc::clone(&ingest), config.http)
            .with_proxies(config.proxies.clone())
            .with_origins(config.origins.clone())
            .with_metrics(config.metrics.clone())
            .with_pin(config.pin)
            .with_site(Arc::clone(&config.site));
        let endpoint = Arc::new(endpoint);
        let scraped = config.metrics.listen.as_deref();
        let scraped = scraped.map(|listen| scraped_at(listen, config, &endpoint, tls.as_ref())).transpose()?;
        let metrics_addr = scraped.as_ref().map(|(addr, _)| *addr);
        let mut tasks = beside(&endpoint, &ingest, tls.as_ref());
        tasks.push(fleet::thinning::start(&upstream, &clock, &panics));
        tasks.push(upkeep::start(&upstream, &clock, keep.clone(), &panics));
        tasks.extend(reports::refresh::start(&upstream, reports_every.clone(), &metrics, &panics));
        tasks.extend(scraped.map(|(_, scraped)| scraped));
        let writer = Writer::start(endpoint.fleet(), &upstream, &panics);
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(serve(listener, Arc::clone(&endpoint), tls.clone(), stopped));
        Ok(RunningServer {
            addr,
            metrics_addr,
            tls,
            upstream,
            stop,
            accepting,
            writer,
            metrics,
            tasks,
            endpoint,
            keep,
            reports_every,
        })
    }
}

impl RunningServer {
    /// The address it listens on.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the listener for metrics, if there is one.
    #[must_use]
    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// What it counts and measures.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// This program's own faults, caught and counted.
    #[must_use]
    pub fn panics(&self) -> &Arc<Panics> {
        self.endpoint.panics()
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// The certificate it shows: [`Tls::reload`] takes another one without dropping a connection. `None` for plain
    /// HTTP.
    #[must_use]
    pub const fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// Goes on with another configuration, as far as it may change. Connections and requests go on, too.
    pub fn apply(&self, config: LiveConfig) {
        self.endpoint.set_limits(config.http);
        self.endpoint.set_origins(config.origins);
        self.endpoint.set_metrics_token(config.metrics_token_hash);
        self.keep.set(config.keep);
        self.reports_every.set(config.reports_every);
    }

    /// What tells whether it lives.
    #[must_use]
    pub fn life(&self) -> Life {
        Life { accepting: self.accepting.abort_handle() }
    }

    /// Is not ready any more, takes no more connections once the grace time is over, waits for the running requests,
    /// and leaves the database in order.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.accepting).await;
        self.writer.finish(LAST_WRITE).await;
        self.upstream.put_in_order().await;
    }
}

/// What tells whether a server lives, to whoever need not hold it.
#[derive(Debug, Clone)]
pub struct Life {
    accepting: AbortHandle,
}

impl Life {
    /// Whether somebody takes connections in, and the threads that compute and wait for files take work: waits for
    /// that. The database is not asked: a server without it lives, and says so to its stations.
    pub async fn is_there(&self) -> bool {
        !self.accepting.is_finished() && tokio::task::spawn_blocking(|| ()).await.is_ok()
    }
}

impl fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.writer.abort();
        for task in &self.tasks {
            task.abort();
        }
    }
}
