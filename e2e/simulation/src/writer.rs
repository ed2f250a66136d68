//! The programs of a station: they write to its tables with plain SQL and know nothing of Tidemark.

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::clock::EPOCH_MS;
use super::dice::Draw as _;
use super::faults::FaultSet;
use super::schema::unwritable;
use tidemark_testkit::world::Dice;

/// Uuids that all stations draw from, so that they meet.
const UUIDS: i64 = 6;
/// Rows with one of these notes are written once and never again: what refuses them sees every image of them.
const NOT_POISON: &str = "(note IS NULL OR note NOT IN ('poison', 'too many tuples', 'slow', 'broken', 'panic'))";

/// What programs of this run may do.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// They write what cannot travel or be applied.
    pub hostile: bool,
    /// They roll back.
    pub rollback: bool,
    /// They write rows that only the database refuses: those with the notes of these faults ([`unwritable`]).
    pub poison: FaultSet,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was committed.
    Committed,
    /// The program rolled it back.
    RolledBack,
    /// The disk was full.
    Full,
    /// Another program held the lock.
    Locked,
}

impl Ended {
    /// One word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::RolledBack => "rolled back",
            Self::Full => "no room",
            Self::Locked => "locked",
        }
    }
}

/// Makes one transaction.
///
/// # Panics
/// When SQLite refuses in a way that no program would expect.
pub fn write(db: &mut Connection, dice: &mut Dice, manners: Manners) -> Ended {
    match transact(db, dice, manners) {
        Ok(ended) => ended,
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Ended::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ended::Locked,
            _ => panic!("a program's statement failed: {error}"),
        },
    }
}

fn transact(db: &mut Connection, dice: &mut Dice, manners: Manners) -> rusqlite::Result<Ended> {
    let mut tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for _ in 0..dice.between(1, 6) {
        if manners.rollback && dice.chance(0.2) {
            let point = tx.savepoint()?;
            statement(&point, dice, manners)?;
            // Dropped: what it did is undone.
            if dice.chance(0.5) {
                point.commit()?;
            }
        } else {
            statement(&tx, dice, manners)?;
        }
    }
    if manners.rollback && dice.chance(0.25) {
        tx.rollback()?;
        return Ok(Ended::RolledBack);
    }
    tx.commit()?;
    Ok(Ended::Committed)
}

/// Runs one statement; what a constraint of the table refuses is not written, and the program goes on.
fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    match db.execute(sql, params) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(()),
        done => done.map(|_| ()),
    }
}

fn statement(db: &Connection, dice: &mut Dice, manners: Manners) -> rusqlite::Result<()> {
    if manners.hostile && dice.chance(0.25) {
        return hostile(db, dice);
    }
    let unwritable = unwritable(manners.poison);
    if !unwritable.is_empty() && dice.chance(0.08) {
        let sql = "INSERT INTO reading (measured_at, note) VALUES (?1, ?2)";
        return run(db, sql, params![time(dice), *dice.pick(&unwritable)]);
    }
    match dice.below(24) {
        0..=2 => {
            let (name, parent) = (name(dice), some(db, dice, "site", "1")?);
            run(db, "INSERT INTO site (name, parent_id) VALUES (?1, ?2)", params![name, parent])
        }
        3..=6 => {
            for _ in 0..dice.between(1, 6) {
                let (site, note) = (some(db, dice, "site", "1")?, note(dice));
                if dice.chance(0.5) {
                    let sql = "INSERT INTO reading (site_id, level, note) VALUES (?1, ?2, ?3)";
                    run(db, sql, params![site, level(dice), note])?;
                } else {
                    let sql = "INSERT INTO reading (site_id, measured_at, level, note) VALUES (?1, ?2, ?3, ?4)";
                    run(db, sql, params![site, time(dice), level(dice), note])?;
                }
            }
            Ok(())
        }
        7 => {
            // Ousts whoever has the name, or the key.
            let id = if dice.chance(0.4) { some(db, dice, "site", "1")? } else { Value::Null };
            run(db, "INSERT OR REPLACE INTO site (id, name) VALUES (?1, ?2)", params![id, name(dice)])
        }
        8..=9 => {
            let site = some(db, dice, "site", "1")?;
            let sql = "INSERT INTO tag (uid, site_id, label) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (uid) DO UPDATE SET label = excluded.label, site_id = excluded.site_id";
            run(db, sql, params![uuid(dice), site, name(dice)])
        }
        10..=11 => {
            let reading = some(db, dice, "reading", NOT_POISON)?;
            let sql = "INSERT INTO sample (reading_id, count, raw) VALUES (?1, ?2, ?3)";
            run(db, sql, params![reading, dice.between(0, 1000), vec![dice.below(256) as u8; dice.below(20) as usize]])
        }
        12..=13 => {
            let id = some(db, dice, "reading", NOT_POISON)?;
            run(db, "UPDATE reading SET level = ?2, note = ?3 WHERE id = ?1", params![id, level(dice), note(dice)])
        }
        14 => {
            let id = some(db, dice, "reading", NOT_POISON)?;
            run(db, "UPDATE reading SET measured_at = ?2 WHERE id = ?1", params![id, time(dice)])
        }
        15 => {
            let (id, parent) = (some(db, dice, "site", "1")?, some(db, dice, "site", "1")?);
            let how = *dice.pick(&["UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"]);
            let sql = format!("{how} site SET name = ?2, parent_id = ?3 WHERE id = ?1");
            run(db, &sql, params![id, name(dice), parent])
        }
        16 => {
            let id = some(db, dice, "site", "1")?;
            run(db, "UPDATE OR REPLACE site SET id = ?2 WHERE id = ?1", params![id, dice.between(1, 40)])
        }
        17 => {
            let table = *dice.pick(&["site", "tag", "sample"]);
            let key = if table == "tag" { "uid" } else { "id" };
            let id = some(db, dice, table, "1")?;
            run(db, &format!("DELETE FROM {table} WHERE {key} = ?1"), [id])
        }
        18 => {
            let id = some(db, dice, "reading", NOT_POISON)?;
            run(db, "DELETE FROM reading WHERE id = ?1", [id])
        }
        19 => {
            for _ in 0..dice.between(1, 4) {
                let site = some(db, dice, "site", "1")?;
                run(
                    db,
                    "INSERT INTO visit (site_id, at, who) VALUES (?1, ?2, ?3)",
                    params![site, time(dice), name(dice)],
                )?;
            }
            Ok(())
        }
        20 => {
            // What an append table does not take.
            let id = some(db, dice, "visit", "1")?;
            match dice.below(3) {
                0 => run(db, "DELETE FROM visit WHERE id = ?1", [id]),
                1 => run(db, "UPDATE visit SET who = ?2 WHERE id = ?1", params![id, name(dice)]),
                _ => run(db, "UPDATE OR REPLACE visit SET id = ?2 WHERE id = ?1", params![id, dice.between(1, 40)]),
            }
        }
        21 => {
            // A key given by hand: of a row that is there, or of one that was deleted, or below others.
            let sql = "INSERT OR REPLACE INTO visit (id, at, who) VALUES (?1, ?2, ?3)";
            run(db, sql, params![dice.between(1, 40), time(dice), name(dice)])
        }
        22 => {
            // The very row once more.
            let id = some(db, dice, "visit", "1")?;
            run(db, "INSERT OR REPLACE INTO visit SELECT * FROM visit WHERE id = ?1", [id])
        }
        _ => {
            // Deleted and written again, at once.
            let id = some(db, dice, "sample", "1")?;
            if id == Value::Null {
                return Ok(());
            }
            run(db, "DELETE FROM sample WHERE id = ?1", [&id])?;
            run(db, "INSERT INTO sample (id, count) VALUES (?1, ?2)", params![id, dice.between(0, 1000)])
        }
    }
}

/// What SQLite takes and nobody else would.
fn hostile(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    db.pragma_update(None, "ignore_check_constraints", true)?;
    let done = hostile_statement(db, dice);
    db.pragma_update(None, "ignore_check_constraints", false)?;
    done
}

fn hostile_statement(db: &Connection, dice: &mut Dice) -> rusqlite::Result<()> {
    let key = |table: &str, id: &str| format!("INSERT OR IGNORE INTO {table} (id) VALUES ({id})");
    let reading = |columns: &str, values: &str| format!("INSERT INTO reading ({columns}) VALUES ({values})");
    let sql = match dice.below(16) {
        // Keys beyond what travels; the highest one given by hand would make all later ones follow it.
        0 => key("sample", one(dice, &["-5", "0", "-9223372036854775808"])),
        1 => "INSERT INTO sample (reading_id) VALUES (99999)".to_owned(),
        2 => "INSERT INTO sample (reading_id) VALUES (5000000000)".to_owned(),
        3 => "INSERT INTO tag (uid, site_id) VALUES ('00000000-0000-4000-8000-00000000ff01', -3)".to_owned(),
        4 => "INSERT INTO site (name) VALUES (x'00ff')".to_owned(),
        5 => reading("level", "'warm'"),
        6 => reading("level", one(dice, &["9e999", "-9e999", "50.001", "9007199254740993"])),
        7 => reading("note", "'a' || char(0) || 'b'"),
        8 => reading("note", "CAST(x'61ff62' AS TEXT)"),
        9 => reading("note", "printf('%.*c', 900, 'x')"),
        10 => reading(
            "measured_at",
            one(dice, &["'infinity'", "'yesterday'", "'2026-13-01 00:00:00'", "'2025-02-29 00:00:00'", "0", "NULL"]),
        ),
        11 => reading(
            "measured_at",
            one(dice, &["'1970-01-01 00:00:07'", "'1999-12-31 23:59:59'", "'2999-01-01 00:00:00'"]),
        ),
        12 => format!("INSERT OR IGNORE INTO tag (uid) VALUES ({})", dice.pick(&["'NOT-A-UUID'", "7", "x'07'"])),
        13 => format!("INSERT INTO sample (count) VALUES ({})", dice.pick(&["-1", "1001", "'7x'", "7.5"])),
        14 => "INSERT INTO tidemark_log (at, tbl, op) VALUES (0, 'nonsense', 'I')".to_owned(),
        _ => {
            // A row that could not travel is put right, or goes away.
            let id = some(db, dice, "reading", &format!("{NOT_POISON} AND typeof(measured_at) <> 'text'"))?;
            let sql =
                *dice.pick(&["DELETE FROM reading WHERE id = ?1", "UPDATE reading SET measured_at = ?2 WHERE id = ?1"]);
            return if sql.starts_with("DELETE") { run(db, sql, [id]) } else { run(db, sql, params![id, time(dice)]) };
        }
    };
    run(db, &sql, [])
}

/// The key of some row, or NULL when there is none.
fn some(db: &Connection, dice: &mut Dice, table: &str, condition: &str) -> rusqlite::Result<Value> {
    let key = if table == "tag" { "uid" } else { "id" };
    let count: i64 = db.query_row(&format!("SELECT count(*) FROM {table} WHERE {condition}"), [], |row| row.get(0))?;
    if count == 0 || dice.chance(0.05) {
        return Ok(Value::Null);
    }
    let sql = format!("SELECT {key} FROM {table} WHERE {condition} ORDER BY {key} LIMIT 1 OFFSET ?1");
    db.query_row(&sql, [dice.between(0, count - 1)], |row| row.get(0))
}

/// One of several words.
fn one(dice: &mut Dice, of: &[&'static str]) -> &'static str {
    dice.pick::<&'static str>(of)
}

fn name(dice: &mut Dice) -> String {
    format!("pegel {}", dice.below(30))
}

fn note(dice: &mut Dice) -> Value {
    match dice.below(4) {
        0 => Value::Null,
        1 => Value::Text("рыба 🐟".repeat(dice.below(10) as usize)),
        // Does not compress.
        _ => Value::Text((0..dice.below(12)).map(|_| format!("{:016x}", dice.next())).collect()),
    }
}

fn level(dice: &mut Dice) -> Value {
    match dice.below(8) {
        0 => Value::Null,
        1 => Value::Real(-0.0),
        2 => Value::Integer(dice.between(-50, 50)),
        _ => Value::Real((dice.unit() - 0.5) * 100.0),
    }
}

fn time(dice: &mut Dice) -> String {
    let us = EPOCH_MS * 1000 - dice.between(0, 40) * 86_400_000_000 + dice.between(0, 3) * 250_000;
    tidemark_core::timestamp::format(us)
}

fn uuid(dice: &mut Dice) -> String {
    format!("00000000-0000-4000-8000-{:012x}", dice.below(UUIDS as u64))
}
