//! The way to the server: where it is, and how it is spoken to there.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tidemark_testkit::certificates::Authority;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a connection may take to be made, with its handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// What goes over a connection.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug> Wire for S {}

/// A connection, plain or over TLS.
pub type Stream = Box<dyn Wire>;

/// The way to the server.
#[derive(Clone)]
pub struct Door {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

impl Door {
    /// Over TLS, to a server with a certificate of this authority for its address.
    ///
    /// # Errors
    /// When the authority's certificate is none.
    pub fn over_tls(address: SocketAddr, authority: &Authority) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der().to_vec()))?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: Some(TlsConnector::from(Arc::new(config))) })
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Connects from an address, and shakes hands. `receive_bytes` is what the system keeps of what is not read.
    ///
    /// # Errors
    /// The system's; or when it takes too long.
    pub async fn connect(&self, from: IpAddr, receive_bytes: Option<u32>) -> io::Result<Stream> {
        let connecting = async {
            let stream = self.connect_raw(from, receive_bytes).await?;
            let Some(tls) = &self.tls else { return Ok(Box::new(stream) as Stream) };
            let stream = tls.connect(ServerName::from(self.address.ip()), stream).await?;
            Ok(Box::new(stream) as Stream)
        };
        timeout(CONNECT, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// The same without a handshake.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_raw(&self, from: IpAddr, receive_bytes: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(SocketAddr::new(from, 0))?;
        let stream = timeout(CONNECT, socket.connect(self.address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
