//! How large the embedded database is.

use rusqlite::{Connection, OptionalExtension as _};

use super::file::{SqliteUpstream, failed};
use crate::upstream::error::StoreError;
use crate::upstream::size::{DatabaseFacts, TableFacts};

impl SqliteUpstream {
    pub(super) async fn size(&self) -> Result<DatabaseFacts, StoreError> {
        Self::with(&self.reader, |connection| size(connection).map_err(failed)).await
    }
}

fn size(connection: &Connection) -> rusqlite::Result<DatabaseFacts> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    let mut facts = DatabaseFacts {
        kind: "sqlite",
        version: rusqlite::version().to_owned(),
        size_bytes: number("PRAGMA page_count")? * number("PRAGMA page_size")?,
        read_only: connection.is_readonly("main")?,
        ..DatabaseFacts::default()
    };
    let mut select = connection.prepare_cached(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'
         ORDER BY name LIKE 'tidemark^_%' ESCAPE '^', name",
    )?;
    let names: rusqlite::Result<Vec<String>> = select.query_map([], |row| row.get(0))?.collect();
    for table in names? {
        // What ANALYZE found, where it was run: nothing is counted here.
        let sql = "SELECT CAST(stat AS INTEGER) FROM sqlite_stat1 WHERE tbl = ?1 LIMIT 1";
        let rows = connection.query_row(sql, [&table], |row| row.get::<_, i64>(0)).optional().ok().flatten();
        facts.tables.push(TableFacts { table, rows: rows.map(i64::unsigned_abs), size_bytes: None });
    }
    Ok(facts)
}
