//! A PostgreSQL URL. The driver takes most of it; what it does not know (most of TLS, newer names of
//! `target_session_attrs`) is taken out before, and kept beside.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tidemark_core::printable::printable;
use tidemark_settings::near::nearest;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};

use super::encryption::{Encryption, EncryptionError, Options};

/// PostgreSQL's own port.
pub const DEFAULT_PORT: u16 = 5432;

/// The options that the driver takes, but for those of TLS.
const OPTIONS: [&str; 17] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Where a PostgreSQL database is, who asks, and how the way there is protected.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
    /// How the way there is protected.
    pub encryption: Encryption,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PostgresUrlError {
    /// The driver does not read it. Its words could quote the text; that it is wrong is enough.
    #[error("host, port or an option is not well formed")]
    Form,
    /// Nobody knows an option of this name.
    #[error("there is no option {name}{}", near.map(|near| format!(": did you mean {near}?")).unwrap_or_default())]
    Option {
        /// The name.
        name: String,
        /// The known one that is nearest, if any is near.
        near: Option<&'static str>,
    },
    /// The password ends early.
    #[error("an @ in the password is written %40")]
    AtSign,
    /// A server of another kind than one that takes writes.
    #[error("target_session_attrs is read-write (or primary), any or read-only: this program writes")]
    Attributes,
    /// TLS.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
}

/// One of the hosts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A name, an address or the folder of a socket.
    pub host: Host,
    /// The address to go to instead of asking for the name's.
    pub addr: Option<std::net::IpAddr>,
    /// The port.
    pub port: u16,
}

impl Target {
    /// It is this machine: a socket, or a name or an address of loopback.
    #[must_use]
    pub fn is_here(&self) -> bool {
        if let Some(addr) = self.addr {
            return addr.is_loopback();
        }
        match &self.host {
            Host::Tcp(name) => {
                name.eq_ignore_ascii_case("localhost")
                    || name.parse::<std::net::IpAddr>().is_ok_and(|addr| addr.is_loopback())
            }
            #[cfg(unix)]
            Host::Unix(_) => true,
        }
    }

    /// It is a socket, over which nobody listens in, and PostgreSQL speaks no TLS.
    #[must_use]
    pub const fn is_socket(&self) -> bool {
        !matches!(self.host, Host::Tcp(_))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Tcp(name) => write!(f, "{name}:{}", self.port),
            #[cfg(unix)]
            Host::Unix(path) => write!(f, "{}:{}", path.display(), self.port),
        }
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut options = Options::default();
        let mut rest: Vec<Cow<'_, str>> = Vec::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or(PostgresUrlError::Form)?;
            let decoded = percent_decode_str(value).decode_utf8().map_err(|_| PostgresUrlError::Form)?;
            if options.take(name, &decoded)? {
                continue;
            }
            if !OPTIONS.contains(&name) {
                let near = nearest(name, OPTIONS.into_iter().chain(Options::NAMES));
                return Err(PostgresUrlError::Option { name: printable(name).into_owned(), near });
            }
            rest.push(match (name, &*decoded) {
                // A server that is no standby, and where nothing else forbids to write.
                ("target_session_attrs", "primary") => Cow::from("target_session_attrs=read-write"),
                ("target_session_attrs", "standby" | "prefer-standby") => return Err(PostgresUrlError::Attributes),
                _ => Cow::from(option),
            });
        }
        // The driver takes what is before the first @ for user and password, wherever that stands.
        if !place.contains('@') && rest.iter().any(|option| option.contains('@')) {
            return Err(PostgresUrlError::AtSign);
        }
        let known = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
        let config: Config = known.parse().map_err(|_| PostgresUrlError::Form)?;
        let cut = |host: &Host| matches!(host, Host::Tcp(name) if name.contains('@'));
        if config.get_hosts().iter().any(cut) {
            return Err(PostgresUrlError::AtSign);
        }
        let ports = config.get_ports().len();
        let all = targets(&config);
        if ports > 1 && ports != all.len() {
            return Err(PostgresUrlError::Form);
        }
        let encryption = options.settle(all.iter().any(|target| !target.is_here()))?;
        Ok(Self { config, encryption })
    }
}

/// The hosts in their order; without any, this machine.
fn targets(config: &Config) -> Vec<Target> {
    let (hosts, addrs, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let port = |at: usize| ports.get(at).or_else(|| ports.first()).copied().unwrap_or(DEFAULT_PORT);
    let target = |at: usize| {
        let addr = addrs.get(at).copied();
        let named = hosts.get(at).cloned();
        let host = named.unwrap_or_else(|| Host::Tcp(addr.map_or_else(|| "localhost".into(), |it| it.to_string())));
        Target { host, addr, port: port(at) }
    };
    (0..hosts.len().max(addrs.len()).max(1)).map(target).collect()
}

impl PostgresUrl {
    /// Has this password from now on.
    pub(super) fn set_password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// The hosts in the order of the URL.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        targets(&self.config)
    }

    /// The same server with another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.config.get_dbname().or_else(|| self.config.get_user())
    }

    /// The kind of server that is wanted: of several hosts the one that takes writes, unless the URL says otherwise.
    #[must_use]
    pub fn attributes(&self) -> TargetSessionAttrs {
        match self.config.get_target_session_attrs() {
            TargetSessionAttrs::Any if self.targets().len() > 1 => TargetSessionAttrs::ReadWrite,
            said => said,
        }
    }

    /// What the driver is told of one host alone: everything but the hosts is as in the URL.
    #[must_use]
    pub fn alone(&self, target: &Target) -> Config {
        let all = &self.config;
        let mut one = Config::new();
        match &target.host {
            Host::Tcp(name) => one.host(name),
            #[cfg(unix)]
            Host::Unix(path) => one.host_path(path),
        };
        if let Some(addr) = target.addr {
            one.hostaddr(addr);
        }
        one.port(target.port);
        if let Some(user) = all.get_user() {
            one.user(user);
        }
        if let Some(password) = all.get_password() {
            one.password(password);
        }
        if let Some(name) = all.get_dbname() {
            one.dbname(name);
        }
        if let Some(options) = all.get_options() {
            one.options(options);
        }
        if let Some(name) = all.get_application_name() {
            one.application_name(name);
        }
        if let Some(timeout) = all.get_connect_timeout() {
            one.connect_timeout(*timeout);
        }
        if let Some(timeout) = all.get_tcp_user_timeout() {
            one.tcp_user_timeout(*timeout);
        }
        one.keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
        if let Some(interval) = all.get_keepalives_interval() {
            one.keepalives_interval(interval);
        }
        if let Some(retries) = all.get_keepalives_retries() {
            one.keepalives_retries(retries);
        }
        one.channel_binding(all.get_channel_binding()).target_session_attrs(self.attributes());
        one
    }

    /// The hosts are tried in any order.
    #[must_use]
    pub fn in_any_order(&self) -> bool {
        self.config.get_load_balance_hosts() == LoadBalanceHosts::Random
    }
}

impl Deref for PostgresUrl {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

impl fmt::Display for PostgresUrl {
    /// Shows what may be shown: no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.config.get_user().unwrap_or_default();
        let hosts: Vec<String> = self.targets().iter().map(ToString::to_string).collect();
        write!(f, "postgresql://{user}@{}/{}", hosts.join(","), self.database().unwrap_or_default())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::encryption::{ClientCertificate, Roots, SslMode};

    fn parsed(url: &str) -> PostgresUrl {
        url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn options_of_tls_are_taken_out_before_the_driver_reads_the_rest() {
        let url = parsed(
            "postgresql://u:p@db.example/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fmy%20ca.pem&sslcert=c.crt\
             &sslkey=c.key&connect_timeout=3",
        );
        let wanted = Encryption {
            mode: SslMode::VerifyFull,
            said: true,
            roots: Roots::File("/etc/my ca.pem".into()),
            client: Some(ClientCertificate { cert: "c.crt".into(), key: "c.key".into() }),
            direct: false,
        };
        assert_eq!(url.encryption, wanted);
        assert_eq!(url.get_connect_timeout(), Some(&std::time::Duration::from_secs(3)));
        assert_eq!(parsed("postgresql://u@/d?host=/run/postgresql").encryption.mode, SslMode::Prefer);
        assert_eq!(parsed("postgresql://u@localhost/d").encryption.mode, SslMode::Prefer);
        assert_eq!(parsed("postgresql://u@127.0.0.2/d").encryption.mode, SslMode::Prefer);
        assert_eq!(parsed("postgresql://u@10.0.0.2/d").encryption.mode, SslMode::Require);
        assert_eq!(parsed("postgresql://u@localhost,db.example/d").encryption.mode, SslMode::Require);
        for bad in ["postgresql://u@h/d?sslmode", "postgresql://u@h/d?port=x", "postgresql://u@h,i/d?port=1,2,3"] {
            assert_eq!(bad.parse::<PostgresUrl>().unwrap_err(), PostgresUrlError::Form, "{bad}");
        }
        // Not a user of that name at another host, as the driver would read it.
        assert_eq!("postgresql://h/d?password=a@b".parse::<PostgresUrl>().unwrap_err(), PostgresUrlError::AtSign);
    }

    #[test]
    fn an_option_that_nobody_knows_is_told_with_the_nearest() {
        let error = |url: &str| url.parse::<PostgresUrl>().unwrap_err().to_string();
        let said = error("postgresql://u:p@h/d?sslrootcrt=ca.pem");
        assert_eq!(said, "there is no option sslrootcrt: did you mean sslrootcert?");
        assert_eq!(error("postgresql://u:p@h/d?zzz=1"), "there is no option zzz");
        // One that other programs know, and this one does not.
        assert!(error("postgresql://u:p@h/d?passfile=x").starts_with("there is no option passfile"));
    }

    #[test]
    fn a_url_is_shown_as_one() {
        assert_eq!(parsed("postgresql://u:p@[::1]/d").to_string(), "postgresql://u@[::1]:5432/d");
    }

    #[test]
    fn of_several_hosts_the_one_is_wanted_that_takes_writes_and_each_can_be_asked_alone() {
        let url = parsed("postgresql://u:p@a:1,b:2/d?application_name=x&keepalives_idle=60");
        assert_eq!(url.to_string(), "postgresql://u@a:1,b:2/d");
        assert_eq!(url.attributes(), TargetSessionAttrs::ReadWrite);
        let second = url.alone(&url.targets()[1]);
        assert_eq!((second.get_hosts(), second.get_ports()), (&[Host::Tcp("b".into())][..], &[2][..]));
        assert_eq!(second.get_password(), Some(&b"p"[..]));
        assert_eq!((second.get_dbname(), second.get_application_name()), (Some("d"), Some("x")));
        assert_eq!(second.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(second.get_keepalives_idle(), std::time::Duration::from_secs(60));
        assert_eq!(parsed("postgresql://u@a/d").attributes(), TargetSessionAttrs::Any);
        let primary = parsed("postgresql://u@a/d?target_session_attrs=primary");
        assert_eq!(primary.attributes(), TargetSessionAttrs::ReadWrite);
        let standby = "postgresql://u@a/d?target_session_attrs=standby".parse::<PostgresUrl>();
        assert_eq!(standby.unwrap_err(), PostgresUrlError::Attributes);
    }
}
