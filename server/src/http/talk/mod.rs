//! One connection, from its first byte to its end: the handshake, if the server has a certificate, then HTTP/1.1, or
//! HTTP/2 where the client chose that in the handshake (ALPN).

mod handshake;
mod http1;
mod http2;
mod pieces;
mod wire;

use std::sync::Arc;

use tokio::net::TcpStream;

use self::handshake::{Spoken, shake_hands};
use self::wire::Talk;
use super::connections::Seat;
use super::deadline::{Deadlined, Outgoing};
use super::endpoint::Endpoint;
use crate::tls::Tls;

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
