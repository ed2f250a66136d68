//! Whether a stored database is whole, asked when it is opened.

use rusqlite::{Connection, OptionalExtension as _};

use crate::error::{Code, Failure, Result};

/// Up to this size a database is read through at every open: some ten milliseconds.
pub const ALWAYS_BYTES_MAX: u64 = 32 << 20;
/// A larger one is read through when that was not done for so long.
const EVERY_MS: i64 = 24 * 3_600_000;
/// Complaints that are looked at.
const LINES_MAX: u32 = 100;
/// Complaints about what a row holds, not about the file: a program may have switched the checks off that refuse such
/// rows.
const ABOUT_ROWS: [&str; 5] =
    ["CHECK constraint failed", "NULL value in ", "NUMERIC value in ", "TEXT value in ", "non-"];

/// Checks the file's structure: every page, but not every index entry.
///
/// # Errors
/// `corrupt` with what SQLite found.
pub fn check(db: &Connection, now_ms: i64) -> Result<()> {
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(Failure::statement);
    let bytes = pragma("page_count")?.unsigned_abs() * pragma("page_size")?.unsigned_abs();
    if bytes <= ALWAYS_BYTES_MAX {
        return quick_check(db);
    }
    if last_check_ms(db)?.is_some_and(|at_ms| (at_ms..at_ms + EVERY_MS).contains(&now_ms)) {
        return Ok(());
    }
    quick_check(db)?;
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS tidemark_checked (one INTEGER PRIMARY KEY CHECK (one = 1), at_ms INTEGER NOT NULL)",
    )
    .and_then(|()| db.execute("INSERT OR REPLACE INTO tidemark_checked (one, at_ms) VALUES (1, ?1)", [now_ms]))
    .map(|_| ())
    .map_err(Failure::statement)
}

fn last_check_ms(db: &Connection) -> Result<Option<i64>> {
    let there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'tidemark_checked')";
    if !db.query_row(there, [], |row| row.get(0)).map_err(Failure::statement)? {
        return Ok(None);
    }
    db.query_row("SELECT at_ms FROM tidemark_checked", [], |row| row.get(0)).optional().map_err(Failure::statement)
}

fn quick_check(db: &Connection) -> Result<()> {
    let mut check = db.prepare(&format!("PRAGMA quick_check({LINES_MAX})")).map_err(Failure::statement)?;
    let mut lines = check.query([]).map_err(Failure::statement)?;
    while let Some(line) = lines.next().map_err(Failure::statement)? {
        let line: String = line.get(0).map_err(Failure::statement)?;
        if line != "ok" && !ABOUT_ROWS.iter().any(|about| line.starts_with(about)) {
            return Err(Failure::new(Code::Corrupt, format!("the stored database is damaged ({line})")));
        }
    }
    Ok(())
}
