//! From files to what rustls serves with.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tidemark_core::joincode::Pin;

use super::certificate::{Described, contents, describe, parsed};
use super::needed::{Doubt, Needed};
use super::{ClientCa, TlsFileError, TlsFiles};

/// What is offered to a client, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The bytes of all files, as they were at one moment.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl Contents {
    pub(super) fn of(files: &TlsFiles) -> Result<Self, TlsFileError> {
        Ok(Self {
            cert: contents(&files.cert)?,
            key: contents(&files.key)?,
            client_ca: match &files.client_ca {
                Some(ClientCa { file, .. }) => contents(file)?,
                None => Vec::new(),
            },
        })
    }

    /// Two that differ have others.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.cert, &self.key, &self.client_ca] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// What is served with, and the server's certificate for people.
pub(super) struct Ready {
    pub(super) config: Arc<ServerConfig>,
    pub(super) described: Described,
    pub(super) needed: Needed,
}

/// Makes it of the files' contents.
pub(super) fn read(files: &TlsFiles, contents: &Contents, pin: Option<Pin>) -> Result<Ready, TlsFileError> {
    let unfit = |detail: String| TlsFileError::Unfit { file: files.cert.clone(), detail };
    let chain = parsed(&files.cert, &contents.cert)?;
    let key =
        PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| TlsFileError::NoKey { file: files.key.clone() })?;
    let described = describe(&chain[0]).ok_or_else(|| unfit("the first certificate cannot be read".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(error.to_string()))?;
    let client_ca = match &files.client_ca {
        None => Vec::new(),
        Some(ca) => parsed(&ca.file, &contents.client_ca)?,
    };
    let needed = Needed::of(&chain, &described, &client_ca, pin);
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => builder.with_client_cert_verifier(verifier(ca, client_ca, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsFileError::OtherKey { cert: files.cert.clone(), key: files.key.clone() }
        }
        other => unfit(other.to_string()),
    })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Ready { config: Arc::new(config), described, needed })
}

/// What clients would make of the files, now and soon: for whoever serves with them later.
///
/// # Errors
/// What is wrong with them.
pub fn examine(files: &TlsFiles, pin: Option<Pin>, now_ms: i64) -> Result<Vec<Doubt>, TlsFileError> {
    Ok(read(files, &Contents::of(files)?, pin)?.needed.doubts(now_ms))
}

/// Verifies the certificates of clients.
fn verifier(
    ca: &ClientCa,
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
    let unfit = |detail: String| TlsFileError::Unfit { file: ca.file.clone(), detail };
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| unfit(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if ca.required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| unfit(error.to_string()))
}
