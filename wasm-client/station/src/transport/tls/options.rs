//! What a connection is made with: whom to trust, and how to prove who asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidemark_client::sync::Untrusted;
use tidemark_client::trust::Trust;

use super::verify::{Known, Pinned};

/// Most bytes of a file with certificates.
const BYTES_MAX: u64 = 1 << 20;

/// What a server is known by, and the certificate that the station shows where it is asked for one.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// What the server is known by.
    pub trust: Trust,
    /// The station's own certificate.
    pub identity: Option<Identity>,
}

/// A certificate of the station's own and its key, PEM.
#[derive(Clone)]
pub struct Identity {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// What is wrong with a file of certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("{}: {detail}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// The system's words.
        detail: String,
    },
    /// There is no certificate in it, or one that is damaged.
    #[error("{}: has no certificate (PEM, a part that begins with -----BEGIN CERTIFICATE-----), or a damaged one", file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// The key is none, is encrypted, or is not the certificate's.
    #[error("{}: is not the private key of {} (PEM, not encrypted)", key.display(), cert.display())]
    NoKey {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

fn contents(file: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |detail: String| TlsFileError::Unreadable { file: file.to_owned(), detail };
    let length = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if length > BYTES_MAX {
        return Err(unreadable(format!("{length} bytes; a file of certificates has at most {BYTES_MAX}")));
    }
    std::fs::read(file).map_err(|error| unreadable(error.to_string()))
}

fn parsed(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// Reads the certificates of authorities, PEM.
///
/// # Errors
/// When the file cannot be read, or has none.
pub fn read_ca(file: &Path) -> Result<Trust, TlsFileError> {
    let none = || TlsFileError::NoCertificate { file: file.to_owned() };
    let pem = contents(file)?;
    let certificates = parsed(&pem).ok_or_else(none)?;
    if certificates.into_iter().any(|certificate| RootCertStore::empty().add(certificate).is_err()) {
        return Err(none());
    }
    String::from_utf8(pem).map(Trust::Ca).map_err(|_| none())
}

impl Identity {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not fit.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, TlsFileError> {
        let identity = Self { cert: contents(cert)?, key: contents(key)? };
        if parsed(&identity.cert).is_none() {
            return Err(TlsFileError::NoCertificate { file: cert.to_owned() });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Pinned::new(tidemark_core::joincode::Pin([0; 32]), &provider));
        configured(provider, verifier, Some(&identity))
            .map(|_| identity)
            .ok_or_else(|| TlsFileError::NoKey { cert: cert.to_owned(), key: key.to_owned() })
    }
}

impl TlsOptions {
    /// What a connection is made with.
    ///
    /// # Errors
    /// When nobody can be trusted, or nothing is right for it.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Untrusted> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &self.trust {
            Trust::Pin(pin) => Arc::new(Pinned::new(*pin, &provider)),
            Trust::Ca(pem) => {
                let known = parsed(pem.as_bytes()).and_then(|known| Known::new(known, &provider));
                Arc::new(known.ok_or(Untrusted::NoAuthorities)?)
            }
            Trust::System => {
                // What of the system's store cannot be read vouches for nobody.
                let system = rustls_native_certs::load_native_certs().certs;
                Arc::new(Known::new(system, &provider).ok_or(Untrusted::NoAuthorities)?)
            }
        };
        configured(provider, verifier, self.identity.as_ref()).ok_or(Untrusted::Other)
    }
}

fn configured(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&Identity>,
) -> Option<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(&identity.key).ok()?;
            builder.with_client_auth_cert(parsed(&identity.cert)?, key).ok()?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}
