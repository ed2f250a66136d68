//! The one transaction in which a file becomes another station: which rows stay the old number's, the log begun anew,
//! the new catalog. All of it, or nothing.

use rusqlite::{Transaction, params};
use tidemark_core::capture::{LOG_TABLE, log_rows, whole_row};
use tidemark_core::rejoin::RejoinReply;
use tidemark_core::sqlite::quote;

use super::comparison::RejoinBasis;
use super::history::check_whole;
use super::shared::{Shared, keep_former_ids};
use crate::catalog::Catalog;
use crate::error::{Error, Result, Secret};
use crate::lineage::FORMER_REJECTS_TABLE;
use crate::log::set_last_seq;
use crate::meta::write::{NewStation, become_station};
use crate::meta::{self, Meta};
use crate::rejects::REJECTS_TABLE;
use crate::store::Store;

/// The station that a file is to become, and what is known of the one it was.
#[derive(Debug)]
pub(crate) struct Switch<'a> {
    /// The station's row when the histories were compared.
    pub(crate) before: &'a Meta,
    /// The start of the new number's log.
    pub(crate) basis: RejoinBasis,
    /// Last seq the server had of the old number.
    pub(crate) server_seq: u64,
    /// The new uuid.
    pub(crate) uuid: [u8; 16],
    /// The new token.
    pub(crate) token: &'a Secret,
    /// Digest of the join code that was used.
    pub(crate) join_digest: [u8; 32],
    /// The server's URL.
    pub(crate) server: &'a str,
    /// The server's reply, with the new number.
    pub(crate) reply: &'a RejoinReply,
    /// The station's clock.
    pub(crate) now_ms: i64,
}

/// The end of an attempt to switch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Switched {
    /// The file is the new station; so many changes wait in its log.
    Done(u64),
    /// Another process pushed from the file or rejoined it meanwhile: the histories must be compared again.
    Moved,
    /// Changes up to this seq were sent under the old number, which goes on elsewhere, and no answer came: they may
    /// still arrive.
    InDoubt(u64),
}

/// Makes the file another station.
///
/// # Errors
/// SQLite's; nothing is changed then.
pub(crate) fn switch(store: &mut Store, to: &Switch<'_>) -> Result<Switched> {
    let (tx, file, catalog) = store.write()?;
    let meta = meta::read(&tx, file)?;
    if meta.tidemark != to.before.tidemark || meta.membership != to.before.membership {
        return Ok(Switched::Moved);
    }
    let Some(old) = meta.membership.as_ref() else { return Ok(Switched::Moved) };
    let sql = |error| Error::sqlite(file, "go on as another station", error);
    let upto = match to.basis {
        RejoinBasis::At(common) => {
            // A server that has another history takes nothing more of this one, nor does one where the old number has
            // ended.
            if !to.reply.replaces && common == to.server_seq && meta.sent_seq > common {
                return Ok(Switched::InDoubt(meta.sent_seq));
            }
            let last = check_whole(&tx, file, common)?;
            let shared = Shared::At { common, owned: to.reply.replaces };
            keep_former_ids(&tx, file, catalog, old.number, shared)?;
            move_rejects(&tx, old.number.get()).map_err(sql)?;
            renumber(&tx, common, last).map_err(sql)?;
            common
        }
        RejoinBasis::Anew => {
            move_rejects(&tx, old.number.get()).map_err(sql)?;
            log_anew(&tx, catalog).map_err(sql)?;
            0
        }
        RejoinBasis::Rows | RejoinBasis::Tampered | RejoinBasis::Unknown(..) => {
            keep_former_ids(&tx, file, catalog, old.number, Shared::All)?;
            move_rejects(&tx, old.number.get()).map_err(sql)?;
            log_anew(&tx, catalog).map_err(sql)?;
            meta.tidemark.seq
        }
    };
    #[cfg(not(target_arch = "wasm32"))]
    crate::pruned::record::leave_to_old_numbers(&tx).map_err(sql)?;
    if to.basis == RejoinBasis::Anew {
        // No row is upstream under another number.
        tx.execute_batch("DELETE FROM tidemark_former_ids; DELETE FROM tidemark_bound").map_err(sql)?;
    }
    tx.execute(
        "INSERT OR REPLACE INTO tidemark_former (number, name, server, upto, left_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![old.number.get(), old.name, meta.server.unwrap_or_default(), upto as i64, to.now_ms],
    )
    .map_err(sql)?;
    let new = NewStation {
        uuid: to.uuid,
        number: to.reply.station,
        name: &to.reply.name,
        server: to.server,
        token: to.token,
        join_digest: to.join_digest,
        limits: &to.reply.limits,
    };
    become_station(&tx, &new, to.now_ms).map_err(sql)?;
    tx.execute("DELETE FROM tidemark_rejoin", []).map_err(sql)?;
    let pending: i64 = tx.query_row("SELECT count(*) FROM tidemark_log", [], |row| row.get(0)).map_err(sql)?;
    tx.commit().map_err(sql)?;
    store.reopen()?;
    Ok(Switched::Done(pending.unsigned_abs()))
}

/// Drops what both histories have in common and numbers the rest from 1.
fn renumber(tx: &Transaction<'_>, common: u64, last: u64) -> rusqlite::Result<()> {
    let common = common as i64;
    for (table, column) in [(LOG_TABLE, "seq"), ("tidemark_schema", "upto")] {
        tx.execute(&format!("DELETE FROM {table} WHERE {column} <= ?1"), [common])?;
        // By way of negative numbers, so that no row meets another on its way.
        tx.execute(&format!("UPDATE {table} SET {column} = ?1 - {column}"), [common])?;
        tx.execute(&format!("UPDATE {table} SET {column} = -{column}"), [])?;
    }
    set_last_seq(tx, last as i64 - common)
}

/// The log no longer says all that happened, so it is begun anew from the rows: every row as it is, and every delete
/// that is known.
///
/// First rows that moved in time, since upstream they lie elsewhere until their delete; then all rows, parents first;
/// last the rows that are gone, whose children are gone or elsewhere by then.
fn log_anew(tx: &Transaction<'_>, catalog: &Catalog) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM tidemark_log WHERE op IS NOT 'D' OR seq < 1", [])?;
    tx.execute("UPDATE tidemark_log SET seq = -seq", [])?;
    set_last_seq(tx, 0)?;
    for gone in [false, true] {
        for (after, upto, schema) in catalog.layouts(0) {
            for table in catalog.lacking.tables(&catalog.schema) {
                let Some(before) = schema.table(&table.name) else { continue };
                let key = format!("o.c{}", before.key);
                let same =
                    format!("FROM {} AS t WHERE t.{} = {key}", quote(&table.name), quote(&table.key_column().name));
                let (time, moved) = match (table.time_column(), before.time) {
                    (Some(column), Some(at)) => (
                        format!("o.c{at}"),
                        format!("EXISTS (SELECT 1 {same} AND t.{} IS NOT o.c{at})", quote(&column.name)),
                    ),
                    _ => ("NULL".to_owned(), "0".to_owned()),
                };
                let which = if gone { format!("NOT EXISTS (SELECT 1 {same})") } else { moved };
                let time_column = table.time.map(|at| format!(", c{at}")).unwrap_or_default();
                let time_value = table.time.map(|_| format!(", {time}")).unwrap_or_default();
                tx.execute(
                    &format!(
                        "INSERT INTO tidemark_log (at, tbl, op, c{}{time_column}) SELECT o.at, o.tbl, 'D', {key}{time_value} \
                         FROM tidemark_log AS o WHERE o.seq < -?1 AND o.seq >= -?2 AND o.tbl = ?3 AND {which} ORDER BY o.seq DESC",
                        table.key
                    ),
                    (after as i64, upto as i64, &table.name),
                )?;
            }
        }
        if !gone {
            for table in catalog.lacking.tables(&catalog.schema) {
                tx.execute(&log_rows(table, whole_row(table), "1", &catalog.lacking.columns(table)), [])?;
            }
        }
    }
    tx.execute("DELETE FROM tidemark_log WHERE seq < 0", [])?;
    tx.execute("DELETE FROM tidemark_schema", [])?;
    Ok(())
}

/// The changes rejected under the old number stay to be seen; their seqs are of the old log.
fn move_rejects(tx: &Transaction<'_>, number: u32) -> rusqlite::Result<()> {
    tx.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {FORMER_REJECTS_TABLE} AS SELECT 0 AS number, * FROM {REJECTS_TABLE} WHERE 0"
    ))?;
    let columns = |table: &str| -> rusqlite::Result<Vec<String>> {
        let mut query = tx.prepare("SELECT name FROM pragma_table_info(?1)")?;
        query.query_map([table], |row| row.get(0))?.collect()
    };
    let (now, kept) = (columns(REJECTS_TABLE)?, columns(FORMER_REJECTS_TABLE)?);
    for column in now.iter().filter(|column| !kept.contains(column)) {
        tx.execute_batch(&format!("ALTER TABLE {FORMER_REJECTS_TABLE} ADD COLUMN {}", quote(column)))?;
    }
    let list = now.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
    tx.execute(
        &format!("INSERT INTO {FORMER_REJECTS_TABLE} (number, {list}) SELECT ?1, {list} FROM {REJECTS_TABLE}"),
        [number],
    )?;
    tx.execute(&format!("DELETE FROM {REJECTS_TABLE}"), [])?;
    Ok(())
}
