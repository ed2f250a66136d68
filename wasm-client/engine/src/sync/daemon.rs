//! The loop of a process that stays and pushes in the background, as a machine of steps: `tidemark run` and the
//! simulation drive it.
//!
//! ```text
//! loop:  daemon.next(store, now) ─┬─ Send(request) ── perform it ── daemon.hear ──┐
//!                                 ├─ UnderWay(id)     of one that daemon.early gave
//!                                 ├─ Wait, Idle, Rest   sleep, or less long       │
//!                                 └─ Ended              a person is needed        │
//!        ◄─────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! It is level-triggered, as the engine is: every call looks at the file itself, so it may be called at any time and
//! too often, and a lost hint stalls nothing. It reads no clock and waits for nothing: whoever drives it does both, and
//! may be killed at any moment.
//!
//! A page asks the engine itself (`web/src/sync.js`): it is told of every commit instead of looking for them, its turns
//! end with a promise, people wait for single pushes, and what the disk refuses is theirs to see at once. How long a
//! stop rests it has from here, by [`Stop::rests_ms`].

use super::{Action, Beside, Config, Engine, Event, Failure, Reply, Request, Stop};
use crate::capture::Repair;
use crate::error::{Error, Result};
use crate::store::Store;

/// How soon a file that is locked or has no room is tried again.
pub const BUSY_MS: i64 = 200;
/// How often the engine is asked while nothing is committed: it asks the server now and then what became of rejects,
/// and tells it how the station fares.
const IDLE_MS: i64 = 60_000;

/// When the file is looked at again after word of a write, in milliseconds from that word. The word comes with the
/// first bytes, and a commit shows only once all are written and synced: on most disks within the first of these, on
/// slow ones within the last. Whatever takes longer is seen by who looks from time to time.
const LOOKS_MS: [i64; 9] = [1, 2, 3, 5, 8, 13, 21, 34, 55];
/// The last of them comes within so many milliseconds.
pub const LOOKS_WITHIN_MS: u64 = LOOKS_MS[LOOKS_MS.len() - 1].unsigned_abs();

/// The next thing to do.
#[derive(Debug)]
pub enum Step {
    /// Perform this request and report its outcome to [`Daemon::hear`].
    Send(Request),
    /// The request of this number, which [`Daemon::early`] gave, is the next: report its outcome, once it is there.
    UnderWay(u64),
    /// Nothing until then: a failure is waited out.
    Wait(i64),
    /// Everything is upstream. Ask again when something was committed, and then at the latest.
    Idle(i64),
    /// Stopped by what time may heal: tried again then.
    Rest(i64, Stop),
    /// It cannot go on by itself.
    Ended(Stop),
}

/// The news on the way to a step.
#[derive(Debug)]
pub enum News<'a> {
    /// An event of the engine.
    Event(&'a Event),
    /// The file was locked for longer than we wait, or its disk is full; it is tried again.
    Busy(&'a Error),
    /// Capture had to be repaired.
    Repaired(&'a Repair),
    /// Stopped; tried again after a while.
    StoppedForNow(&'a Stop),
}

/// Hears news.
pub type Watch<'a> = &'a mut dyn FnMut(News<'_>);

#[derive(Debug)]
enum Phase {
    /// The engine is asked.
    Working,
    /// Everything was upstream at this time.
    Idle(i64),
    /// Stopped at this time.
    Resting(i64, Stop),
}

/// The machine, with the engine that it drives.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    phase: Phase,
    /// Of which commit of other programs the file was looked at last.
    seen: Option<i64>,
    /// How often the engine is asked while nothing is committed, in milliseconds.
    idle_ms: i64,
    /// When word of a write came last.
    written_ms: Option<i64>,
}

impl Daemon {
    /// Begins on a file.
    ///
    /// # Errors
    /// When the store fails.
    pub fn start(config: Config, store: &Store) -> Result<Self> {
        let mut engine = Engine::new(config);
        engine.resume(store)?;
        let contact_ms = config.contact_every_ms.map_or(IDLE_MS, |ms| ms.min(i64::MAX as u64) as i64);
        Ok(Self { engine, phase: Phase::Working, seen: None, idle_ms: IDLE_MS.min(contact_ms), written_ms: None })
    }

    /// The next thing to do.
    ///
    /// # Errors
    /// When the store fails, but for a file that is only locked or has no room: that is told and tried again.
    pub fn next(&mut self, store: &mut Store, now_ms: i64, watch: Watch<'_>) -> Result<Step> {
        if let Phase::Resting(since_ms, stop) = &self.phase {
            let until_ms = since_ms.saturating_add(stop.rests_ms().unwrap_or_default());
            if (*since_ms..until_ms).contains(&now_ms) {
                return Ok(Step::Rest(until_ms, stop.clone()));
            }
            if unless_busy(self.resume(store), watch)?.is_none() {
                return Ok(Step::Wait(now_ms.saturating_add(BUSY_MS)));
            }
        }
        let busy = Step::Wait(now_ms.saturating_add(BUSY_MS));
        let Some(version) = unless_busy(store.data_version(), watch)? else { return Ok(busy) };
        // Look only when somebody committed, or when there was something to do. Our own commits do not change the
        // number, others' do.
        let changed = self.seen != Some(version);
        if changed {
            self.seen = Some(version);
            unless_busy(store.check_capture(), watch)?;
            store.take_repairs().iter().for_each(|repair| watch(News::Repaired(repair)));
        }
        if let (Phase::Idle(since_ms), false) = (&self.phase, changed) {
            let until_ms = since_ms.saturating_add(self.idle_ms);
            if (*since_ms..until_ms).contains(&now_ms) {
                return Ok(Step::Idle(self.look_ms(now_ms).unwrap_or(until_ms).min(until_ms)));
            }
        }
        self.phase = Phase::Working;
        Ok(match unless_busy(self.engine.next(store, now_ms), watch)? {
            Some(Action::Send(request)) => Step::Send(request),
            Some(Action::UnderWay(id)) => Step::UnderWay(id),
            Some(Action::WaitUntil(at_ms)) => Step::Wait(at_ms),
            Some(Action::Idle) => {
                self.phase = Phase::Idle(now_ms);
                let until_ms = now_ms.saturating_add(self.idle_ms);
                Step::Idle(self.look_ms(now_ms).unwrap_or(until_ms).min(until_ms))
            }
            Some(Action::Stopped(stop)) => match stop.rests_ms() {
                None => Step::Ended(stop),
                Some(rest_ms) => {
                    watch(News::StoppedForNow(&stop));
                    self.phase = Phase::Resting(now_ms, stop.clone());
                    Step::Rest(now_ms.saturating_add(rest_ms), stop)
                }
            },
            None => busy,
        })
    }

    /// Takes the outcome of the request of this number; `None` when the file could not be written, so that the same
    /// will be sent again.
    ///
    /// # Errors
    /// As [`Daemon::next`].
    pub fn hear(
        &mut self,
        store: &mut Store,
        now_ms: i64,
        id: u64,
        outcome: &std::result::Result<Reply, Failure>,
        watch: Watch<'_>,
    ) -> Result<Option<Event>> {
        let landed = match outcome {
            Ok(reply) => self.engine.on_reply(store, now_ms, id, reply),
            Err(failure) => self.engine.on_failure(store, now_ms, id, failure),
        };
        let event = unless_busy(landed, watch)?;
        if let Some(event) = &event {
            watch(News::Event(event));
        }
        Ok(event)
    }

    /// While a request is under way: what need not wait for its answer. What goes wrong is met again when the batch is
    /// due.
    pub fn look_ahead(&mut self, store: &mut Store, now_ms: i64) {
        drop(self.engine.look_ahead(store, now_ms));
    }

    /// What is to be done while the request of this number is under way. What goes wrong is met again when the batch is
    /// due.
    pub fn work_beside(&mut self, store: &mut Store, now_ms: i64, id: u64, beside: &mut dyn Beside) {
        drop(self.engine.work_beside(store, now_ms, id, beside));
    }

    /// A request to perform beside the one under way, after [`Daemon::look_ahead`]; see [`Engine::early`]. What goes
    /// wrong is met again when the batch is due.
    pub fn early(&mut self, store: &mut Store, now_ms: i64) -> Option<Request> {
        self.engine.early(store, now_ms).ok().flatten()
    }

    /// Free room on the disk of the file, in bytes, to be said to the server; `None` where it is not known.
    pub const fn note_free_disk(&mut self, free_disk_bytes: Option<u64>) {
        self.engine.note_free_disk(free_disk_bytes);
    }

    /// Hint: the file was written, by whomever, or is being written: it is worth a look now, and a few soon after.
    /// [`Daemon::next`] needs no hint; it only knows when to be asked again. No wait after a failure ends with it.
    pub const fn written(&mut self, now_ms: i64) {
        self.written_ms = Some(now_ms);
    }

    /// When the file is to be looked at again because of the last word of a write.
    fn look_ms(&self, now_ms: i64) -> Option<i64> {
        let written_ms = self.written_ms?;
        LOOKS_MS.iter().map(|after_ms| written_ms + after_ms).find(|at_ms| (written_ms..*at_ms).contains(&now_ms))
    }

    /// Hint: the network is up. A wait after failures ends.
    pub fn online(&mut self) {
        self.engine.online();
    }

    /// Hint: the network is down. It is tried rarely until [`Daemon::online`].
    pub const fn offline(&mut self) {
        self.engine.offline();
    }

    /// Ends a rest: whatever stopped the engine is tried again.
    ///
    /// # Errors
    /// When the store fails.
    fn resume(&mut self, store: &Store) -> Result<()> {
        self.engine.resume(store)?;
        self.phase = Phase::Working;
        Ok(())
    }

    /// Leaves the file as it should be, before the process ends.
    ///
    /// # Errors
    /// As [`Daemon::next`].
    pub fn end(&mut self, store: &mut Store, watch: Watch<'_>) -> Result<()> {
        unless_busy(self.engine.settle(store), watch).map(|_| ())
    }
}

/// A file locked for long and a full disk are told and tried again; other errors end the loop.
///
/// # Errors
/// The other errors.
pub fn unless_busy<T>(result: Result<T>, watch: Watch<'_>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.can_retry() => {
            watch(News::Busy(&error));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
