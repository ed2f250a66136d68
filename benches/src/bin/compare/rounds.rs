//! Readings into one hypertable: inserts, then an edit of each, ours and everybody else's within each round.

use anyhow::{Context as _, Result, ensure};
use tidemark_benches::{narrow_schema, push, write_readings};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};

use crate::checksum::{COLUMNS, Content, of_table};
use crate::contenders::{
    ASYNCPG, ASYNCPG_UPSERT, BULK, COPY, COUCH, Contender, INFLUX, ORM, OURS, OURS_UPSERT, PSQL, PSQL_UPSERT,
    REPLICATION, ZERO,
};
use crate::copying::{copy, emptied, psql};
use crate::drivers::Said;
use crate::options::Options;
use crate::replication::Replicated;
use crate::standings::{Measured, Standings};

/// One database after our push: what everybody else is compared with.
pub struct Reference {
    /// A superuser's connection to it.
    pub client: PgClient,
    url: String,
    /// All rows, as COPY's binary file on the server.
    pub binary: String,
    /// The same as CSV.
    csv: String,
}

/// Measures the parts `inserts` and `upserts`.
///
/// # Errors
/// When ours fails or its rows differ; when PostgreSQL cannot be had.
pub fn run(options: &Options, standings: &mut Standings) -> Result<()> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let mut replicated = None;
    println!("{} rows of 7 columns into a hypertable, {} rounds", options.rows, options.rounds);
    for round in 1..=options.rounds {
        println!("round {round}:");
        if options.peers.is_some() && options.wants("inserts") && replicated.is_none() {
            replicated = Some(Replicated::start()?);
        }
        self::round(options, &cluster, replicated.as_ref(), round, standings)?;
    }
    Ok(())
}

fn round(
    options: &Options,
    cluster: &PostgresCluster,
    replicated: Option<&Replicated>,
    round: usize,
    standings: &mut Standings,
) -> Result<()> {
    let (rows, database) = (options.rows, format!("round{round}"));
    let field = Field::new(narrow_schema().source(), Some(cluster.create_database(&database)?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("bench", &server.url())?;
    let client = cluster.admin(&database)?;
    client.batch("SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'")?;
    write_readings(&mut station.open()?, rows)?;

    client.batch("CHECKPOINT")?;
    let pushed = Measured::of_push(rows, push(&station, &server)?);
    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == rows, "upstream has {} of {rows} rows", seen.rows);
    let reference = Reference { url: field.database.clone(), ..exported(client, cluster, "inserted")? };
    if options.wants("inserts") {
        standings.note_ours(OURS, pushed)?;
        inserts(options, &reference, replicated, round, standings)?;
    }
    if options.wants("upserts") {
        // As upstream was after the first push.
        emptied(&reference.client)?;
        copy(&reference.client, &reference.binary, rows)?;
        station.open()?.execute("UPDATE reading SET temperature = temperature + 1", [])?;
        reference.client.batch("CHECKPOINT")?;
        let pushed = Measured::of_push(rows, push(&station, &server)?);
        field.assert_upstream_equals(&[&station])?;
        standings.note_ours(OURS_UPSERT, pushed)?;
        upserts(options, reference, cluster, &database, standings)?;
    }
    Ok(())
}

/// Writes the table to files that the others read.
///
/// # Errors
/// The database's.
pub fn exported(client: PgClient, cluster: &PostgresCluster, name: &str) -> Result<Reference> {
    let path = |extension: &str| cluster.folder().join(format!("{name}.{extension}")).to_string_lossy().into_owned();
    let (binary, csv) = (path("copy"), path("csv"));
    client.batch(&format!("COPY (SELECT * FROM bench.reading ORDER BY id) TO '{binary}' (FORMAT binary)"))?;
    client.batch(&format!("COPY (SELECT {COLUMNS} FROM bench.reading ORDER BY id) TO '{csv}' (FORMAT csv, HEADER)"))?;
    Ok(Reference { client, url: String::new(), binary, csv })
}

fn inserts(
    options: &Options,
    reference: &Reference,
    replicated: Option<&Replicated>,
    round: usize,
    standings: &mut Standings,
) -> Result<()> {
    let Reference { client, url, binary, csv } = reference;
    let rows = options.rows;
    // Before the table is emptied for the others: what the first rows are, for those that are given fewer.
    let limits = [OURS, INFLUX, BULK, ORM, COUCH, ZERO].map(|contender| contender.rows_max);
    let contents = limits.map(|limit| of_table(client, limit.min(rows)).map(|content| (limit, content)));
    let contents = contents.into_iter().collect::<Result<Vec<_>>>()?;
    let expected = |contender: Contender| -> Result<Content> {
        let found = contents.iter().find(|(limit, _)| *limit == contender.rows_max);
        Ok(found.context("BUG: every limit has its content")?.1.clone())
    };

    let folder = tempfile::tempdir()?;
    into_table(standings, client, COPY, &expected(COPY)?, || copy(client, binary, rows))?;
    into_table(standings, client, PSQL, &expected(PSQL)?, || psql(url, folder.path(), csv, rows))?;
    let Some(peers) = &options.peers else { return Ok(()) };
    for (contender, way) in [(ASYNCPG, "asyncpg-copy"), (BULK, "sqlalchemy-bulk"), (ORM, "sqlalchemy-orm")] {
        let run = || Ok(peers.python(way, url, csv, contender.rows_max.min(rows))?.measured);
        into_table(standings, client, contender, &expected(contender)?, run)?;
    }
    if let Some(replicated) = replicated {
        standings.note(REPLICATION, replicated.run(round, csv, &expected(REPLICATION)?));
        let zero = || {
            let (url, client) = replicated.for_zero(round)?;
            let limit = ZERO.rows_max.min(rows);
            let said = peers.node("zero.mjs", &[&peers.path("node")?, &url], csv, limit)?;
            let found = of_table(&client, u64::MAX)?;
            ensure!(found == expected(ZERO)?, "its table has {found:?}, not {:?}", expected(ZERO)?);
            Ok(said.measured)
        };
        standings.note(ZERO, zero());
    }
    let influx = || {
        let program = peers.path("influxdb/usr/bin/influxd")?;
        read_back(peers.node("influx.mjs", &[&program], csv, INFLUX.rows_max.min(rows))?, &expected(INFLUX)?)
    };
    standings.note(INFLUX, influx());
    let couch = || {
        let packages = peers.path("node")?;
        read_back(peers.node("couch.mjs", &[&packages], csv, COUCH.rows_max.min(rows))?, &expected(COUCH)?)
    };
    standings.note(COUCH, couch());
    Ok(())
}

fn upserts(
    options: &Options,
    before: Reference,
    cluster: &PostgresCluster,
    database: &str,
    standings: &mut Standings,
) -> Result<()> {
    let rows = options.rows;
    let expected = of_table(&before.client, u64::MAX)?;
    let edited = exported(before.client, cluster, "edited")?;
    let client = edited.client;
    let folder = tempfile::tempdir()?;
    let as_before = || -> Result<()> {
        emptied(&client)?;
        copy(&client, &before.binary, rows)?;
        client.batch("CHECKPOINT")
    };
    as_before()?;
    let outcome = psql(&before.url, folder.path(), &edited.csv, rows);
    standings.note(PSQL_UPSERT, equal(&client, &expected, outcome));
    let Some(peers) = &options.peers else { return Ok(()) };
    as_before().with_context(|| format!("database {database}"))?;
    let outcome = peers.python("asyncpg-upsert", &before.url, &edited.csv, rows).map(|said| said.measured);
    standings.note(ASYNCPG_UPSERT, equal(&client, &expected, outcome));
    Ok(())
}

/// Notes a peer that writes into the empty table, and whether the rows in it are then the right ones.
///
/// # Errors
/// When the table cannot be emptied.
pub fn into_table(
    standings: &mut Standings,
    client: &PgClient,
    contender: Contender,
    expected: &Content,
    run: impl FnOnce() -> Result<Measured>,
) -> Result<()> {
    emptied(client)?;
    standings.note(contender, equal(client, expected, run()));
    Ok(())
}

fn equal(client: &PgClient, expected: &Content, outcome: Result<Measured>) -> Result<Measured> {
    let measured = outcome?;
    let found = of_table(client, u64::MAX)?;
    ensure!(found == *expected, "the table has {found:?}, not {expected:?}");
    Ok(measured)
}

/// Checks what a peer with a store of its own read back from it.
fn read_back(said: Said, expected: &Content) -> Result<Measured> {
    ensure!(said.content.as_ref() == Some(expected), "it has {:?}, not {expected:?}", said.content);
    Ok(said.measured)
}
