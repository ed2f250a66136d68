//! Changes that could not be applied, kept on the station with their full image.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row};
use tidemark_core::schema::Schema;

use crate::error::Error;
use crate::log::{ImageRow, read_image};

/// The side that refused a change.
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

/// The state of a rejected change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectState {
    /// It waits for a repair, for being sent again, or for somebody who discards it.
    Open,
    /// A later change of its row was applied upstream, or the server's operator had its image applied after all.
    Resolved,
    /// Its row was repaired or sent again: a new change is on its way, and has a fate of its own.
    Requeued,
    /// Somebody gave it up, here or upstream; it is kept.
    Discarded,
}

impl RejectState {
    /// Every state.
    pub const ALL: &[Self] = &[Self::Open, Self::Resolved, Self::Requeued, Self::Discarded];

    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Requeued => "requeued",
            Self::Discarded => "discarded",
        }
    }

    /// The state of this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.as_str() == text)
    }
}

/// A rejected change.
#[derive(Debug, Clone, PartialEq)]
pub struct Reject {
    /// The change, as the log had it.
    pub change: ImageRow,
    /// The code of the reason, for programs.
    pub code: String,
    /// The reason in words, for people.
    pub message: String,
    /// The side that refused it: `station` or `server`.
    pub origin: String,
    /// The time at which the station learned of it, milliseconds since 1970 UTC.
    pub rejected_at_ms: i64,
    /// Its state.
    pub state: RejectState,
    /// The time at which it ceased to be open, milliseconds since 1970 UTC.
    pub resolved_at_ms: Option<i64>,
}

/// The rejects' table.
pub(crate) const REJECTS_TABLE: &str = "tidemark_rejects";

/// The columns that a file of format 1 lacked.
const SINCE_2: [&str; 3] = ["key", "state TEXT NOT NULL DEFAULT 'open'", "resolved_at INTEGER"];
/// The index for the question that a push asks: is there an open reject of this row?
const OPEN_INDEX: &str = "CREATE INDEX tidemark_rejects_open ON tidemark_rejects (tbl, key) WHERE state = 'open'";

/// `CREATE TABLE` of the rejects for a schema, with its index.
pub(crate) fn create_rejects(schema: &Schema) -> String {
    let columns: Vec<String> = (0..schema.columns_max()).map(|n| format!("c{n}")).collect();
    format!(
        "CREATE TABLE tidemark_rejects (seq INTEGER PRIMARY KEY, at, tbl, op, code TEXT NOT NULL, message TEXT NOT NULL, \
         origin TEXT NOT NULL, rejected_at INTEGER NOT NULL, {}, {}); {OPEN_INDEX}",
        columns.join(", "),
        SINCE_2.join(", ")
    )
}

/// The step from format 1 to 2: rejects have a key and a state.
pub(crate) fn upgrade_to_2(db: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    for column in SINCE_2 {
        db.execute_batch(&format!("ALTER TABLE tidemark_rejects ADD COLUMN {column}"))?;
    }
    db.execute_batch(&format!(
        "UPDATE tidemark_rejects SET key = {}; {OPEN_INDEX}",
        key_sql(schema, "tidemark_rejects")
    ))
}

/// The key of a row of the log or the rejects, as SQL; NULL for a table the schema does not have.
pub(crate) fn key_sql(schema: &Schema, of: &str) -> String {
    let whens = schema.tables().iter().map(|table| format!(" WHEN '{}' THEN {of}.c{}", table.name, table.key));
    format!("CASE {of}.tbl{} END", whens.collect::<String>())
}

/// Copies a change out of the log, with why it was rejected. Does nothing when it is there already.
pub(crate) fn keep(
    db: &Connection,
    schema: &Schema,
) -> rusqlite::Result<impl FnMut(u64, &str, &str, Origin, i64) -> rusqlite::Result<()>> {
    let columns: Vec<String> = (0..schema.columns_max()).map(|n| format!("c{n}")).collect();
    let columns = columns.join(", ");
    let mut insert = db.prepare(&format!(
        "INSERT OR IGNORE INTO tidemark_rejects (seq, at, tbl, op, code, message, origin, rejected_at, key, {columns}) \
         SELECT seq, at, tbl, op, ?2, ?3, ?4, ?5, {}, {columns} FROM tidemark_log WHERE seq = ?1",
        key_sql(schema, "tidemark_log")
    ))?;
    Ok(move |seq: u64, code: &str, message: &str, origin: Origin, now_ms: i64| {
        insert.execute((seq as i64, code, message, origin.as_str(), now_ms)).map(|_| ())
    })
}

/// Finds the reject of this station, which the server knows by nothing but its number, that wrote the row a change of
/// the log references: its seq and code.
pub(crate) fn parent_rejected_here(
    db: &Connection,
    schema: &Schema,
    seq: u64,
) -> rusqlite::Result<Option<(u64, String)>> {
    let mut table_of = db.prepare("SELECT CAST(tbl AS TEXT) FROM tidemark_log WHERE seq = ?1")?;
    let name: Option<String> = table_of.query_row([seq as i64], |row| row.get(0)).optional()?;
    let Some(table) = name.and_then(|name| schema.table(&name)) else { return Ok(None) };
    for (column, parent) in table.columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.references?))) {
        let mut parent_of = db.prepare(&format!(
            "SELECT r.seq, r.code FROM tidemark_log AS l JOIN tidemark_rejects AS r ON r.tbl = ?2 AND r.key = l.c{column} \
             WHERE l.seq = ?1 AND r.state = 'open' AND r.origin = 'station' AND r.seq < l.seq ORDER BY r.seq DESC LIMIT 1"
        ))?;
        let parent = &schema.tables()[parent].name;
        let found = parent_of
            .query_row((seq as i64, parent), |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Marks as resolved the open rejects of rows of which a later change, up to seq `upto` of the log, was not rejected.
pub(crate) fn resolve(db: &Connection, schema: &Schema, upto: u64, now_ms: i64) -> rusqlite::Result<()> {
    let any = "SELECT EXISTS (SELECT 1 FROM tidemark_rejects WHERE state = 'open')";
    if !db.query_row(any, [], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    // CROSS JOIN: SQLite walks the log once and finds the rejects by their index, not the other way round.
    db.execute(
        &format!(
            "UPDATE tidemark_rejects SET state = 'resolved', resolved_at = ?2 WHERE state = 'open' AND seq IN ( \
             SELECT r.seq FROM tidemark_log AS l CROSS JOIN tidemark_rejects AS r \
             WHERE l.seq <= ?1 AND r.state = 'open' AND r.tbl = l.tbl AND r.key = {} AND r.seq < l.seq \
             AND NOT EXISTS (SELECT 1 FROM tidemark_rejects AS x WHERE x.seq = l.seq))",
            key_sql(schema, "l")
        ),
        (upto as i64, now_ms),
    )?;
    Ok(())
}

/// The number of rejected changes that are open.
pub(crate) fn count_open(db: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM tidemark_rejects WHERE state = 'open'";
    db.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

/// Visits rejected changes after seq `after`, in seq order, at most `limit` of them, of one state or of all;
/// `schema_of` gives the schema that a change was captured under.
pub(crate) fn visit<'s, E: From<Error>>(
    (db, file): (&Connection, &str),
    schema_of: impl Fn(u64) -> &'s Schema,
    state: Option<RejectState>,
    (after, limit): (u64, u64),
    mut visit: impl FnMut(Reject) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let sql = |error| Error::sqlite(file, "read the rejects", error);
    let mut query = db
        .prepare("SELECT * FROM tidemark_rejects WHERE seq > ?1 AND (?3 IS NULL OR state = ?3) ORDER BY seq LIMIT ?2")
        .map_err(sql)?;
    let [after, limit] = [after, limit].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let mut rows = query.query((after, limit, state.map(RejectState::as_str))).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        visit(read_reject(&schema_of, row).map_err(sql)?)?;
    }
    Ok(())
}

/// Reads a row of the rejects.
pub(crate) fn read_reject<'s>(schema_of: impl Fn(u64) -> &'s Schema, row: &Row<'_>) -> rusqlite::Result<Reject> {
    let text = |name: &str| {
        row.get::<_, Value>(name).map(|value| match value {
            Value::Text(text) => text,
            _ => String::new(),
        })
    };
    Ok(Reject {
        change: read_image(schema_of, row)?,
        code: text("code")?,
        message: text("message")?,
        origin: text("origin")?,
        rejected_at_ms: row.get("rejected_at")?,
        state: RejectState::from_text(&text("state")?).unwrap_or(RejectState::Open),
        resolved_at_ms: row.get("resolved_at")?,
    })
}
