//! The handshake of TLS: as long as a head may take, and with a seat like any other connection, so that those who never
//! finish theirs keep nobody out.

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Talk, is_to_close};
use crate::http::deadline::Deadlined;

/// What the client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http1,
    Http2,
}

/// Shakes hands; `None` when that fails, takes too long, or the connection is to be closed.
pub(super) async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: Deadlined<TcpStream>,
    talk: &Talk,
) -> Option<(TlsStream<Deadlined<TcpStream>>, Spoken)> {
    let peer = talk.seat.address();
    let shaken = tokio::select! {
        biased;
        shaken = tokio::time::timeout(talk.endpoint.limits.head_timeout, acceptor.accept(stream)) => shaken,
        _ = is_to_close(talk) => return None,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let spoken = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Spoken::Http2,
                _ => Spoken::Http1,
            };
            Some((stream, spoken))
        }
        Ok(Err(error)) => {
            tracing::debug!("the TLS handshake of {peer} failed: {error}");
            None
        }
        Err(_) => {
            tracing::debug!("the TLS handshake of {peer} took too long");
            None
        }
    }
}
