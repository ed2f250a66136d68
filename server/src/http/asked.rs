//! A request on its way to its handler, with the bound of its body.

use std::sync::Arc;

use hyper::Request;
use tidemark_core::protocol::Problem;
use tokio::time::Instant;

use super::address::Address;
use super::body::{self, Held};
use super::connections::Seat;
use super::endpoint::{Endpoint, RequestBody};
use super::memory::Holder;
use super::noted::noted;

/// Most bytes of a request's body.
#[derive(Debug, Clone, Copy)]
pub(super) enum BodyMax {
    /// As many.
    Bytes(usize),
    /// As many as a frame may have.
    Frame,
}

/// A request, and the endpoint that it came to.
pub(super) struct Asked<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) request: &'a mut Request<RequestBody>,
    pub(super) body_max: BodyMax,
    /// When the request must have come in whole.
    pub(super) until: Instant,
}

impl Asked<'_> {
    /// Where it came from, if it came over a socket.
    pub(super) fn address(&self) -> Option<Address> {
        address_of(self.request)
    }

    /// Judges by the head whether the body is taken, and then reads it.
    ///
    /// # Errors
    /// When it is longer than the route takes, comes too slowly, or there is no room for it now.
    pub(super) async fn body(&mut self, holder: Holder) -> Result<Held, Problem> {
        let bytes_max = match self.body_max {
            BodyMax::Bytes(bytes_max) => bytes_max,
            BodyMax::Frame => self.endpoint.ingest.limits().frame_bytes_max as usize,
        };
        let share = body::admit(self.endpoint, self.request.body(), holder, bytes_max)?;
        let noted = noted(self.request);
        body::read(self.endpoint, self.request.body_mut(), share, bytes_max, self.until, &noted).await
    }
}

/// Whether a request came from a proxy that is believed.
pub(super) fn is_of_proxy(request: &Request<RequestBody>) -> bool {
    request.extensions().get::<Arc<Seat>>().is_some_and(|seat| seat.is_of_proxy())
}

/// Where a request came from, if it came over a socket: for whom a proxy asks, if that is believed.
pub(super) fn address_of(request: &Request<RequestBody>) -> Option<Address> {
    request.extensions().get::<Arc<Seat>>().map(|seat| seat.address_of(request.headers()))
}
