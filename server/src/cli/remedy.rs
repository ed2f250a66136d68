//! The sentences of the operator's terminal for what would help a station: each names the command to type there or
//! here.

use tidemark_core::protocol::Remedy;
use tidemark_migrations::MigrateError;
use tokio_postgres::error::SqlState;

use crate::database::DatabaseUrl;
use crate::sneakernet::ImportError;
use crate::upstream::error::{StoreError, Unavailability};

/// The remedy for a bundle that was not taken, as a sentence without its full stop; `None` where the error says all.
pub(super) fn of_import(error: &ImportError) -> Option<String> {
    match error {
        ImportError::TokenEnded { .. } => {
            Some("Let the station take the new token with `tidemark join CODE`, then export again".into())
        }
        ImportError::Refused(problem) => problem.remedy.as_deref().map(sentence),
        ImportError::Stopped { remedy, .. } => remedy.as_deref().map(sentence),
        _ => None,
    }
}

/// What helps against a lock that somebody else holds, where a command failed by one.
pub(super) fn of_lock(error: &anyhow::Error, database: &DatabaseUrl) -> Option<String> {
    if !error.chain().any(is_of_a_lock) {
        return None;
    }
    Some(match database {
        DatabaseUrl::Sqlite(file) => format!(
            "Another program has begun to write to {} and has not ended (fuser or lsof name those that have it open): \
             wait for it or end it, then repeat the command",
            file.display()
        ),
        DatabaseUrl::Postgres(url) => format!(
            "Somebody's transaction in {url} holds it. SELECT pid, usename, application_name, state, xact_start FROM \
             pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start names them, the oldest first: wait for \
             it or end it (SELECT pg_terminate_backend(PID)), then repeat the command"
        ),
    })
}

fn is_of_a_lock(cause: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<StoreError>() {
        return error.unavailability() == Some(Unavailability::Locked);
    }
    if let Some(error) = cause.downcast_ref::<rusqlite::Error>() {
        let code = error.sqlite_error_code();
        return matches!(code, Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked));
    }
    if let Some(error) = cause.downcast_ref::<MigrateError>() {
        return matches!(error, MigrateError::Locked(_));
    }
    let code = cause.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    code == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

fn sentence(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Join => "Let the station join first: `tidemark join CODE` there".into(),
        Remedy::TakeToken => "Let the station take its new token: `tidemark join CODE` there".into(),
        Remedy::RenewToken => {
            "Make a code with `tidemark-server station rotate NAME`, then `tidemark join CODE` on the station".into()
        }
        Remedy::RejoinAnew => {
            "Make a code with `tidemark-server station add NAME`, then `tidemark rejoin --anew CODE` on the station"
                .into()
        }
        Remedy::RejoinThere { station } => {
            format!("Use the code with the file of station {station:?}: `tidemark rejoin CODE`")
        }
        Remedy::RejoinBeside { .. } => "If this file is to go on too, make it a code of its own with \
             `tidemark-server station add NAME`, then `tidemark rejoin CODE` on the station"
            .into(),
        Remedy::ReplaceStation { station } => {
            format!("Make a code with `tidemark-server station add NAME --replaces {station:?}`")
        }
        Remedy::ReplaceNone => "Make a code with `tidemark-server station add NAME`, without --replaces".into(),
        Remedy::AddReader => "Make a reader's token with `tidemark-server reader add NAME`".into(),
    }
}
