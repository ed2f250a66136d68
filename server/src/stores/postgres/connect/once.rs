//! A connection outside of a pool.

use tokio_postgres::Client;

use super::driver::message_of;
use super::establish::{Established, establish};
use super::leg::Leg;
use super::tls::Credentials;
use crate::database::PostgresUrl;

/// Connects.
///
/// # Errors
/// When no server answers, or each refuses; the password is not shown.
pub(super) async fn once(url: &PostgresUrl) -> anyhow::Result<(Client, Leg)> {
    let made = establish(url, &Credentials::default()).await;
    let Established { client, connection, leg, .. } =
        made.map_err(|error| anyhow::anyhow!("cannot connect to {url}: {error}"))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to PostgreSQL ended: {}", message_of(&error));
        }
    });
    Ok((client, leg))
}
