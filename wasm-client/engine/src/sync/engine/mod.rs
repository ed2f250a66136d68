//! The engine: a state machine over the store. It keeps one request in flight, and beside it at most a batch that was
//! sent early; it waits after failures and stops. What is asked and what follows from an answer is known by its
//! [conversations](super::conversation). Everything else is read from the store when needed.

mod config;
mod course;

use tidemark_core::planted::{Bug, planted};

pub use self::config::{Config, Words};
use self::course::{Course, InFlight, Now};
use super::conversation::contact::{self, Contact};
use super::conversation::push::{self, Push};
use super::conversation::rejects::Rejects;
use super::conversation::station::{self, WhereItStands};
use super::conversation::{Ask, Came, Conversation, Heard, Joined, Link, Turn};
use super::{Action, Beside, Event, Failure, FailureKind, Reply, Request, Stop};
use crate::error::{Error, Result};
use crate::halt::Halt;
use crate::repair::RejectsQuestion;
use crate::store::Store;

/// A question in flight, by conversation.
#[derive(Debug)]
enum Asked {
    Push(push::Sent),
    Station(station::Asked),
    Rejects(RejectsQuestion),
    Contact(contact::Asked),
}

/// The state machine that pushes a store's changes. See [`crate::sync`] for how to drive it.
#[derive(Debug)]
pub struct Engine {
    course: Course<Asked>,
    words: Words,
    link: Link,
    push: Push,
    rejects: Rejects,
    contact: Contact,
}

impl Engine {
    /// A new engine; it knows nothing but what the store holds.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let course = Course::new(config);
        let contact = Contact::new(config.contact_every_ms);
        Self { course, words: config.words, link: Link::new(), push: Push::new(), rejects: Rejects::new(), contact }
    }

    /// Failures in a row: of requests, or of batches where questions are answered in between.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.link.outage.failures()
    }

    /// Hint: the network is up. A wait after failures ends.
    pub fn online(&mut self) {
        self.course.online();
    }

    /// Hint: the network is down. It is tried rarely until [`Engine::online`].
    pub const fn offline(&mut self) {
        self.course.offline();
    }

    /// Goes on after [`Action::Stopped`]. After a fork the server is asked first, and the state ends only if it agrees
    /// by now. After any other failure, also of another process, it is asked before a batch is sent.
    ///
    /// # Errors
    /// When the store fails.
    pub fn resume(&mut self, store: &Store) -> Result<()> {
        self.course.resume();
        let meta = store.meta()?;
        self.link.ask_station = meta.forked.is_some();
        if meta.last_error.is_some() {
            self.link.outage.suspect();
        }
        self.link.begin_again();
        Ok(())
    }

    /// Free room on the disk of the file, in bytes, to be said to the server; `None` where it is not known.
    pub const fn note_free_disk(&mut self, free_disk_bytes: Option<u64>) {
        self.contact.free_disk_bytes = free_disk_bytes;
    }

    /// The next thing to do is to ask the server where it stands, and to compare that with the log: [`Event::Agreed`].
    pub const fn ask(&mut self) {
        self.link.ask_station = true;
    }

    /// The next thing to do.
    ///
    /// # Errors
    /// When the store fails; the engine can be asked again.
    pub fn next(&mut self, store: &mut Store, now_ms: i64) -> Result<Action> {
        match self.next_action(store, now_ms) {
            Err(Error::LogTampered { file, detail }) => {
                self.halt(store, now_ms, Halt::Tampered { file, detail }).map(Action::Stopped)
            }
            done => done,
        }
    }

    fn next_action(&mut self, store: &mut Store, now_ms: i64) -> Result<Action> {
        match self.course.at(now_ms) {
            Now::Free => {}
            Now::Wait(until_ms) => return Ok(Action::WaitUntil(until_ms)),
            Now::Stopped(stop) => return Ok(Action::Stopped(stop)),
            Now::Overdue(id) => {
                let failure =
                    Failure { kind: FailureKind::Timeout, message: "the server did not answer in time".into() };
                self.on_failure(store, now_ms, id, &failure)?;
                return self.next_action(store, now_ms);
            }
        }
        let mut meta = store.meta()?;
        if self.push.check_ahead(&self.link, &meta) {
            self.settle(store)?;
            meta = store.meta()?;
        }
        let asks = self.link.ask_station;
        let joined = match Joined::of(store.file(), &meta).and_then(|joined| joined.unless_kept(asks)) {
            Ok(joined) => joined,
            Err(stop) => {
                self.push.drop_ahead();
                return Ok(Action::Stopped(stop));
            }
        };
        let probes = self.link.outage.probes() && store.last_seq()? > meta.tidemark.seq;
        let pushes = !asks && !probes && self.link.outage.is_over();
        let says = pushes && store.last_seq()? > meta.tidemark.seq && self.contact.is_due_busy(now_ms);
        let mut turn = Turn { store, link: &mut self.link, now_ms };
        let ask = if says {
            self.contact.ask(&mut turn, &joined)?.map(Asked::Contact)
        } else if asks || probes {
            WhereItStands.ask(&mut turn, &joined)?.map(Asked::Station)
        } else {
            self.push.ask(&mut turn, &joined)?.map(Asked::Push)
        };
        match ask {
            Ask::Send(request, asked) => Ok(Action::Send(self.course.send(request, joined.number, asked, now_ms))),
            Ask::UnderWay(early, asked) => {
                self.course.goes_on(early, joined.number, asked, now_ms);
                Ok(Action::UnderWay(early.id))
            }
            Ask::Nothing => self.idle(store, now_ms),
            Ask::Again => self.next_action(store, now_ms),
            Ask::Stop(stop) => {
                self.stop(store, now_ms, stop.clone())?;
                Ok(Action::Stopped(stop))
            }
        }
    }

    /// Nothing waits: time for a question that no change waits for.
    fn idle(&mut self, store: &mut Store, now_ms: i64) -> Result<Action> {
        if !self.link.outage.is_over() {
            // Another process got through.
            self.link.outage.end();
            self.course.is_well();
        }
        if let Some(request) = self.ask_rejects(store, now_ms)? {
            return Ok(Action::Send(request));
        }
        if self.contact.is_due_idle(now_ms)
            && let Some(request) = self.ask_contact(store, now_ms)?
        {
            return Ok(Action::Send(request));
        }
        if planted(Bug::LostWakeUp) {
            self.course.sleep_for_ever();
        }
        Ok(Action::Idle)
    }

    /// The question about rejects, if it is time for one and nothing else is under way. No change waits for its answer:
    /// the engine asks when it is idle, and whoever goes before it is may ask before.
    ///
    /// # Errors
    /// When the store fails.
    pub fn ask_rejects(&mut self, store: &mut Store, now_ms: i64) -> Result<Option<Request>> {
        let meta = store.meta()?;
        let (true, None, Ok(joined)) = (self.course.is_free(), &meta.forked, Joined::of(store.file(), &meta)) else {
            return Ok(None);
        };
        let mut turn = Turn { store, link: &mut self.link, now_ms };
        let Ask::Send(request, question) = self.rejects.ask(&mut turn, &joined)? else { return Ok(None) };
        Ok(Some(self.course.send(request, joined.number, Asked::Rejects(question), now_ms)))
    }

    /// Word to the server of how the station fares, if nothing else is under way. No change waits for its answer.
    ///
    /// # Errors
    /// When the store fails.
    pub fn ask_contact(&mut self, store: &mut Store, now_ms: i64) -> Result<Option<Request>> {
        let meta = store.meta()?;
        let (true, None, Ok(joined)) = (self.course.is_free(), &meta.forked, Joined::of(store.file(), &meta)) else {
            return Ok(None);
        };
        let mut turn = Turn { store, link: &mut self.link, now_ms };
        let Ask::Send(request, asked) = self.contact.ask(&mut turn, &joined)? else { return Ok(None) };
        Ok(Some(self.course.send(request, joined.number, Asked::Contact(asked), now_ms)))
    }

    /// The next changes as a request of at most `frame_bytes_max` bytes, to be sent without waiting for a reply: for a
    /// page that is being closed. `None` when nothing is pending, the first change alone is longer, the engine has
    /// stopped, the server is to be asked first, or it asked to be left alone.
    ///
    /// The engine's state stays as it is, whatever is in flight: who goes on sends the same changes once more, and the
    /// server takes them once. A reply, if it comes, may be given to [`Engine::on_reply`], which ignores it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn farewell(&self, store: &mut Store, now_ms: i64, frame_bytes_max: u32) -> Result<Option<Request>> {
        if self.course.is_to_be_quiet() || self.link.ask_station {
            return Ok(None);
        }
        let meta = store.meta()?;
        match Joined::of(store.file(), &meta) {
            Ok(joined) if meta.forked.is_none() => push::farewell(store, &joined, now_ms, frame_bytes_max),
            _ => Ok(None),
        }
    }

    /// Acknowledges the batch before the one in flight, and cuts the one after it if more was waiting when that was
    /// cut. To be called after [`Action::Send`] by whoever can do two things at once; the engine does the same without
    /// it, one after the other.
    ///
    /// # Errors
    /// When the store fails. Nothing is lost: [`Engine::next`] will see the same.
    pub fn look_ahead(&mut self, store: &mut Store, now_ms: i64) -> Result<()> {
        self.settle(store)?;
        let Some(InFlight { asked: Asked::Push(sent), number, .. }) = self.course.in_flight() else { return Ok(()) };
        self.push.look_ahead(&mut Turn { store, link: &mut self.link, now_ms }, sent, *number)
    }

    /// What is to be done while the request of this number is under way: [`Engine::look_ahead`], and then
    /// [`Engine::early`] where there is room.
    ///
    /// # Errors
    /// As of these.
    pub fn work_beside(&mut self, store: &mut Store, now_ms: i64, id: u64, beside: &mut dyn Beside) -> Result<()> {
        self.look_ahead(store, now_ms)?;
        // A batch that was sent early is the one in flight by now, or waits for a question to be answered. Only in the
        // first case does nobody wait for the outcome of another request.
        let is_push = matches!(self.course.in_flight(), Some(InFlight { asked: Asked::Push(_), .. }));
        if is_push
            && self.push.has_unsent_ahead()
            && beside.has_room(id)
            && let Some(early) = self.early(store, now_ms)?
        {
            beside.begin(early);
        }
        Ok(())
    }

    /// The batch that [`Engine::look_ahead`] cut, to be performed beside the request in flight. Its outcome is to be
    /// reported when [`Action::UnderWay`] says so, and not before. To be called by whoever can have two requests under
    /// way; `None` when nothing may go early.
    ///
    /// # Errors
    /// When the store fails.
    pub fn early(&mut self, store: &mut Store, now_ms: i64) -> Result<Option<Request>> {
        let meta = store.meta()?;
        let (None, Ok(joined)) = (&meta.forked, Joined::of(store.file(), &meta)) else { return Ok(None) };
        let Some(InFlight { asked: Asked::Push(sent), .. }) = self.course.in_flight() else { return Ok(None) };
        let Some(after) = self.push.goes_early_after(&self.link, &joined, sent) else { return Ok(None) };
        Ok(self.push.early(&joined, after, self.course.number(), now_ms))
    }

    /// Acknowledges what is upstream and was left for later; whoever lets go of an engine calls this before.
    ///
    /// # Errors
    /// When the store fails; it is still to be done then.
    pub fn settle(&mut self, store: &mut Store) -> Result<()> {
        self.push.settle(store)
    }

    /// The request got no answer; whether it did anything is unknown, and asking again is safe.
    ///
    /// # Errors
    /// When the store fails.
    pub fn on_failure(&mut self, store: &mut Store, now_ms: i64, id: u64, failure: &Failure) -> Result<Event> {
        let Some(flight) = self.course.land(id) else { return Ok(Event::Ignored) };
        self.settle(store)?;
        self.hear(store, now_ms, &flight, Err(failure))
    }

    /// The request was answered.
    ///
    /// # Errors
    /// When the store fails; the batch will be sent again then.
    pub fn on_reply(&mut self, store: &mut Store, now_ms: i64, id: u64, reply: &Reply) -> Result<Event> {
        let Some(flight) = self.course.land(id) else { return Ok(Event::Ignored) };
        if let Err(error) = self.settle(store) {
            self.course.back_off(now_ms, None);
            return Err(error);
        }
        if store.meta()?.membership.map(|membership| membership.number) != Some(flight.number) {
            return Ok(Event::Ignored);
        }
        match self.hear(store, now_ms, &flight, Ok(reply)) {
            Err(error) => {
                // A file that is locked or has no room will be so again at once: the server need not see the batch that
                // often.
                self.course.back_off(now_ms, None);
                match error {
                    Error::LogTampered { file, detail } => {
                        self.halt(store, now_ms, Halt::Tampered { file, detail }).map(Event::Stopped)
                    }
                    other => Err(other),
                }
            }
            done => done,
        }
    }

    /// Has a conversation judge what came, and does what it says.
    fn hear(
        &mut self,
        store: &mut Store,
        now_ms: i64,
        flight: &InFlight<Asked>,
        outcome: std::result::Result<&Reply, &Failure>,
    ) -> Result<Event> {
        let came = Came { outcome, took_ms: now_ms.saturating_sub(flight.since_ms) };
        let mut turn = Turn { store, link: &mut self.link, now_ms };
        let heard = match &flight.asked {
            Asked::Push(sent) => self.push.hear(&mut turn, sent, &came),
            Asked::Station(asked) => WhereItStands.hear(&mut turn, asked, &came),
            Asked::Rejects(question) => self.rejects.hear(&mut turn, question, &came),
            Asked::Contact(asked) => self.contact.hear(&mut turn, asked, &came),
        };
        match heard? {
            Heard::Well(event) => {
                self.course.is_well();
                Ok(event)
            }
            Heard::On(event) => Ok(event),
            Heard::Failed { why, retry_after_ms } => {
                self.link.outage.failed();
                let retry_at_ms = if why.is_unreached() && retry_after_ms.is_none() {
                    self.course.back_off_unreached(now_ms)
                } else {
                    self.course.back_off(now_ms, retry_after_ms)
                };
                store.note_error(now_ms, &(self.words.trouble)(&why), None)?;
                Ok(Event::Failed { why, retry_at_ms })
            }
            Heard::Stopped(stop) => {
                self.stop(store, now_ms, stop.clone())?;
                Ok(Event::Stopped(stop))
            }
            Heard::Halted(halt) => self.halt(store, now_ms, halt).map(Event::Stopped),
        }
    }

    fn stop(&mut self, store: &Store, now_ms: i64, stop: Stop) -> Result<()> {
        let words = (self.words.stop)(&stop);
        self.course.stop(stop.clone());
        store.note_error(now_ms, &words, stop.remedy())
    }

    /// Stops; the file says why, so that every process and `status` do until that is settled.
    fn halt(&mut self, store: &Store, now_ms: i64, halt: Halt) -> Result<Stop> {
        let heard_ms = matches!(halt, Halt::Forked(_)).then_some(now_ms);
        let stop = Stop::Halted(halt.clone());
        self.link.ask_station = false;
        let kept = halt.kept(&(self.words.stop)(&stop));
        store.note_halted(&kept, heard_ms)?;
        self.stop(store, now_ms, stop.clone())?;
        Ok(stop)
    }
}
