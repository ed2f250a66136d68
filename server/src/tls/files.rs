//! The files that TLS is made of, and what can be wrong with them.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where the server's certificate is, and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that lead to its authority, PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whose certificates clients show; `None`: they are not asked for one.
    pub client_ca: Option<ClientCa>,
}

/// The authority of the clients' certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCa {
    /// Its certificates, PEM.
    pub file: PathBuf,
    /// A client without a certificate is not let in. One with a certificate of somebody else never is.
    pub required: bool,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// The system's words.
        error: String,
    },
    /// It is no PEM.
    #[error("{}: is not PEM: {detail}", file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// What is not.
        detail: String,
    },
    /// There is no certificate in it.
    #[error("{}: has no certificate (a part that begins with -----BEGIN CERTIFICATE-----)", file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// There is more than one, and it is not known which is meant.
    #[error("{}: has {count} certificates; give the one to know the server by alone: its authority's, or its own", file.display())]
    Several {
        /// Which.
        file: PathBuf,
        /// How many.
        count: usize,
    },
    /// There is no key in it.
    #[error("{}: has no private key that is not encrypted (PKCS #8, PKCS #1 or SEC1)", file.display())]
    NoKey {
        /// Which.
        file: PathBuf,
    },
    /// The key is another certificate's.
    #[error("the key {} is not that of the first certificate in {}", key.display(), cert.display())]
    OtherKey {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate has run out, or is not valid yet.
    #[error("{}: the certificate is valid from {from} to {until} only", file.display())]
    NotNow {
        /// Which.
        file: PathBuf,
        /// Since when, UTC.
        from: String,
        /// Until when, UTC.
        until: String,
    },
    /// TLS cannot be served with it.
    #[error("{}: {detail}", file.display())]
    Unfit {
        /// Which.
        file: PathBuf,
        /// Why.
        detail: String,
    },
}

impl TlsFileError {
    /// The file that it is about; of two that do not fit each other the key's.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::Unreadable { file, .. }
            | Self::Pem { file, .. }
            | Self::NoCertificate { file }
            | Self::Several { file, .. }
            | Self::NoKey { file }
            | Self::OtherKey { key: file, .. }
            | Self::NotNow { file, .. }
            | Self::Unfit { file, .. } => file,
        }
    }
}
