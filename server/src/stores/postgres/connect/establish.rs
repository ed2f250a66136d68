//! A connection: host after host of a URL, each protected as the URL says, until one is as wanted.

use std::time::Duration;

use tokio_postgres::config::SslMode as DriversMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Socket};

use super::fault::{ConnectError, Failure};
use super::leg::{Leg, Protection, Reason};
use super::tls::{Credentials, Tls};
use crate::database::PostgresUrl;
use crate::database::encryption::SslMode;
use crate::database::postgres::Target;

/// How long a request waits for a connection, and a connection for its server, or for all the servers of a URL.
pub(in super::super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
pub(in super::super) struct Established {
    pub(in super::super) client: Client,
    pub(in super::super) connection: tokio_postgres::Connection<Socket, <Tls as MakeTlsConnect<Socket>>::Stream>,
    pub(in super::super) leg: Leg,
    /// For requests to end a statement, which go the same way.
    pub(in super::super) tls: Tls,
}

/// Connects to the first host that is as wanted, protected as the URL says.
pub(in super::super) async fn establish(
    url: &PostgresUrl,
    credentials: &Credentials,
) -> Result<Established, ConnectError> {
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
    let attempt = async |wanted: DriversMode, given_up: Reason| {
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
            (false, _) => Protection::GivenUp(given_up),
        };
        let quiet = target.is_here() && !encryption.said;
        Ok(Established { client, connection, leg: Leg { host: target.to_string(), protection, quiet }, tls })
    };
    // Where the driver itself gives it up, the server has said that it speaks none.
    match mode {
        SslMode::Disable => attempt(DriversMode::Disable, Reason::NoTls).await,
        SslMode::Prefer => match attempt(DriversMode::Prefer, Reason::NoTls).await {
            Err(first) => match first.why_in_the_clear() {
                Some(reason) => attempt(DriversMode::Disable, reason).await.map_err(|_| first),
                None => Err(first),
            },
            done => done,
        },
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            attempt(DriversMode::Require, Reason::NoTls).await
        }
    }
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
