//! Errors of a station's file. Each says what happened and where, and no command: the edge knows those, and adds which
//! one helps.

use std::fmt;

use thiserror::Error;
use tidemark_core::amount::count_with;

/// An error of the store.
#[derive(Debug, Error)]
pub enum Error {
    /// There is no such file.
    #[error("{file}: no such file")]
    Missing {
        /// Where.
        file: String,
    },
    /// The folder the file should be in does not exist.
    #[error("{file}: its folder does not exist")]
    FolderMissing {
        /// Where.
        file: String,
    },
    /// The file is something else.
    #[error("{file}: not an SQLite database")]
    NotSqlite {
        /// Where.
        file: String,
    },
    /// An SQLite database without Tidemark's tables.
    #[error("{file}: an SQLite database, but not a Tidemark file (it has no table tidemark_station)")]
    NotTidemark {
        /// Where.
        file: String,
    },
    /// `init` over a file that is one already.
    #[error("{file}: a Tidemark file already, of schema {schema} version {version}; nothing was changed")]
    AlreadyTidemark {
        /// Where.
        file: String,
        /// Name of its schema.
        schema: String,
        /// And its version.
        version: u32,
    },
    /// `init` where tables of these names exist.
    #[error("{file}: has tables of these names already: {tables}; nothing was changed")]
    TablesExist {
        /// Where.
        file: String,
        /// Their names.
        tables: String,
    },
    /// Written by a later version of Tidemark.
    #[error(
        "{file}: written by a newer Tidemark (file format {found}, this program knows up to {known}); upgrade this program"
    )]
    Newer {
        /// Where.
        file: String,
        /// The file's format number.
        found: i64,
        /// The newest this build reads.
        known: i64,
    },
    /// The file, or the folder it is in, cannot be written.
    #[error("{file}: read-only; allow this user to write the file and its folder (SQLite keeps its journal beside it)")]
    ReadOnly {
        /// Where.
        file: String,
    },
    /// It cannot be read without rights that this user has not.
    #[error("{file}: cannot be read: {detail}")]
    Unreadable {
        /// Where.
        file: String,
        /// The obstacle, and what to do.
        detail: String,
    },
    /// The file that was named as a copy to put back is none.
    #[error("{file}: {detail}. Nothing was changed")]
    NoCopy {
        /// Where.
        file: String,
        /// The thing that it is instead.
        detail: &'static str,
    },
    /// Everybody on the machine can read the file, which holds the station's token, and its mode cannot be changed.
    #[error(
        "{file}: every user of this machine can read it, and it is to hold the station's token; its mode cannot be changed ({detail}). Let its owner \
         run `chmod o= {file}`, then try again"
    )]
    Exposed {
        /// Where.
        file: String,
        /// Why not.
        detail: String,
    },
    /// Another program holds the write lock for longer than we wait.
    #[error("{file}: locked by another program; end the transaction it left open, then try again")]
    Locked {
        /// Where.
        file: String,
    },
    /// There is no room for the file to grow.
    #[error("{file}: the disk is full; make room on it. Nothing is lost, and it goes on as soon as there is room")]
    Full {
        /// Where.
        file: String,
    },
    /// SQLite finds the file damaged.
    #[error(
        "{file}: the database is damaged ({detail}); keep the file, copy what is readable with `sqlite3 FILE .recover`"
    )]
    Corrupt {
        /// Where.
        file: String,
        /// SQLite's words.
        detail: String,
    },
    /// Tidemark's own row in the file is not what Tidemark wrote.
    #[error(
        "{file}: the table tidemark_station is damaged: {detail}; restore the file from a backup, and do not edit that table"
    )]
    StationRow {
        /// Where.
        file: String,
        /// The fault.
        detail: String,
    },
    /// The tables are not those of the file's schema any more.
    #[error("{file}: {detail}")]
    Tables {
        /// Where.
        file: String,
        /// The fault, and what to do about it.
        detail: String,
    },
    /// A table of the schema, or a column of one, is gone.
    #[error("{file}: {what}")]
    Lost {
        /// Where.
        file: String,
        /// The table and its columns.
        what: String,
    },
    /// A file was to be detached that was made as a Tidemark file.
    #[error("{file}: was made as a Tidemark file, not attached; there is nothing to detach")]
    NotAttached {
        /// Where.
        file: String,
    },
    /// A file was to be attached that has no table of the schema.
    #[error(
        "{file}: has none of the tables of schema {schema} version {version}, so nothing in it would be captured. The schema's tables: {}. The \
         file's: {}. Nothing was changed",
        names(wanted),
        names(there)
    )]
    NoTables {
        /// Where.
        file: String,
        /// Name of the schema.
        schema: String,
        /// And its version.
        version: u32,
        /// The schema's tables.
        wanted: Vec<String>,
        /// The file's own.
        there: Vec<String>,
    },
    /// The log has been edited.
    #[error(
        "{file}: the change log was tampered with: {detail}. Nothing is sent from this file any more, since changes would be missing \
         upstream"
    )]
    LogTampered {
        /// Where.
        file: String,
        /// The fault.
        detail: String,
    },
    /// Rows that were there when the file was attached are not in the log yet.
    #[error(
        "{file}: {} not in the log yet",
        count_with(*.rows, "row", ["that was there is", "that were there are"])
    )]
    Backfill {
        /// Where.
        file: String,
        /// How many.
        rows: u64,
    },
    /// Needs a station number, and the station has none yet.
    #[error("{file}: this station has not joined a server")]
    NotJoined {
        /// Where.
        file: String,
    },
    /// The schema, or a table or column of it, is not what the caller takes it for.
    #[error("{0}")]
    Schema(String),
    /// Something was asked about rejected changes that cannot be done.
    #[error(transparent)]
    Reject(#[from] RejectProblem),
    /// A frame could not be encoded.
    #[error("cannot encode a batch: {0}")]
    Frame(#[from] tidemark_core::frame::FrameError),
    /// Another error of SQLite.
    #[error("{file}: cannot {doing}: {source}")]
    Sqlite {
        /// Where.
        file: String,
        /// The work that failed.
        doing: &'static str,
        /// SQLite's words.
        source: rusqlite::Error,
    },
}

/// Why something cannot be done with a rejected change.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RejectProblem {
    /// It is not open any more.
    #[error("change {seq} is {state} already; nothing was done")]
    Settled {
        /// Its seq.
        seq: u64,
        /// Its state.
        state: String,
    },
    /// There is none.
    #[error("change {seq} was not rejected")]
    Unknown {
        /// The seq that was asked for.
        seq: u64,
    },
    /// Its row was deleted meanwhile.
    #[error("the row of change {seq} is not in {table} any more: there is nothing to repair")]
    RowGone {
        /// Its seq.
        seq: u64,
        /// The table.
        table: String,
    },
    /// The schema does not have its table.
    #[error("change {seq} is of a table that the schema {schema} does not have: it cannot be sent again")]
    NoTable {
        /// Its seq.
        seq: u64,
        /// Name of the schema.
        schema: String,
    },
    /// Keys were to be given to rows, and there are no more.
    #[error("the table {table} has no keys left below {below}")]
    NoKeys {
        /// The table.
        table: String,
        /// The largest key that travels.
        below: i64,
    },
}

impl Error {
    /// Sorts an error of SQLite by what a person can do about it.
    #[must_use]
    pub fn sqlite(file: &str, doing: &'static str, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let file = file.to_owned();
        match source.sqlite_error_code() {
            Some(Code::NotADatabase) => Self::NotSqlite { file },
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Locked { file },
            Some(Code::DiskFull) => Self::Full { file },
            Some(Code::ReadOnly) => Self::ReadOnly { file },
            Some(Code::DatabaseCorrupt) => Self::Corrupt { file, detail: source.to_string() },
            _ => Self::Sqlite { file, doing, source },
        }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub const fn can_retry(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::Full { .. })
    }
}

/// The result of what touches the store.
pub type Result<T> = std::result::Result<T, Error>;

/// Most names that a message lists.
const NAMES_MAX: usize = 30;

/// Names as a message lists them.
fn names(all: &[String]) -> String {
    let shown = all.iter().take(NAMES_MAX).map(|name| printable(name)).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMES_MAX) {
        0 if all.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Longest text from outside that is shown or stored, in characters.
const SHOWN_CHARS_MAX: usize = 1000;

/// Text from outside (a server's message) as it may be shown and stored: bounded, without control characters.
#[must_use]
pub fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).map(clean).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A secret: never shown by `Debug` or in messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl Secret {
    /// Lower-case hex, as it travels.
    #[must_use]
    pub fn to_hex(&self) -> String {
        tidemark_core::value::hex(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
