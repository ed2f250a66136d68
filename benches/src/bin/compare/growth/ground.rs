//! A station, its server and its database, on which pushes are timed.

use anyhow::Result;
use rusqlite::Connection;
use tidemark_benches::{median, push};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::process::ServerProcess;

use crate::copying::emptied;

/// The changes that are pushed in all rounds together, at least: a small push alone tells little.
const CHANGES: u64 = 300_000;
/// The most rounds that this takes.
const ROUNDS_MAX: usize = 30;

/// A deployment with one station.
pub struct Ground {
    server: ServerProcess,
    station: Station,
    field: Field,
    /// The station's file, as any program opens it.
    pub db: Connection,
    /// A superuser's connection to the database.
    pub client: PgClient,
    // Last, so that it outlives the server.
    _cluster: PostgresCluster,
}

impl Ground {
    /// A new one, with this schema.
    ///
    /// # Errors
    /// When PostgreSQL is missing, or a program fails.
    pub fn new(schema: &str) -> Result<Self> {
        let cluster = PostgresCluster::start(Flavour::Timescale)?;
        let field = Field::new(schema, Some(cluster.create_database("growth")?))?;
        field.migrate()?;
        let server = field.serve()?;
        let station = field.join_station("bench", &server.url())?;
        let (db, client) = (station.open()?, cluster.admin("growth")?);
        Ok(Self { server, station, field, db, client, _cluster: cluster })
    }

    /// Pushes what is pending; the seconds it took.
    ///
    /// # Errors
    /// When the push fails.
    pub fn push(&self) -> Result<f64> {
        Ok(push(&self.station, &self.server)?.seconds)
    }

    /// No row of `reading` is left, and its chunks are gone.
    ///
    /// # Errors
    /// When a side refuses.
    pub fn begin_anew(&self) -> Result<()> {
        emptied(&self.client)?;
        self.db.execute_batch("DELETE FROM reading")?;
        self.push().map(|_| ())
    }

    /// What one of so many changes costs, microseconds: in each round a push of one and one of all of them, whose
    /// difference it is. `before` prepares a round, `write` writes so many changes.
    ///
    /// # Errors
    /// When a push fails.
    pub fn cost(
        &mut self,
        rounds: usize,
        changes: u64,
        before: impl Fn(&mut Self) -> Result<()>,
        write: impl Fn(&mut Connection, u64) -> Result<()>,
    ) -> Result<f64> {
        let mut costs = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            before(self)?;
            write(&mut self.db, 1)?;
            self.client.batch("CHECKPOINT")?;
            let one = self.push()?;
            write(&mut self.db, changes)?;
            self.client.batch("CHECKPOINT")?;
            costs.push((self.push()? - one) / (changes - 1) as f64 * 1e6);
        }
        Ok(median(&mut costs))
    }

    /// Compares both sides cell by cell.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self) -> Result<()> {
        self.field.assert_upstream_equals(&[&self.station]).map(|_| ())
    }
}

/// The rounds of pushes of so many changes.
pub fn rounds(least: usize, changes: u64) -> usize {
    usize::try_from(CHANGES / changes).unwrap_or(ROUNDS_MAX).min(ROUNDS_MAX).max(least)
}
