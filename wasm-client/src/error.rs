//! Failures as a page sees them: a code for programs, and words for people that speak of this page and not of a command
//! line.

use rusqlite::ErrorCode;
use tidemark_client::Error;
use tidemark_client::bundle::BundleError;
use tidemark_client::sync::RefusalKind;
use tidemark_client::sync::join::JoinError;
use tidemark_core::joincode::JoinCodeError;

use crate::words;

/// Names a failure for programs. `web/src/index.d.ts` describes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No lasting storage here, or it does not answer.
    NoStorage,
    /// No room.
    Full,
    /// The stored database is damaged.
    Corrupt,
    /// Written by a newer Tidemark.
    Newer,
    /// The schema is none, is missing, or cannot follow the database's.
    Schema,
    /// SQLite refused the statement.
    Sql,
    /// A constraint refused the row.
    Constraint,
    /// An argument of another kind than asked for.
    Argument,
    /// The transaction is over.
    RolledBack,
    /// Closed.
    Closed,
    /// Joining failed; the reason says why.
    Join,
    /// The server was not reached, or cannot answer now.
    Unreachable,
    /// The station has not joined.
    NotJoined,
    /// A broken invariant.
    Bug,
}

impl Code {
    /// As JavaScript has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoStorage => "no-storage",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
            Self::Newer => "newer",
            Self::Schema => "schema",
            Self::Sql => "sql",
            Self::Constraint => "constraint",
            Self::Argument => "argument",
            Self::RolledBack => "rolled-back",
            Self::Closed => "closed",
            Self::Join => "join",
            Self::Unreachable => "unreachable",
            Self::NotJoined => "not-joined",
            Self::Bug => "bug",
        }
    }
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For programs: which of the things that the code stands for; `None` where it says all. `web/src/index.d.ts`
    /// describes them.
    pub reason: Option<&'static str>,
    /// The event, its place, and what to do.
    pub message: String,
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, reason: None, message: message.into() }
    }

    /// An argument that is not of the kind that is asked for.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Code::Argument, message)
    }

    /// An error of SQLite about one statement of the page.
    #[must_use]
    pub fn statement(error: rusqlite::Error) -> Self {
        // What SQLite says of a statement that has no text.
        if error.sqlite_error_code() == Some(ErrorCode::ApiMisuse) {
            return Self::argument("there is no statement: only blanks or comments were given");
        }
        match Error::sqlite("the database", "run the statement", error) {
            Error::Sqlite { source, .. } => Self::new(code_of(&source), source.to_string()),
            sorted => sorted.into(),
        }
    }
}

fn code_of(error: &rusqlite::Error) -> Code {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => Code::Constraint,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Code::NoStorage,
        _ => Code::Sql,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, message) = match &error {
            Error::NotSqlite { .. } => {
                (Code::Corrupt, "the stored file is not an SQLite database any more; keep the site's data, and report this".into())
            }
            Error::Corrupt { detail, .. } => (
                Code::Corrupt,
                format!("the stored database is damaged ({detail}); what is upstream is safe, do not clear the site's data before what is only here is copied"),
            ),
            Error::StationRow { detail, .. } => {
                (Code::Corrupt, format!("Tidemark's own row in the stored database is damaged: {detail}; keep the site's data, and report this"))
            }
            Error::LogTampered { detail, .. } => {
                (Code::Corrupt, format!("the change log was tampered with: {detail}. Nothing is sent from this database any more; export it, and ask the server's operator"))
            }
            Error::Newer { found, known, .. } => (
                Code::Newer,
                format!("the stored database was written by a newer version of this page (format {found}, this one knows up to {known}); reload the page to get the newer one"),
            ),
            Error::Full { .. } => (
                Code::Full,
                "no room: the disk, or what the browser gives this site of it, is full. The statement was rolled back and nothing before it is lost; \
                 make room, and run it again"
                    .into(),
            ),
            Error::ReadOnly { .. } => (Code::NoStorage, "the stored database cannot be written".into()),
            Error::Locked { .. } => (Code::Sql, "the database is locked by a transaction that is open".into()),
            Error::NotJoined { .. } => (Code::NotJoined, "this station has not joined a server; call join(code) with a code its operator made".into()),
            Error::NotTidemark { .. } => (Code::Schema, "the database is new: it needs a schema to be made from".into()),
            Error::TablesExist { tables, .. } => (Code::Schema, format!("the stored database has tables of these names already: {tables}")),
            Error::Tables { detail, .. } => (Code::Schema, detail.clone()),
            Error::Lost { what, .. } => (Code::Schema, what.clone()),
            Error::Schema(message) => (Code::Argument, message.clone()),
            Error::Reject(problem) => (Code::Argument, words::reject(problem)),
            Error::Sqlite { source, doing, .. } => (code_of(source), format!("cannot {doing}: {source}")),
            Error::Missing { .. }
            | Error::FolderMissing { .. }
            | Error::AlreadyTidemark { .. }
            | Error::Exposed { .. }
            | Error::NoTables { .. }
            | Error::NotAttached { .. }
            | Error::Unreadable { .. }
            | Error::NoCopy { .. }
            | Error::Backfill { .. }
            | Error::Frame(_) => {
                (Code::Bug, error.to_string())
            }
        };
        Self { code, reason: None, message }
    }
}

/// What is wrong with a join code, or with the file that comes with it.
const fn reason_of(error: &JoinError) -> Option<&'static str> {
    match error {
        JoinError::Code(JoinCodeError::Form) => Some("form"),
        JoinError::Code(JoinCodeError::Damaged) => Some("damaged"),
        JoinError::Already { .. } => Some("joined-before"),
        JoinError::Refused(refusal) => match refusal.kind {
            RefusalKind::CodeUnknown => Some("unknown"),
            RefusalKind::CodeUsed => Some("used"),
            RefusalKind::CodeExpired => Some("expired"),
            RefusalKind::JoinedBefore => Some("joined-before"),
            RefusalKind::OtherFile => Some("other-file"),
            RefusalKind::Revoked => Some("revoked"),
            RefusalKind::Schema => Some("schema"),
            RefusalKind::NumbersExhausted | RefusalKind::Other => None,
        },
        JoinError::Url(_) | JoinError::NotNow(_) | JoinError::Store(_) => None,
    }
}

impl From<JoinError> for Failure {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Store(error) => error.into(),
            JoinError::NotNow(_) => Self::new(Code::Unreachable, words::join(&error)),
            other => Self { reason: reason_of(&other), ..Self::new(Code::Join, words::join(&other)) },
        }
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Store(error) => error.into(),
            other => Self::new(Code::Argument, words::bundle(&other)),
        }
    }
}
