//! Changes that could not be applied, kept on the station with their full image.

use rusqlite::types::Value;
use rusqlite::{Connection, Row};
use tidemark_core::schema::Schema;

use crate::error::Result;
use crate::log::{ImageRow, read_image};
use crate::store::Store;

/// Who refused a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This station, when it cut a batch: the values cannot travel.
    Station,
    /// The server.
    Server,
}

impl Origin {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Station => "station",
            Self::Server => "server",
        }
    }
}

/// A rejected change.
#[derive(Debug, Clone, PartialEq)]
pub struct Reject {
    /// The change, as the log had it.
    pub change: ImageRow,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// Who refused it: `station` or `server`.
    pub origin: String,
    /// When the station learned of it, milliseconds since 1970 UTC.
    pub rejected_at_ms: i64,
}

/// The rejects' table.
pub(crate) const REJECTS_TABLE: &str = "tidemark_rejects";

pub(crate) fn create_rejects(schema: &Schema) -> String {
    let columns: Vec<String> = (0..schema.columns_max()).map(|n| format!("c{n}")).collect();
    format!(
        "CREATE TABLE tidemark_rejects (seq INTEGER PRIMARY KEY, at, tbl, op, code TEXT NOT NULL, message TEXT NOT NULL, \
         origin TEXT NOT NULL, rejected_at INTEGER NOT NULL, {})",
        columns.join(", ")
    )
}

/// Copies a change out of the log, with why it was rejected. Does nothing when it is there already.
pub(crate) fn keep(
    db: &Connection,
    schema: &Schema,
) -> rusqlite::Result<impl FnMut(u64, &str, &str, Origin, i64) -> rusqlite::Result<()>> {
    let columns: Vec<String> = (0..schema.columns_max()).map(|n| format!("c{n}")).collect();
    let columns = columns.join(", ");
    let mut insert = db.prepare(&format!(
        "INSERT OR IGNORE INTO tidemark_rejects (seq, at, tbl, op, code, message, origin, rejected_at, {columns}) \
         SELECT seq, at, tbl, op, ?2, ?3, ?4, ?5, {columns} FROM tidemark_log WHERE seq = ?1"
    ))?;
    Ok(move |seq: u64, code: &str, message: &str, origin: Origin, now_ms: i64| {
        insert.execute((seq as i64, code, message, origin.as_str(), now_ms)).map(|_| ())
    })
}

impl Store {
    /// How many rejected changes there are.
    ///
    /// # Errors
    /// SQLite's.
    pub fn rejects_count(&self) -> Result<u64> {
        self.connection()
            .query_row("SELECT count(*) FROM tidemark_rejects", [], |row| row.get::<_, i64>(0))
            .map(|count| count as u64)
            .map_err(self.sqlite("count the rejects"))
    }

    /// Visits the rejected changes after seq `after`, in seq order, at most `limit` of them.
    ///
    /// # Errors
    /// SQLite's, and what `visit` returns.
    pub fn rejects<E: From<crate::Error>>(
        &self,
        after: u64,
        limit: u64,
        mut visit: impl FnMut(Reject) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let sql = self.sqlite("read the rejects");
        let mut query = self
            .connection()
            .prepare("SELECT * FROM tidemark_rejects WHERE seq > ?1 ORDER BY seq LIMIT ?2")
            .map_err(&sql)?;
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let mut rows = query.query((after, i64::try_from(limit).unwrap_or(i64::MAX))).map_err(&sql)?;
        while let Some(row) = rows.next().map_err(&sql)? {
            visit(read_reject(self, row).map_err(&sql)?)?;
        }
        Ok(())
    }
}

pub(crate) fn read_reject(store: &Store, row: &Row<'_>) -> rusqlite::Result<Reject> {
    let text = |name: &str| {
        row.get::<_, Value>(name).map(|value| match value {
            Value::Text(text) => text,
            _ => String::new(),
        })
    };
    Ok(Reject {
        change: read_image(store, row)?,
        code: text("code")?,
        message: text("message")?,
        origin: text("origin")?,
        rejected_at_ms: row.get("rejected_at")?,
    })
}
