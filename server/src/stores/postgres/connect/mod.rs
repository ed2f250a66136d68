//! The one way to PostgreSQL: everything that connects comes through here, so that each connection is protected as the
//! URL says.
//!
//! | file | what lives there |
//! |---|---|
//! | `establish`, `once` | host after host of a URL, until one is as wanted; a connection outside of a pool |
//! | `leg` | how the way to a server is protected in fact |
//! | `tls`, `verify` | TLS from the files of a URL; how far a server's certificate is looked at |
//! | `driver` | what the driver's errors mean |
//! | `fault` | why there is no connection, and the words for it |
//! | `pooler` | a proxy between that cannot be worked through |

mod driver;
mod establish;
mod fault;
mod leg;
mod once;
mod pooler;
mod tls;
mod verify;

use tokio_postgres::Client;

pub(crate) use self::driver::{failed, message_of};
pub(super) use self::establish::{CONNECT_TIMEOUT, Established, establish};
pub(super) use self::fault::ConnectError;
pub use self::leg::{Leg, Protection};
use self::once::once;
pub(super) use self::tls::{Credentials, Tls};
use crate::database::PostgresUrl;

/// Connects once, outside a pool: for migrations.
///
/// # Errors
/// When no server answers, one refuses, or a proxy stands between that cannot be worked through; the password is not
/// shown.
pub async fn connect(url: &PostgresUrl) -> anyhow::Result<Client> {
    Ok(connect_and_tell(url).await?.0)
}

/// [`connect`], and how the way there is protected.
///
/// # Errors
/// Those of [`connect`].
pub async fn connect_and_tell(url: &PostgresUrl) -> anyhow::Result<(Client, Leg)> {
    let (client, leg) = once(url).await?;
    pooler::refuse(url, &client).await?;
    Ok((client, leg))
}
