//! A request on its way to its handler, with the bound of its body.

use hyper::Request;
use tidemark_core::protocol::Problem;
use tokio::time::Instant;

use super::body::{self, Held};
use super::endpoint::{Endpoint, RequestBody};

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
    /// Reads the body.
    ///
    /// # Errors
    /// When it is longer than the route takes, comes too slowly, or there is no room for it now.
    pub(super) async fn body(&mut self) -> Result<Held, Problem> {
        let bytes_max = match self.body_max {
            BodyMax::Bytes(bytes_max) => bytes_max,
            BodyMax::Frame => self.endpoint.ingest.limits().frame_bytes_max as usize,
        };
        let reading = body::read(self.endpoint, self.request.body_mut(), bytes_max);
        tokio::time::timeout_at(self.until, reading).await.map_err(|_| body::slow())?
    }
}
