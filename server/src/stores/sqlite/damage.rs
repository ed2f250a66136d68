//! A check that a file is whole.

use rusqlite::Connection;

/// The first damage that SQLite finds in a database; `None` when every page and index is whole.
pub(crate) fn damage(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}
