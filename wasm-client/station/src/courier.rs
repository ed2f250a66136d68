//! Performs requests beside the work on the file, each in a thread with a connection of its own: a slow one does not
//! keep the process from ending, and while the server takes a batch the next one is on its way.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tidemark_client::sync::{Beside, Outcome, Request, Transport};

use crate::transport::HttpTransport;

/// How long one wait for an outcome is, of somebody who waits for it in any case.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// The threads.
#[derive(Debug)]
pub struct Courier {
    transport: HttpTransport,
    lanes: [Lane; 2],
}

/// A thread, and the request that it performs or has performed.
#[derive(Debug)]
struct Lane {
    requests: Sender<Request>,
    outcomes: Receiver<Outcome>,
    thread: JoinHandle<()>,
    /// The number of the request, until its outcome is taken.
    carries: Option<u64>,
}

impl Lane {
    fn start(mut transport: HttpTransport) -> Self {
        let (requests, todo) = channel::<Request>();
        let (done, outcomes) = channel();
        let thread = std::thread::spawn(move || {
            for request in todo {
                if done.send(transport.send(&request)).is_err() {
                    break;
                }
            }
        });
        Self { requests, outcomes, thread, carries: None }
    }
}

impl Courier {
    /// Starts the threads.
    #[must_use]
    pub fn start(transport: HttpTransport) -> Self {
        let lanes = [transport.another(), transport.another()].map(Lane::start);
        Self { transport, lanes }
    }

    /// The outcome of the request of this number, if there is one within this time.
    pub fn outcome(&mut self, id: u64, within: Duration) -> Option<Outcome> {
        let lane = self.lanes.iter_mut().find(|lane| lane.carries == Some(id));
        let lane = lane.expect("BUG: the outcome of a request is asked for once, after it was begun");
        match lane.outcomes.recv_timeout(within) {
            Ok(outcome) => {
                lane.carries = None;
                Some(outcome)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // Its thread ends before it by a panic only.
                let ended = std::mem::replace(lane, Lane::start(self.transport.another()));
                match ended.thread.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => unreachable!("BUG: a lane's thread ends with it"),
                }
            }
        }
    }
}

impl Beside for Courier {
    fn begin(&mut self, request: Request) {
        let free = self.lanes.iter().position(|lane| lane.carries.is_none());
        let at = free.unwrap_or_else(|| {
            // Nobody waits any more for what both carry.
            self.lanes[0] = Lane::start(self.transport.another());
            0
        });
        let lane = &mut self.lanes[at];
        lane.carries = Some(request.id);
        // One whose thread has panicked says so when the outcome is asked for.
        let _ = lane.requests.send(request);
    }

    fn has_room(&mut self, beside: u64) -> bool {
        for lane in &mut self.lanes {
            // Nobody waits for the outcome of any other.
            if lane.carries.is_some_and(|id| id != beside) && lane.outcomes.try_recv().is_ok() {
                lane.carries = None;
            }
        }
        self.lanes.iter().any(|lane| lane.carries.is_none())
    }

    fn finish(&mut self, id: u64) -> Outcome {
        loop {
            if let Some(outcome) = self.outcome(id, FOR_EVER) {
                return outcome;
            }
        }
    }
}

impl Transport for Courier {
    fn send(&mut self, request: &Request) -> Outcome {
        self.transport.send(request)
    }

    fn beside(&mut self) -> Option<&mut dyn Beside> {
        Some(self)
    }
}
