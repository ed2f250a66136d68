//! The content of a PostgreSQL database: rows and digest of its tables.

use tokio_postgres::GenericClient;

use super::manifest::{Content, Manifest};
use crate::admin::{TableName, failed};

/// Rows and digest of every table that is no extension's.
pub(super) async fn manifest(client: &impl GenericClient) -> anyhow::Result<Manifest> {
    let doing = |error| failed("count the rows of the database", &error);
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^(pg_|information_schema$|_?timescaledb_)'
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";
    let mut manifest = Manifest::default();
    for row in client.query(sql, &[]).await.map_err(doing)? {
        let name = TableName { schema: Some(row.get(0)), table: row.get(1) };
        let sql = format!(
            "SELECT count(*), coalesce(sum(hashtextextended(tidemark_row::text, 0)::numeric), 0)::text FROM {} tidemark_row",
            name.sql()
        );
        let row = client.query_one(&sql, &[]).await.map_err(doing)?;
        manifest.0.insert(name.shown(), Content { rows: row.get::<_, i64>(0).unsigned_abs(), digest: row.get(1) });
    }
    Ok(manifest)
}
