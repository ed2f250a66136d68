//! The way of a server to its end, as its requests see it.

use tidemark_core::protocol::{Problem, UnavailableReason};
use tokio::sync::watch;

/// How far a server is on the way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Requests are still taken; `/readyz` says that they should go elsewhere.
    Draining,
    /// Nobody is waited for who is still sending.
    Ending,
}

/// Whether the server is being stopped.
#[derive(Debug)]
pub(super) struct Stopping(watch::Sender<Phase>);

impl Default for Stopping {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Serving))
    }
}

impl Stopping {
    /// The server is to stop: it is not ready from now on.
    pub(super) fn begin(&self) {
        self.0.send_replace(Phase::Draining);
    }

    /// The time to take requests is over: uploads that are not whole end.
    pub(super) fn end_uploads(&self) {
        self.0.send_replace(Phase::Ending);
    }

    /// Refuses once the server is to stop.
    ///
    /// # Errors
    /// Then.
    pub(super) fn refuse(&self) -> Result<(), Problem> {
        if *self.0.borrow() == Phase::Serving { Ok(()) } else { Err(problem()) }
    }

    /// Ends when the time to take requests is over, with the refusal of an upload that is not whole.
    pub(super) async fn uploads_end(&self) -> Problem {
        // The sender is here, so there is no other end.
        let _ = self.0.subscribe().wait_for(|phase| *phase == Phase::Ending).await;
        problem()
    }
}

fn problem() -> Problem {
    Problem::unavailable(UnavailableReason::ServerStopping, "the server is being stopped; try again soon")
}
