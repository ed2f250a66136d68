//! The process that pushes: the real store and the real engine, driven as `tidemark run` drives them.

use std::sync::atomic::Ordering;

use tidemark_client::sync::join::{self, Begin, JoinError};
use tidemark_client::sync::{Action, BackoffBounds, Config, Engine, Event, Failure, Reply, Request};
use tidemark_client::{Result, Secret, Store};
use tidemark_core::frame::FrameHeader;
use tidemark_core::limits::FrameLimits;

use super::disk::{Commits, Disk};
use super::oracle::patience::Patience;

/// How soon a stop that time may heal is tried again, as the daemon does it.
const RETRY_STOPPED_MS: i64 = 300_000;
/// How soon somebody tries to join again.
const RETRY_JOIN_MS: i64 = 5_000;
/// How soon a locked file is tried again, as the daemon does it.
const RETRY_LOCKED_MS: i64 = 200;
/// How long an idle process sleeps when nobody tells it anything.
const IDLE_MS: i64 = 30_000;

/// A process.
pub struct Process {
    /// The station's file.
    pub store: Store,
    /// The engine.
    pub engine: Engine,
    /// Which process this is, of all that ever ran.
    pub life: u64,
    /// Which of its ticks is due; earlier ones are forgotten.
    pub tick: u64,
    /// Its commits.
    pub commits: Commits,
    /// The request it waits for.
    pub awaits: Option<u64>,
    /// How it treats its server.
    pub patience: Patience,
    token: [u8; 32],
    joining: bool,
}

/// What a process does after it looked at its file.
#[derive(Debug)]
pub enum Next {
    /// It sends this.
    Send(Request),
    /// It looks again after so many milliseconds of its own clock.
    Wait(i64),
    /// It has ended and will not start again by itself.
    Ended(String),
}

impl Process {
    /// Starts a process on a file that is a station's.
    ///
    /// # Errors
    /// What the store says.
    pub fn start(disk: &Disk, file: &str, life: u64, seed: u64, patient: bool) -> Result<Self> {
        let commits = Commits::default();
        let store = Store::open_connection(disk.connect_process(&commits), file.to_owned())?;
        let backoff =
            if patient { Config::daemon(seed).backoff } else { BackoffBounds { first_ms: 250, max_ms: 5_000 } };
        let mut engine = Engine::new(Config { backoff, seed });
        engine.resume(&store)?;
        let mut token = [0; 32];
        token[..8].copy_from_slice(&seed.to_le_bytes());
        token[8..16].copy_from_slice(&life.to_le_bytes());
        Ok(Self {
            store,
            engine,
            life,
            tick: 0,
            commits,
            awaits: None,
            patience: Patience::new(patient),
            token,
            joining: false,
        })
    }

    /// Whether something was committed since the last call.
    pub fn take_committed(&self) -> bool {
        self.commits.done.swap(false, Ordering::SeqCst)
    }

    /// Looks at the file and says what to do.
    pub fn look(&mut self, now_ms: i64, code: &str) -> Next {
        let looked = self.store.check_capture().and_then(|()| self.store.meta());
        match looked.map(|meta| meta.membership.is_some()) {
            Ok(true) => {}
            Ok(false) if self.joining => return Next::Wait(RETRY_JOIN_MS),
            Ok(false) => return self.join(code),
            Err(error) if error.can_retry() => return Next::Wait(RETRY_LOCKED_MS),
            Err(error) => return Next::Ended(error.to_string()),
        }
        match self.engine.next(&mut self.store, now_ms) {
            Ok(Action::Send(request)) => {
                self.awaits = Some(request.id);
                // As a station's program does and a browser does not; what goes wrong is met again when the batch is due.
                if self.token[0].is_multiple_of(2) {
                    drop(self.engine.look_ahead(&mut self.store, now_ms));
                }
                Next::Send(request)
            }
            Ok(Action::WaitUntil(at_ms)) => Next::Wait((at_ms - now_ms).clamp(1, 600_000)),
            Ok(Action::Idle) => Next::Wait(IDLE_MS),
            Ok(Action::Stopped(stop)) if stop.is_final() => Next::Ended(stop.to_string()),
            Ok(Action::Stopped(_)) => match self.engine.resume(&self.store) {
                Ok(()) => Next::Wait(RETRY_STOPPED_MS),
                Err(error) => Next::Ended(error.to_string()),
            },
            Err(error) if error.can_retry() => Next::Wait(RETRY_LOCKED_MS),
            Err(error) => Next::Ended(error.to_string()),
        }
    }

    fn join(&mut self, code: &str) -> Next {
        // Every attempt offers another token: whoever tries again has forgotten the last one, but not the file.
        self.token[31] = self.token[31].wrapping_add(1);
        match join::ask(&mut self.store, code, None, Secret(self.token)) {
            Ok(Begin::Joined(_)) => Next::Wait(1),
            Ok(Begin::Ask(request)) => {
                self.joining = true;
                self.awaits = Some(request.id);
                Next::Send(request)
            }
            Err(JoinError::NotNow(_)) => Next::Wait(RETRY_JOIN_MS),
            Err(JoinError::Store(error)) if error.can_retry() => Next::Wait(RETRY_JOIN_MS),
            Err(error) => Next::Ended(error.to_string()),
        }
    }

    /// Hears what became of a request.
    ///
    /// # Errors
    /// What the store says; the process ends then, unless trying again may help.
    pub fn hear(&mut self, now_ms: i64, id: u64, outcome: &std::result::Result<Reply, Failure>) -> Result<Heard> {
        if self.awaits == Some(id) {
            self.awaits = None;
        }
        if id == 0 {
            if !std::mem::take(&mut self.joining) {
                return Ok(Heard::Join("late"));
            }
            let Ok(reply) = outcome else { return Ok(Heard::Join("unreachable")) };
            return match join::hear(&mut self.store, now_ms, reply) {
                Ok(_) => Ok(Heard::Join("joined")),
                Err(JoinError::Store(error)) => Err(error),
                Err(JoinError::Refused(stop)) => Ok(Heard::JoinRefused(stop.to_string())),
                Err(_) => Ok(Heard::Join("not now")),
            };
        }
        let event = match outcome {
            Ok(reply) => self.engine.on_reply(&mut self.store, now_ms, id, reply),
            Err(failure) => self.engine.on_failure(&mut self.store, now_ms, id, failure),
        };
        event.map(Heard::Event)
    }
}

/// What a process made of an outcome.
#[derive(Debug)]
pub enum Heard {
    /// An event of the engine.
    Event(Event),
    /// How an attempt to join went.
    Join(&'static str),
    /// The server refused the code, and would again.
    JoinRefused(String),
}

impl Heard {
    /// One word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Event(Event::Acked { .. }) => "acked",
            Self::Event(Event::Agreed) => "agreed",
            Self::Event(Event::Settled { .. }) => "settled",
            Self::Event(Event::Smaller { .. }) => "smaller",
            Self::Event(Event::Failed { .. }) => "failed",
            Self::Event(Event::Stopped(_)) => "stopped",
            Self::Event(Event::Ignored) => "ignored",
            Self::Join(how) => how,
            Self::JoinRefused(_) => "join refused",
        }
    }
}

/// What a frame holds, by its header; `None` when the bytes are none.
#[must_use]
pub fn header_of(body: &[u8]) -> Option<FrameHeader> {
    let any =
        FrameLimits { rows_max: u32::MAX, frame_bytes_max: u32::MAX, body_bytes_max: u32::MAX, cells_max: u32::MAX };
    FrameHeader::parse(body, &any).ok()
}
