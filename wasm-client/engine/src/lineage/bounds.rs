//! The largest local id of each table in the history up to the tidemark. SQLite gives new rows larger ones, so an id
//! above is a row that came later.

use rusqlite::Connection;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::value::ColumnType;

/// Notes that a table's history up to the tidemark has a row with this local id.
pub(crate) fn raise_bound(db: &Connection, table: &str, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tidemark_bound (tbl, id) VALUES (?1, ?2) ON CONFLICT (tbl) DO UPDATE SET id = max(id, excluded.id)";
    db.execute(sql, (table, id)).map(|_| ())
}

/// Sets the bounds of a file that never kept them: the rows that are no pending inserts.
pub(crate) fn first_bounds(tx: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    for table in integer_keyed(schema) {
        let (name, key) = (quote(&table.name), quote(&table.key_column().name));
        let sql = format!(
            "SELECT max({key}) FROM {name} WHERE {key} NOT IN
                 (SELECT c{} FROM tidemark_log WHERE tbl = '{}' AND op = 'I' AND c{0} IS NOT NULL)",
            table.key, table.name
        );
        let id: Option<i64> = tx.query_row(&sql, [], |row| row.get(0))?;
        raise_bound(tx, &table.name, id.unwrap_or(0))?;
    }
    Ok(())
}

/// The tables whose local ids are not those upstream.
pub(crate) fn integer_keyed(schema: &Schema) -> impl Iterator<Item = &Table> {
    schema.tables().iter().filter(|table| table.key_column().ty == ColumnType::Integer)
}
