//! Why no connection was made: facts first, then, in this one file, the words for whoever runs the server.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use super::driver::{failed, message_of};
use super::leg::Reason;
use crate::database::encryption::SslMode;
use crate::upstream::error::{StoreError, Unavailability};

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum FileFault {
    Unreadable(io::ErrorKind),
    NotPem,
    NoCertificate,
    NoKey,
    /// Where files have modes.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no modes"))]
    OpenToOthers,
    /// The key belongs to another certificate than that of this file.
    OtherKey(PathBuf),
}

/// Why the way to a server was not protected as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum TlsFault {
    /// The server speaks no TLS.
    NoTls,
    /// Nobody who is trusted vouches for its certificate.
    UnknownAuthority,
    /// Its certificate is over, since that many seconds after 1970 where that is known.
    Expired(Option<u64>),
    /// Its certificate begins later.
    NotYetValid,
    /// Its certificate is for other names.
    WrongName { wanted: Option<String>, presented: Vec<String> },
    /// It wants a certificate of this side.
    CertificateWanted,
    /// It does not take the certificate of this side.
    CertificateRefused(AlertDescription),
    /// A file of this side.
    File { path: PathBuf, why: FileFault },
    /// This system has no certificates of authorities.
    NoSystemRoots,
    /// Anything else that is wrong with its certificate, in the words of the library.
    BadCertificate(String),
    /// Anything else, in the words of the library.
    Other(String),
}

/// Why one host gave no connection.
#[derive(Debug)]
pub(in super::super) enum Failure {
    /// TLS.
    Tls(TlsFault),
    /// It took longer.
    Late(Duration),
    /// It lets nobody in as this one asked: PostgreSQL's words (`pg_hba.conf`, a certificate's user).
    NotLetIn { message: String, encrypted: bool, certificate: bool },
    /// The driver's, or the database's.
    Driver(tokio_postgres::Error),
}

/// Why no host of a URL gave a connection, in the order they were tried.
#[derive(Debug)]
pub(in super::super) struct ConnectError {
    pub(super) mode: SslMode,
    pub(super) hosts: Vec<(String, Failure)>,
}

/// The error of the TLS library within another.
fn tls_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(tls);
        }
        cause = error.source();
    }
    None
}

impl TlsFault {
    /// What of an error is TLS's; `begun`: there was a handshake.
    pub(super) fn of(error: &tokio_postgres::Error, begun: bool, wants_tls: bool) -> Option<Self> {
        if let Some(tls) = tls_error(error) {
            return Some(Self::of_library(tls));
        }
        // The driver says in words only that the server has no TLS. Everything else that ends it before the handshake
        // is an error of the network, or an answer of the database.
        let silent = error.as_db_error().is_none() && !error.is_closed();
        let network = error.source().is_some_and(|cause| cause.is::<io::Error>());
        (wants_tls && !begun && silent && !network).then_some(Self::NoTls)
    }

    fn of_library(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                CertificateError::Expired => Self::Expired(None),
                CertificateError::ExpiredContext { not_after, .. } => Self::Expired(Some(not_after.as_secs())),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::NotValidForName => Self::WrongName { wanted: None, presented: Vec::new() },
                CertificateError::NotValidForNameContext { expected, presented } => {
                    Self::WrongName { wanted: Some(expected.to_str().into_owned()), presented: presented.clone() }
                }
                other => Self::BadCertificate(other.to_string()),
            },
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => Self::CertificateWanted,
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied),
            ) => Self::CertificateRefused(*alert),
            other => Self::Other(other.to_string()),
        }
    }
}

impl Failure {
    /// That of the driver, told apart.
    pub(super) fn of(error: tokio_postgres::Error, begun: bool, wants_tls: bool, certificate: bool) -> Self {
        if let Some(fault) = TlsFault::of(&error, begun, wants_tls) {
            return Self::Tls(fault);
        }
        // Invalid authorization specification: before any password.
        if error.code().is_some_and(|state| state.code() == "28000") {
            return Self::NotLetIn { message: message_of(&error), encrypted: begun, certificate };
        }
        Self::Driver(error)
    }

    /// Why another try without TLS could succeed, if it could: not where a certificate was looked at and is wrong.
    pub(super) const fn why_in_the_clear(&self) -> Option<Reason> {
        match self {
            Self::Tls(TlsFault::Other(_)) => Some(Reason::NotAgreed),
            Self::NotLetIn { encrypted: true, .. } => Some(Reason::NotLetIn),
            _ => None,
        }
    }
}

impl ConnectError {
    /// What it means for whoever asked: that of the last host.
    pub(in super::super) fn into_store_error(mut self) -> StoreError {
        let words = self.to_string();
        match self.hosts.pop() {
            Some((_, Failure::Driver(error))) => match failed(error) {
                StoreError::Unavailable { why, .. } => StoreError::unavailable(why, words),
                StoreError::Refused { .. } => StoreError::unavailable(Unavailability::Away, words),
                StoreError::Fault(_) => StoreError::Fault(words),
                error => error,
            },
            _ => StoreError::unavailable(Unavailability::Away, words),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (host, failure)) in self.hosts.iter().enumerate() {
            if self.hosts.len() > 1 {
                write!(f, "{}{host}: ", if at == 0 { "" } else { "; " })?;
            }
            match failure {
                Failure::Tls(fault) => write!(f, "{fault}")?,
                Failure::Late(limit) => write!(f, "no connection within {limit:?}")?,
                Failure::Driver(error) => f.write_str(&message_of(error))?,
                Failure::NotLetIn { message, encrypted, certificate } => {
                    f.write_str(message)?;
                    f.write_str(match (encrypted, certificate) {
                        (false, _) if self.mode == SslMode::Disable || self.mode == SslMode::Prefer => {
                            "; the way there is not encrypted, which pg_hba.conf may ask for: say sslmode=require"
                        }
                        (false, _) => "",
                        (true, false) => {
                            "; the way there is encrypted, and no certificate was shown: where pg_hba.conf asks for \
                             one, name it with sslcert and sslkey"
                        }
                        (true, true) => {
                            "; the certificate of sslcert was shown: its common name must be the user, or be mapped \
                             to it in pg_ident.conf"
                        }
                    })?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTls => f.write_str(
                "the server speaks no TLS, and the way to it is to be encrypted: set ssl = on there, with a \
                 certificate; or say sslmode=prefer (encrypted where it can be) or sslmode=disable",
            ),
            Self::UnknownAuthority => f.write_str(
                "the server's certificate is of an authority that is not trusted here: name the file of that \
                 authority's certificate with sslrootcert=FILE",
            ),
            Self::Expired(since) => {
                f.write_str("the server's certificate has expired")?;
                if let Some(since) = since.and_then(|since| i64::try_from(since).ok()) {
                    write!(f, " ({})", tidemark_core::timestamp::format(since.saturating_mul(1_000_000)))?;
                }
                f.write_str(": renew it there (ssl_cert_file), then reload PostgreSQL")
            }
            Self::NotYetValid => {
                f.write_str("the server's certificate is not valid yet: is the clock of this machine, or there, right?")
            }
            Self::WrongName { wanted, presented } => {
                f.write_str("the server's certificate is not for ")?;
                f.write_str(wanted.as_deref().unwrap_or("the host of the URL"))?;
                match presented.as_slice() {
                    [] => f.write_str(", nor for any other name (a common name alone does not count)")?,
                    names => write!(f, ", but for {}", names.join(", "))?,
                }
                f.write_str(
                    ": use that name in the URL, or a certificate with this one as subjectAltName; \
                     sslmode=verify-ca does not look at names",
                )
            }
            Self::CertificateWanted => {
                f.write_str("the server wants a certificate of this side: name it with sslcert=FILE and sslkey=FILE")
            }
            Self::CertificateRefused(alert) => write!(
                f,
                "the server does not take the certificate of sslcert ({alert:?}): it must be valid, and of an \
                 authority in the server's ssl_ca_file"
            ),
            Self::File { path, why } => {
                let path = path.display();
                match why {
                    FileFault::Unreadable(kind) => write!(f, "{path} cannot be read: {kind}"),
                    FileFault::NotPem => write!(f, "{path} is not a PEM file"),
                    FileFault::NoCertificate => write!(f, "{path} holds no certificate (-----BEGIN CERTIFICATE-----)"),
                    FileFault::NoKey => write!(
                        f,
                        "{path} holds no key that can be read without a password (-----BEGIN PRIVATE KEY-----)"
                    ),
                    FileFault::OpenToOthers => write!(f, "{path} can be read by others than its owner: chmod 0600"),
                    FileFault::OtherKey(cert) => write!(f, "{path} is not the key of {}", cert.display()),
                }
            }
            Self::NoSystemRoots => f.write_str(
                "this system has no certificates of authorities: install them (Debian: ca-certificates), or name a \
                 file with sslrootcert=FILE",
            ),
            Self::BadCertificate(words) => write!(
                f,
                "the server's certificate is none for a server ({words}): make another one there (ssl_cert_file), then \
                 reload PostgreSQL"
            ),
            Self::Other(words) => write!(f, "TLS failed: {words}"),
        }
    }
}
