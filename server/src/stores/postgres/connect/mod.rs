//! The one way to PostgreSQL: everything that connects comes through here, so that each connection is protected as the
//! URL says. And what the driver's errors mean.
//!
//! | file | what lives there |
//! |---|---|
//! | `leg` | how the way to a server is protected in fact |
//! | `tls`, `verify` | TLS from the files of a URL; how far a server's certificate is looked at |
//! | `fault` | why there is no connection, and the words for it |
//! | `pooler` | a proxy between that cannot be worked through |

mod fault;
mod leg;
mod pooler;
mod tls;
mod verify;

use std::time::Duration;

use tidemark_migrations::with_causes;
use tokio_postgres::config::SslMode as DriversMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Socket};

pub(super) use self::fault::ConnectError;
use self::fault::Failure;
pub use self::leg::{Leg, Protection};
pub(super) use self::tls::{Credentials, Tls};
use crate::database::PostgresUrl;
use crate::database::encryption::SslMode;
use crate::database::postgres::Target;
use crate::upstream::error::{StoreError, Unavailability, of_sql_state};

/// How long a request waits for a connection, and a connection for its server, or for all the servers of a URL.
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

/// What the driver is told, with what the URL leaves open, and in so much time.
fn with_defaults(mut config: Config, limit: Duration) -> Config {
    if config.get_connect_timeout().is_none_or(|timeout| *timeout > limit) {
        config.connect_timeout(limit);
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
    if config.get_application_name().is_none() {
        config.application_name("tidemark-server");
    }
    config
}

/// How long one host may take: of several, each has its share, so that one that is silent does not cost the others.
fn limit(url: &PostgresUrl, hosts: u32) -> Duration {
    let said = url.get_connect_timeout().copied().filter(|said| !said.is_zero()).unwrap_or(CONNECT_TIMEOUT);
    if hosts > 1 { said.min(CONNECT_TIMEOUT / hosts) } else { said }
}

/// A connection that was made.
pub(super) struct Established {
    pub(super) client: Client,
    pub(super) connection: tokio_postgres::Connection<Socket, <Tls as MakeTlsConnect<Socket>>::Stream>,
    pub(super) leg: Leg,
    /// For requests to end a statement, which go the same way.
    pub(super) tls: Tls,
}

/// Connects to the first host that is as wanted, protected as the URL says.
pub(super) async fn establish(url: &PostgresUrl, credentials: &Credentials) -> Result<Established, ConnectError> {
    let mut targets = url.targets();
    if url.in_any_order() {
        shuffle(&mut targets);
    }
    let limit = limit(url, u32::try_from(targets.len()).unwrap_or(u32::MAX));
    let mut failed = ConnectError { mode: url.encryption.mode, hosts: Vec::new() };
    for target in &targets {
        let tried = tokio::time::timeout(limit, to_one(url, target, limit, credentials)).await;
        match tried.unwrap_or(Err(Failure::Late(limit))) {
            Ok(established) => {
                established.leg.say();
                return Ok(established);
            }
            Err(failure) => failed.hosts.push((target.to_string(), failure)),
        }
    }
    Err(failed)
}

fn shuffle(targets: &mut [Target]) {
    for last in (1..targets.len()).rev() {
        let [random] = crate::clock::random_bytes::<1>().unwrap_or([0]);
        targets.swap(last, usize::from(random) % (last + 1));
    }
}

async fn to_one(
    url: &PostgresUrl,
    target: &Target,
    limit: Duration,
    credentials: &Credentials,
) -> Result<Established, Failure> {
    let encryption = &url.encryption;
    // Over a socket PostgreSQL speaks no TLS, and libpq asks for none.
    let mode = if target.is_socket() { SslMode::Disable } else { encryption.mode };
    let tls = credentials.read(encryption).await.map_err(Failure::Tls)?;
    let config = with_defaults(url.alone(target), limit);
    let attempt = async |wanted: DriversMode| {
        let mut config = config.clone();
        config.ssl_mode(wanted);
        if encryption.direct {
            config.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
        }
        let tls = Tls::new(tls.clone());
        let made = config.connect(tls.clone()).await;
        let (client, connection) = made.map_err(|error| {
            Failure::of(error, tls.began(), wanted == DriversMode::Require, encryption.client.is_some())
        })?;
        let protection = match (tls.began(), mode) {
            (true, mode) => Protection::Encrypted(mode),
            (false, SslMode::Disable) if target.is_socket() => Protection::Socket,
            (false, SslMode::Disable) => Protection::Disabled,
            (false, _) => Protection::GivenUp,
        };
        let quiet = target.is_here() && !encryption.said;
        Ok(Established { client, connection, leg: Leg { host: target.to_string(), protection, quiet }, tls })
    };
    match mode {
        SslMode::Disable => attempt(DriversMode::Disable).await,
        SslMode::Prefer => match attempt(DriversMode::Prefer).await {
            Err(first) if first.may_pass_in_the_clear() => attempt(DriversMode::Disable).await.map_err(|_| first),
            done => done,
        },
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => attempt(DriversMode::Require).await,
    }
}

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

async fn once(url: &PostgresUrl) -> anyhow::Result<(Client, Leg)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> PostgresUrl {
        url.parse().unwrap()
    }

    #[test]
    fn a_url_is_given_what_it_leaves_open_and_keeps_what_it_says() {
        let of = |text: &str| {
            let url = url(text);
            with_defaults(url.alone(&url.targets()[0]), CONNECT_TIMEOUT)
        };
        let open = of("postgresql://u@h/d");
        assert_eq!(open.get_keepalives_idle(), KEEPALIVE_IDLE);
        assert_eq!(
            (open.get_keepalives_interval(), open.get_keepalives_retries()),
            (Some(KEEPALIVE_INTERVAL), Some(3))
        );
        assert_eq!(open.get_tcp_user_timeout(), Some(&UNACKNOWLEDGED));
        assert_eq!(open.get_application_name(), Some("tidemark-server"));
        let said = of("postgresql://u@h/d?keepalives_idle=60&tcp_user_timeout=90&connect_timeout=3");
        assert_eq!(said.get_keepalives_idle(), Duration::from_secs(60));
        assert_eq!(said.get_tcp_user_timeout(), Some(&Duration::from_secs(90)));
        assert_eq!(said.get_connect_timeout(), Some(&Duration::from_secs(3)));
    }

    #[test]
    fn several_hosts_share_the_time_for_a_connection() {
        assert_eq!(limit(&url("postgresql://u@h/d"), 1), CONNECT_TIMEOUT);
        assert_eq!(limit(&url("postgresql://u@h/d?connect_timeout=60"), 1), Duration::from_secs(60));
        assert_eq!(limit(&url("postgresql://u@h,i/d?connect_timeout=60"), 2), CONNECT_TIMEOUT / 2);
        assert_eq!(limit(&url("postgresql://u@h,i/d?connect_timeout=1"), 2), Duration::from_secs(1));
    }
}
