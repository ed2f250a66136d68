//! The way to a server under test: a plain connection, or one over TLS where the server at that address has a
//! certificate.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tidemark_core::limits::FrameLimits;
use tidemark_server::ServerConfig;
use tidemark_server::config::HttpLimits;
use tidemark_server::tls::{ClientCa, TlsFiles};
use tidemark_testkit::certificates::{Authority, Certificate, CertificateFiles};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::field;
use super::site::{Site, site_of, site_with};
use super::stores::Kind;

/// The name of the certificate.
pub const NAME: &str = "hq.test";

/// How the servers that are known by address are to be asked.
static LOCKED: Mutex<Option<HashMap<SocketAddr, Arc<ClientConfig>>>> = Mutex::new(None);

/// A connection of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects as the server at that address wants it.
pub async fn connect(addr: SocketAddr) -> Box<dyn Stream> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let config = LOCKED.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|all| all.get(&addr).cloned());
    match config {
        None => Box::new(stream),
        Some(config) => Box::new(shake(config, stream).await.expect("a handshake")),
    }
}

/// Shakes hands over a connection.
pub async fn shake(config: Arc<ClientConfig>, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(config).connect(ServerName::try_from(NAME).unwrap(), stream).await
}

/// A client that trusts an authority, and offers these protocols.
pub fn client(authority: &Authority, identity: Option<&Certificate>, protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der().to_vec())).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![CertificateDer::from(identity.der.clone())], key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A server with a certificate, and the authority of it.
pub struct Locked {
    pub site: Site,
    pub authority: Authority,
    pub files: CertificateFiles,
    pub folder: TempDir,
}

impl Locked {
    /// Connects, with these protocols offered.
    pub async fn shake(&self, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.site.addr).await.unwrap();
        shake(client(&self.authority, None, protocols), stream).await
    }

    /// The certificate that a new connection is shown.
    pub async fn shown(&self) -> Vec<u8> {
        let stream = self.shake(&[]).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

/// A server over TLS, that asks clients for a certificate of its own authority if it is told to, and whether they must
/// have one.
pub async fn locked(kind: Kind, http: HttpLimits, client_required: Option<bool>) -> Locked {
    locked_with(kind, http, client_required, |_| ()).await
}

/// The same, by a configuration that `adapt` made different.
pub async fn locked_with(
    kind: Kind,
    http: HttpLimits,
    client_required: Option<bool>,
    adapt: impl FnOnce(&mut ServerConfig),
) -> Locked {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the tests'").unwrap();
    let files = authority.server(&[NAME, "127.0.0.1"]).unwrap().write(folder.path(), "server").unwrap();
    let ca = folder.path().join("ca.crt");
    authority.write(&ca).unwrap();
    let client_ca = client_required.map(|required| ClientCa { file: ca, required });
    let tls = TlsFiles { cert: files.cert.clone(), key: files.key.clone(), client_ca };
    let site = site_of(kind, &field(), |config| {
        (config.http, config.tls) = (http, Some(tls));
        adapt(config);
    })
    .await;
    let config = client(&authority, None, &["http/1.1"]);
    LOCKED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(site.addr, config);
    Locked { site, authority, files, folder }
}

/// What a test of the endpoint goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Plain,
    Tls,
}

impl Over {
    /// A server of this kind.
    pub async fn site(self, kind: Kind, http: HttpLimits) -> Site {
        match self {
            Self::Plain => site_with(kind, http, FrameLimits::DEFAULT).await,
            Self::Tls => locked(kind, http, None).await.site,
        }
    }
}
