//! The errors of migrations.

use rusqlite::ErrorCode;
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// Why a database was not migrated. Nothing of the migration that failed is left behind.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The text of an applied migration is not what was applied.
    #[error(
        "migration {name} was edited after it was applied to this database (applied {applied}, now {now}); restore the file, and put the change into a new migration"
    )]
    Edited {
        /// Its name.
        name: String,
        /// Checksum when it was applied, shortened.
        applied: String,
        /// Checksum of the text this program holds, shortened.
        now: String,
    },
    /// A later Tidemark was here.
    #[error("the database has migration {0}, which this version of Tidemark does not know; upgrade tidemark-server")]
    Newer(String),
    /// Another schema lives in this database.
    #[error(
        "the database holds the tables of schema {there}, not of {wanted}; one database serves one schema, so use another database or another --schema"
    )]
    OtherSchema {
        /// The schema that is there.
        there: String,
        /// The schema that was asked for.
        wanted: String,
    },
    /// The database is ahead.
    #[error("the database is at version {there} of schema {name}, the schema file says {wanted}; use the newer file")]
    OlderVersion {
        /// Name of both.
        name: String,
        /// Version in the database.
        there: u32,
        /// Version of the file.
        wanted: u32,
    },
    /// Two different schemas with one version.
    #[error(
        "schema {name} version {version} is in the database with other columns or rules; give the changed file a higher `version`"
    )]
    SameVersion {
        /// Name of both.
        name: String,
        /// Version of both.
        version: u32,
    },
    /// The new version does more than add.
    #[error(
        "schema {name} version {version} does more than add to version {from}, and rows already written would not fit: {}",
        reasons.join("; ")
    )]
    NotAdditive {
        /// Name of both.
        name: String,
        /// Version in the database.
        from: u32,
        /// Version of the file.
        version: u32,
        /// Every difference that is not an addition.
        reasons: Vec<String>,
    },
    /// Rows would be lost.
    #[error("these tables hold rows and would be dropped: {}; say --yes-drop-data if they may go", .0.join(", "))]
    HoldsRows(Vec<String>),
    /// A wrong argument of `down`.
    #[error("the database has {applied} migrations; --to takes 0 … {applied}, not {to}")]
    NoSuchStep {
        /// The number of migrations applied.
        applied: usize,
        /// The number that was asked for.
        to: usize,
    },
    /// A schema in the database that does not parse any more.
    #[error("the schema recorded in the database as {name} version {version} is not readable: {message}")]
    Recorded {
        /// Its name.
        name: String,
        /// Its version.
        version: u32,
        /// The fault.
        message: String,
    },
    /// The file is a station's.
    #[error("this SQLite file is a station's (it has a change log); the embedded upstream needs a file of its own")]
    StationFile,
    /// The database refused a migration.
    #[error("migration {name}: {message}")]
    Step {
        /// Its name.
        name: String,
        /// The database's own error.
        message: String,
    },
    /// Somebody else holds a lock on what is needed.
    #[error("somebody else holds a lock in the database: {0}")]
    Locked(String),
    /// The database cannot be used.
    #[error("{0}")]
    Database(String),
}

/// An error's message with those of its causes behind it: the driver's own often says only where it happened.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}

/// A PostgreSQL error in words, the server's own among them.
pub(crate) fn postgres_message(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            format!("{}: {}{detail}", db.code().code(), db.message())
        }
        None => with_causes(error),
    }
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        let message = postgres_message(&error);
        if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            Self::Locked(message)
        } else {
            Self::Database(message)
        }
    }
}

impl From<rusqlite::Error> for MigrateError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}
