//! Capture on a real file: derives the triggers, checks them at open, and repairs what other programs changed.
//!
//! The triggers depend on the tables' unique indexes, which programs may add or drop. A tool that rebuilds a table
//! (copy, drop, rename) takes its triggers along: they are made anew, and the caller is told that changes in between
//! were not captured. Triggers in a form that earlier programs made capture all the same: they are made anew without a
//! word.

use rusqlite::{Connection, OptionalExtension as _};
use tidemark_core::amount::count_is;
use tidemark_core::capture::{Form, OUSTED_TABLE, UniqueColumns, create_triggers_of, log_rows, trigger_names};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;

use crate::error::{Error, Result};
use crate::lacking::{Lacking, absent_of, columns_of};

/// A repair of capture on one table, made when a file was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Its unique indexes had changed; the triggers follow them now.
    Indexes {
        /// The table.
        table: String,
    },
    /// Its triggers were gone or altered; changes made meanwhile may be missing in the log.
    Triggers {
        /// The table.
        table: String,
    },
    /// The program has made what an attached file lacked; it is captured from now on.
    Appeared {
        /// The table, or `table.column`.
        name: String,
        /// Changes logged for what it holds already.
        logged: u64,
    },
}

impl std::fmt::Display for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Indexes { table } => {
                write!(f, "table {table}: its unique indexes have changed; capture follows them now")
            }
            Self::Triggers { table } => write!(
                f,
                "table {table}: the capture triggers were missing or altered and are made anew; rows written in between are not in the \
                 log: write them once more, with an UPDATE that sets a column to itself"
            ),
            Self::Appeared { name, logged } => {
                write!(
                    f,
                    "{name} is there now and captured; {} logged for the rows that have it already",
                    count_is(*logged, "change")
                )
            }
        }
    }
}

/// The unique indexes of a table besides its key.
///
/// # Errors
/// When one is over expressions, a part of the rows or another collation: what such an index ousts, triggers cannot
/// foresee.
pub(crate) fn unique_indexes(db: &Connection, file: &str, table: &Table) -> Result<Vec<UniqueColumns>> {
    let sql = |error| Error::sqlite(file, "read the indexes of a table", error);
    let unsupported = |index: &str, what: &str| Error::Tables {
        file: file.to_owned(),
        detail: format!(
            "table {}: the unique index {index} {what}; rows that INSERT OR REPLACE ousts through it could not be captured. \
             Make it a plain unique index over columns, or drop it",
            table.name
        ),
    };
    let mut list = db
        .prepare("SELECT name, partial FROM pragma_index_list(?1) WHERE \"unique\" = 1 ORDER BY name")
        .map_err(sql)?;
    let indexes = list
        .query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<(String, bool)>>>)
        .map_err(sql)?;
    let mut unique = Vec::new();
    for (index, partial) in indexes {
        let mut info =
            db.prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno").map_err(sql)?;
        let columns = info
            .query_map([&index], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<(Option<String>, String)>>>)
            .map_err(sql)?;
        if partial {
            return Err(unsupported(&index, "covers a part of the rows only (WHERE)"));
        }
        if columns.iter().any(|(_, collation)| !collation.eq_ignore_ascii_case("binary")) {
            return Err(unsupported(&index, "has a collation other than BINARY"));
        }
        let names: Option<UniqueColumns> = columns.into_iter().map(|(name, _)| name).collect();
        let names = names.ok_or_else(|| unsupported(&index, "is over an expression"))?;
        // The key itself, whether by PRIMARY KEY or by an index somebody added beside it.
        let is_key = matches!(names.as_slice(), [name] if *name == table.key_column().name);
        if !is_key && let Err(at) = unique.binary_search(&names) {
            unique.insert(at, names);
        }
    }
    Ok(unique)
}

/// The triggers a table should have; none while the file lacks it. What it may lack, [`check_tables`] has checked.
pub(crate) fn derived(db: &Connection, file: &str, table: &Table) -> Result<Vec<String>> {
    derived_of(Form::Current, db, file, table)
}

/// [`derived`] in one of the forms that triggers have had.
fn derived_of(form: Form, db: &Connection, file: &str, table: &Table) -> Result<Vec<String>> {
    let there = columns_of(db, &table.name).map_err(|error| Error::sqlite(file, "read the tables' columns", error))?;
    let Some(there) = there else { return Ok(Vec::new()) };
    #[allow(unused_mut)] // in a browser
    let mut triggers = create_triggers_of(form, table, &unique_indexes(db, file, table)?, &absent_of(table, &there));
    #[cfg(not(target_arch = "wasm32"))]
    if crate::pruned::record::has_rows_of(db, table)
        .map_err(|error| Error::sqlite(file, "read what was pruned", error))?
    {
        triggers.extend(crate::pruned::record::guards(table));
    }
    Ok(triggers)
}

/// The names of all triggers of ours a table can have; not every table has each.
pub(crate) fn names(table: &Table) -> Vec<String> {
    #[allow(unused_mut)] // in a browser
    let mut names = trigger_names(table);
    #[cfg(not(target_arch = "wasm32"))]
    names.extend(crate::pruned::record::guard_names(table));
    names
}

/// The triggers of ours a table has, in the order of [`names`].
fn existing(db: &Connection, table: &Table) -> rusqlite::Result<Vec<String>> {
    let mut query = db.prepare(
        "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1 AND tbl_name = ?2 COLLATE NOCASE",
    )?;
    let mut found = Vec::new();
    for name in names(table) {
        found.extend(query.query_row([&name, &table.name], |row| row.get::<_, String>(0)).optional()?);
    }
    Ok(found)
}

/// The form in which a table has exactly the derived triggers; `None` when it has others.
fn form_of(db: &Connection, file: &str, table: &Table) -> Result<Option<Form>> {
    let has = existing(db, table).map_err(|error| Error::sqlite(file, "read the triggers", error))?;
    for form in [Form::Current].into_iter().chain(Form::EARLIER) {
        if same(&has, &derived_of(form, db, file, table)?) {
            return Ok(Some(form));
        }
    }
    Ok(None)
}

/// Tells whether every table has exactly the derived triggers, in the form that is made now.
pub(crate) fn is_current(db: &Connection, file: &str, schema: &Schema) -> Result<bool> {
    for table in schema.tables() {
        if form_of(db, file, table)? != Some(Form::Current) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells whether every table has exactly the derived triggers, in whatever form: then all changes are captured.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn is_intact(db: &Connection, file: &str, schema: &Schema) -> Result<bool> {
    for table in schema.tables() {
        if form_of(db, file, table)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|sql| b.contains(sql))
}

/// Makes anew the triggers of tables whose triggers are not the derived ones, or those of an earlier form: the latter
/// is no repair. To be called inside a write transaction.
pub(crate) fn repair(db: &Connection, file: &str, schema: &Schema) -> Result<Vec<Repair>> {
    let sql = |error| Error::sqlite(file, "repair the capture triggers", error);
    let mut repairs = Vec::new();
    for table in schema.tables() {
        let form = form_of(db, file, table)?;
        if form == Some(Form::Current) {
            continue;
        }
        let has = existing(db, table).map_err(sql)?;
        let appeared = appeared(db, file, table)?;
        for name in names(table) {
            db.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", quote(&name))).map_err(sql)?;
        }
        for trigger in derived(db, file, table)? {
            db.execute_batch(&trigger).map_err(sql)?;
        }
        // Stale ones, whose rows may have gone unseen; with another schema, their columns may be others, too.
        db.execute(&format!("DELETE FROM {OUSTED_TABLE} WHERE tbl = ?1"), [&table.name]).map_err(sql)?;
        if !appeared.is_empty() {
            repairs.extend(appeared);
            continue;
        }
        if form.is_some() {
            continue;
        }
        // Triggers that log every insert, update and delete were there all the time: only what they oust has changed.
        let logged = |when: &str| {
            let name = format!("CREATE TRIGGER {}", quote(&format!("tidemark_{}_{when}", table.name)));
            has.iter().any(|sql| sql.starts_with(&name) && sql.contains("INSERT INTO tidemark_log"))
        };
        let table_name = table.name.clone();
        repairs.push(if ["after_insert", "after_update", "after_move", "after_delete"].into_iter().all(logged) {
            Repair::Indexes { table: table_name }
        } else {
            Repair::Triggers { table: table_name }
        });
    }
    Ok(repairs)
}

/// Logs what the file lacked and has now: a table's rows, or those with a value in a new column; it lacks them no more.
fn appeared(db: &Connection, file: &str, table: &Table) -> Result<Vec<Repair>> {
    let sql = |error| Error::sqlite(file, "capture what the file lacked", error);
    let lacking = Lacking::read(db, file)?;
    if cfg!(target_arch = "wasm32") || lacking.is_empty() {
        return Ok(Vec::new());
    }
    let Some(there) = columns_of(db, &table.name).map_err(sql)? else { return Ok(Vec::new()) };
    let absent = absent_of(table, &there);
    let mut now = lacking.columns(table);
    now.retain(|at| !absent.contains(at));
    if now.is_empty() {
        return Ok(Vec::new());
    }
    let (op, of, names) = if lacking.has(table) {
        let name = |at: &usize| table.columns[*at].name.as_str();
        let is_set = |at: &usize| format!("{} IS NOT NULL", quote(name(at)));
        let of: Vec<String> = now.iter().map(is_set).collect();
        ('U', of.join(" OR "), now.iter().map(|at| format!("{}.{}", table.name, name(at))).collect())
    } else {
        ('I', "1".to_owned(), vec![table.name.clone()])
    };
    let logged = db.execute(&log_rows(table, op, &of, &absent), []).map_err(sql)? as u64;
    db.execute("DELETE FROM tidemark_lacking WHERE tbl = ?1", [&table.name]).map_err(sql)?;
    for at in absent {
        crate::lacking::note(db, &table.name, Some(&table.columns[at].name)).map_err(sql)?;
    }
    Ok(names.into_iter().map(|name| Repair::Appeared { name, logged }).collect())
}

/// Checks that the tables have the schema's columns, but for what the file never had.
pub(crate) fn check_tables(db: &Connection, file: &str, schema: &Schema) -> Result<()> {
    let lacking = Lacking::read(db, file)?;
    for table in schema.tables() {
        let there = columns_of(db, &table.name);
        let columns =
            there.map_err(|error| Error::sqlite(file, "read the tables' columns", error))?.unwrap_or_default();
        if columns.is_empty() && !lacking.has(table) {
            continue;
        }
        let known = lacking.columns(table);
        let missing: Vec<&str> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(at, _)| !known.contains(at))
            .map(|(_, column)| column.name.as_str())
            .filter(|name| !columns.iter().any(|column| column.eq_ignore_ascii_case(name)))
            .collect();
        if columns.is_empty() || !missing.is_empty() {
            let what = if columns.is_empty() {
                format!("the table {} of the schema {} is gone", table.name, schema.name())
            } else {
                format!("the table {} has lost these columns of the schema: {}", table.name, missing.join(", "))
            };
            return Err(Error::Lost { file: file.to_owned(), what });
        }
    }
    Ok(())
}
