//! PostgreSQL's logical replication of the same rows from one cluster to another; and the cluster that Zero needs, too:
//! one with `wal_level = logical`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster, TESTER, TESTER_PASSWORD};

use crate::checksum::{COLUMNS, Content, of_table};
use crate::standings::Measured;

/// The rows to a transaction at the publisher: as many as the station's own writer commits at once.
const COMMIT: u64 = 50_000;

/// A publisher and a subscriber, made when they are first needed.
#[derive(Debug)]
pub struct Replicated {
    publisher: PostgresCluster,
    subscriber: PostgresCluster,
}

impl Replicated {
    /// Starts both.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub fn start() -> Result<Self> {
        let mut publisher = PostgresCluster::start(Flavour::Plain)?;
        let admin = publisher.admin("postgres")?;
        admin.batch("ALTER SYSTEM SET wal_level = 'logical'")?;
        // As PostgreSQL has it by itself, and not as the tests' clusters do: Zero reads times as text.
        admin.batch("ALTER SYSTEM SET datestyle = 'ISO, MDY'")?;
        admin.batch("ALTER SYSTEM SET timezone = 'UTC'")?;
        publisher.kill_hard()?;
        publisher.restart()?;
        Ok(Self { publisher, subscriber: PostgresCluster::start(Flavour::Plain)? })
    }

    /// Replicates the rows of a CSV file: the publisher has them all, and the subscription starts.
    ///
    /// # Errors
    /// PostgreSQL's; when it does not end, or the rows differ.
    pub fn run(&self, round: usize, csv: &str, expected: &Content) -> Result<Measured> {
        let database = format!("round{round}");
        let (from, to) =
            (database_with_table(&self.publisher, &database)?, database_with_table(&self.subscriber, &database)?);
        from.batch("CREATE PUBLICATION readings FOR TABLE bench.reading")?;
        to.batch(&format!(
            "CREATE SUBSCRIPTION readings_{round} CONNECTION 'host=127.0.0.1 port={} dbname={database} user={TESTER} \
             password={TESTER_PASSWORD}' PUBLICATION readings WITH (copy_data = false, enabled = false)",
            self.publisher.port()
        ))?;
        // They come into the log as a station writes them.
        from.batch(&format!(
            "CREATE TABLE source (LIKE bench.reading); COPY source ({COLUMNS}) FROM '{csv}' (FORMAT csv, HEADER)"
        ))?;
        let first: i64 = from.value("SELECT min(id) FROM source")?;
        for at in (0..expected.rows).step_by(COMMIT as usize) {
            let (low, high) = (first + at as i64, first + (at + COMMIT) as i64);
            from.batch(&format!("INSERT INTO bench.reading SELECT * FROM source WHERE id >= {low} AND id < {high}"))?;
        }
        from.batch("CHECKPOINT")?;
        let upto: String = from.value("SELECT pg_current_wal_lsn()::text")?;
        let done = format!(
            "SELECT coalesce((SELECT confirmed_flush_lsn >= '{upto}' FROM pg_replication_slots \
             WHERE slot_name = 'readings_{round}'), false)"
        );
        let begin = Instant::now();
        to.batch(&format!("ALTER SUBSCRIPTION readings_{round} ENABLE"))?;
        while !from.value::<bool>(&done)? {
            ensure!(begin.elapsed() < Duration::from_secs(600), "not done within 600 s");
            std::thread::sleep(Duration::from_millis(2));
        }
        let seconds = begin.elapsed().as_secs_f64();
        let content = of_table(&to, u64::MAX)?;
        to.batch(&format!("DROP SUBSCRIPTION readings_{round}"))?;
        ensure!(content == *expected, "the subscriber has {content:?}, not {expected:?}");
        Ok(Measured::new(expected.rows, seconds))
    }

    /// A new database with an empty table for Zero, and its URL; a slot that a round of before left is dropped.
    ///
    /// # Errors
    /// PostgreSQL's.
    pub fn for_zero(&self, round: usize) -> Result<(String, PgClient)> {
        let database = format!("zero{round}");
        let client = database_with_table(&self.publisher, &database)?;
        client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active", &[])?;
        // Zero names a row by its key alone.
        client.batch("ALTER TABLE bench.reading DROP CONSTRAINT reading_pkey, ADD PRIMARY KEY (id)")?;
        let url = format!("postgresql://{TESTER}:{TESTER_PASSWORD}@127.0.0.1:{}/{database}", self.publisher.port());
        Ok((url, client))
    }
}

/// The same columns and key as upstream, in a plain table: replication knows no hypertables.
fn database_with_table(cluster: &PostgresCluster, database: &str) -> Result<PgClient> {
    cluster.create_database(database)?;
    let client = cluster.admin(database)?;
    client.batch(
        "CREATE SCHEMA bench; CREATE TABLE bench.reading (id bigint NOT NULL, station integer NOT NULL, site_id bigint, \
         measured_at timestamptz NOT NULL, temperature double precision, humidity double precision, \
         pressure double precision, note text, PRIMARY KEY (id, measured_at))",
    )?;
    Ok(client)
}
