//! How the way to a server is protected in fact, which is not always as far as it could be.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::database::encryption::SslMode;

/// The protection of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// TLS, with a server that was looked at as far as the mode says.
    Encrypted(SslMode),
    /// A socket of this machine.
    Socket,
    /// None, as the URL wants.
    Disabled,
    /// None, which the URL allows, for this reason.
    GivenUp(Reason),
}

/// Why encryption was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The server speaks no TLS.
    NoTls,
    /// It lets nobody in that way.
    NotLetIn,
    /// The two do not agree on one.
    NotAgreed,
}

/// The way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// Host and port.
    pub host: String,
    /// Its protection.
    pub protection: Protection,
    /// It stays within this machine, and the URL does not ask for TLS.
    pub(super) quiet: bool,
}

impl Leg {
    /// Whoever listens on the way reads along.
    #[must_use]
    pub const fn is_in_the_clear(&self) -> bool {
        !self.quiet && matches!(self.protection, Protection::GivenUp(_))
    }

    /// Says once that encryption was given up.
    pub(super) fn say(&self) {
        static SAID: AtomicBool = AtomicBool::new(false);
        if self.is_in_the_clear() && !SAID.swap(true, Ordering::Relaxed) {
            tracing::warn!("{self}; sslmode=require, verify-ca or verify-full refuse that");
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, protection, .. } = self;
        match protection {
            Protection::Encrypted(SslMode::VerifyFull) => {
                write!(f, "the way to {host} is encrypted, authority and name of the server checked")
            }
            Protection::Encrypted(SslMode::VerifyCa) => {
                write!(f, "the way to {host} is encrypted, authority of the server checked, its name not")
            }
            Protection::Encrypted(_) => {
                write!(f, "the way to {host} is encrypted, the server's certificate not checked")
            }
            Protection::Socket => write!(f, "{host} is a socket of this machine"),
            Protection::Disabled => write!(f, "the way to {host} is not encrypted (sslmode=disable)"),
            Protection::GivenUp(reason) => {
                write!(f, "the way to {host} is NOT encrypted: ")?;
                f.write_str(match reason {
                    Reason::NoTls => "the server offers no TLS",
                    Reason::NotLetIn => "the server lets nobody in that way (pg_hba.conf)",
                    Reason::NotAgreed => "the handshake of TLS failed",
                })
            }
        }
    }
}
