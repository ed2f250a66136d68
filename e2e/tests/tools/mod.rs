//! The server's tools, on every kind of database: looked at, tidied, copied while stations push, put back.

mod backups;
mod look;
mod optimize;
mod restore;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;
use tidemark_e2e::compare::assert_log_drained;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, OWNER, PASSWORD, PgClient, PostgresCluster};
use tidemark_e2e::process::Ended;
use tidemark_e2e::world::Dice;

/// One kind of upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedded,
    Plain,
    Timescale,
}

/// A deployment on one kind of upstream; in PostgreSQL, on a database of its own.
struct World {
    kind: Kind,
    cluster: Option<PostgresCluster>,
    field: Field,
    dice: Dice,
}

impl World {
    fn new(kind: Kind) -> Result<Self> {
        let cluster = match kind {
            Kind::Embedded => None,
            Kind::Plain => Some(PostgresCluster::start(Flavour::Plain)?),
            Kind::Timescale => Some(PostgresCluster::start(Flavour::Timescale)?),
        };
        let database = cluster.as_ref().map(|cluster| cluster.create_database("harbour_db")).transpose()?;
        let mut field = Field::shrinkage(database)?;
        if let Some(bin) = std::env::var_os("TIDEMARK_PG_BIN") {
            field.set_env("TIDEMARK_PG_BIN", &bin.to_string_lossy());
        }
        field.migrate()?;
        Ok(Self { kind, cluster, field, dice: Dice::from_env() })
    }

    /// The same with the role's right to make databases.
    fn with_createdb(kind: Kind) -> Result<Self> {
        let world = Self::new(kind)?;
        if let Some(cluster) = &world.cluster {
            cluster.admin("postgres")?.execute(&format!("ALTER ROLE {OWNER} CREATEDB"), &[])?;
        }
        Ok(world)
    }

    /// A server's command; the password is in nothing it prints.
    fn tool(&self, args: &[&str]) -> Result<Ended> {
        let ended = self.field.server_command(args)?;
        for piece in [PASSWORD, "Ebb", "Flow"] {
            ensure!(!ended.output().contains(piece), "{args:?} shows the password: {}", ended.output());
        }
        Ok(ended)
    }

    fn does(&self, args: &[&str]) -> Result<String> {
        let ended = self.tool(args)?.success()?;
        println!("$ tidemark-server {}\n{}", args.join(" "), ended.stdout.trim_end());
        Ok(ended.stdout)
    }

    fn info(&self) -> Result<Json> {
        Ok(serde_json::from_str(&self.tool(&["info", "--json"])?.success()?.stdout)?)
    }

    /// An empty database beside, by its URL.
    fn another(&self, name: &str) -> Result<String> {
        match &self.cluster {
            Some(cluster) => cluster.create_database(name),
            None => Ok(format!("sqlite:///{}", self.field.folder().join(format!("{name}.db")).display())),
        }
    }

    /// Another database in the place of this one.
    fn turn_to(&mut self, database: String) -> String {
        std::mem::replace(&mut self.field.database, database)
    }

    const fn prefix(&self) -> &'static str {
        if matches!(self.kind, Kind::Embedded) { "" } else { "shrinkage." }
    }

    /// How many rows a FROM clause has upstream.
    fn upstream_has(&self, from: &str) -> Result<i64> {
        let sql = format!("SELECT count(*) FROM {}{from}", self.prefix());
        match self.kind {
            Kind::Embedded => {
                Ok(rusqlite::Connection::open(self.file("upstream.db"))?.query_row(&sql, [], |row| row.get(0))?)
            }
            _ => PgClient::connect_url(&self.field.database)?.value(&sql),
        }
    }

    /// Changes something upstream by hand.
    fn upstream_does(&self, sql: &str) -> Result<()> {
        match self.kind {
            Kind::Embedded => Ok(rusqlite::Connection::open(self.file("upstream.db"))?.execute_batch(sql)?),
            _ => PgClient::connect_url(&self.field.database)?.batch(sql),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.field.folder().join(name)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of a test is text")
}

fn rows_of(info: &Json, table: &str) -> Option<u64> {
    let tables = info["tables"].as_array()?.iter().chain(info["own_tables"].as_array()?);
    tables.clone().find(|it| it["name"] == table)?["rows"].as_u64()
}

/// Rows of its own that a station writes, so that something is there to push.
fn add(station: &Station, name: &str, count: u32) -> Result<()> {
    let file = station.open()?;
    for n in 0..count {
        file.execute("INSERT INTO models (name, model_type) VALUES (?1, 'linear')", [format!("{name} {n}")])?;
        file.execute(
            "INSERT INTO coefficients (model_id, coefficient_a, calculation_date) VALUES (?1, 0.5, ?2)",
            (file.last_insert_rowid(), format!("2025-{:02}-{:02} 10:00:00", n % 12 + 1, n % 28 + 1)),
        )?;
    }
    Ok(())
}

fn push(station: &Station) -> Result<()> {
    station.run(&["push"])?.success()?;
    assert_log_drained(&station.file)?;
    Ok(())
}
