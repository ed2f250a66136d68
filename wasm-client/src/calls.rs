//! Answers kept until a page has them. A page whose call got no answer, because the worker that did it died, asks
//! again: what was committed is answered from here, and not done twice.

use rusqlite::{Connection, OptionalExtension as _};

/// Makes the table where it is missing.
///
/// # Errors
/// SQLite's.
pub fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS tidemark_calls (tab TEXT, call INTEGER, answer TEXT, PRIMARY KEY (tab, call)) WITHOUT ROWID",
    )
}

/// Keeps the answer to a tab's call, in the transaction that is open, and forgets those it has received: its calls up
/// to `done_up_to`.
///
/// # Errors
/// SQLite's; also when the call was noted before.
pub fn note(db: &Connection, tab: &str, call: i64, answer: &str, done_up_to: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO tidemark_calls (tab, call, answer) VALUES (?1, ?2, ?3)")?
        .execute((tab, call, answer))?;
    db.prepare_cached("DELETE FROM tidemark_calls WHERE tab = ?1 AND call <= ?2")?.execute((tab, done_up_to))?;
    Ok(())
}

/// The answer to a tab's call, if it was committed.
///
/// # Errors
/// SQLite's.
pub fn answer_of(db: &Connection, tab: &str, call: i64) -> rusqlite::Result<Option<String>> {
    db.prepare_cached("SELECT answer FROM tidemark_calls WHERE tab = ?1 AND call = ?2")?
        .query_row((tab, call), |row| row.get(0))
        .optional()
}

/// The tab is gone: nobody will ask for its answers.
///
/// # Errors
/// SQLite's.
pub fn forget_tab(db: &Connection, tab: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM tidemark_calls WHERE tab = ?1")?.execute([tab]).map(|_| ())
}
