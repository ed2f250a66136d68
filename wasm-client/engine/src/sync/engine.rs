//! The engine: a state machine over the store. One request is in flight at a time; everything else is read from the store when needed.

mod ahead;
mod farewell;
mod outage;

use tidemark_core::decision::{Cursor, Span};
use tidemark_core::frame::{FrameError, HEADER_BYTES};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::{ASKED_REJECTS_MAX, FrameLimits};
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::{
    FRAME_MEDIA_TYPE, Problem, ProblemCode, PushReply, RejectsReply, RejectsRequest, StationReply,
};
use tidemark_core::reject::Rejection;

use super::backoff::{Backoff, BackoffBounds, retry_after_ms};
use super::reply::{Read, read, stop_of};
use super::{Action, Event, Failure, Method, Pace, Reply, Request, ServerUrl, Stop, StopKind};
use crate::ack::{Ack, Acked, acknowledge};
use crate::error::{Error, Result};
use crate::meta::Meta;
use crate::outbox::{Agreement, Cut, FORKED, compare, cut, encode};
use crate::repair::RejectsQuestion;
use crate::store::Store;

/// How an engine behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Bounds of the waits between failures.
    pub backoff: BackoffBounds,
    /// Makes stations wait differently: any random number.
    pub seed: u64,
}

impl Config {
    /// For a process that stays: waits from 1 s to 5 min.
    #[must_use]
    pub const fn daemon(seed: u64) -> Self {
        Self { backoff: BackoffBounds { first_ms: 1_000, max_ms: 300_000 }, seed }
    }

    /// For somebody who watches: waits from 0.25 s to 5 s.
    #[must_use]
    pub const fn interactive(seed: u64) -> Self {
        Self { backoff: BackoffBounds { first_ms: 250, max_ms: 5_000 }, seed }
    }
}

/// Frames the server found damaged, in a row, before the engine stops: bytes can be altered on the way, but not every time.
const BAD_FRAMES_MAX: u32 = 4;
/// A request has this long, and for a frame the time it needs at [`SLOWEST_BYTES_PER_MS`] on top.
const TIMEOUT_MS: u64 = 30_000;
/// The slowest network on which a frame still gets through: 4 KB/s.
const SLOWEST_BYTES_PER_MS: u64 = 4;
/// While the network is said to be down, it is tried this rarely: such hints are often wrong.
const OFFLINE_RETRY_MS: i64 = 60_000;
/// How often the server is asked what became of open rejects: its operator may have replayed or discarded them.
const ASK_REJECTS_MS: i64 = 600_000;
/// A new process tells the server of rejects that were settled here since so long: it does not know what the one before it told.
const TELL_REJECTS_MS: i64 = 30 * 86_400_000;

#[derive(Debug)]
enum State {
    Ready,
    InFlight(InFlight),
    /// `asked`: the server named the wait.
    Waiting {
        since_ms: i64,
        until_ms: i64,
        asked: bool,
    },
    Stopped(Stop),
}

#[derive(Debug)]
struct InFlight {
    id: u64,
    since_ms: i64,
    deadline_ms: i64,
    /// The number it was asked under: the file may be another station when the answer comes.
    number: StationNumber,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Push(Sent),
    /// `GET /v1/station`, with the tidemark when it was asked.
    Station {
        base: Cursor,
    },
    /// `POST /v1/rejects`.
    Rejects(RejectsQuestion),
}

/// What came of cutting a batch.
#[derive(Debug)]
enum Framed {
    /// A frame to send.
    Ready(Sent, Vec<u8>),
    /// Nothing to send, or stopped.
    Nothing,
    /// Not now, and something else comes first: the server is to be asked, or the file has become another station meanwhile.
    Again,
}

#[derive(Debug)]
struct Sent {
    base: Cursor,
    span: Span,
    rejected: Vec<(u64, Rejection)>,
    largest_ids: Vec<(String, i64)>,
    capped: bool,
}

impl Sent {
    fn of(cut: &Cut, store: &Store) -> Self {
        let span = cut.batch.span();
        Self {
            base: cut.base,
            span,
            rejected: cut.rejected.clone(),
            largest_ids: cut.batch.largest_ids(store.schema_of(span.first_seq)),
            capped: cut.capped,
        }
    }
}

/// What pushes a store's changes. See [`crate::sync`] for how to drive it.
#[derive(Debug)]
pub struct Engine {
    state: State,
    pace: Option<Pace>,
    backoff: Backoff,
    next_id: u64,
    bad_frames: u32,
    /// The next thing to do is to ask the server where it stands.
    ask_station: bool,
    /// A server cursor beyond the last batch that was compared with the log and agreed; it need not be compared again.
    agreed: Option<Cursor>,
    offline: bool,
    /// What came of the last batches.
    outage: outage::Outage,
    /// The server was asked for its limits since something last went through: it is not asked again before it stops.
    limits_asked: bool,
    /// When the server was last asked about all open rejects.
    rejects_asked_ms: Option<i64>,
    /// Of a round of asking: the seq up to which it was asked.
    rejects_after: u64,
    /// The server was told of rejects that were settled here up to this time and seq.
    rejects_told: Option<(i64, i64)>,
    /// The batch after the one in flight.
    ahead: Option<ahead::Ahead>,
    /// What is upstream, and not yet acknowledged here because the next batch went first.
    held: Option<ahead::Held>,
}

impl Engine {
    /// A new engine; it knows nothing but what the store holds.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            state: State::Ready,
            pace: None,
            backoff: Backoff::new(config.backoff, config.seed),
            next_id: 1,
            bad_frames: 0,
            ask_station: false,
            agreed: None,
            offline: false,
            outage: outage::Outage::new(),
            limits_asked: false,
            rejects_asked_ms: None,
            rejects_after: 0,
            rejects_told: None,
            ahead: None,
            held: None,
        }
    }

    /// Failures in a row: of requests, or of batches where questions are answered in between.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.outage.failures()
    }

    /// Hint: the network is up. A wait after failures ends.
    pub fn online(&mut self) {
        self.offline = false;
        if matches!(self.state, State::Waiting { .. }) {
            self.state = State::Ready;
        }
    }

    /// Hint: the network is down. It is tried rarely until [`Engine::online`].
    pub const fn offline(&mut self) {
        self.offline = true;
    }

    /// Goes on after [`Action::Stopped`]. After a fork the server is asked first, and the state ends only if it agrees by now. After any other
    /// failure, also of another process, it is asked before a batch is sent.
    pub fn resume(&mut self, store: &Store) -> Result<()> {
        if matches!(self.state, State::Stopped(_)) {
            self.state = State::Ready;
        }
        let meta = store.meta()?;
        self.ask_station = meta.forked.is_some();
        if meta.last_error.is_some() {
            self.outage.suspect();
        }
        self.bad_frames = 0;
        self.limits_asked = false;
        Ok(())
    }

    /// The next thing to do is to ask the server where it stands, and to compare that with the log: [`Event::Agreed`].
    pub const fn ask(&mut self) {
        self.ask_station = true;
    }

    /// What to do now.
    ///
    /// # Errors
    /// What the store says; the engine can be asked again.
    pub fn next(&mut self, store: &mut Store, now_ms: i64) -> Result<Action> {
        match self.next_action(store, now_ms) {
            Err(Error::LogTampered { file, detail }) => {
                self.tampered(store, now_ms, Error::LogTampered { file, detail }).map(Action::Stopped)
            }
            done => done,
        }
    }

    fn next_action(&mut self, store: &mut Store, now_ms: i64) -> Result<Action> {
        match &self.state {
            State::Stopped(stop) => return Ok(Action::Stopped(stop.clone())),
            State::InFlight(flight) if (flight.since_ms..flight.deadline_ms).contains(&now_ms) => {
                return Ok(Action::WaitUntil(flight.deadline_ms));
            }
            State::InFlight(flight) => {
                // Whoever performs the request has forgotten it, or the clock was set: its reply, if any, will be ignored.
                let id = flight.id;
                let failure = Failure { timeout: true, message: "the server did not answer in time".into() };
                self.on_failure(store, now_ms, id, &failure)?;
                return self.next_action(store, now_ms);
            }
            // A clock that was set back ends the wait.
            State::Waiting { since_ms, until_ms, .. }
                if (*since_ms..*until_ms).contains(&now_ms) || planted(Bug::WaitsForOldClock) && now_ms < *until_ms =>
            {
                return Ok(Action::WaitUntil(*until_ms));
            }
            State::Waiting { .. } | State::Ready => self.state = State::Ready,
        }
        let mut meta = store.meta()?;
        let mut ahead = self.take_ahead(&meta, now_ms);
        if ahead.is_none() && self.held.is_some() {
            self.settle(store)?;
            meta = store.meta()?;
        }
        let stop = |kind, message: String| Ok(Action::Stopped(Stop::new(kind, message)));
        let (Some(token), Some(server), Some(membership)) = (&meta.token, &meta.server, &meta.membership) else {
            return stop(StopKind::NotJoined, Error::NotJoined { file: store.file().to_owned() }.to_string());
        };
        let server = match ServerUrl::parse(server) {
            Ok(server) => server,
            Err(error) => return stop(StopKind::Refused, format!("{}: {error}", store.file())),
        };
        if let (Some(forked), false) = (&meta.forked, self.ask_station) {
            let kind = if forked.starts_with(FORKED) { StopKind::Forked } else { StopKind::Tampered };
            return stop(kind, forked.clone());
        }
        let mut request = Request {
            id: self.next_id,
            method: Method::Get,
            url: server.join("/v1/station"),
            token: Some(token.clone()),
            content_type: None,
            body: Vec::new(),
            timeout_ms: TIMEOUT_MS,
        };
        let probes = self.outage.probes() && store.last_seq()? > meta.tidemark.seq;
        let asked = if self.ask_station || probes {
            Asked::Station { base: meta.tidemark }
        } else {
            let framed = match ahead.take() {
                Some((sent, frame)) => Framed::Ready(sent, frame),
                None => self.cut_frame(store, &meta, now_ms)?,
            };
            match framed {
                Framed::Ready(sent, body) => {
                    request.method = Method::Post;
                    request.url = server.join("/v1/push");
                    request.content_type = Some(FRAME_MEDIA_TYPE);
                    request.timeout_ms += body.len() as u64 / SLOWEST_BYTES_PER_MS;
                    request.body = body;
                    Asked::Push(sent)
                }
                Framed::Nothing => {
                    let action = self.after_cut();
                    if matches!(action, Action::Idle) && !self.outage.is_over() {
                        // Another process got through.
                        self.outage.end();
                        self.backoff.reset();
                    }
                    if let (Action::Idle, Some(request)) = (&action, self.ask_rejects(store, now_ms)?) {
                        return Ok(Action::Send(request));
                    }
                    if planted(Bug::LostWakeUp) && matches!(action, Action::Idle) {
                        self.state = State::Waiting { since_ms: i64::MIN, until_ms: i64::MAX, asked: false };
                    }
                    return Ok(action);
                }
                Framed::Again => return self.next_action(store, now_ms),
            }
        };
        self.in_flight(&request, membership.number, asked, now_ms);
        Ok(Action::Send(request))
    }

    fn in_flight(&mut self, request: &Request, number: StationNumber, asked: Asked, now_ms: i64) {
        self.next_id += 1;
        self.state = State::InFlight(InFlight {
            id: request.id,
            since_ms: now_ms,
            // The transport's own timeout should come first.
            deadline_ms: now_ms.saturating_add((request.timeout_ms + TIMEOUT_MS) as i64),
            number,
            asked,
        });
    }

    /// The question about rejects, if it is time for one and nothing else is under way. No change waits for its answer: the engine asks when
    /// it is idle, and whoever goes before it is may ask before.
    ///
    /// # Errors
    /// What the store says.
    pub fn ask_rejects(&mut self, store: &Store, now_ms: i64) -> Result<Option<Request>> {
        let meta = store.meta()?;
        let (State::Ready, Some(token), Some(server), Some(membership), None) =
            (&self.state, meta.token, meta.server, meta.membership, meta.forked)
        else {
            return Ok(None);
        };
        let Ok(server) = ServerUrl::parse(&server) else { return Ok(None) };
        let Some(question) = self.rejects_to_ask(store, now_ms)? else { return Ok(None) };
        let request = Request {
            id: self.next_id,
            method: Method::Post,
            url: server.join("/v1/rejects"),
            token: Some(token),
            content_type: Some("application/json"),
            body: serde_json::to_vec(&question.words).expect("BUG: numbers serialise"),
            timeout_ms: TIMEOUT_MS,
        };
        self.in_flight(&request, membership.number, Asked::Rejects(question), now_ms);
        Ok(Some(request))
    }

    /// What the server is to be asked about rejects now, and told of them, in portions; `None` while that need not be.
    fn rejects_to_ask(&mut self, store: &Store, now_ms: i64) -> Result<Option<RejectsQuestion>> {
        let asked = |at_ms: i64| (at_ms..at_ms.saturating_add(ASK_REJECTS_MS)).contains(&now_ms);
        if self.rejects_asked_ms.is_some_and(asked) {
            return Ok(None);
        }
        let told = self.rejects_told.unwrap_or((now_ms.saturating_sub(TELL_REJECTS_MS), 0));
        let question = store.rejects_to_ask(self.rejects_after, told, ASKED_REJECTS_MAX)?;
        if question.words.open.is_empty() && question.words.settled.is_empty() {
            self.rejects_are_asked(now_ms);
            return Ok(None);
        }
        Ok(Some(question))
    }

    const fn rejects_are_asked(&mut self, now_ms: i64) {
        self.rejects_asked_ms = Some(now_ms);
        self.rejects_after = 0;
    }

    /// Nothing was cut: either there is nothing, or cutting ended in a stop.
    fn after_cut(&self) -> Action {
        match &self.state {
            State::Stopped(stop) => Action::Stopped(stop.clone()),
            _ => Action::Idle,
        }
    }

    /// Cuts the next batch and encodes it so that the server takes it.
    fn cut_frame(&mut self, store: &mut Store, meta: &Meta, now_ms: i64) -> Result<Framed> {
        let pace = self.pace.get_or_insert_with(|| Pace::new(meta.limits.unwrap_or_default()));
        loop {
            let Some(cut) = cut(store, &pace.caps(), now_ms)? else { return Ok(Framed::Nothing) };
            let batch_station = cut.batch.station;
            if meta.membership.as_ref().map(|membership| membership.number) != Some(batch_station) {
                return Ok(Framed::Again);
            }
            let sent = Sent::of(&cut, store);
            let span = sent.span;
            let encoded = encode(&cut.batch, pace.limits());
            drop(cut);
            let frame = match encoded {
                Ok(frame) => frame,
                Err(FrameError::TooLarge { what, have, max }) => {
                    if pace.was_too_much(span.count) {
                        continue;
                    }
                    // The limits may be those of long ago: the operator was asked to raise them.
                    if !std::mem::replace(&mut self.limits_asked, true) {
                        self.ask_station = true;
                        return Ok(Framed::Again);
                    }
                    self.stop_too_large(
                        store,
                        now_ms,
                        span.first_seq,
                        &format!("it has {what} {have}, the server takes {max}"),
                    )?;
                    return Ok(Framed::Nothing);
                }
                Err(error) => return Err(error.into()),
            };
            // Everything up to here must survive a power cut before a server sees it, or the file would seem rewound afterwards. The commit
            // is synchronous, and its fsync covers all that other programs committed to the WAL before it.
            // Only while the file still is the station it was cut for.
            let unsent = span.last_seq() > meta.sent_seq && !planted(Bug::SentNotDurable);
            if unsent && !store.note_sent(batch_station, span.last_seq())? {
                return Ok(Framed::Again);
            }
            debug_assert!(frame.len() >= HEADER_BYTES);
            return Ok(Framed::Ready(sent, frame));
        }
    }

    fn stop_too_large(&mut self, store: &Store, now_ms: i64, seq: u64, why: &str) -> Result<Event> {
        let message = format!(
            "change {seq} alone is more than the server takes at once ({why}); ask its operator to raise the limit, or make the row smaller \
             (`tidemark log` shows it). Nothing is lost, the changes stay in the log"
        );
        self.stop(store, now_ms, Stop::new(StopKind::TooLarge, message))
    }

    /// The request got no answer; whether it did anything is unknown, and asking again is safe.
    ///
    /// # Errors
    /// What the store says.
    pub fn on_failure(&mut self, store: &mut Store, now_ms: i64, id: u64, failure: &Failure) -> Result<Event> {
        let Some(flight) = self.land(id) else { return Ok(Event::Ignored) };
        self.settle(store)?;
        match &flight.asked {
            Asked::Push(sent) => self.refused(sent, failure.timeout),
            Asked::Station { .. } => {}
            Asked::Rejects(_) => {
                self.rejects_are_asked(now_ms);
                return Ok(Event::Ignored);
            }
        }
        self.fail(store, now_ms, &failure.message, None)
    }

    /// The request was answered.
    ///
    /// # Errors
    /// What the store says; the batch will be sent again then.
    pub fn on_reply(&mut self, store: &mut Store, now_ms: i64, id: u64, reply: &Reply) -> Result<Event> {
        let Some(flight) = self.land(id) else { return Ok(Event::Ignored) };
        if let Err(error) = self.settle(store) {
            self.back_off(now_ms, None);
            return Err(error);
        }
        if store.meta()?.membership.map(|membership| membership.number) != Some(flight.number) {
            return Ok(Event::Ignored);
        }
        match self.on_landed(store, now_ms, &flight, reply) {
            Err(Error::LogTampered { file, detail }) => {
                self.tampered(store, now_ms, Error::LogTampered { file, detail }).map(Event::Stopped)
            }
            done => done,
        }
    }

    fn on_landed(&mut self, store: &mut Store, now_ms: i64, flight: &InFlight, reply: &Reply) -> Result<Event> {
        let took_ms = now_ms.saturating_sub(flight.since_ms);
        let event = self.judge(store, now_ms, took_ms, &flight.asked, reply);
        if event.is_err() {
            // A file that is locked or has no room will be so again at once: the server need not see the batch that often.
            self.back_off(now_ms, None);
        }
        event
    }

    fn judge(&mut self, store: &mut Store, now_ms: i64, took_ms: i64, asked: &Asked, reply: &Reply) -> Result<Event> {
        match asked {
            Asked::Push(sent) => match read::<PushReply>(reply) {
                Read::Done(done) => self.on_pushed(store, now_ms, took_ms, sent, &done),
                Read::Problem(problem) => self.on_problem(store, now_ms, reply, asked, &problem),
                Read::Other(message) => self.on_other(store, now_ms, reply, asked, &message),
            },
            Asked::Station { base } => match read::<StationReply>(reply) {
                Read::Done(done) => self.on_station(store, now_ms, *base, &done),
                Read::Problem(problem) => self.on_problem(store, now_ms, reply, asked, &problem),
                Read::Other(message) => self.on_other(store, now_ms, reply, asked, &message),
            },
            Asked::Rejects(question) => match read::<RejectsReply>(reply) {
                Read::Done(done) => self.on_rejects(store, now_ms, question, &done),
                // Not worth a wait: the changes need not care what becomes of the question, and an older server does not know it.
                answer => {
                    self.rejects_are_asked(now_ms);
                    let stop = match answer {
                        Read::Problem(problem)
                            if !matches!(problem.code, ProblemCode::NotFound | ProblemCode::MethodNotAllowed) =>
                        {
                            stop_of(&problem)
                        }
                        _ => None,
                    };
                    stop.map_or(Ok(Event::Ignored), |stop| self.stop(store, now_ms, stop))
                }
            },
        }
    }

    /// Takes the request out of flight, if it is the one that is.
    fn land(&mut self, id: u64) -> Option<InFlight> {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::InFlight(flight) if flight.id == id || planted(Bug::StaleReply) => Some(flight),
            other => {
                self.state = other;
                None
            }
        }
    }

    fn on_pushed(
        &mut self,
        store: &mut Store,
        now_ms: i64,
        took_ms: i64,
        sent: &Sent,
        reply: &PushReply,
    ) -> Result<Event> {
        let server = Cursor { seq: reply.tidemark, chain: reply.chain };
        let last = sent.span.last_seq();
        let agreement = if server.seq == last {
            if server.chain == sent.span.chain_after {
                Agreement::Same
            } else {
                Agreement::Differs(sent.span.chain_after)
            }
        } else if self.agreed == Some(server) && server.seq > last {
            Agreement::Same
        } else {
            compare(store, sent.base, server)?
        };
        match agreement {
            Agreement::Same => {}
            Agreement::Moved => return Ok(Event::Ignored),
            other => return self.fork(store, now_ms, sent.base, server, other),
        }
        if server.seq <= sent.base.seq {
            return self.fail(store, now_ms, "the server answered success, but its tidemark did not move", None);
        }
        // A tidemark beyond the batch is trimmed batch by batch: each duplicate reports the rejects of its own range.
        if server.seq > last {
            self.agreed = Some(server);
        }
        let whole = server.seq >= last && !planted(Bug::AckBeyondBatch);
        let upto = if whole { Cursor { seq: last, chain: sent.span.chain_after } } else { server };
        let ack = Ack {
            base: sent.base,
            upto,
            largest_ids: if upto.seq == last { &sent.largest_ids } else { &[] },
            rejected_here: &sent.rejected,
            rejected_by_server: &reply.rejected,
            limits: reply.limits,
            now_ms,
        };
        let acked = if whole && self.hold(&ack) { ack.moves() } else { acknowledge(store, &ack)? };
        self.backoff.reset();
        self.outage.end();
        self.bad_frames = 0;
        self.limits_asked = false;
        if let Some(pace) = &mut self.pace {
            pace.set_limits(reply.limits);
            pace.went_through(sent.span.count, sent.capped, took_ms);
        }
        Ok(match acked {
            Acked::Stale => Event::Ignored,
            Acked::Moved { changes, rejected_here, rejected_by_server } => {
                Event::Acked { tidemark: upto.seq, changes, rejected_here, rejected_by_server }
            }
        })
    }

    fn on_station(&mut self, store: &mut Store, now_ms: i64, base: Cursor, reply: &StationReply) -> Result<Event> {
        let server = Cursor { seq: reply.tidemark, chain: reply.chain };
        let ours = store.meta()?.membership.map(|membership| membership.number);
        if ours != Some(reply.station) {
            let message = format!(
                "the server takes this station for number {}; was the file's station row edited?",
                reply.station
            );
            return self.stop(store, now_ms, Stop::new(StopKind::WrongStation, message));
        }
        match compare(store, base, server)? {
            Agreement::Same => {}
            Agreement::Moved => return Ok(Event::Ignored),
            other => return self.fork(store, now_ms, base, server, other),
        }
        self.ask_station = false;
        self.outage.answered();
        // A server that answers questions and takes no batch is waited for longer each time.
        if self.outage.is_over() {
            self.backoff.reset();
        }
        self.pace.get_or_insert_with(|| Pace::new(reply.limits)).set_limits(reply.limits);
        store.note_agreed(now_ms)?;
        Ok(Event::Agreed)
    }

    fn on_rejects(
        &mut self,
        store: &mut Store,
        now_ms: i64,
        question: &RejectsQuestion,
        reply: &RejectsReply,
    ) -> Result<Event> {
        let RejectsRequest { open, settled } = &question.words;
        let (resolved, discarded) = store.rejects_settled_upstream(open, reply, now_ms)?;
        self.rejects_told = question.told.or(self.rejects_told);
        if let Some(&last) = open.last() {
            self.rejects_after = last;
        }
        if open.len().max(settled.len()) < ASKED_REJECTS_MAX {
            self.rejects_are_asked(now_ms);
        }
        Ok(if resolved + discarded > 0 { Event::Settled { resolved, discarded } } else { Event::Ignored })
    }

    /// The histories differ: kept in the file, so that no process sends from it until that is settled.
    fn fork(&mut self, store: &Store, now_ms: i64, base: Cursor, server: Cursor, found: Agreement) -> Result<Event> {
        let name = store.meta()?.membership.map_or_else(String::new, |membership| membership.name);
        let Some(message) = found.fork_message(&name, base, server) else { return Ok(Event::Ignored) };
        self.ask_station = false;
        store.note_forked(now_ms, &message)?;
        self.stop(store, now_ms, Stop::new(StopKind::Forked, message))
    }

    /// The log is not whole: kept in the file, so that every process and `status` say so until it is settled.
    fn tampered(&mut self, store: &Store, now_ms: i64, found: Error) -> Result<Stop> {
        let stop = Stop::new(StopKind::Tampered, found.to_string());
        self.ask_station = false;
        store.note_tampered(&stop.message)?;
        self.stop(store, now_ms, stop.clone())?;
        Ok(stop)
    }

    fn on_problem(
        &mut self,
        store: &mut Store,
        now_ms: i64,
        reply: &Reply,
        asked: &Asked,
        problem: &Problem,
    ) -> Result<Event> {
        if let Some(stop) = stop_of(problem) {
            return self.stop(store, now_ms, stop);
        }
        let wait_ms = retry_after_ms(reply.retry_after.as_deref());
        if let (true, Asked::Push(sent)) = (planted(Bug::SkipOnError), asked) {
            let upto = Cursor { seq: sent.span.last_seq(), chain: sent.span.chain_after };
            let (base, limits) = (sent.base, FrameLimits::DEFAULT);
            let (largest_ids, rejected_here, rejected_by_server) = (&[], &[], &[]);
            acknowledge(store, &Ack { base, upto, largest_ids, rejected_here, rejected_by_server, limits, now_ms })?;
        }
        match (problem.code, asked) {
            (ProblemCode::Gap | ProblemCode::Forked, Asked::Push(sent)) => {
                let (Some(seq), Some(chain)) = (problem.tidemark, problem.chain) else {
                    // It does not say where it stands: ask.
                    self.ask_station = true;
                    return self.fail(store, now_ms, &problem.detail, None);
                };
                let server = Cursor { seq, chain };
                match compare(store, sent.base, server)? {
                    Agreement::Moved => Ok(Event::Ignored),
                    // Its own words say that the histories agree: the batch was damaged on its way, or somebody was faster. Send again.
                    Agreement::Same => self.fail(store, now_ms, &problem.detail, None),
                    other => self.fork(store, now_ms, sent.base, server, other),
                }
            }
            (ProblemCode::TooLarge, Asked::Push(sent)) => {
                self.too_large(store, now_ms, sent, problem.limits.as_deref().copied(), &problem.detail)
            }
            (ProblemCode::Timeout, Asked::Push(sent)) => {
                self.refused(sent, true);
                self.fail(store, now_ms, &problem.detail, wait_ms)
            }
            (ProblemCode::BadFrame | ProblemCode::BadRequest, _) => {
                self.bad_frames += 1;
                if self.bad_frames >= BAD_FRAMES_MAX {
                    let message = format!(
                        "the server refuses what this station sends, {BAD_FRAMES_MAX} times in a row: {}. Compare the versions of both programs; \
                         nothing is lost, the changes stay in the log",
                        problem.detail
                    );
                    return self.stop(store, now_ms, Stop::new(StopKind::Refused, message));
                }
                // Perhaps its limits have changed: it tells them when it is asked where it stands.
                self.ask_station = true;
                self.fail(store, now_ms, &problem.detail, None)
            }
            _ => {
                if let Asked::Push(sent) = asked {
                    self.refused(sent, false);
                }
                self.fail(store, now_ms, &format!("the server answered: {}", problem.detail), wait_ms)
            }
        }
    }

    /// A reply nobody of ours wrote: a proxy's, a portal's, a broken server's.
    fn on_other(
        &mut self,
        store: &mut Store,
        now_ms: i64,
        reply: &Reply,
        asked: &Asked,
        message: &str,
    ) -> Result<Event> {
        match (reply.status, asked) {
            (413, Asked::Push(sent)) => self.too_large(store, now_ms, sent, None, message),
            (300..=399 | 404 | 405, _) => {
                let message = format!("{message}: is the server's URL right? `tidemark server` shows and changes it");
                self.stop(store, now_ms, Stop::new(StopKind::Refused, message))
            }
            _ => {
                if let Asked::Push(sent) = asked {
                    self.refused(sent, false);
                }
                self.fail(store, now_ms, message, retry_after_ms(reply.retry_after.as_deref()))
            }
        }
    }

    /// A batch got no answer, or a refusal that passes; `was_slow`: the time was over, so less is sent at once.
    fn refused(&mut self, sent: &Sent, was_slow: bool) {
        if let (Some(pace), true) = (&mut self.pace, was_slow) {
            pace.was_too_much(sent.span.count);
        }
        self.outage.refused(self.pace.as_mut(), sent.span.count, was_slow);
    }

    fn too_large(
        &mut self,
        store: &Store,
        now_ms: i64,
        sent: &Sent,
        limits: Option<FrameLimits>,
        why: &str,
    ) -> Result<Event> {
        let Some(pace) = &mut self.pace else { return Ok(Event::Ignored) };
        if let Some(limits) = limits {
            pace.set_limits(limits);
        }
        if pace.was_too_much(sent.span.count) {
            return Ok(Event::Smaller { rows: pace.caps().rows });
        }
        self.stop_too_large(store, now_ms, sent.span.first_seq, why)
    }

    fn fail(&mut self, store: &Store, now_ms: i64, message: &str, retry_after_ms: Option<u64>) -> Result<Event> {
        self.outage.failed();
        let retry_at_ms = self.back_off(now_ms, retry_after_ms);
        store.note_error(now_ms, message)?;
        Ok(Event::Failed { message: message.to_owned(), retry_at_ms })
    }

    /// Waits after a failure; returns until when.
    fn back_off(&mut self, now_ms: i64, retry_after_ms: Option<u64>) -> i64 {
        let wait_ms = self.backoff.next_wait_ms(retry_after_ms) as i64;
        let wait_ms = if self.offline { wait_ms.max(OFFLINE_RETRY_MS) } else { wait_ms };
        let until_ms = now_ms.saturating_add(wait_ms);
        self.state = State::Waiting { since_ms: now_ms, until_ms, asked: retry_after_ms.is_some() };
        until_ms
    }

    fn stop(&mut self, store: &Store, now_ms: i64, stop: Stop) -> Result<Event> {
        self.state = State::Stopped(stop.clone());
        store.note_error(now_ms, &stop.message)?;
        Ok(Event::Stopped(stop))
    }
}
