//! The formats a station's file has had, and the way from each to the next. A file is brought up to date when it is
//! opened, in one transaction; its rows and its log stay as they are. `e2e/golden` keeps files of every format.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tidemark_core::schema::Schema;

use crate::error::{Error, Result};
use crate::lineage::{CREATE_LINEAGE, first_bounds};
use crate::{meta, rejects};

/// The format of the files this build makes.
pub const FORMAT: i64 = 2;

/// The format of a file that was pruned: a program that does not know what that means would delete the pruned rows
/// upstream when it repairs, so it must refuse the file.
pub const PRUNED_FORMAT: i64 = 3;

/// The newest format this build reads. Browsers never prune.
const NEWEST: i64 = if cfg!(target_arch = "wasm32") { FORMAT } else { PRUNED_FORMAT };

/// `CREATE TABLE` of the schemas a file followed before its current one, each with the last seq captured under it.
pub(crate) const CREATE_SCHEMAS: &str =
    "CREATE TABLE tidemark_schema (upto INTEGER PRIMARY KEY, toml TEXT NOT NULL, fingerprint TEXT NOT NULL)";

/// The format number, checked; `None` when the file is no station's.
pub(crate) fn check(db: &Connection, file: &str) -> Result<Option<i64>> {
    let found = meta::read_format(db).map_err(|error| Error::sqlite(file, "read the file's format", error))?;
    match found {
        Some(found) if found > NEWEST => Err(Error::Newer { file: file.to_owned(), found, known: NEWEST }),
        Some(found) if found < 1 => {
            Err(Error::StationRow { file: file.to_owned(), detail: format!("format {found} never existed") })
        }
        found => Ok(found),
    }
}

/// Brings an older file to [`FORMAT`]: all steps, or none.
pub(crate) fn upgrade(db: &mut Connection, file: &str) -> Result<()> {
    let sql = |error| Error::sqlite(file, "bring the file to the current format", error);
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    // Again, now that no other process can be at it.
    let Some(found) = check(&tx, file)? else { return Ok(()) };
    for from in found..FORMAT {
        let schema = meta::read_schema(&tx, file)?;
        step(&tx, from, &schema).map_err(sql)?;
    }
    meta::write::raise_format(&tx, FORMAT).map_err(sql)?;
    tx.commit().map_err(sql)
}

/// The step from one format to the next.
fn step(tx: &Transaction<'_>, from: i64, schema: &Schema) -> rusqlite::Result<()> {
    match from {
        1 => {
            tx.execute_batch(CREATE_SCHEMAS)?;
            tx.execute_batch(CREATE_LINEAGE)?;
            first_bounds(tx, schema)?;
            rejects::upgrade_to_2(tx, schema)
        }
        _ => Ok(()),
    }
}
