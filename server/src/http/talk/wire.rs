//! What both versions of HTTP need of a connection.

use std::sync::Arc;

use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::connections::{Close, Encrypted, Seat};
use crate::http::deadline::Outgoing;
use crate::http::endpoint::{Endpoint, RequestBody};

/// Most bytes of a request's head.
pub(super) const HEAD_BYTES_MAX: usize = 32 << 10;

/// What a connection's bytes go through.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Wire for S {}

/// What a connection is served with.
#[derive(Clone)]
pub(super) struct Talk {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) seat: Arc<Seat>,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) is_encrypted: bool,
}

impl Talk {
    /// Notes in a request over which connection it came.
    pub(super) fn mark(&self, request: &mut Request<RequestBody>) {
        request.extensions_mut().insert(Arc::clone(&self.seat));
        if self.is_encrypted {
            request.extensions_mut().insert(Encrypted);
        }
    }
}

/// Ends when the connection is to be closed: for another one, or because the server stops.
pub(super) async fn is_to_close(talk: &Talk) -> Close {
    tokio::select! {
        close = talk.seat.is_to_close() => close,
        _ = talk.endpoint.stopping.uploads_end() => Close::WhenSent,
    }
}
