//! The options of a PostgreSQL URL that say how the way to the server is protected, with the meanings of libpq
//! (PostgreSQL's manual, "SSL Support"), and what they come to together.
//!
//! | `sslmode` | encrypted | the server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` (and `allow`) | where the server can; else not, said | not looked at, unless `sslrootcert` is named |
//! | `require` | yes, or no connection | not looked at, unless `sslrootcert` is named: then as `verify-ca` |
//! | `verify-ca` | yes | of an authority that is trusted |
//! | `verify-full` | yes | of an authority that is trusted, and for the name of the host |
//!
//! Two things differ from libpq on purpose: without `sslmode` another machine is `require`, not `prefer`; and where
//! `sslrootcert` is not named, `verify-…` goes by the authorities of the system, not by a file in somebody's home.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// The protection of the way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// None.
    Disable,
    /// Encrypted where the server can.
    Prefer,
    /// Encrypted.
    Require,
    /// Encrypted, by a server whose certificate is of a trusted authority.
    VerifyCa,
    /// Encrypted, by the very server that is named.
    VerifyFull,
}

impl SslMode {
    /// Its name in a URL, and in the environment of PostgreSQL's programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "disable" => Self::Disable,
            // Encryption where it can be had is more than what `allow` asks for.
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who vouches for the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Nobody: it is not looked at.
    Nobody,
    /// The authorities that this system trusts.
    System,
    /// Those of a file, PEM.
    File(PathBuf),
}

/// What this side shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The file of the certificate, and of what leads to its authority, PEM.
    pub cert: PathBuf,
    /// The file of its key, PEM, not encrypted.
    pub key: PathBuf,
}

/// How the way to a server is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// How far.
    pub mode: SslMode,
    /// The URL says so itself.
    pub said: bool,
    /// Who vouches for the server.
    pub roots: Roots,
    /// Shown when the server asks for it.
    pub client: Option<ClientCertificate>,
    /// TLS begins at once, without PostgreSQL's question before it (PostgreSQL 17 and later).
    pub direct: bool,
}

/// Why options do not go together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncryptionError {
    /// No such mode.
    #[error("sslmode is one of disable, prefer, require, verify-ca and verify-full")]
    Mode,
    /// No such way to begin.
    #[error("sslnegotiation is postgres or direct")]
    Negotiation,
    /// An option that this program cannot honour.
    #[error("{name} is not supported{}", hint(name))]
    Unsupported {
        /// Its name.
        name: &'static str,
    },
    /// One without the other.
    #[error("sslcert and sslkey go together: the file of the certificate and the file of its key")]
    HalfACertificate,
    /// The authorities of the system vouch for names, not for this database.
    #[error(
        "the authorities of the system vouch for any server of the world: with them say sslmode=verify-full, or name your \
         own with sslrootcert=FILE"
    )]
    WeakSystem,
    /// Beginning at once leaves no way to do without.
    #[error("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full")]
    WeakDirect,
}

fn hint(option: &str) -> &'static str {
    match option {
        "sslpassword" => ": take the password off the key (openssl pkey -in OLD -out NEW), readable by its owner only",
        "sslcrl" | "sslcrldir" => ": let the server's certificate be short-lived instead",
        _ => "",
    }
}

/// The options as they stand in a URL.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    mode: Option<SslMode>,
    roots: Option<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    direct: bool,
}

impl Options {
    /// The names of those that are taken.
    pub(super) const NAMES: [&'static str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "sslnegotiation"];

    /// Takes an option of TLS; false where it is another's.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, EncryptionError> {
        const UNSUPPORTED: [&str; 7] = [
            "sslpassword",
            "sslcrl",
            "sslcrldir",
            "sslcertmode",
            "requiressl",
            "ssl_min_protocol_version",
            "ssl_max_protocol_version",
        ];
        let path = || Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
        match name {
            "sslmode" => self.mode = Some(SslMode::parse(value).ok_or(EncryptionError::Mode)?),
            "sslrootcert" => self.roots = Some(value.to_owned()).filter(|value| !value.is_empty()),
            "sslcert" => self.cert = path(),
            "sslkey" => self.key = path(),
            "sslnegotiation" => {
                self.direct = match value {
                    "postgres" => false,
                    "direct" => true,
                    _ => return Err(EncryptionError::Negotiation),
                }
            }
            name => {
                return match UNSUPPORTED.iter().find(|it| **it == name) {
                    Some(name) => Err(EncryptionError::Unsupported { name }),
                    None => Ok(false),
                };
            }
        }
        Ok(true)
    }

    /// What they come to, for hosts of which some are other machines, or none.
    pub(super) fn settle(self, another_machine: bool) -> Result<Encryption, EncryptionError> {
        let system = self.roots.as_deref() == Some("system");
        let mode = self.mode.unwrap_or(match (system, &self.roots) {
            (true, _) => SslMode::VerifyFull,
            // Whoever names an authority wants it to be asked.
            (false, Some(_)) => SslMode::Require,
            (false, None) if another_machine || self.direct => SslMode::Require,
            (false, None) => SslMode::Prefer,
        });
        let weak = system || (mode == SslMode::VerifyCa && self.roots.is_none());
        if weak && mode != SslMode::VerifyFull && mode != SslMode::Disable {
            return Err(EncryptionError::WeakSystem);
        }
        if self.direct && matches!(mode, SslMode::Disable | SslMode::Prefer) {
            return Err(EncryptionError::WeakDirect);
        }
        let client = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(ClientCertificate { cert, key }),
            (None, None) => None,
            _ => return Err(EncryptionError::HalfACertificate),
        };
        let roots = match (self.roots, mode) {
            (Some(file), _) if !system => Roots::File(file.into()),
            (None, SslMode::Disable | SslMode::Prefer | SslMode::Require) => Roots::Nobody,
            _ => Roots::System,
        };
        let mode = if mode == SslMode::Require && roots != Roots::Nobody { SslMode::VerifyCa } else { mode };
        Ok(Encryption { mode, said: self.mode.is_some(), roots, client, direct: self.direct })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(options: &[(&str, &str)], another_machine: bool) -> Result<Encryption, EncryptionError> {
        let mut taken = Options::default();
        for (name, value) in options {
            assert!(taken.take(name, value)?, "{name}");
        }
        taken.settle(another_machine)
    }

    #[test]
    fn another_machine_is_encrypted_unless_the_url_says_otherwise() {
        let mode = |options: &[(&str, &str)], another| settled(options, another).unwrap().mode;
        assert_eq!(mode(&[], true), SslMode::Require);
        assert_eq!(mode(&[], false), SslMode::Prefer);
        assert_eq!(mode(&[("sslmode", "prefer")], true), SslMode::Prefer);
        assert_eq!(mode(&[("sslmode", "allow")], true), SslMode::Prefer);
        assert_eq!(mode(&[("sslmode", "disable")], true), SslMode::Disable);
        assert_eq!(mode(&[("sslrootcert", "ca.pem")], false), SslMode::VerifyCa);
        assert_eq!(mode(&[("sslrootcert", "system")], false), SslMode::VerifyFull);
        assert_eq!(mode(&[("sslmode", "require"), ("sslrootcert", "ca.pem")], true), SslMode::VerifyCa);
    }

    #[test]
    fn who_vouches_follows_the_mode() {
        let roots = |options: &[(&str, &str)]| settled(options, true).unwrap().roots;
        assert_eq!(roots(&[("sslmode", "require")]), Roots::Nobody);
        assert_eq!(roots(&[("sslmode", "verify-ca"), ("sslrootcert", "ca.pem")]), Roots::File("ca.pem".into()));
        assert_eq!(roots(&[("sslmode", "verify-full")]), Roots::System);
        assert_eq!(roots(&[("sslmode", "verify-full"), ("sslrootcert", "ca.pem")]), Roots::File("ca.pem".into()));
    }

    #[test]
    fn options_that_do_not_go_together_are_refused() {
        for (options, wanted) in [
            (&[("sslmode", "maybe")][..], EncryptionError::Mode),
            (&[("sslcert", "a.crt")], EncryptionError::HalfACertificate),
            (&[("sslkey", "a.key")], EncryptionError::HalfACertificate),
            (&[("sslmode", "require"), ("sslrootcert", "system")], EncryptionError::WeakSystem),
            (&[("sslmode", "verify-ca")], EncryptionError::WeakSystem),
            (&[("sslmode", "prefer"), ("sslnegotiation", "direct")], EncryptionError::WeakDirect),
            (&[("sslnegotiation", "quick")], EncryptionError::Negotiation),
            (&[("sslcrl", "x")], EncryptionError::Unsupported { name: "sslcrl" }),
            (&[("sslpassword", "x")], EncryptionError::Unsupported { name: "sslpassword" }),
        ] {
            assert_eq!(settled(options, true).unwrap_err(), wanted, "{options:?}");
        }
    }
}
