//! One connection, from its first byte to its end: the handshake, if the server has a certificate, then HTTP/1.1, or
//! HTTP/2 where the client chose that in the handshake (ALPN).

mod handshake;
mod http1;
mod http2;
mod pieces;

use std::sync::Arc;

use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::handshake::{Spoken, shake_hands};
use super::connections::{Close, Encrypted, Seat};
use super::deadline::{Deadlined, Outgoing};
use super::endpoint::{Endpoint, RequestBody};
use crate::tls::Tls;

/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What a connection's bytes go through.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for S {}

/// What a connection is served with.
#[derive(Clone)]
struct Talk {
    endpoint: Arc<Endpoint>,
    seat: Arc<Seat>,
    outgoing: Arc<Outgoing>,
    is_encrypted: bool,
}

impl Talk {
    /// Notes in a request over which connection it came.
    fn mark(&self, request: &mut Request<RequestBody>) {
        request.extensions_mut().insert(Arc::clone(&self.seat));
        if self.is_encrypted {
            request.extensions_mut().insert(Encrypted);
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn talk(stream: TcpStream, tls: Option<&Tls>, endpoint: Arc<Endpoint>, seat: Arc<Seat>) {
    let outgoing = Arc::<Outgoing>::default();
    let stream = Deadlined::new(stream, endpoint.limits().write_timeout, Arc::clone(&outgoing));
    let talk = Talk { endpoint, seat, outgoing, is_encrypted: tls.is_some() };
    let Some(tls) = tls else { return http1::talk(stream, &talk).await };
    // In a box: while nobody asks there is none.
    match Box::pin(shake_hands(tls, stream, &talk)).await {
        Some((stream, Spoken::Http1)) => http1::talk(stream, &talk).await,
        Some((stream, Spoken::Http2)) => Box::pin(http2::talk(stream, &talk)).await,
        None => {}
    }
}

/// Ends when the connection is to be closed: for another one, or because the server stops.
async fn is_to_close(talk: &Talk) -> Close {
    tokio::select! {
        close = talk.seat.is_to_close() => close,
        _ = talk.endpoint.stopping.uploads_end() => Close::WhenSent,
    }
}
