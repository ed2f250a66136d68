//! Why a handshake failed, as a fact: for the log and the metrics.

use std::fmt;
use std::io;

use rustls::{AlertDescription, Error};

/// Why a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client shows no certificate, and must.
    NoClientCertificate,
    /// The client's certificate is of nobody who is trusted here, or is not valid.
    ClientCertificate,
    /// There is no version, cipher or protocol that both speak.
    NothingInCommon,
    /// The client does not take the server's certificate.
    ServerCertificate,
    /// The client speaks plain HTTP.
    PlainHttp,
    /// What came is no handshake.
    Malformed,
    /// It took too long.
    Timeout,
    /// The client went away.
    HungUp,
}

impl HandshakeFailure {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NoClientCertificate,
        Self::ClientCertificate,
        Self::NothingInCommon,
        Self::ServerCertificate,
        Self::PlainHttp,
        Self::Malformed,
        Self::Timeout,
        Self::HungUp,
    ];

    /// Its name in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoClientCertificate => "no-client-certificate",
            Self::ClientCertificate => "client-certificate",
            Self::NothingInCommon => "nothing-in-common",
            Self::ServerCertificate => "server-certificate",
            Self::PlainHttp => "plain-http",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
            Self::HungUp => "hung-up",
        }
    }

    /// Of the error that ended it.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<Error>()) else { return Self::HungUp };
        match error {
            Error::NoCertificatesPresented => Self::NoClientCertificate,
            Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => Self::ClientCertificate,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::NothingInCommon,
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            _ => Self::Malformed,
        }
    }

    /// Of what the client said when it went.
    const fn of_alert(alert: AlertDescription) -> Self {
        use AlertDescription as Alert;
        match alert {
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::UnrecognisedName
            | Alert::BadCertificateStatusResponse => Self::ServerCertificate,
            Alert::HandshakeFailure
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::NoApplicationProtocol => Self::NothingInCommon,
            Alert::CloseNotify | Alert::UserCanceled => Self::HungUp,
            _ => Self::Malformed,
        }
    }

    /// Of the first byte of what is no handshake: a request begins with the capital letter of its method.
    #[must_use]
    pub const fn of_first_byte(byte: u8) -> Self {
        if byte.is_ascii_uppercase() { Self::PlainHttp } else { Self::Malformed }
    }

    /// Whether it is told: who only looks whether the port is open, as a load balancer does, is counted alone.
    #[must_use]
    pub const fn is_told(self) -> bool {
        !matches!(self, Self::HungUp)
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoClientCertificate => "the client shows no certificate, and must (--tls-client-auth)",
            Self::ClientCertificate => {
                "the client's certificate is not valid, or of another authority (--tls-client-ca)"
            }
            Self::NothingInCommon => "there is no version, cipher or protocol that both speak",
            Self::ServerCertificate => "the client does not take this server's certificate",
            Self::PlainHttp => "the client speaks plain HTTP; its URL must begin with https://",
            Self::Malformed => "what the client sends is no handshake",
            Self::Timeout => "it took too long (--head-timeout)",
            Self::HungUp => "the client went away",
        })
    }
}
