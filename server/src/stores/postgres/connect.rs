//! One connection, outside of the pool, and what the driver's errors mean.

use std::time::Duration;

use tidemark_migrations::with_causes;
use tokio_postgres::NoTls;
use tokio_postgres::config::TargetSessionAttrs;

use crate::upstream::error::{StoreError, Unavailability, of_sql_state};

/// How long a request waits for a connection, and a connection for its server.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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

/// A server that is gone is noticed so soon: a connection without traffic for this long is tried,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// again after this long,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// and so often; then it is closed.
const KEEPALIVE_RETRIES: u32 = 3;
/// What was sent and is not acknowledged for so long closes the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
/// The driver's own time before a connection without traffic is tried.
const DRIVERS_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// The configuration with what its URL leaves open. Of several hosts the one is wanted that takes writes.
pub(super) fn with_defaults(config: &tokio_postgres::Config) -> tokio_postgres::Config {
    let mut config = config.clone();
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_keepalives_idle() == DRIVERS_IDLE {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    config
}

/// Connects once, outside a pool: for migrations.
///
/// # Errors
/// When the server does not answer or refuses; the password is not shown.
pub async fn connect(config: &tokio_postgres::Config) -> anyhow::Result<tokio_postgres::Client> {
    let shown = crate::database::DatabaseUrl::Postgres(Box::new(config.clone()));
    let (client, connection) = with_defaults(config)
        .connect(NoTls)
        .await
        .map_err(|error| anyhow::anyhow!("cannot connect to {shown}: {}", message_of(&error)))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to PostgreSQL ended: {}", message_of(&error));
        }
    });
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_given_what_it_leaves_open_and_keeps_what_it_says() {
        let of = |url: &str| with_defaults(&url.parse().unwrap());
        let open = of("postgresql://u@h/d");
        assert_eq!(open.get_keepalives_idle(), KEEPALIVE_IDLE);
        assert_eq!(
            (open.get_keepalives_interval(), open.get_keepalives_retries()),
            (Some(KEEPALIVE_INTERVAL), Some(3))
        );
        assert_eq!(open.get_tcp_user_timeout(), Some(&UNACKNOWLEDGED));
        assert_eq!(open.get_target_session_attrs(), TargetSessionAttrs::Any);
        let several = of("postgresql://u@h,i/d");
        assert_eq!(several.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let said = of("postgresql://u@h/d?keepalives_idle=60&tcp_user_timeout=90&connect_timeout=3");
        assert_eq!(said.get_keepalives_idle(), Duration::from_secs(60));
        assert_eq!(said.get_tcp_user_timeout(), Some(&Duration::from_secs(90)));
        assert_eq!(said.get_connect_timeout(), Some(&Duration::from_secs(3)));
    }
}
