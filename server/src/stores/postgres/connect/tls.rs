//! TLS to PostgreSQL, from the files that a URL names.
//!
//! The files are read for each new connection, so that renewed ones count from then on. Files that cannot be read just
//! while somebody writes them do not end a server that has read them before: it goes on with what it has, and says so.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{FileFault, TlsFault};
use super::verify::Verifier;
use crate::database::encryption::{ClientCertificate, Encryption, Roots, SslMode};

/// The protocol of PostgreSQL, where TLS begins without a question before it.
const ALPN: &[u8] = b"postgresql";

/// What was read of the files last.
#[derive(Clone, Default)]
pub(in super::super) struct Credentials {
    last: Arc<Mutex<Last>>,
}

#[derive(Default)]
struct Last {
    good: Option<MakeRustlsConnect>,
    /// Said already.
    fault: Option<TlsFault>,
}

impl Credentials {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be used, and could not before.
    pub(super) async fn read(&self, encryption: &Encryption) -> Result<MakeRustlsConnect, TlsFault> {
        let wanted = encryption.clone();
        let reading = tokio::task::spawn_blocking(move || client_config(&wanted));
        let read = reading.await.unwrap_or_else(|error| Err(TlsFault::Other(error.to_string())));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(config) => {
                last.fault = None;
                Ok(last.good.insert(MakeRustlsConnect::new(config)).clone())
            }
            Err(fault) => {
                let kept = last.good.clone().ok_or_else(|| fault.clone())?;
                if last.fault.as_ref() != Some(&fault) {
                    tracing::warn!("TLS to PostgreSQL goes on with the certificates read before: {fault}");
                    last.fault = Some(fault);
                }
                Ok(kept)
            }
        }
    }
}

/// The configuration that the options come to.
fn client_config(encryption: &Encryption) -> Result<ClientConfig, TlsFault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsFault::Other(error.to_string()))?;
    let (roots, pinned) = match (&encryption.roots, encryption.mode) {
        (_, SslMode::Disable) | (Roots::Nobody, _) => (None, Vec::new()),
        (Roots::System, _) => (Some(system_roots()?), Vec::new()),
        (Roots::File(file), _) => {
            let (roots, pinned) = roots_of(file)?;
            (Some(roots), pinned)
        }
    };
    let names = encryption.mode == SslMode::VerifyFull;
    let verifier = Verifier { algorithms, roots: roots.map(Arc::new), pinned, names };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &encryption.client {
        Some(client) if encryption.mode != SslMode::Disable => with_certificate(builder, client)?,
        _ => builder.with_no_client_auth(),
    };
    if encryption.direct {
        config.alpn_protocols = vec![ALPN.to_vec()];
    }
    Ok(config)
}

type WantsCertificate = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn with_certificate(builder: WantsCertificate, client: &ClientCertificate) -> Result<ClientConfig, TlsFault> {
    let chain = certificates(&client.cert)?;
    let bad = |why| TlsFault::File { path: client.key.clone(), why };
    only_the_owners(&client.key).map_err(bad)?;
    let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|error| {
        bad(match error {
            PemError::Io(error) => FileFault::Unreadable(error.kind()),
            // That of an encrypted one is ENCRYPTED PRIVATE KEY, which is none of the three kinds.
            PemError::NoItemsFound => FileFault::NoKey,
            _ => FileFault::NotPem,
        })
    })?;
    builder.with_client_auth_cert(chain, key).map_err(|_| bad(FileFault::OtherKey(client.cert.clone())))
}

/// PostgreSQL's programs refuse a key that others can read: so does the server, and not only once a backup is due.
#[cfg(unix)]
fn only_the_owners(key: &Path) -> Result<(), FileFault> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(key).map_err(|error| FileFault::Unreadable(error.kind()))?;
    let others = if meta.uid() == 0 { 0o037 } else { 0o077 };
    if meta.mode() & others == 0 { Ok(()) } else { Err(FileFault::OpenToOthers) }
}

#[cfg(not(unix))]
fn only_the_owners(_: &Path) -> Result<(), FileFault> {
    Ok(())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let bad = |why| TlsFault::File { path: file.to_owned(), why };
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| {
        bad(match error {
            PemError::Io(error) => FileFault::Unreadable(error.kind()),
            _ => FileFault::NotPem,
        })
    })?;
    if found.is_empty() { Err(bad(FileFault::NoCertificate)) } else { Ok(found) }
}

fn roots_of(file: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsFault> {
    let found = certificates(file)?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.iter().cloned());
    if added == 0 {
        return Err(TlsFault::File { path: file.to_owned(), why: FileFault::NoCertificate });
    }
    Ok((roots, found))
}

fn system_roots() -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsFault::NoSystemRoots) } else { Ok(roots) }
}

type Inner = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

/// TLS that knows whether it was begun: a server may have said before that it speaks none.
#[derive(Clone)]
pub(in super::super) struct Tls {
    inner: MakeRustlsConnect,
    began: Arc<AtomicBool>,
}

impl Tls {
    pub(super) fn new(inner: MakeRustlsConnect) -> Self {
        Self { inner, began: Arc::default() }
    }

    /// A handshake was begun.
    pub(super) fn began(&self) -> bool {
        self.began.load(Ordering::Relaxed)
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;
    type TlsConnect = Handshake;
    type Error = Infallible;

    fn make_tls_connect(&mut self, hostname: &str) -> Result<Handshake, Infallible> {
        let inner = MakeTlsConnect::<Socket>::make_tls_connect(&mut self.inner, hostname)?;
        Ok(Handshake { inner, began: Arc::clone(&self.began) })
    }
}

/// One handshake.
pub(in super::super) struct Handshake {
    inner: Inner,
    began: Arc<AtomicBool>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = <Inner as TlsConnect<Socket>>::Stream;
    type Error = <Inner as TlsConnect<Socket>>::Error;
    type Future = <Inner as TlsConnect<Socket>>::Future;

    fn connect(self, stream: Socket) -> Self::Future {
        self.began.store(true, Ordering::Relaxed);
        self.inner.connect(stream)
    }
}
