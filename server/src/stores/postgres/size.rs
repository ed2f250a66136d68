//! How large a database is: asked of its catalogue, on a connection of those for reports.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::connect::failed;
use super::pool::{LOOKUP_SILENCE, PostgresUpstream, Purpose};
use crate::upstream::error::StoreError;
use crate::upstream::size::{DatabaseFacts, HypertableFacts, TableFacts};

const WHOLE: &str = "SELECT current_setting('server_version'), pg_catalog.pg_database_size(current_database()),
        pg_catalog.pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
        (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'),
        (SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension AS e
         JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'timescaledb')";
/// ?1: the schema's own name.
const TABLES: &str = "SELECT CASE WHEN n.nspname = 'tidemark' THEN 'tidemark.' ELSE '' END || c.relname,
        CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END, pg_catalog.pg_total_relation_size(c.oid)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('tidemark', $1) ORDER BY n.nspname = 'tidemark', c.relname";

impl PostgresUpstream {
    pub(super) async fn size(&self) -> Result<DatabaseFacts, StoreError> {
        let mut lent = self.lend(Purpose::Report).await?;
        let (client, pulse) = lent.take();
        let done = pulse.watch(LOOKUP_SILENCE, size(client, self.schema.name())).await;
        lent.end(done)
    }
}

async fn size(client: &Client, schema: &str) -> Result<DatabaseFacts, StoreError> {
    let row = client.query_typed_one(WHOLE, &[]).await.map_err(failed)?;
    let mut facts = DatabaseFacts {
        kind: "postgresql",
        version: row.try_get(0).map_err(failed)?,
        size_bytes: row.try_get::<_, i64>(1).map_err(failed)?.unsigned_abs(),
        read_only: row.try_get(2).map_err(failed)?,
        timescale: row.try_get(3).map_err(failed)?,
        ..DatabaseFacts::default()
    };
    let namespace: Option<String> = row.try_get(4).map_err(failed)?;
    for row in client.query_typed(TABLES, &[(&schema, Type::TEXT)]).await.map_err(failed)? {
        facts.tables.push(TableFacts {
            table: row.try_get(0).map_err(failed)?,
            rows: row.try_get::<_, Option<i64>>(1).map_err(failed)?.map(i64::unsigned_abs),
            size_bytes: row.try_get::<_, Option<i64>>(2).map_err(failed)?.map(i64::unsigned_abs),
        });
    }
    if let Some(namespace) = namespace {
        let sql = format!(
            "SELECT h.hypertable_name::text, h.num_chunks,
                 {namespace}.hypertable_size(format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass)
             FROM timescaledb_information.hypertables AS h WHERE h.hypertable_schema = $1 ORDER BY 1"
        );
        for row in client.query_typed(&sql, &[(&schema, Type::TEXT)]).await.map_err(failed)? {
            let table: String = row.try_get(0).map_err(failed)?;
            let size_bytes = row.try_get::<_, Option<i64>>(2).map_err(failed)?.map_or(0, i64::unsigned_abs);
            // The table itself is empty: its rows are in the chunks.
            for own in facts.tables.iter_mut().filter(|own| own.table == table) {
                (own.rows, own.size_bytes) = (None, Some(size_bytes));
            }
            let chunks = row.try_get::<_, Option<i64>>(1).map_err(failed)?.map_or(0, i64::unsigned_abs);
            facts.hypertables.push(HypertableFacts { table, chunks, size_bytes });
        }
    }
    Ok(facts)
}
