//! How a station knows its server: kept in the file, beside the server's URL.
//!
//! A file that says nothing trusts the authorities of its system. What it says stands in a table of its own, which is
//! made when there is something to say: a program that does not know it connects as before, and is refused by its own
//! system's judgement.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidemark_core::joincode::Pin;

use crate::error::Result;
use crate::store::Store;

/// `CREATE TABLE` of what a server is known by.
const CREATE_TRUST: &str =
    "CREATE TABLE IF NOT EXISTS tidemark_trust (one INTEGER PRIMARY KEY CHECK (one = 1), pin BLOB, ca TEXT)";

/// What a server is known by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// An authority that the system trusts vouches for it.
    #[default]
    System,
    /// This certificate stands in the chain that it shows: its own, or its authority's.
    Pin(Pin),
    /// One of these authorities vouches for it, PEM; or one of these is its own certificate.
    Ca(String),
}

/// Reads what a file says.
fn read(db: &Connection) -> rusqlite::Result<Trust> {
    if !db.table_exists(None, "tidemark_trust")? {
        return Ok(Trust::System);
    }
    let kept = db
        .query_row("SELECT pin, ca FROM tidemark_trust", [], |row| {
            Ok((row.get::<_, Option<[u8; 32]>>(0)?, row.get::<_, Option<String>>(1)?))
        })
        .optional()?;
    Ok(match kept {
        Some((_, Some(ca))) => Trust::Ca(ca),
        Some((Some(pin), _)) => Trust::Pin(Pin(pin)),
        _ => Trust::System,
    })
}

/// Writes what a file says from now on.
pub(crate) fn write(db: &Connection, trust: &Trust) -> rusqlite::Result<()> {
    let (pin, ca) = match trust {
        Trust::System if !db.table_exists(None, "tidemark_trust")? => return Ok(()),
        Trust::System => return db.execute("DELETE FROM tidemark_trust", []).map(drop),
        Trust::Pin(pin) => (Some(pin.0), None),
        Trust::Ca(ca) => (None, Some(ca)),
    };
    db.execute_batch(CREATE_TRUST)?;
    let sql = "INSERT INTO tidemark_trust (one, pin, ca) VALUES (1, ?1, ?2) ON CONFLICT (one) DO UPDATE SET pin = ?1, ca = ?2";
    db.execute(sql, params![pin, ca]).map(drop)
}

impl Store {
    /// What the server is known by.
    ///
    /// # Errors
    /// SQLite's; a row that Tidemark did not write.
    pub fn trust(&self) -> Result<Trust> {
        read(self.connection()).map_err(self.sqlite("read what the server is known by"))
    }

    /// Keeps what the server is known by.
    ///
    /// # Errors
    /// SQLite's.
    pub fn keep_trust(&mut self, trust: &Trust) -> Result<()> {
        let file = self.file().to_owned();
        self.transaction(|tx| {
            write(tx, trust).map_err(|error| crate::Error::sqlite(&file, "keep what the server is known by", error))
        })
    }
}
