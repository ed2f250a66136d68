//! Programs that write random rows of the schema [`VARIED`](crate::schemas::VARIED) into a station's file.

use anyhow::Result;
use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, TransactionBehavior, params, params_from_iter};

use crate::world::Dice;

/// Months that the rows lie in.
const MONTHS: u64 = 20;
/// 2024-01-03 04:05:06 UTC, where they begin, in seconds.
const FIRST_S: i64 = 1_704_254_706;

/// The number of rows of each table to write.
#[derive(Debug, Clone, Copy)]
pub struct Amounts {
    /// Rows of `site`.
    pub sites: u64,
    /// Rows of `reading`.
    pub readings: u64,
    /// Rows of `tag`.
    pub tags: u64,
    /// Rows of `event`.
    pub events: u64,
}

fn maybe(dice: &mut Dice, value: impl FnOnce(&mut Dice) -> Value) -> Value {
    if dice.below(5) == 0 { Value::Null } else { value(dice) }
}

fn uuid(dice: &mut Dice) -> Value {
    let (a, b) = (dice.next(), dice.next());
    Value::Text(tidemark_core::value::format_uuid(((u128::from(a) << 64) | u128::from(b)).to_be_bytes()))
}

fn text(dice: &mut Dice) -> Value {
    const WORDS: [&str; 8] = ["вода", "pond", "'", "Ёрш & Ко", "\\", "水", "a\tb", ""];
    let words: Vec<&str> = (0..dice.below(4)).map(|_| WORDS[dice.below(8) as usize]).collect();
    Value::Text(format!("{}{:x}", words.join(" "), dice.next()))
}

fn time(dice: &mut Dice) -> Value {
    let seconds = FIRST_S + dice.below(MONTHS * 30 * 86_400) as i64;
    let us = seconds * 1_000_000 + if dice.below(2) == 0 { 0 } else { dice.below(1_000_000) as i64 };
    let text = tidemark_core::timestamp::format(us);
    Value::Text(match dice.below(4) {
        0 => text.replace(' ', "T") + "Z",
        1 if us % 1_000_000 == 0 => text[..19].to_owned(),
        _ => text,
    })
}

fn real(dice: &mut Dice) -> Value {
    Value::Real(match dice.below(6) {
        0 => f64::from_bits(dice.next() & !(0x7ff << 52) | 0x3ff << 52),
        1 => 0.0,
        2 => -1e300,
        3 => f64::MIN_POSITIVE / 8.0,
        _ => dice.unit() * 80.0 - 40.0,
    })
}

fn some_id(tx: &Transaction<'_>, dice: &mut Dice) -> Result<Value> {
    let top: Option<i64> = tx.query_row("SELECT max(id) FROM site", [], |row| row.get(0))?;
    let Some(top) = top else { return Ok(Value::Null) };
    let wanted = 1 + dice.below(top as u64) as i64;
    let id = tx.query_row("SELECT min(id) FROM site WHERE id >= ?1", [wanted], |row| row.get::<_, Value>(0))?;
    Ok(maybe(dice, |_| id))
}

/// Inserts rows in one commit.
///
/// # Errors
/// SQLite's.
pub fn insert(file: &mut Connection, dice: &mut Dice, amounts: Amounts) -> Result<()> {
    let tx = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for _ in 0..amounts.sites {
        let parent = some_id(&tx, dice)?;
        let height = maybe(dice, real);
        tx.execute(
            "INSERT INTO site (name, parent_id, height) VALUES (?1, ?2, ?3)",
            params![text(dice), parent, height],
        )?;
    }
    for _ in 0..amounts.readings {
        let row = [
            some_id(&tx, dice)?,
            time(dice),
            maybe(dice, real),
            maybe(dice, |dice| Value::Integer(dice.next().cast_signed())),
            maybe(dice, text),
            maybe(dice, |dice| Value::Integer(dice.below(2) as i64)),
            maybe(dice, |dice| Value::Text(format!("{{ \"n\": {}, \"t\": \"\u{436}\"}}", dice.below(1000)))),
            maybe(dice, |dice| Value::Blob(dice.next().to_le_bytes()[..dice.below(9) as usize].to_vec())),
            maybe(dice, uuid),
            maybe(dice, time),
        ];
        let sql =
            "INSERT INTO reading (site_id, measured_at, temperature, count, note, ok, extra, raw, tag_uid, checked_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        tx.prepare_cached(sql)?.execute(params_from_iter(row))?;
    }
    for _ in 0..amounts.tags {
        let (site, raw) = (some_id(&tx, dice)?, maybe(dice, |dice| Value::Blob(dice.next().to_be_bytes().to_vec())));
        tx.execute(
            "INSERT INTO tag (uid, label, site_id, raw) VALUES (?1, ?2, ?3, ?4)",
            params![uuid(dice), maybe(dice, text), site, raw],
        )?;
    }
    for _ in 0..amounts.events {
        tx.execute(
            "INSERT INTO event (uid, at, what) VALUES (?1, ?2, ?3)",
            params![uuid(dice), time(dice), maybe(dice, text)],
        )?;
    }
    Ok(tx.commit()?)
}

/// Changes, moves and deletes some rows, in one commit.
///
/// # Errors
/// SQLite's.
pub fn edit(file: &mut Connection, dice: &mut Dice, edits: u64) -> Result<()> {
    let tx = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for _ in 0..edits {
        let at = dice.below(1 << 20) as i64;
        let some = |table: &str, key: &str| {
            format!("{key} = (SELECT {key} FROM {table} LIMIT 1 OFFSET {at} % (SELECT max(1, count(*)) FROM {table}))")
        };
        let (sql, value) = match dice.below(8) {
            0 => (format!("UPDATE site SET name = ?1 WHERE {}", some("site", "id")), text(dice)),
            1 => (format!("UPDATE reading SET temperature = ?1 WHERE {}", some("reading", "id")), real(dice)),
            2 => (format!("UPDATE reading SET measured_at = ?1 WHERE {}", some("reading", "id")), time(dice)),
            3 => (format!("UPDATE tag SET label = ?1 WHERE {}", some("tag", "uid")), text(dice)),
            4 => (format!("UPDATE reading SET note = ?1 WHERE {}", some("reading", "id")), Value::Null),
            5 => (format!("DELETE FROM reading WHERE ?1 IS NULL AND {}", some("reading", "id")), Value::Null),
            6 => (format!("DELETE FROM tag WHERE ?1 IS NULL AND {}", some("tag", "uid")), Value::Null),
            _ => (format!("UPDATE event SET at = ?1 WHERE {}", some("event", "uid")), time(dice)),
        };
        tx.execute(&sql, [value])?;
    }
    Ok(tx.commit()?)
}

/// Writes some rows that cannot be applied: the station refuses some, the server the others. Also breaks rows that are
/// upstream.
///
/// # Errors
/// SQLite's.
pub fn spoil(file: &mut Connection, dice: &mut Dice) -> Result<()> {
    let tx = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let at = dice.below(1 << 20) as i64;
    let some = |table: &str, key: &str| {
        format!("(SELECT {key} FROM {table} LIMIT 1 OFFSET {at} % (SELECT max(1, count(*)) FROM {table}))")
    };
    let sql = match dice.below(8) {
        0 => "INSERT INTO reading (measured_at, count) VALUES ('2025-02-02', 'many')".to_owned(),
        1 => "INSERT INTO reading (measured_at) VALUES ('yesterday')".to_owned(),
        2 => "INSERT INTO reading (measured_at) VALUES ('9999-01-01')".to_owned(),
        3 => "INSERT INTO tag (uid, site_id) VALUES (lower(hex(randomblob(4))) || '-0000-4000-8000-' || lower(hex(randomblob(6))), 4000000000)".to_owned(),
        4 => format!("UPDATE reading SET ok = 'perhaps' WHERE id = {}", some("reading", "id")),
        5 => format!("UPDATE tag SET raw = 'text' WHERE uid = {}", some("tag", "uid")),
        6 => format!("UPDATE reading SET measured_at = 'never' WHERE id = {}", some("reading", "id")),
        // Others hang on it: the server keeps it.
        _ => format!("DELETE FROM site WHERE id = {}", "(SELECT parent_id FROM site WHERE parent_id IS NOT NULL LIMIT 1)"),
    };
    tx.execute(&sql, [])?;
    Ok(tx.commit()?)
}
