//! Performs requests beside the work on the file, each in a thread with a connection of its own: a slow one does not
//! keep the process from ending, and while the server takes a batch the next one is on its way.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tidemark_client::sync::{Beside, Outcome, Request, Transport};

use crate::bell::Bell;
use crate::transport::HttpTransport;

/// The threads.
#[derive(Debug)]
pub struct Courier {
    transport: HttpTransport,
    bell: Bell,
    lanes: [Lane; 2],
}

/// A thread, and the request that it performs or has performed.
#[derive(Debug)]
struct Lane {
    requests: Sender<Request>,
    outcome: Arc<Mutex<Option<Outcome>>>,
    thread: JoinHandle<()>,
    /// The number of the request, until its outcome is taken.
    carries: Option<u64>,
}

impl Lane {
    fn start(mut transport: HttpTransport, bell: Bell) -> Self {
        let (requests, todo) = channel::<Request>();
        let outcome = Arc::<Mutex<Option<Outcome>>>::default();
        let performed = Arc::clone(&outcome);
        let thread = std::thread::spawn(move || {
            for request in todo {
                let outcome = transport.send(&request);
                *performed.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                bell.ring();
            }
        });
        Self { requests, outcome, thread, carries: None }
    }

    /// Whether there is an outcome, or never will be one.
    fn is_done(&self) -> bool {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).is_some() || self.thread.is_finished()
    }

    fn take(&mut self) -> Option<Outcome> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.carries = None;
        outcome
    }
}

impl Courier {
    /// Starts the threads. The bell is rung with each outcome.
    #[must_use]
    pub fn start(transport: HttpTransport, bell: Bell) -> Self {
        let lanes = [(); 2].map(|()| Lane::start(transport.another(), bell.clone()));
        Self { transport, bell, lanes }
    }

    /// Whether the outcome of the request of this number can be taken.
    #[must_use]
    pub fn is_done(&self, id: u64) -> bool {
        self.lanes.iter().any(|lane| lane.carries == Some(id) && lane.is_done())
    }

    /// Takes the outcome of a request that is done.
    ///
    /// # Panics
    /// With the panic of the thread that performed it.
    pub fn take(&mut self, id: u64) -> Outcome {
        let lane = self.lanes.iter_mut().find(|lane| lane.carries == Some(id));
        let lane = lane.expect("BUG: an outcome is taken once, of a request that was begun");
        if let Some(outcome) = lane.take() {
            return outcome;
        }
        let ended = std::mem::replace(lane, Lane::start(self.transport.another(), self.bell.clone()));
        match ended.thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("BUG: a lane's thread ends with it, unless it panics"),
        }
    }
}

impl Beside for Courier {
    fn begin(&mut self, request: Request) {
        let free = self.lanes.iter().position(|lane| lane.carries.is_none());
        let at = free.unwrap_or_else(|| {
            // Nobody waits any more for what both carry.
            self.lanes[0] = Lane::start(self.transport.another(), self.bell.clone());
            0
        });
        let lane = &mut self.lanes[at];
        lane.carries = Some(request.id);
        // One whose thread has panicked says so when the outcome is taken.
        let _ = lane.requests.send(request);
    }

    fn has_room(&mut self, beside: u64) -> bool {
        for lane in &mut self.lanes {
            // Whoever asks waits for the outcome of no other.
            if lane.carries.is_some_and(|id| id != beside) && lane.is_done() {
                drop(lane.take());
            }
        }
        self.lanes.iter().any(|lane| lane.carries.is_none())
    }

    fn finish(&mut self, id: u64) -> Outcome {
        self.bell.wait(u64::MAX, || self.is_done(id));
        self.take(id)
    }
}

impl Transport for Courier {
    fn send(&mut self, request: &Request) -> Outcome {
        self.begin(request.clone());
        self.finish(request.id)
    }

    fn beside(&mut self) -> Option<&mut dyn Beside> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use tidemark_client::sync::Method;

    use super::*;

    fn request(listener: &TcpListener, id: u64) -> Request {
        Request {
            id,
            method: Method::Get,
            url: format!("http://{}/{id}", listener.local_addr().unwrap()),
            token: None,
            content_type: None,
            schema: None,
            after: None,
            body: Vec::new(),
            timeout_ms: 60_000,
        }
    }

    /// The next request that comes, by its path, and its connection.
    fn came(listener: &TcpListener) -> (String, TcpStream) {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        let path = String::from_utf8_lossy(&head[..read]).split_whitespace().nth(1).unwrap().to_owned();
        (path, stream)
    }

    fn answer(mut stream: TcpStream, status: u16) {
        write!(stream, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    }

    #[test]
    fn two_requests_are_under_way_at_once_and_what_nobody_waits_for_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let bell = Bell::default();
        let mut courier = Courier::start(HttpTransport::new(), bell.clone());
        courier.begin(request(&listener, 1));
        let (path, first) = came(&listener);
        assert_eq!((path.as_str(), courier.has_room(1)), ("/1", true));
        courier.begin(request(&listener, 2));
        let (path, second) = came(&listener);
        assert_eq!((path.as_str(), courier.has_room(1), courier.is_done(2)), ("/2", false, false));
        // The second is done first, and its outcome is kept for whoever asks for it.
        answer(second, 202);
        bell.wait(u64::MAX, || courier.is_done(2));
        answer(first, 201);
        assert_eq!(courier.finish(1).unwrap().status, 201);
        assert_eq!(courier.finish(2).unwrap().status, 202);
        // Nobody asks for the third any more.
        courier.begin(request(&listener, 3));
        let (_, third) = came(&listener);
        courier.begin(request(&listener, 4));
        let (_, fourth) = came(&listener);
        answer(third, 203);
        bell.wait(u64::MAX, || courier.is_done(3));
        assert!(courier.has_room(4) && !courier.is_done(3));
        answer(fourth, 204);
        assert_eq!(courier.finish(4).unwrap().status, 204);
        // A connection that breaks is an outcome, too.
        courier.begin(request(&listener, 5));
        drop(came(&listener));
        assert!(courier.finish(5).is_err());
    }
}
