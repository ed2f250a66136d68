//! After a round: does every side hold what the journals say, each row once, and do the sides' books agree?

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::ColumnType;

use super::books::{Kept, StationBooks, json_cell, orphans, upstream_cursor, upstream_rejects};
use super::ledger::{Ledger, Rejected};
use crate::compare::{BLOCK, Cell, Upstream, differ, station_rows};

/// Differences a message shows.
const SHOWN_MAX: usize = 20;

/// A station to check.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its number.
    pub number: u32,
    /// Its file.
    pub file: &'a Path,
    /// What must be where.
    pub ledger: &'a Ledger,
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Rows that had to be upstream, and were.
    pub rows: u64,
    /// Rejects that had to be on both sides, and were.
    pub rejects: u64,
}

/// Checks stations that have drained, and the upstream that holds them and nothing else.
///
/// # Errors
/// What is wrong, in at most a screenful.
pub fn check(upstream: &Upstream, schema: &Schema, subjects: &[Subject<'_>]) -> Result<Checked> {
    let mut wrong = Vec::new();
    let mut checked = Checked::default();
    for subject in subjects {
        check_books(upstream, schema, subject, &mut wrong)?;
        checked.rejects += subject.ledger.rejected.len() as u64;
    }
    for (index, table) in schema.tables().iter().enumerate() {
        let mut expected = 0;
        for &Subject { number, file, ledger } in subjects {
            differ(table, number, &ledger.here(index), "on the station", &station_rows(file, table)?, &mut wrong);
            let there = ledger.there(index);
            differ(table, number, &there, "upstream", &upstream.rows(schema, table, number)?, &mut wrong);
            expected += there.len() as u64;
        }
        // Rows of stations that do not exist belong to nobody, and show here.
        let count = upstream.count(schema, table)?;
        if count != expected {
            wrong.push(format!("{}: {count} rows upstream, {expected} should be", table.name));
        }
        checked.rows += expected;
        for (column, parent) in
            table.columns.iter().enumerate().filter_map(|(at, column)| Some((at, column.references?)))
        {
            let orphans = orphans(upstream, schema, table, column, &schema.tables()[parent])?;
            if orphans > 0 {
                wrong.push(format!("{}.{}: {orphans} orphans upstream", table.name, table.columns[column].name));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(checked);
    }
    let more = wrong.len().saturating_sub(SHOWN_MAX);
    wrong.truncate(SHOWN_MAX);
    bail!("not what the writers were told ({more} more):\n{}", wrong.join("\n"))
}

fn check_books(upstream: &Upstream, schema: &Schema, subject: &Subject<'_>, wrong: &mut Vec<String>) -> Result<()> {
    let &Subject { number, file, ledger } = subject;
    let books = StationBooks::read(file, schema)?;
    let mut note = |text: String| wrong.push(format!("station {number}: {text}"));
    if books.integrity != "ok" {
        note(format!("integrity_check of its file: {}", books.integrity));
    }
    if books.waiting > 0 {
        note(format!("{} changes are still in its log", books.waiting));
    }
    if books.last_seq != ledger.last_seq {
        note(format!("its log has numbered {} changes, its writers made {}", books.last_seq, ledger.last_seq));
    }
    if books.cursor.seq != books.last_seq {
        note(format!("its tidemark is {} of {} changes, and its log empty", books.cursor.seq, books.last_seq));
    }
    match upstream_cursor(upstream, number)? {
        None => note("upstream has no cursor of it".to_owned()),
        Some(cursor) if cursor.seq != books.cursor.seq => {
            note(format!("its tidemark is {}, the one upstream {}", books.cursor.seq, cursor.seq));
        }
        Some(cursor) if cursor.chain != books.cursor.chain => {
            note(format!("at change {} its chain is not the one upstream", cursor.seq));
        }
        Some(_) => {}
    }
    let there = upstream_rejects(upstream, number)?;
    for seq in books.rejects.keys().chain(there.keys()).filter(|seq| !ledger.rejected.contains_key(seq)) {
        note(format!("change {seq} was rejected, and nothing is wrong with it"));
    }
    for (seq, expected) in &ledger.rejected {
        let what = format!("change {seq} ({:?} {}, {})", expected.op, expected.table, expected.code);
        match books.rejects.get(seq) {
            None => note(format!("{what} is not among its rejects")),
            Some(kept) => {
                let image = kept.image == expected.row;
                note_unlike(kept, expected, image, &what, "on the station", &mut note);
            }
        }
        match there.get(seq) {
            None => note(format!("{what} is not among the rejects upstream")),
            Some(kept) => {
                // What the station refused has its image there.
                let image = kept.origin == "station"
                    || has_image(schema, number, expected, kept.image.as_deref()).with_context(|| what.clone())?;
                note_unlike(kept, expected, image, &what, "upstream", &mut note);
            }
        }
    }
    Ok(())
}

/// Notes in what a reject differs from what is expected.
fn note_unlike<I>(
    kept: &Kept<I>,
    expected: &Rejected,
    image: bool,
    what: &str,
    place: &str,
    note: &mut impl FnMut(String),
) {
    // The ledger has one word for a row that is not there; the product says too when that row's own change was
    // rejected.
    let code = if kept.code == "parent" { "reference" } else { kept.code.as_str() };
    if (code, kept.origin.as_str()) != (expected.code, expected.origin) || kept.table != expected.table {
        note(format!("{what} was rejected {place} as {} of {} by the {}", kept.code, kept.table, kept.origin));
    }
    if !image {
        note(format!("{what}: its image {place} is not the row"));
    }
}

/// Whether a reject's JSON is the row: its key, and of every column it has the value. Only a delete may leave columns
/// out.
fn has_image(schema: &Schema, station: u32, expected: &Rejected, image: Option<&str>) -> Result<bool> {
    let Some(image) = image else { return Ok(false) };
    let table = schema.table(&expected.table).context("BUG: the ledger knows its tables")?;
    let image: serde_json::Map<String, serde_json::Value> = serde_json::from_str(image)?;
    let complete = expected.op == super::journal::Op::D || image.len() == table.columns.len();
    let equal = table.columns.iter().enumerate().all(|(at, column)| {
        let Some(value) = image.get(&column.name) else { return at != table.key };
        let Some(cell) = json_cell(value) else { return false };
        match (&expected.row[at], cell) {
            (Cell::Integer(local), Cell::Integer(id)) if is_id(table, at) => id == local + i64::from(station) * BLOCK,
            // Not every JSON reader keeps the last bit.
            (Cell::Real(a), b) if column.ty == ColumnType::Real => match b {
                Cell::Real(b) => is_near(f64::from_bits(*a), f64::from_bits(b)),
                Cell::Integer(b) => is_near(f64::from_bits(*a), b as f64),
                _ => false,
            },
            (a, b) => *a == b,
        }
    });
    Ok(complete && equal)
}

fn is_id(table: &Table, column: usize) -> bool {
    table.columns[column].ty == ColumnType::Integer
        && (column == table.key || table.columns[column].references.is_some())
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() <= a.abs() * f64::EPSILON
}
