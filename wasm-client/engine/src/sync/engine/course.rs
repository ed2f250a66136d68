//! The course of an engine: one request is in flight, whose outcome is heard next, or it waits after a failure, or it
//! has stopped, or it is free.

use tidemark_core::ids::StationNumber;
use tidemark_core::planted::{Bug, planted};

use crate::sync::backoff::Backoff;
use crate::sync::conversation::Early;
use crate::sync::request::TIMEOUT_MS;
use crate::sync::{Config, Request, Stop};

/// While the network is said to be down, it is tried this rarely: such hints are often wrong.
const OFFLINE_RETRY_MS: i64 = 60_000;

/// A request on its way.
#[derive(Debug)]
pub(super) struct InFlight<A> {
    id: u64,
    pub since_ms: i64,
    deadline_ms: i64,
    /// The number it was asked under: the file may be another station when the answer comes.
    pub number: StationNumber,
    /// The facts of the question that are needed when the answer comes.
    pub asked: A,
}

#[derive(Debug)]
enum State<A> {
    Free,
    InFlight(InFlight<A>),
    Waiting {
        since_ms: i64,
        until_ms: i64,
        /// The server named the wait.
        asked: bool,
    },
    Stopped(Stop),
}

/// The possibilities at a moment.
#[derive(Debug)]
pub(super) enum Now {
    /// Anything.
    Free,
    /// Nothing until then.
    Wait(i64),
    /// The request of this number is to be given up.
    Overdue(u64),
    /// Nothing by itself.
    Stopped(Stop),
}

/// The course of an engine.
#[derive(Debug)]
pub(super) struct Course<A> {
    state: State<A>,
    backoff: Backoff,
    next_id: u64,
    offline: bool,
}

impl<A> Course<A> {
    pub(super) const fn new(config: Config) -> Self {
        let backoff = Backoff::new(config.backoff, config.seed);
        Self { state: State::Free, backoff, next_id: 1, offline: false }
    }

    /// The possibilities now; a wait that is over ends.
    pub(super) fn at(&mut self, now_ms: i64) -> Now {
        match &self.state {
            State::Free => Now::Free,
            State::InFlight(flight) if (flight.since_ms..flight.deadline_ms).contains(&now_ms) => {
                Now::Wait(flight.deadline_ms)
            }
            // Whoever performs the request has forgotten it, or the clock was set: its reply, if any, will be ignored.
            State::InFlight(flight) => Now::Overdue(flight.id),
            // A clock that was set back ends the wait.
            State::Waiting { since_ms, until_ms, .. }
                if (*since_ms..*until_ms).contains(&now_ms) || planted(Bug::WaitsForOldClock) && now_ms < *until_ms =>
            {
                Now::Wait(*until_ms)
            }
            State::Waiting { .. } => {
                self.state = State::Free;
                Now::Free
            }
            State::Stopped(stop) => Now::Stopped(stop.clone()),
        }
    }

    /// Whether nothing is in flight, waited for or stopped.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self.state, State::Free)
    }

    /// Whether it has stopped, or waits because the server asked for it.
    pub(super) const fn is_to_be_quiet(&self) -> bool {
        matches!(self.state, State::Stopped(_) | State::Waiting { asked: true, .. })
    }

    /// The question in flight.
    pub(super) const fn in_flight(&self) -> Option<&InFlight<A>> {
        match &self.state {
            State::InFlight(flight) => Some(flight),
            _ => None,
        }
    }

    /// A number for a request.
    pub(super) const fn number(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Puts a request in flight.
    pub(super) fn send(&mut self, request: Request, number: StationNumber, asked: A, now_ms: i64) -> Request {
        let early = Early { id: self.number(), timeout_ms: request.timeout_ms };
        self.goes_on(early, number, asked, now_ms);
        request.numbered(early.id)
    }

    /// The request in flight is now one that was sent before its turn.
    pub(super) fn goes_on(&mut self, early: Early, number: StationNumber, asked: A, now_ms: i64) {
        // The transport's own timeout should come first.
        let deadline_ms = now_ms.saturating_add((early.timeout_ms + TIMEOUT_MS) as i64);
        self.state = State::InFlight(InFlight { id: early.id, since_ms: now_ms, deadline_ms, number, asked });
    }

    /// Takes the request out of flight, if it is the one that is.
    pub(super) fn land(&mut self, id: u64) -> Option<InFlight<A>> {
        match std::mem::replace(&mut self.state, State::Free) {
            State::InFlight(flight) if flight.id == id || planted(Bug::StaleReply) => Some(flight),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Waits after a failure; returns until when.
    pub(super) fn back_off(&mut self, now_ms: i64, retry_after_ms: Option<u64>) -> i64 {
        let wait_ms = self.backoff.next_wait_ms(retry_after_ms);
        self.wait(now_ms, wait_ms, retry_after_ms.is_some())
    }

    /// Waits after no server of ours was met; returns until when.
    pub(super) fn back_off_unreached(&mut self, now_ms: i64) -> i64 {
        let wait_ms = self.backoff.next_wait_unreached_ms();
        self.wait(now_ms, wait_ms, false)
    }

    fn wait(&mut self, now_ms: i64, wait_ms: u64, asked: bool) -> i64 {
        let wait_ms = wait_ms as i64;
        let wait_ms = if self.offline { wait_ms.max(OFFLINE_RETRY_MS) } else { wait_ms };
        let until_ms = now_ms.saturating_add(wait_ms);
        self.state = State::Waiting { since_ms: now_ms, until_ms, asked };
        until_ms
    }

    /// Waits begin from the shortest again.
    pub(super) const fn is_well(&mut self) {
        self.backoff.reset();
    }

    /// Never wakes up.
    pub(super) fn sleep_for_ever(&mut self) {
        self.state = State::Waiting { since_ms: i64::MIN, until_ms: i64::MAX, asked: false };
    }

    /// Stops.
    pub(super) fn stop(&mut self, stop: Stop) {
        self.state = State::Stopped(stop);
    }

    /// Goes on after a stop.
    pub(super) fn resume(&mut self) {
        if matches!(self.state, State::Stopped(_)) {
            self.state = State::Free;
        }
    }

    /// The network is up: a wait ends.
    pub(super) fn online(&mut self) {
        self.offline = false;
        if matches!(self.state, State::Waiting { .. }) {
            self.state = State::Free;
        }
    }

    /// The network is said to be down.
    pub(super) const fn offline(&mut self) {
        self.offline = true;
    }
}
