//! Fills the places that attaching reserved in the log: in pieces, each a transaction of its own, so that a process
//! that ends half-way is resumed by the next, and programs can write in between.

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use tidemark_core::capture::{PLACE_FUNCTION, log_rows_numbered};
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;

use crate::error::{Error, Result};
use crate::lacking::Lacking;
use crate::store::Store;

/// Rows of one piece: some ten milliseconds.
const PIECE_ROWS: u32 = 10_000;

/// `CREATE TABLE` of the tables whose places are not all filled: the next and last place, and the rowid after which to
/// go on and with which to end.
pub(super) const CREATE_BACKFILL: &str = "CREATE TABLE tidemark_backfill (tbl TEXT PRIMARY KEY, next_seq INTEGER NOT NULL, \
    last_seq INTEGER NOT NULL, after_id INTEGER NOT NULL, last_id INTEGER NOT NULL)";

/// The progress of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backfill {
    /// Places that are filled.
    pub done: u64,
    /// Places of rows that were there.
    pub rows: u64,
}

/// Notes that a table's rows are to be logged from seq `next` on.
pub(super) fn reserve(db: &Connection, table: &Table, next: i64, rows: i64, last_id: i64) -> rusqlite::Result<()> {
    if rows > 0 {
        let sql =
            "INSERT INTO tidemark_backfill (tbl, next_seq, last_seq, after_id, last_id) VALUES (?1, ?2, ?3, ?4, ?5)";
        db.execute(sql, (&table.name, next, next + rows - 1, i64::MIN, last_id))?;
    }
    Ok(())
}

/// The number of places of the log that are still to be filled; 0 of a file that was not attached.
pub(crate) fn open_places(db: &Connection) -> rusqlite::Result<u64> {
    if !db.table_exists(None, "tidemark_backfill")? {
        return Ok(0);
    }
    let sql = "SELECT coalesce(sum(last_seq - next_seq + 1), 0) FROM tidemark_backfill";
    db.query_row(sql, [], |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))
}

/// A table whose places are not all filled.
struct Open {
    table: String,
    next_seq: i64,
    last_seq: i64,
    after_id: i64,
    last_id: i64,
}

impl Store {
    /// Fills the places that [`Store::attach`] reserved, or what of them is left, and tells `progress` after every
    /// piece. Nothing is pushed before.
    ///
    /// # Errors
    /// SQLite's; what was filled stays, and the next call goes on there.
    pub fn backfill(&mut self, progress: &mut dyn FnMut(Backfill)) -> Result<Backfill> {
        let file = self.file().to_owned();
        let sql = |error| Error::sqlite(&file, "log the rows that were there", error);
        let rows = open_places(self.connection()).map_err(sql)?;
        let mut now = Backfill { done: 0, rows };
        while now.done < rows {
            self.backfill_piece(PIECE_ROWS)?;
            // Another process may be at it too.
            now.done = rows.saturating_sub(open_places(self.connection()).map_err(sql)?);
            progress(now);
        }
        Ok(now)
    }

    /// Fills at most so many of these places, of one table, in a transaction of its own.
    ///
    /// # Errors
    /// SQLite's; nothing is filled then.
    pub fn backfill_piece(&mut self, rows: u32) -> Result<()> {
        let file = self.file().to_owned();
        self.transaction(|tx| piece(tx, &file, rows))
    }

    /// The number of rows that were there when the file was attached and have no change in the log yet.
    ///
    /// # Errors
    /// SQLite's.
    pub fn backfill_open(&self) -> Result<u64> {
        open_places(self.connection()).map_err(self.sqlite("read how far the backfill is"))
    }
}

/// Fills the next places.
fn piece(tx: &Transaction<'_>, file: &str, rows: u32) -> Result<()> {
    let sql = |error| Error::sqlite(file, "log the rows that were there", error);
    let select = "SELECT tbl, next_seq, last_seq, after_id, last_id FROM tidemark_backfill ORDER BY next_seq LIMIT 1";
    let open = tx
        .query_row(select, [], |row| {
            Ok(Open {
                table: row.get(0)?,
                next_seq: row.get(1)?,
                last_seq: row.get(2)?,
                after_id: row.get(3)?,
                last_id: row.get(4)?,
            })
        })
        .optional()
        .map_err(sql)?;
    let Some(open) = open else { return Ok(()) };
    let schema = crate::meta::read_schema(tx, file)?;
    let table = schema
        .table(&open.table)
        .ok_or_else(|| crate::meta::damaged(file, format!("no table {} to backfill in the schema", open.table)))?;
    let absent = Lacking::read(tx, file)?.columns(table);
    fill(tx, table, &open, &absent, rows.max(1)).map_err(sql)
}

fn fill(tx: &Transaction<'_>, table: &Table, open: &Open, absent: &[usize], rows: u32) -> rusqlite::Result<()> {
    let (name, key, c) = (&table.name, quote(&table.key_column().name), table.key);
    let reserved: i64 = tx.query_row("SELECT max(last_seq) FROM tidemark_backfill", [], |row| row.get(0))?;
    // A row that was inserted since has a change of its own, and took no place.
    let since =
        format!("FROM tidemark_log WHERE seq > {reserved} AND tbl = '{name}' AND op = 'I' AND c{c} IS NOT NULL");
    let mut of = format!("rowid <= {}", open.last_id);
    // A statement that reads the table it writes to holds every row twice: only where it must.
    if tx.query_row(&format!("SELECT EXISTS (SELECT 1 {since})"), [], |row| row.get(0))? {
        of += &format!(" AND {key} NOT IN (SELECT c{c} {since})");
    }
    let room = i64::from(rows).min(open.last_seq - open.next_seq + 1);
    let logged = log_numbered(tx, table, &of, absent, open.next_seq, (open.after_id, room))?;
    let next_seq = open.next_seq + logged;
    if logged == room && next_seq <= open.last_seq {
        let last: i64 =
            tx.query_row(&format!("SELECT c{c} FROM tidemark_log WHERE seq = ?1"), [next_seq - 1], |row| row.get(0))?;
        let sql = "UPDATE tidemark_backfill SET next_seq = ?2, after_id = ?3 WHERE tbl = ?1";
        return tx.execute(sql, (name, next_seq, last)).map(|_| ());
    }
    give_up_places(tx, table, next_seq..=open.last_seq, reserved)?;
    tx.execute("DELETE FROM tidemark_backfill WHERE tbl = ?1", [name]).map(|_| ())
}

/// Logs rows above a rowid, at most so many, in the places from `first` on; returns how many there were.
pub(super) fn log_numbered(
    tx: &Connection,
    table: &Table,
    of: &str,
    absent: &[usize],
    first: i64,
    (after_id, room): (i64, i64),
) -> rusqlite::Result<i64> {
    let next = AtomicI64::new(first);
    // Without SQLITE_DETERMINISTIC, so that it is called for every row.
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    tx.create_scalar_function(PLACE_FUNCTION, 0, flags, move |_| Ok(next.fetch_add(1, Ordering::Relaxed)))?;
    let logged = tx.execute(&log_rows_numbered(table, of, absent), (after_id, room));
    tx.remove_function(PLACE_FUNCTION, 0)?;
    Ok(logged? as i64)
}

/// Fills places whose rows are gone, or have a change of their own: with deletes of rows that were written since, which
/// upstream has not.
fn give_up_places(
    tx: &Transaction<'_>,
    table: &Table,
    places: std::ops::RangeInclusive<i64>,
    reserved: i64,
) -> rusqlite::Result<()> {
    let identity: Vec<String> = table.identity().map(|at| format!("c{at}")).collect();
    let (list, c) = (identity.join(", "), table.key);
    let gone = format!(
        "SELECT min(seq) AS first FROM tidemark_log WHERE seq > ?1 AND tbl = '{}' AND op IN ('I', 'D') GROUP BY c{c} ORDER BY first",
        table.name
    );
    let mut gone = tx.prepare(&gone)?;
    let mut gone = gone.query([reserved])?;
    let log = format!(
        "INSERT INTO tidemark_log (seq, at, tbl, op, {list}) SELECT ?1, at, tbl, 'D', {list} FROM tidemark_log WHERE seq = ?2"
    );
    let mut log = tx.prepare(&log)?;
    let mut last = None;
    for place in places {
        // An append table takes no deletes: there a place tells of none.
        if let Some(row) = gone.next()?.filter(|_| !table.append) {
            last = Some(row.get::<_, i64>(0)?);
        }
        // Rows that vanished uncaptured: the place tells once more of one that is known, or of none.
        if last.is_none() || log.execute((place, last))? == 0 {
            let sql = "INSERT INTO tidemark_log (seq, at, tbl, op) VALUES (?1, 0, ?2, 'D')";
            tx.execute(sql, (place, &table.name))?;
        }
    }
    Ok(())
}
