//! Why a server was not trusted, or did not trust the station: the facts of a TLS handshake that failed. What helps is
//! said at the edge.

use std::fmt;

/// Why there is no safe connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untrusted {
    /// No authority that is trusted here vouches for its certificate.
    UnknownAuthority,
    /// Its certificate has run out.
    Expired,
    /// Its certificate is not valid yet.
    NotYetValid,
    /// Its certificate is for other names.
    WrongName,
    /// The pinned certificate is not among those that it shows.
    OtherPin,
    /// This system trusts nobody.
    NoAuthorities,
    /// It did not take the station's certificate, or wants one and got none.
    ClientRefused,
    /// What answers does not speak TLS.
    NotTls,
    /// Its certificate is no good for another reason, or the handshake broke.
    Other,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "no authority that is trusted here vouches for its certificate",
            Self::Expired => "its certificate has run out",
            Self::NotYetValid => "its certificate is not valid yet",
            Self::WrongName => "its certificate is for other names",
            Self::OtherPin => "the pinned certificate is not among those it shows",
            Self::NoAuthorities => "this system has no authorities that it trusts",
            Self::ClientRefused => "it wants a certificate from this station, or did not take the one it got",
            Self::NotTls => "what answers there does not speak TLS",
            Self::Other => "the TLS handshake failed",
        })
    }
}
