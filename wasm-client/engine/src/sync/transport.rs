//! Who performs requests for an engine.

use super::{Failure, Reply, Request};

/// The answer to a request, or why there is none.
pub type Outcome = Result<Reply, Failure>;

/// Performs requests.
pub trait Transport {
    /// One HTTP exchange: no redirects, no retries, the body of the reply bounded.
    ///
    /// # Errors
    /// When there is no answer.
    fn send(&mut self, request: &Request) -> Outcome;

    /// The same beside other work, of a transport that can.
    fn beside(&mut self) -> Option<&mut dyn Beside> {
        None
    }
}

/// Performs requests while other work goes on.
pub trait Beside {
    /// Begins a request without waiting for the answer.
    fn begin(&mut self, request: Request);

    /// Whether another one can begin beside this one. It is asked only while no outcome of any other is wanted: what
    /// those have come to may be dropped.
    fn has_room(&mut self, beside: u64) -> bool;

    /// Waits for the answer to the request of this number, which was begun.
    ///
    /// # Errors
    /// As [`Transport::send`].
    fn finish(&mut self, id: u64) -> Outcome;
}
