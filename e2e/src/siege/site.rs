//! What is besieged: a PostgreSQL cluster, a real server process before it, and stations that have joined by codes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use futures_util::stream::{StreamExt as _, iter};
use tidemark_core::protocol::{JoinReply, JoinRequest, path};
use tidemark_core::schema::Schema;
use tidemark_core::value::{format_uuid, hex};
use tidemark_server::config::ServerConfig;
use tidemark_server::server::open_upstream;
use tidemark_server::stations::{NewStation, secret_hash};
use tidemark_testkit::certificates::Authority;

use super::door::Door;
use super::http::Client;
use super::log::{Log, SCHEMA, Table};
use crate::field::Field;
use crate::postgres::{Flavour, PgClient, PostgresCluster};
use crate::process::ServerProcess;
use crate::world::{Dice, unix_ms};

/// The address that stations have.
pub const STATIONS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// How many stations join at once.
const JOINS_AT_ONCE: usize = 8;
/// How long one may take to.
const JOIN_LIMIT: Duration = Duration::from_secs(60);
/// The size of the page that the server has under `/notebook/`, as large as the real one's largest file.
const PAGE_BYTES: usize = 1 << 20;
/// How long a code holds.
const CODE_MS: i64 = 3_600_000;

/// A station that has joined.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its number.
    pub number: u32,
    /// The uuid of its file.
    pub uuid: [u8; 16],
    /// Its token, as it stands in a header.
    pub token: String,
}

/// A station that has a code.
#[derive(Clone)]
pub struct Invited {
    /// The uuid that its file will have.
    pub uuid: [u8; 16],
    /// The secret of its code.
    pub secret: [u8; 32],
    /// The token that it will use.
    pub token: [u8; 32],
}

/// Database, server and schema.
#[derive(Debug)]
pub struct Site {
    server: ServerProcess,
    door: Door,
    field: Field,
    schema: Arc<Schema>,
    // Last, so that it outlives the server.
    _cluster: PostgresCluster,
}

impl Site {
    /// Starts a cluster, migrates a database and serves it with these further arguments, over TLS or not.
    ///
    /// # Errors
    /// When PostgreSQL is missing or the server does not start.
    pub fn start(flavour: Flavour, serve_args: &[String], over_tls: bool) -> Result<Self> {
        let cluster = PostgresCluster::start(flavour)?;
        let mut field = Field::new(SCHEMA, Some(cluster.create_database("siege")?))?;
        let web = field.folder().join("web");
        std::fs::create_dir(&web)?;
        std::fs::write(web.join("index.html"), "<p>".repeat(PAGE_BYTES / 3))?;
        field.serve_args.extend(["--web", "web"].map(str::to_owned));
        field.serve_args.extend_from_slice(serve_args);
        field.migrate()?;
        let authority = over_tls.then(|| certified(&mut field)).transpose()?;
        let server = field.serve()?;
        let door = match &authority {
            Some(authority) => Door::over_tls(server.address, authority)?,
            None => server.address.into(),
        };
        let schema = Arc::new(Schema::parse(SCHEMA)?);
        Ok(Self { server, door, field, schema, _cluster: cluster })
    }

    /// The way to the server.
    #[must_use]
    pub const fn door(&self) -> &Door {
        &self.door
    }

    /// The schema that is served.
    #[must_use]
    pub const fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The URL of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.field.database
    }

    /// The server's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.process.pid()
    }

    /// All that the server has printed.
    #[must_use]
    pub fn output(&self) -> String {
        self.server.process.output_so_far()
    }

    /// Registers stations in the database, as `station add` does.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn invite(&self, prefix: &str, count: usize) -> Result<Vec<Invited>> {
        let mut config = ServerConfig::new(self.database().parse()?);
        config.schema = Arc::clone(&self.schema);
        config.pool_max = 1;
        let upstream = open_upstream(&config).await?;
        let mut dice = Dice::new(unix_ms() as u64);
        let mut invited = Vec::with_capacity(count);
        for n in 0..count {
            let mut drawn = || -> [u8; 32] {
                let words: Vec<u8> = (0..4).flat_map(|_| dice.next().to_le_bytes()).collect();
                words.try_into().expect("BUG: four words are 32 bytes")
            };
            let mut it = Invited { uuid: [0; 16], secret: drawn(), token: drawn() };
            it.uuid.copy_from_slice(&drawn()[..16]);
            let now_ms = unix_ms();
            let station = NewStation {
                name: format!("{prefix}-{n}"),
                code_hash: secret_hash(&it.secret),
                code_expires_at_ms: now_ms + CODE_MS,
                now_ms,
            };
            ensure!(upstream.add_station(&station).await?, "there is a station {:?} already", station.name);
            invited.push(it);
        }
        Ok(invited)
    }

    /// Registers stations, and joins each through the server.
    ///
    /// # Errors
    /// When the database or the server refuses.
    pub async fn join(&self, prefix: &str, count: usize) -> Result<Vec<Member>> {
        let invited = self.invite(prefix, count).await?;
        let joins = invited.into_iter().map(|it| self.join_one(it));
        iter(joins).buffered(JOINS_AT_ONCE).try_collect().await
    }

    async fn join_one(&self, invited: Invited) -> Result<Member> {
        let Invited { uuid, secret, token } = invited;
        let request = JoinRequest {
            secret: hex(&secret),
            station_uuid: format_uuid(uuid),
            token: hex(&token),
            fingerprint: self.schema.fingerprint().to_hex(),
            station: None,
            former_uuid: None,
        };
        let mut client = Client::new(self.door.clone(), STATIONS);
        let answer = client.ask("POST", path::JOIN, None, &serde_json::to_vec(&request)?, JOIN_LIMIT).await?;
        ensure!(answer.status == 200, "a station cannot join: {}", answer.shown());
        let joined: JoinReply = answer.json()?;
        Ok(Member { number: joined.station.get(), uuid, token: hex(&token) })
    }

    /// Counts what is upstream: rows and different ids of each station in a table.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub fn count(&self, table: Table) -> Result<BTreeMap<u32, Rows>> {
        let sql = format!(
            "SELECT station::bigint, count(*), count(DISTINCT id), min(id), max(id) FROM siege.{} GROUP BY station",
            table.name()
        );
        let rows = PgClient::connect_url(self.database())?.query(&sql, &[])?;
        let rows = rows.iter().map(|row| {
            let number = u32::try_from(row.try_get::<_, i64>(0)?)?;
            let at = |column| row.try_get::<_, i64>(column);
            Ok((number, Rows { rows: at(1)?, ids: at(2)?, first: at(3)?, last: at(4)? }))
        });
        rows.collect()
    }

    /// Compares what stations were told with what is upstream, each row once; returns how many rows there are. Rows of
    /// a station without a log are nobody's.
    ///
    /// # Errors
    /// Names each station that differs.
    pub fn check<'l>(&self, logs: impl Iterator<Item = &'l Log>) -> Result<u64> {
        let (mut reading, mut remark) = (self.count(Table::Reading)?, self.count(Table::Remark)?);
        let (mut total, mut wrong) = (0, Vec::new());
        for log in logs {
            let upstream = if log.table() == Table::Reading { &mut reading } else { &mut remark };
            let (number, acked) = (log.number(), i64::try_from(log.acked())?);
            let there = upstream.remove(&number).unwrap_or_default();
            let base = i64::from(number) << 32;
            let last = if acked == 0 { 0 } else { base + acked };
            if (there.rows, there.ids, there.last) != (acked, acked, last) || (acked > 0 && there.first != base + 1) {
                wrong.push(format!(
                    "station {number}: {acked} rows of {} were acknowledged, {there:?}",
                    log.table().name()
                ));
            }
            total += log.acked();
        }
        for (table, left) in [(Table::Reading, reading), (Table::Remark, remark)] {
            wrong.extend(left.iter().map(|(number, there)| {
                format!("station {number}: none of its rows of {} was acknowledged, {there:?}", table.name())
            }));
        }
        ensure!(wrong.is_empty(), "lost, doubled or nobody's:\n{}", wrong.join("\n"));
        Ok(total)
    }

    /// Ends the server as an operator would.
    ///
    /// # Errors
    /// When it does not end by itself, or with another code than 0.
    pub fn end(self) -> Result<()> {
        self.server.process.terminate()?.success().map(|_| ()).context("the server does not end well")
    }
}

/// Gives the server a certificate; the authority of it.
fn certified(field: &mut Field) -> Result<Authority> {
    let authority = Authority::new("the siege's")?;
    authority.server(&[&STATIONS.to_string()])?.write(field.folder(), "server")?;
    field.serve_args.extend(["--tls-cert", "server.crt", "--tls-key", "server.key"].map(str::to_owned));
    Ok(authority)
}

/// What is upstream of one station.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// How many rows.
    pub rows: i64,
    /// How many different ids.
    pub ids: i64,
    /// The smallest.
    pub first: i64,
    /// The largest.
    pub last: i64,
}
