//! Capture: the log, and the triggers that append to it in the writer's own transaction.
//!
//! ```text
//! INSERT ─ BEFORE: would this row oust any? → tidemark_ousted ─ row written ─ AFTER: log D for each ousted, log I
//! UPDATE ─ BEFORE: the same when key or unique columns change  ─ row written ─ AFTER: log D for each ousted, log U
//!                                                           (or D old, I new when key or time changed)
//! DELETE ─ AFTER: log D, forget a note of the row
//! ```
//!
//! `INSERT OR REPLACE` and `UPDATE OR REPLACE` oust rows without firing delete triggers (unless a connection sets
//! `recursive_triggers`, which is not ours to set). So a BEFORE trigger notes the rows that share the new row's key or
//! a unique column, and the AFTER trigger, which fires only when the row was really written, logs a delete for those
//! that are gone. A table whose only unique thing is its key and which has no time column needs no note: its `I` over
//! an existing key replaces.
//!
//! When the statement is ignored, fails or turns into an upsert's update, its note is stale. It may stay: it can only
//! be logged as a delete when its row is gone, and **the row of a stale note is there**. So it was when the note became
//! stale, and whatever takes the row away takes the note along: a delete forgets it, an ousting notes the table's rows
//! anew, an update of the key clears the table's notes before, and a rollback restores both. A new row cannot have
//! the key of a stale note without ousting the note's row. Hence an insert need not look for stale notes.
//!
//! Only built-ins of SQLite 3.35 are used, no custom functions, so any program is captured.

use crate::schema::{Schema, Table};
use crate::sqlite::quote;

/// The log's table.
pub const LOG_TABLE: &str = "tidemark_log";
/// Notes of rows a statement is about to oust; empty between statements but for stale notes, whose rows are there.
pub const OUSTED_TABLE: &str = "tidemark_ousted";

/// The writer's clock in milliseconds since 1970 UTC, with built-ins of SQLite 3.35 (`unixepoch('subsec')` came with
/// 3.42). 1970 began 210866760000000 ms after the Julian epoch; what is cut off has half a millisecond added.
const NOW_MS: &str = "CAST(julianday() * 86400000.0 - 210866759999999.5 AS INTEGER)";

/// The forms that the triggers have had. A file keeps the form it was made with until a later program opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Up to 2026-11: each insert looks for stale notes, and a note clears those of all tables.
    First,
    /// The one that is made now.
    Current,
}

impl Form {
    /// All that no program makes any more.
    pub const EARLIER: [Self; 1] = [Self::First];

    const fn now_ms(self) -> &'static str {
        match self {
            Self::First => "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)",
            Self::Current => NOW_MS,
        }
    }
}

/// The columns of a unique index of a table besides its key, by name.
pub type UniqueColumns = Vec<String>;

fn c_columns(count: usize) -> String {
    (0..count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ")
}

/// `CREATE TABLE` of the log for a schema. The c-columns have no type, so that SQLite copies values exactly.
/// AUTOINCREMENT keeps seq from restarting when the log is trimmed to nothing.
#[must_use]
pub fn create_log(schema: &Schema) -> String {
    format!(
        "CREATE TABLE {LOG_TABLE} (seq INTEGER PRIMARY KEY AUTOINCREMENT, at, tbl, op, {})",
        c_columns(schema.columns_max())
    )
}

/// `CREATE TABLE` of the notes.
#[must_use]
pub fn create_ousted(schema: &Schema) -> String {
    format!("CREATE TABLE {OUSTED_TABLE} (tbl, {})", c_columns(schema.columns_max()))
}

/// Names of all triggers a table can have; not every table has each.
#[must_use]
pub fn trigger_names(table: &Table) -> Vec<String> {
    ["before_insert", "after_insert", "before_update", "after_update", "after_move", "after_delete"]
        .iter()
        .map(|when| trigger_name(table, when))
        .collect()
}

fn trigger_name(table: &Table, when: &str) -> String {
    format!("tidemark_{}_{when}", table.name)
}

/// The table's columns as a list of SQL, `prefix` before each. One at a place in `absent` is not in the file, and NULL.
#[must_use]
pub fn column_list(table: &Table, prefix: &str, absent: &[usize]) -> String {
    let columns = table.columns.iter().enumerate().map(|(at, column)| {
        if absent.contains(&at) { "NULL".to_owned() } else { format!("{prefix}{}", quote(&column.name)) }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The triggers of one table. `unique` are its unique indexes besides the key, `absent` the places of columns that the
/// file has not; tables made by `tidemark init` have none of either.
#[must_use]
pub fn create_triggers(table: &Table, unique: &[UniqueColumns], absent: &[usize]) -> Vec<String> {
    create_triggers_of(Form::Current, table, unique, absent)
}

/// [`create_triggers`] in one of the forms they have had.
#[must_use]
pub fn create_triggers_of(form: Form, table: &Table, unique: &[UniqueColumns], absent: &[usize]) -> Vec<String> {
    let now_ms = form.now_ms();
    let name = quote(&table.name);
    let key = quote(&table.key_column().name);
    let columns = |of: &str| column_list(table, &if of.is_empty() { String::new() } else { format!("{of}.") }, absent);
    let cs = c_columns(table.columns.len());
    let log = |op: &str, of: &str| {
        format!(
            "    INSERT INTO {LOG_TABLE} (at, tbl, op, {cs}) VALUES ({now_ms}, '{}', '{op}', {});\n",
            table.name,
            columns(of)
        )
    };
    let trigger = |when: &str, event: &str, condition: &str, body: &str| {
        let condition = if condition.is_empty() { String::new() } else { format!("WHEN {condition}\n") };
        format!("CREATE TRIGGER {} {event} ON {name}\n{condition}BEGIN\n{body}END", quote(&trigger_name(table, when)))
    };
    let notes_inserts = table.time.is_some() || !unique.is_empty();

    // Rows that share the new row's key, or all columns of a unique index: NULL never equals NULL there, as in the
    // index.
    let mut same: Vec<String> = vec![format!("{key} = NEW.{key}")];
    same.extend(
        unique.iter().map(|columns| {
            columns.iter().map(|c| format!("{0} = NEW.{0}", quote(c))).collect::<Vec<_>>().join(" AND ")
        }),
    );
    // The table's own notes; and a row without a key, which other programs' tables may have, is there, too.
    let (own, is) = match form {
        Form::First => ("1".to_owned(), "="),
        Form::Current => (format!("tbl = '{}'", table.name), "IS"),
    };
    let note = |clash: &str| {
        format!(
            "    DELETE FROM {OUSTED_TABLE} WHERE {own};\n    INSERT INTO {OUSTED_TABLE} (tbl, {cs}) SELECT '{}', {} FROM {name} WHERE {clash};\n",
            table.name,
            columns("")
        )
    };
    let ousts = |clash: &str| format!("EXISTS (SELECT 1 FROM {name} WHERE {clash})");
    let ousts_or_noted = |clash: &str| match form {
        Form::First => format!("{} OR EXISTS (SELECT 1 FROM {OUSTED_TABLE})", ousts(clash)),
        Form::Current => format!("{} OR EXISTS (SELECT 1 FROM {OUSTED_TABLE} WHERE {own})", ousts(clash)),
    };
    let key_c = format!("c{}", table.key);
    let gone = |replaced: &str| {
        format!(
            "    INSERT INTO {LOG_TABLE} (at, tbl, op, {cs}) SELECT {now_ms}, '{0}', 'D', {cs} FROM {OUSTED_TABLE}\n        WHERE tbl = '{0}' AND ({replaced}NOT EXISTS (SELECT 1 FROM {name} WHERE {key} {is} {OUSTED_TABLE}.{key_c}));\n    DELETE FROM {OUSTED_TABLE} WHERE {own};\n",
            table.name
        )
    };

    let mut triggers = Vec::new();
    if notes_inserts {
        let clash = same.join(" OR ");
        let condition = match form {
            Form::First => ousts_or_noted(&clash),
            Form::Current => ousts(&clash),
        };
        triggers.push(trigger("before_insert", "BEFORE INSERT", &condition, &note(&clash)));
    }
    // A row of the same key was replaced: upstream it may lie in another chunk, so its delete is logged before the
    // insert.
    let ousted_by_insert = if notes_inserts { gone(&format!("{key_c} = NEW.{key} OR ")) } else { String::new() };
    triggers.push(trigger("after_insert", "AFTER INSERT", "", &format!("{ousted_by_insert}{}", log("I", "NEW"))));

    // An update ousts only when it changes the key or a unique column to one that is taken. Stale notes are cleared
    // here, since its own row may have one, and has not its key any more after this.
    let changed = |columns: &[String]| {
        columns.iter().map(|c| format!("NEW.{0} IS NOT OLD.{0}", quote(c))).collect::<Vec<_>>().join(" OR ")
    };
    let mut movers = vec![table.key_column().name.clone()];
    movers.extend(unique.iter().flatten().cloned());
    let clash = format!("({}) AND {key} IS NOT OLD.{key}", same.join(" OR "));
    let condition = format!("({}) AND ({})", changed(&movers), ousts_or_noted(&clash));
    triggers.push(trigger("before_update", "BEFORE UPDATE", &condition, &note(&clash)));
    let mut place = vec![table.key_column().name.clone()];
    place.extend(table.time_column().map(|time| time.name.clone()));
    let moved = changed(&place);
    let ousted_by_update = gone("");
    let ousted_by_plain = if unique.is_empty() { "" } else { ousted_by_update.as_str() };
    triggers.push(trigger(
        "after_update",
        "AFTER UPDATE",
        &format!("NOT ({moved})"),
        &format!("{ousted_by_plain}{}", log("U", "NEW")),
    ));
    // The row that had the new key is gone although the key exists again: it is this row's now.
    let ousted_by_move = gone(&format!("{key_c} = NEW.{key} AND NEW.{key} IS NOT OLD.{key} OR "));
    triggers.push(trigger(
        "after_move",
        "AFTER UPDATE",
        &moved,
        &format!("{ousted_by_move}{}{}", log("D", "OLD"), log("I", "NEW")),
    ));
    // The row may have a stale note; and with `recursive_triggers` on, REPLACE fires this trigger for what it ousts:
    // the delete is logged here, the note is done with.
    let forget = format!("    DELETE FROM {OUSTED_TABLE} WHERE tbl = '{}' AND {key_c} {is} OLD.{key};\n", table.name);
    triggers.push(trigger("after_delete", "AFTER DELETE", "", &format!("{}{forget}", log("D", "OLD"))));
    triggers
}

/// Logs, as if just written, rows that were there before they were captured; `of` picks them, and may hold parameters.
/// In key order, so that a parent in the same table mostly comes first. `absent` as of [`create_triggers`].
#[must_use]
pub fn log_rows(table: &Table, op: char, of: &str, absent: &[usize]) -> String {
    format!(
        "INSERT INTO {LOG_TABLE} (at, tbl, op, {}) SELECT {NOW_MS}, '{name}', '{op}', {} FROM {} WHERE {of} ORDER BY {}",
        c_columns(table.columns.len()),
        column_list(table, "", absent),
        quote(&table.name),
        quote(&table.key_column().name),
        name = table.name,
    )
}

/// The function without arguments that [`log_rows_numbered`] takes each row's seq from, in turn.
pub const PLACE_FUNCTION: &str = "tidemark_place";

/// The same for at most `?2` rows with a rowid above `?1`, in the order of the rowid, each under the next number of
/// [`PLACE_FUNCTION`], which the connection must have.
#[must_use]
pub fn log_rows_numbered(table: &Table, of: &str, absent: &[usize]) -> String {
    format!(
        "INSERT INTO {LOG_TABLE} (seq, at, tbl, op, {}) SELECT {PLACE_FUNCTION}(), {NOW_MS}, '{name}', 'I', {} FROM {} \
         WHERE rowid > ?1 AND {of} ORDER BY rowid LIMIT ?2",
        c_columns(table.columns.len()),
        column_list(table, "", absent),
        quote(&table.name),
        name = table.name,
    )
}

/// The log's letter for a row that is logged as it is now, whatever became of it before: an append table takes inserts
/// only, and upstream one of a row that is there already, the same, changes nothing.
#[must_use]
pub const fn whole_row(table: &Table) -> char {
    if table.append { 'I' } else { 'U' }
}

/// Logs a row once more, as it is now, as a change of the whole row: `?1` is its key.
#[must_use]
pub fn log_row(table: &Table, absent: &[usize]) -> String {
    log_rows(table, whole_row(table), &format!("{} = ?1", quote(&table.key_column().name)), absent)
}

/// Logs the delete of a row that this file does not have: `?1` is its key and, in a table with a time column, `?2` its
/// time.
#[must_use]
pub fn log_delete(table: &Table) -> String {
    let columns: Vec<String> = table.identity().map(|at| format!("c{at}")).collect();
    let values: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    format!(
        "INSERT INTO {LOG_TABLE} (at, tbl, op, {}) VALUES ({NOW_MS}, '{}', 'D', {})",
        columns.join(", "),
        table.name,
        values.join(", ")
    )
}
