//! Plain HTTP: only where nobody on the way can read it, unless the operator said by name that something else keeps the
//! network safe.

use std::net::SocketAddr;

/// What would be read on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Where stations ask.
    Stations,
    /// Where metrics are read.
    Metrics,
}

/// A listener without TLS that other machines reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{addr} is not on this machine alone, and without TLS others on the way can read {}. Give a certificate (--tls-cert FILE \
     --tls-key FILE; `tidemark-server tls make` makes one), or listen on 127.0.0.1 behind a proxy that does TLS, or say \
     --allow-plain-http where something else keeps the network safe",
    match listener {
        Listener::Stations => "tokens and what is pushed",
        Listener::Metrics => "the metrics",
    }
)]
pub struct PlainRemote {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Which one.
    pub listener: Listener,
}

/// Whether only this machine reaches an address.
#[must_use]
pub fn is_local(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

/// Refuses plain HTTP where others on the way can read it.
///
/// # Errors
/// [`PlainRemote`], without TLS and unless it is allowed.
pub fn check(listener: Listener, addr: SocketAddr, has_tls: bool, is_allowed: bool) -> Result<(), PlainRemote> {
    if has_tls || is_allowed || is_local(addr) { Ok(()) } else { Err(PlainRemote { addr, listener }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_or_by_name() {
        let check = |addr: &str, tls, allowed| check(Listener::Metrics, addr.parse().unwrap(), tls, allowed);
        for local in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(local, false, false), Ok(()), "{local}");
        }
        for remote in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            let refused = check(remote, false, false).unwrap_err().to_string();
            for word in [remote, "the metrics", "--tls-cert", "--allow-plain-http", "127.0.0.1"] {
                assert!(refused.contains(word), "{refused}");
            }
            assert_eq!((check(remote, true, false), check(remote, false, true)), (Ok(()), Ok(())));
        }
    }
}
