//! Mending rejected changes: repair the row, send it again, give it up. The history is never rewritten: a
//! repair is a new change, and goes the way of every change.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use tidemark_core::capture::whole_row;
use tidemark_core::protocol::{RejectFate, RejectsReply, RejectsRequest, SettledReject};
use tidemark_core::reject::RejectCode;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;

use crate::error::{Error, RejectProblem, Result};
use crate::log::last_seq;
use crate::rejects::RejectState;
use crate::store::Store;

/// The text that is added to the message of a reject that the server has forgotten.
const FORGOTTEN: &str = " — settled upstream; how is not kept there any more: `tidemark verify` tells whether the row is there as it is here";

/// Which open rejects.
#[derive(Debug, Clone, Copy)]
pub enum Chosen<'a> {
    /// All.
    All,
    /// Those with these seqs.
    Seqs(&'a [u64]),
}

/// The changes that were sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requeued {
    /// Rejects that are open no more.
    pub rejects: u64,
    /// New changes in the log.
    pub changes: u64,
}

/// A question about rejects.
#[derive(Debug)]
pub(crate) struct RejectsQuestion {
    /// As it is asked.
    pub words: RejectsRequest,
    /// When the last of those it tells of ceased to be open, and its seq.
    pub told: Option<(i64, i64)>,
}

/// An open reject and whose row it is of.
#[derive(Debug, Clone)]
struct Open {
    seq: u64,
    /// Index of its table.
    table: usize,
    key: Value,
}

/// A key as something that can be compared: SQLite's values are not ordered in Rust.
fn comparable(key: &Value) -> String {
    format!("{key:?}")
}

impl Store {
    /// Changes the row of an open reject as a program would, by an UPDATE that capture logs, and sends the rows again
    /// that were rejected for want of it. All or nothing.
    ///
    /// # Errors
    /// When there is no such open reject, the row is gone, a column does not exist, or SQLite refuses the values.
    pub fn repair(&mut self, seq: u64, set: &[(&str, Value)], now_ms: i64) -> Result<Requeued> {
        let (file, schema) = (self.file().to_owned(), self.schema().clone());
        self.transaction(|tx| {
            let sql = |error| Error::sqlite(&file, "repair the row", error);
            let rejected = chosen(tx, &schema, &file, Chosen::Seqs(&[seq]))?.remove(0);
            let table = &schema.tables()[rejected.table];
            let mut sets = Vec::new();
            for (column, _) in set {
                let known = table.column_index(column).ok_or_else(|| no_column(table, column))?;
                sets.push(format!("{} = ?", quote(&table.columns[known].name)));
            }
            let (name, key) = (quote(&table.name), quote(&table.key_column().name));
            let update = format!("UPDATE {name} SET {} WHERE {key} IS ?", sets.join(", "));
            let before = last_seq(tx).map_err(sql)?;
            let values = set.iter().map(|(_, value)| value).chain([&rejected.key]);
            if tx.execute(&update, params_from_iter(values)).map_err(sql)? == 0 {
                return Err(RejectProblem::RowGone { seq, table: table.name.clone() }.into());
            }
            appended_since(tx, &schema, before).map_err(sql)?;
            let repaired = last_seq(tx).map_err(sql)?.saturating_sub(before);
            let mut rejects = of_row(tx, &schema, &rejected).map_err(sql)?;
            let family = with_children(tx, &schema, rejects.clone()).map_err(sql)?;
            let own = (rejected.table, comparable(&rejected.key));
            let children: Vec<Open> =
                family.into_iter().filter(|open| (open.table, comparable(&open.key)) != own).collect();
            let changes = repaired + send_again(tx, &schema, &children, now_ms).map_err(sql)?;
            rejects.extend(children);
            settle(tx, &rejects, RejectState::Requeued, now_ms).map_err(sql)?;
            Ok(Requeued { rejects: rejects.len() as u64, changes })
        })
    }

    /// Logs what the rows of open rejects are now as new changes, parents before children; rows that are gone as
    /// deletes. What was rejected for want of them goes along. All or nothing.
    ///
    /// # Errors
    /// When one of the seqs is not that of an open reject, or its table is not in the schema; SQLite's.
    pub fn requeue(&mut self, which: Chosen<'_>, now_ms: i64) -> Result<Requeued> {
        let (file, schema) = (self.file().to_owned(), self.schema().clone());
        self.transaction(|tx| {
            let sql = |error| Error::sqlite(&file, "send the rows again", error);
            let rejects = with_children(tx, &schema, chosen(tx, &schema, &file, which)?).map_err(sql)?;
            let changes = send_again(tx, &schema, &rejects, now_ms).map_err(sql)?;
            settle(tx, &rejects, RejectState::Requeued, now_ms).map_err(sql)?;
            Ok(Requeued { rejects: rejects.len() as u64, changes })
        })
    }

    /// Gives open rejects up. They are kept, as discarded.
    ///
    /// # Errors
    /// When one of the seqs is not that of an open reject; SQLite's.
    pub fn discard_rejects(&mut self, seqs: &[u64], now_ms: i64) -> Result<()> {
        let file = self.file().to_owned();
        self.transaction(|tx| {
            for &seq in seqs {
                check_open(tx, &file, seq)?;
                set_state(tx, seq, RejectState::Discarded, now_ms)
                    .map_err(|error| Error::sqlite(&file, "discard the rejects", error))?;
            }
            Ok(())
        })
    }

    /// The question about rejects, and the news, for a server: the first open ones after seq `after`, and, of those
    /// this station made itself, the first that ceased to be open after `told`, a time and a seq; at most `limit` of
    /// either.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn rejects_to_ask(&self, after: u64, told: (i64, i64), limit: usize) -> Result<RejectsQuestion> {
        let read = || -> rusqlite::Result<RejectsQuestion> {
            let db = self.connection();
            let open = "SELECT seq FROM tidemark_rejects WHERE state = 'open' AND seq > ?1 ORDER BY seq LIMIT ?2";
            let mut open = db.prepare(open)?;
            let open = open.query_map((as_i64(after), limit as i64), |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()))?;
            let mut settled = db.prepare(
                "SELECT seq, state, resolved_at FROM tidemark_rejects WHERE state <> 'open' AND origin = 'station' AND (resolved_at, seq) > (?1, ?2) \
                 ORDER BY resolved_at, seq LIMIT ?3",
            )?;
            let mut rows = settled.query((told.0, told.1, limit as i64))?;
            let mut words = RejectsRequest { open: open.collect::<rusqlite::Result<_>>()?, settled: Vec::new() };
            let mut told = None;
            while let Some(row) = rows.next()? {
                let discarded = row.get::<_, String>(1)? == RejectState::Discarded.as_str();
                let fate = if discarded { RejectFate::Discarded } else { RejectFate::Superseded };
                words.settled.push(SettledReject { seq: row.get::<_, i64>(0)?.unsigned_abs(), fate });
                told = Some((row.get(2)?, row.get(0)?));
            }
            Ok(RejectsQuestion { words, told })
        };
        read().map_err(self.sqlite("read the rejects"))
    }

    /// Takes over what became upstream of rejects that are open here, of those that were `asked` about; returns how
    /// many are resolved and how many discarded. One that is forgotten there counts as discarded, and says so: whether
    /// its row is upstream, only a comparison tells.
    ///
    /// # Errors
    /// SQLite's; nothing is changed then.
    pub(crate) fn rejects_settled_upstream(
        &mut self,
        asked: &[u64],
        reply: &RejectsReply,
        now_ms: i64,
    ) -> Result<(u64, u64)> {
        let RejectsReply { settled, forgotten } = reply;
        let file = self.file().to_owned();
        self.transaction(|tx| {
            let (mut resolved, mut discarded) = (0, 0);
            let failed = |error| Error::sqlite(&file, "settle the rejects", error);
            for seq in forgotten {
                if !asked.contains(seq) || check_open(tx, &file, *seq).is_err() {
                    continue;
                }
                set_state(tx, *seq, RejectState::Discarded, now_ms).map_err(failed)?;
                let sql = "UPDATE tidemark_rejects SET message = message || ?2 WHERE seq = ?1";
                tx.execute(sql, (as_i64(*seq), FORGOTTEN)).map_err(failed)?;
                discarded += 1;
            }
            for SettledReject { seq, fate } in settled {
                if !asked.contains(seq) || check_open(tx, &file, *seq).is_err() {
                    continue;
                }
                let (state, count) = match fate {
                    RejectFate::Replayed | RejectFate::Superseded => (RejectState::Resolved, &mut resolved),
                    RejectFate::Discarded => (RejectState::Discarded, &mut discarded),
                };
                set_state(tx, *seq, state, now_ms).map_err(failed)?;
                *count += 1;
            }
            Ok((resolved, discarded))
        })
    }

    /// The open rejects that wait for the row of this one, over any number of generations, by seq.
    ///
    /// # Errors
    /// SQLite's.
    pub fn reject_children(&self, seq: u64) -> Result<Vec<u64>> {
        let sql = self.sqlite("read the rejects");
        let read = || {
            let Some(reject) = read_open(self.connection(), self.schema(), seq)? else { return Ok(Vec::new()) };
            let own = (reject.table, comparable(&reject.key));
            let family = with_children(self.connection(), self.schema(), vec![reject])?;
            let children = family.into_iter().filter(|open| (open.table, comparable(&open.key)) != own);
            Ok(children.map(|open| open.seq).collect())
        };
        read().map_err(sql)
    }
}

fn no_column(table: &Table, column: &str) -> Error {
    let known: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    Error::Schema(format!("the table {} has no column {column:?}; it has: {}", table.name, known.join(", ")))
}

fn check_open(db: &Connection, file: &str, seq: u64) -> Result<()> {
    let state: Option<String> = db
        .query_row("SELECT state FROM tidemark_rejects WHERE seq = ?1", [as_i64(seq)], |row| row.get(0))
        .optional()
        .map_err(|error| Error::sqlite(file, "read the rejects", error))?;
    match state.as_deref() {
        Some("open") => Ok(()),
        Some(state) => Err(RejectProblem::Settled { seq, state: state.to_owned() }.into()),
        None => Err(RejectProblem::Unknown { seq }.into()),
    }
}

fn as_i64(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// Reads `seq, tbl, key` rows; those of tables the schema does not have are left out.
fn read_rows(schema: &Schema, mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<Vec<Open>> {
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        let Value::Text(name) = row.get(1)? else { continue };
        if let Some(table) = schema.table_index(&name) {
            open.push(Open { seq: row.get::<_, i64>(0)?.unsigned_abs(), table, key: row.get(2)? });
        }
    }
    Ok(open)
}

fn read_open(db: &Connection, schema: &Schema, seq: u64) -> rusqlite::Result<Option<Open>> {
    let mut query = db.prepare("SELECT seq, tbl, key FROM tidemark_rejects WHERE seq = ?1 AND state = 'open'")?;
    Ok(read_rows(schema, query.query([as_i64(seq)])?)?.pop())
}

/// The open rejects that were chosen.
fn chosen(db: &Connection, schema: &Schema, file: &str, which: Chosen<'_>) -> Result<Vec<Open>> {
    let sql = |error| Error::sqlite(file, "read the rejects", error);
    let Chosen::Seqs(seqs) = which else {
        let mut query =
            db.prepare("SELECT seq, tbl, key FROM tidemark_rejects WHERE state = 'open' ORDER BY seq").map_err(sql)?;
        return read_rows(schema, query.query([]).map_err(sql)?).map_err(sql);
    };
    let mut found = Vec::new();
    for &seq in seqs {
        check_open(db, file, seq)?;
        let open = read_open(db, schema, seq).map_err(sql)?;
        found.push(open.ok_or_else(|| RejectProblem::NoTable { seq, schema: schema.name().to_owned() })?);
    }
    Ok(found)
}

/// All open rejects of the row of one.
fn of_row(db: &Connection, schema: &Schema, one: &Open) -> rusqlite::Result<Vec<Open>> {
    let mut query =
        db.prepare("SELECT seq, tbl, key FROM tidemark_rejects WHERE state = 'open' AND tbl = ?1 AND key IS ?2")?;
    let name = &schema.tables()[one.table].name;
    read_rows(schema, query.query((name, &one.key))?)
}

/// Marks the open rejects of a row as requeued: new changes of it are in the log.
pub(crate) fn requeue_row(
    db: &Connection,
    schema: &Schema,
    table: usize,
    key: impl Into<Value>,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let rejects = of_row(db, schema, &Open { seq: 0, table, key: key.into() })?;
    settle(db, &rejects, RejectState::Requeued, now_ms)
}

/// Rejects, all others of the same rows, and the open ones of rows that were rejected for want of them; in seq order.
fn with_children(db: &Connection, schema: &Schema, rejects: Vec<Open>) -> rusqlite::Result<Vec<Open>> {
    let mut found: BTreeMap<u64, Open> = BTreeMap::new();
    let mut rows = BTreeSet::new();
    let mut next = rejects;
    while let Some(open) = next.pop() {
        if rows.insert((open.table, comparable(&open.key))) {
            for (index, table) in schema.tables().iter().enumerate() {
                let references =
                    table.columns.iter().enumerate().filter(|(_, column)| column.references == Some(open.table));
                for (column, _) in references {
                    let mut children = db.prepare(&format!(
                        "SELECT seq, tbl, key FROM tidemark_rejects WHERE state = 'open' AND tbl = ?1 AND code = ?2 AND c{column} = ?3"
                    ))?;
                    let parent = RejectCode::Parent.as_str();
                    next.extend(read_rows(schema, children.query((&schema.tables()[index].name, parent, &open.key))?)?);
                }
            }
            next.extend(of_row(db, schema, &open)?);
        }
        found.insert(open.seq, open);
    }
    Ok(found.into_values().collect())
}

/// Logs the rows of rejects, given in seq order, as they are now, each once: parents before children, then deletes the
/// other way round.
fn send_again(db: &Connection, schema: &Schema, rejects: &[Open], now_ms: i64) -> rusqlite::Result<u64> {
    let mut newest: Vec<Vec<&Open>> = vec![Vec::new(); schema.tables().len()];
    let mut seen = BTreeSet::new();
    // The newest reject of a row stands for it: a delete is logged with its image.
    for open in rejects.iter().rev().filter(|open| seen.insert((open.table, comparable(&open.key)))) {
        newest[open.table].push(open);
    }
    let rows = schema.parents_first().iter().flat_map(|&table| newest[table].iter().rev().copied());
    let mut gone = Vec::new();
    let mut changes = 0;
    for open in rows {
        let table = &schema.tables()[open.table];
        let cs: Vec<String> = (0..table.columns.len()).map(|n| format!("c{n}")).collect();
        let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
        let (name, key) = (quote(&table.name), quote(&table.key_column().name));
        let mut log = db.prepare(&format!(
            "INSERT INTO tidemark_log (at, tbl, op, {}) SELECT ?1, '{}', '{}', {} FROM {name} WHERE {key} IS ?2",
            cs.join(", "),
            table.name,
            whole_row(table),
            columns.join(", ")
        ))?;
        match log.execute((now_ms, &open.key))? {
            0 => gone.push((open, cs.join(", "))),
            logged => changes += logged as u64,
        }
    }
    for (open, cs) in gone.into_iter().rev() {
        let mut log = db.prepare(&format!(
            "INSERT INTO tidemark_log (at, tbl, op, {cs}) SELECT ?1, tbl, 'D', {cs} FROM tidemark_rejects WHERE seq = ?2"
        ))?;
        changes += log.execute((now_ms, as_i64(open.seq)))? as u64;
    }
    Ok(changes)
}

/// Makes inserts of the updates in append tables that this transaction has logged after a seq: it mends rows that were
/// rejected, and upstream has none of them.
pub(crate) fn appended_since(db: &Connection, schema: &Schema, seq: u64) -> rusqlite::Result<()> {
    for table in schema.tables().iter().filter(|table| table.append) {
        let sql = "UPDATE tidemark_log SET op = 'I' WHERE seq > ?1 AND tbl = ?2 AND op = 'U'";
        db.execute(sql, (as_i64(seq), &table.name))?;
    }
    Ok(())
}

fn settle(db: &Connection, rejects: &[Open], state: RejectState, now_ms: i64) -> rusqlite::Result<()> {
    rejects.iter().try_for_each(|open| set_state(db, open.seq, state, now_ms))
}

fn set_state(db: &Connection, seq: u64, state: RejectState, now_ms: i64) -> rusqlite::Result<()> {
    let mut update = db.prepare("UPDATE tidemark_rejects SET state = ?2, resolved_at = ?3 WHERE seq = ?1")?;
    update.execute((as_i64(seq), state.as_str(), now_ms)).map(|_| ())
}
