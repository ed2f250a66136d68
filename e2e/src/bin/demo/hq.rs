//! Headquarters: the server of the demo, in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tidemark_core::digest::RowDigest;
use tidemark_core::ids::StationNumber;
use tidemark_core::joincode::JoinCode;
use tidemark_core::schema::Schema;
use tidemark_server::clock::{Clock as _, SystemClock, random_bytes};
use tidemark_server::server::open_upstream;
use tidemark_server::stations::{NewStation, secret_hash};
use tidemark_server::survey::Survey;
use tidemark_server::upstream::Upstream;
use tidemark_server::{DatabaseUrl, RunningServer, Server as Endpoint, ServerConfig};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// How long an invitation of the demo holds.
const CODE_MS: i64 = 3_600_000;

/// The place of the server, before it serves.
pub struct Headquarters {
    runtime: Runtime,
    config: ServerConfig,
}

/// The running server and its database.
pub struct Server {
    runtime: Runtime,
    running: Option<RunningServer>,
    upstream: Arc<dyn Upstream>,
    schema: Arc<Schema>,
}

impl Headquarters {
    /// Checks the database's URL; without one it is an embedded database in `folder`.
    pub fn open(database: Option<&str>, folder: &Path) -> Result<Self> {
        let database = match database {
            Some(url) => url.parse::<DatabaseUrl>()?,
            None => DatabaseUrl::Sqlite(folder.join("upstream.db")),
        };
        let mut config = ServerConfig::new(database);
        // Several batches per station, so that there is a middle in which the network can break.
        config.limits.rows_max = 2_000;
        Ok(Self { runtime: tokio::runtime::Builder::new_multi_thread().enable_all().build()?, config })
    }

    /// Migrates the database and serves on a free port.
    pub fn serve(self) -> Result<Server> {
        let Self { runtime, config } = self;
        let (running, upstream) = runtime.block_on(async {
            if let DatabaseUrl::Postgres(postgres) = &config.database {
                let mut client = tidemark_server::stores::postgres::connect(postgres).await?;
                tidemark_migrations::postgres::up(&mut client, &config.schema, &mut |line| println!("   {line}"))
                    .await?;
            }
            let upstream = open_upstream(&config).await?;
            let listener = TcpListener::bind(&config.listen).await?;
            let running = Endpoint::serve(listener, Arc::clone(&upstream), &config, Arc::new(SystemClock))?;
            anyhow::Ok((running, upstream))
        })?;
        Ok(Server { runtime, running: Some(running), upstream, schema: config.schema })
    }
}

impl Server {
    /// What kind of database it applies to.
    pub fn describe(&self) -> String {
        self.upstream.describe()
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.running.as_ref().context("the server has stopped")?.addr())
    }

    /// Invites a station that will reach this server at `url`; returns its join code.
    pub fn invite(&self, name: &str, url: &str) -> Result<String> {
        let secret = random_bytes::<32>()?;
        let now_ms = SystemClock.now_ms();
        let station = NewStation {
            name: name.to_owned(),
            code_hash: secret_hash(&secret),
            code_expires_at_ms: now_ms + CODE_MS,
            now_ms,
        };
        if !self.runtime.block_on(self.upstream.add_station(&station))? {
            bail!("there is a station {name} already");
        }
        Ok(JoinCode { url: url.to_owned(), secret, pin: None }.encode())
    }

    /// The digest of a station's rows upstream, one per table in the schema's order.
    pub fn digests(&self, station: StationNumber) -> Result<Vec<RowDigest>> {
        let survey = Survey::whole(Arc::clone(&self.schema));
        let (_, survey) = self.runtime.block_on(self.upstream.survey(station, survey))?;
        Ok(survey.digests())
    }

    /// How far a station's log is applied, and how many of its changes were rejected.
    pub fn standing(&self, name: &str) -> Result<(u64, u64)> {
        let stations = self.runtime.block_on(self.upstream.stations())?;
        let station = stations.into_iter().find(|station| station.record.name == name);
        let station = station.with_context(|| format!("the server does not know {name}"))?;
        Ok((station.tidemark, station.rejects))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shutdown());
        }
    }
}
