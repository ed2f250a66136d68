//! What the driver's errors mean, and whose fault they are.

use tidemark_migrations::with_causes;

use crate::upstream::error::{StoreError, Unavailability, of_sql_state};

/// The driver's error in words: those of the database, without the values of rows.
pub(crate) fn message_of(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return match db.constraint() {
            Some(constraint) => format!("{} (constraint {constraint}, SQLSTATE {})", db.message(), db.code().code()),
            None => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        };
    }
    with_causes(error)
}

/// Whose fault an error is.
pub(crate) fn failed(error: tokio_postgres::Error) -> StoreError {
    let message = message_of(&error);
    if let Some(state) = error.code() {
        return of_sql_state(state.code(), message);
    }
    // Without a word of the database: the connection, or, as the driver sees it, what was to go over it.
    let source = std::error::Error::source(&error);
    let io = source.and_then(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    match io {
        // The driver's word for a server in recovery where the URL asks for one that takes writes.
        Some(std::io::ErrorKind::PermissionDenied) => StoreError::unavailable(Unavailability::ReadOnly, message),
        None | Some(std::io::ErrorKind::InvalidInput) if source.is_some() && !error.is_closed() => {
            StoreError::Fault(message)
        }
        _ => StoreError::unavailable(Unavailability::Away, message),
    }
}
