//! The rows of a table that may go, as far as the file can say: old, nothing of theirs waiting or set aside, and
//! referenced by nothing.

use std::collections::HashSet;

use rusqlite::Connection;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::{Fingerprint, Schema, Table};
use tidemark_core::sqlite::quote;

use super::report::Kept;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lacking::Lacking;
use crate::log::last_seq;
use crate::meta;
use crate::pruned::record::PrunedRow;
use crate::rows::Rows;
use crate::store::Store;

/// Rows looked at at once.
const PIECE_ROWS: usize = 20_000;

/// The station and schema that a file is pruned as: when either changes meanwhile, pruning ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PrunedAs {
    pub(super) number: StationNumber,
    pub(super) fingerprint: Fingerprint,
}

/// Rows of one table, in the order of their keys.
pub(super) struct Piece {
    pub(super) rows: Vec<PrunedRow>,
    pub(super) kept: Kept,
    /// The last key looked at; `None` after the last row.
    pub(super) last: Option<i64>,
    /// Last seq of the log when the rows were read.
    pub(super) last_seq: u64,
}

/// A column that references a table's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    table: String,
    column: String,
}

impl Reference {
    /// Tells whether what is written to the column is in the log.
    pub(super) fn is_captured(&self, schema: &Schema) -> bool {
        schema.table(&self.table).is_some_and(|table| table.column_index(&self.column).is_some())
    }
}

/// Reads the rows after a key.
pub(super) fn choose(
    store: &mut Store,
    pruned_as: PrunedAs,
    index: usize,
    before_us: i64,
    after: i64,
) -> Result<Piece> {
    let (tx, file, catalog) = store.read()?;
    let sql = |error| Error::sqlite(file, "look for old rows", error);
    let meta = meta::read(&tx, file)?;
    check_same(file, catalog, &meta, pruned_as)?;
    let rows = Rows::new(&tx, file, catalog, &meta)?;
    let mut old = Vec::new();
    let last = rows.scan(index, (after, PIECE_ROWS), |id, found| {
        if let Some((identity, hash)) = found.filter(|(identity, _)| identity.time_us < before_us) {
            old.push(PrunedRow { id, identity, hash });
        }
    })?;
    let mut piece = Piece { rows: Vec::new(), kept: Kept::default(), last, last_seq: last_seq(&tx).map_err(sql)? };
    let (Some(first), Some(end)) = (old.first(), old.last()) else { return Ok(piece) };
    let span = (first.id, end.id);
    let table = &catalog.schema.tables()[index];
    let reasons = Reasons {
        pending: pending(&tx, catalog, table, 0, span).map_err(sql)?,
        rejected: rejected(&tx, table, span).map_err(sql)?,
        referenced: referenced(&tx, &references(&tx, &catalog.schema, &catalog.lacking, index).map_err(sql)?, span)
            .map_err(sql)?,
        newest: newest(&tx, table).map_err(sql)?,
    };
    for row in old {
        match reasons.against(row.id, &mut piece.kept) {
            true => {}
            false => piece.rows.push(row),
        }
    }
    Ok(piece)
}

/// Why rows of a span must stay.
struct Reasons {
    pending: HashSet<i64>,
    rejected: HashSet<i64>,
    referenced: HashSet<i64>,
    newest: Option<i64>,
}

impl Reasons {
    /// Tells whether a row must stay, and counts it then.
    fn against(&self, id: i64, kept: &mut Kept) -> bool {
        let count = if self.newest == Some(id) {
            &mut kept.newest
        } else if self.pending.contains(&id) {
            &mut kept.pending
        } else if self.rejected.contains(&id) {
            &mut kept.rejected
        } else if self.referenced.contains(&id) {
            &mut kept.referenced
        } else {
            return false;
        };
        *count += 1;
        true
    }
}

/// # Errors
/// When the file became another station or follows another schema since.
pub(super) fn check_same(file: &str, catalog: &Catalog, meta: &meta::Meta, pruned_as: PrunedAs) -> Result<()> {
    let number = meta.membership.as_ref().map(|membership| membership.number);
    if number == Some(pruned_as.number) && catalog.schema.fingerprint() == pruned_as.fingerprint {
        return Ok(());
    }
    Err(Error::Schema(format!(
        "{file}: became another station, or follows another schema, while it was pruned; what was pruned is written down, run the same command again"
    )))
}

/// The keys of a table's rows in a span whose changes after a seq are in the log.
pub(super) fn pending(
    db: &Connection,
    catalog: &Catalog,
    table: &Table,
    after: u64,
    span: (i64, i64),
) -> rusqlite::Result<HashSet<i64>> {
    let log = catalog.select_changes(table, after);
    if log.is_empty() {
        return Ok(HashSet::new());
    }
    ids(db, &format!("SELECT id FROM ({log}) WHERE typeof(id) = 'integer' AND id BETWEEN ?1 AND ?2"), span)
}

/// The keys of rows with a rejected change that is open, or was given up.
pub(super) fn rejected(db: &Connection, table: &Table, span: (i64, i64)) -> rusqlite::Result<HashSet<i64>> {
    let sql = format!(
        "SELECT key FROM tidemark_rejects WHERE tbl = '{}' AND state IN ('open', 'discarded') AND typeof(key) = 'integer' \
         AND key BETWEEN ?1 AND ?2",
        table.name
    );
    ids(db, &sql, span)
}

/// The keys that rows of any table reference.
pub(super) fn referenced(
    db: &Connection,
    references: &[Reference],
    span: (i64, i64),
) -> rusqlite::Result<HashSet<i64>> {
    let mut found = HashSet::new();
    for Reference { table, column } in references {
        let sql = format!(
            "SELECT {column} FROM {table} WHERE typeof({column}) = 'integer' AND {column} BETWEEN ?1 AND ?2",
            table = foreign(table),
            column = foreign(column)
        );
        found.extend(ids(db, &sql, span)?);
    }
    Ok(found)
}

fn ids(db: &Connection, sql: &str, span: (i64, i64)) -> rusqlite::Result<HashSet<i64>> {
    db.prepare_cached(sql)?.query_map(span, |row| row.get(0))?.collect()
}

/// The highest key of a table.
pub(super) fn newest(db: &Connection, table: &Table) -> rusqlite::Result<Option<i64>> {
    let (name, key) = (quote(&table.name), quote(&table.key_column().name));
    db.query_row(&format!("SELECT max({key}) FROM {name} WHERE typeof({key}) = 'integer'"), [], |row| row.get(0))
}

/// A name that another program chose, quoted.
fn foreign(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Every column that references a table's key: those of the schema, and those that any table of the file declares.
pub(super) fn references(
    db: &Connection,
    schema: &Schema,
    lacking: &Lacking,
    index: usize,
) -> rusqlite::Result<Vec<Reference>> {
    let mut references: Vec<Reference> = Vec::new();
    for child in lacking.tables(schema) {
        let absent = lacking.columns(child);
        for (at, column) in child.columns.iter().enumerate() {
            if column.references == Some(index) && !absent.contains(&at) {
                references.push(Reference { table: child.name.clone(), column: column.name.clone() });
            }
        }
    }
    for (table, column, _) in declared(db, &schema.tables()[index])? {
        let same =
            |known: &Reference| known.table.eq_ignore_ascii_case(&table) && known.column.eq_ignore_ascii_case(&column);
        if !references.iter().any(same) {
            references.push(Reference { table, column });
        }
    }
    Ok(references)
}

/// The foreign keys to a table that the file declares: table, column, and the column referenced where it is named.
fn declared(db: &Connection, table: &Table) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    let mut query = db.prepare(
        "SELECT child.name, of.\"from\", of.\"to\" FROM sqlite_schema AS child, pragma_foreign_key_list(child.name) AS of
         WHERE child.type = 'table' AND of.\"table\" = ?1 COLLATE NOCASE",
    )?;
    query.query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// Why nothing of a table can be pruned, if so.
pub(super) fn obstacle(store: &Store, index: usize) -> Result<Option<String>> {
    let table = &store.schema().tables()[index];
    let key = &table.key_column().name;
    let declared = declared(store.connection(), table).map_err(store.sqlite("read the foreign keys"))?;
    let other = declared.into_iter().find(|(.., to)| to.as_ref().is_some_and(|to| !to.eq_ignore_ascii_case(key)));
    Ok(other.map(|(child, column, _)| {
        format!(
            "{child}.{column} references another column of it than its key: which rows are referenced is not looked for"
        )
    }))
}
