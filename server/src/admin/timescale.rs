//! TimescaleDB as a database has it: version, licence, hypertables with their dimensions and chunks.

use serde::Serialize;
use tidemark_migrations::postgres::Timescale;
use tokio_postgres::Client;

use super::failed;

/// The way to TimescaleDB for a database that has none.
#[must_use]
pub fn how_to_get(state: &Timescale) -> String {
    const LOAD: &str = "put shared_preload_libraries = 'timescaledb' into postgresql.conf, restart PostgreSQL, then `tidemark-server optimize`";
    match state {
        Timescale::Created(version) => format!("TimescaleDB {version} is there"),
        Timescale::Creatable { version, may: true } => format!(
            "TimescaleDB {version} is installed and loaded, and not created in this database yet: `tidemark-server migrate up` creates it, and \
             `tidemark-server optimize` makes hypertables of tables that are there already"
        ),
        Timescale::Creatable { version, may: false } => format!(
            "TimescaleDB {version} is installed and loaded, and this role may not create it: run CREATE EXTENSION timescaledb in this database \
             as a superuser, before `tidemark-server migrate up` (or `tidemark-server optimize`, where tables are there already)"
        ),
        Timescale::NotLoaded => format!("TimescaleDB is installed, and not loaded: {LOAD}"),
        Timescale::NotInstalled => format!(
            "install TimescaleDB for this PostgreSQL (on a machine of your own scripts/setup-timescaledb does), {LOAD}"
        ),
    }
}

/// The extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Its version.
    pub version: String,
    /// `apache` or `timescale`: the second has compression, continuous aggregates and retention.
    pub licence: String,
    /// The schema of its functions.
    #[serde(skip)]
    pub namespace: String,
}

/// A hypertable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hypertable {
    /// The schema it is in.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its dimensions, the time first.
    pub dimensions: Vec<Dimension>,
    /// Its chunks.
    pub chunks: u64,
    /// Size with indexes and all chunks.
    pub bytes: u64,
    /// Size of the largest chunk.
    pub largest_chunk_bytes: u64,
}

/// One way a hypertable is partitioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dimension {
    /// The column.
    pub column: String,
    /// The span of it that one chunk holds, as PostgreSQL prints an interval; nothing for a dimension of numbered
    /// parts.
    pub interval: Option<String>,
    /// How many parts, for a dimension of numbered parts.
    pub parts: Option<i32>,
}

/// The extension of a database, where it is created.
///
/// # Errors
/// When the database cannot be asked.
pub async fn extension(client: &Client) -> anyhow::Result<Option<Extension>> {
    let doing = |error| failed("ask for TimescaleDB", &error);
    let sql = "SELECT extversion, n.nspname::text, coalesce(current_setting('timescaledb.license', true), 'unknown')
        FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'timescaledb'";
    let row = client.query_opt(sql, &[]).await.map_err(doing)?;
    Ok(row.map(|row| Extension { version: row.get(0), namespace: row.get(1), licence: row.get(2) }))
}

/// Every hypertable of a database that has the extension, with what its chunks take.
///
/// # Errors
/// When the database cannot be asked.
pub async fn hypertables(client: &Client, extension: &Extension) -> anyhow::Result<Vec<Hypertable>> {
    let doing = |error| failed("list the hypertables", &error);
    let namespace = super::TableName { schema: None, table: extension.namespace.clone() }.sql();
    let sql = format!(
        "SELECT h.hypertable_schema::text, h.hypertable_name::text, count(c.chunk_name), coalesce(sum(c.total_bytes), 0)::bigint,
             coalesce(max(c.total_bytes), 0)::bigint
         FROM timescaledb_information.hypertables h
         LEFT JOIN LATERAL {namespace}.chunks_detailed_size(format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass) c ON true
         GROUP BY 1, 2 ORDER BY 1, 2"
    );
    let mut found = Vec::new();
    for row in client.query(&sql, &[]).await.map_err(doing)? {
        let (schema, table): (String, String) = (row.get(0), row.get(1));
        let sql =
            "SELECT column_name::text, time_interval::text, num_partitions::int FROM timescaledb_information.dimensions
            WHERE hypertable_schema = $1 AND hypertable_name = $2 ORDER BY dimension_number";
        let dimensions = client.query(sql, &[&schema, &table]).await.map_err(doing)?;
        let dimensions = dimensions.iter().map(|row| Dimension {
            column: row.get(0),
            interval: row.get(1),
            parts: row.get::<_, Option<i32>>(2),
        });
        let bytes = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        found.push(Hypertable {
            dimensions: dimensions.collect(),
            chunks: bytes(2),
            bytes: bytes(3),
            largest_chunk_bytes: bytes(4),
            schema,
            table,
        });
    }
    Ok(found)
}
