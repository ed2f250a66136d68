//! The process that pushes: the real store and the steps of `tidemark run`.

use std::sync::atomic::Ordering;

use tidemark_client::sync::daemon::{BUSY_MS, Daemon, News, Step};
use tidemark_client::sync::join::{self, Begin, JoinError};
use tidemark_client::sync::{Config, Event, Failure, Reply, Request};
use tidemark_client::{Result, Secret, Store};
use tidemark_core::frame::FrameHeader;
use tidemark_core::limits::{CONTACT_EVERY_MS, FrameLimits};

use super::disk::{Commits, Disk};
use super::oracle::patience::Patience;

/// How soon somebody tries to join again.
const RETRY_JOIN_MS: i64 = 5_000;
/// A process looks at its file this often, whatever it waits for.
const LONGEST_MS: i64 = 600_000;

/// A process.
pub struct Process {
    /// The station's file.
    pub store: Store,
    /// Its loop.
    pub daemon: Daemon,
    /// Which process this is, of all that ever ran.
    pub life: u64,
    /// Which of its ticks is due; earlier ones are forgotten.
    pub tick: u64,
    /// Its commits.
    pub commits: Commits,
    /// The request it waits for.
    pub awaits: Option<u64>,
    /// The request that it sent before its turn, until that comes.
    pub early: Option<u64>,
    /// Whether everything was upstream when it looked last.
    pub is_idle: bool,
    /// How it treats its server.
    pub patience: Patience,
    token: [u8; 32],
    joining: bool,
}

/// What a process does after it looked at its file.
#[derive(Debug)]
pub enum Next {
    /// It sends this, and then perhaps another one before its turn.
    Send(Request, Option<Request>),
    /// It waits for the request of this number, which it sent before its turn, and sends perhaps another one.
    UnderWay(u64, Option<Request>),
    /// It looks again after so many milliseconds of its own clock.
    Wait(i64),
    /// It has ended and will not start again by itself.
    Ended(String),
}

impl Process {
    /// Starts a process on a file that is a station's.
    ///
    /// # Errors
    /// When the store fails.
    pub fn start(disk: &Disk, file: &str, life: u64, seed: u64, patient: bool) -> Result<Self> {
        let commits = Commits::default();
        let store = Store::open_connection(disk.connect_process(&commits), file.to_owned())?;
        let backoff = if patient { Config::daemon(seed).backoff } else { Config::interactive(seed).backoff };
        let config = Config::daemon(seed).in_contact(CONTACT_EVERY_MS);
        let daemon = Daemon::start(Config { backoff, ..config }, &store)?;
        let mut token = [0; 32];
        token[..8].copy_from_slice(&seed.to_le_bytes());
        token[8..16].copy_from_slice(&life.to_le_bytes());
        Ok(Self {
            store,
            daemon,
            life,
            tick: 0,
            commits,
            awaits: None,
            early: None,
            is_idle: false,
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
        match self.store.meta().map(|meta| meta.membership.is_some()) {
            Ok(true) => {}
            Ok(false) if self.joining => return Next::Wait(RETRY_JOIN_MS),
            Ok(false) => return self.join(code),
            Err(error) if error.can_retry() => return Next::Wait(BUSY_MS),
            Err(error) => return Next::Ended(error.to_string()),
        }
        let step = self.daemon.next(&mut self.store, now_ms, &mut |_| ());
        self.is_idle = matches!(step, Ok(Step::Idle(_)));
        match step {
            Ok(Step::Send(request)) => {
                self.awaits = Some(request.id);
                let early = self.look_ahead(now_ms);
                Next::Send(request, early)
            }
            Ok(Step::UnderWay(id)) => {
                self.awaits = Some(id);
                self.early = None;
                let early = self.look_ahead(now_ms);
                Next::UnderWay(id, early)
            }
            Ok(Step::Wait(until_ms) | Step::Idle(until_ms) | Step::Rest(until_ms, _)) => {
                Next::Wait((until_ms - now_ms).clamp(1, LONGEST_MS))
            }
            Ok(Step::Ended(stop)) => Next::Ended(stop.to_string()),
            Err(error) => Next::Ended(error.to_string()),
        }
    }

    /// As a station's program does and a browser does not: some look ahead, and most of them have two requests under
    /// way.
    fn look_ahead(&mut self, now_ms: i64) -> Option<Request> {
        if !self.token[0].is_multiple_of(2) {
            return None;
        }
        self.daemon.look_ahead(&mut self.store, now_ms);
        let early = if self.token[0].is_multiple_of(8) { None } else { self.daemon.early(&mut self.store, now_ms) };
        self.early = early.as_ref().map(|request| request.id).or(self.early);
        early
    }

    fn join(&mut self, code: &str) -> Next {
        // Every attempt offers another token: whoever tries again has forgotten the last one, but not the file.
        self.token[31] = self.token[31].wrapping_add(1);
        match join::ask(&mut self.store, code, None, Secret(self.token)) {
            Ok(Begin::Joined(_)) => Next::Wait(1),
            Ok(Begin::Ask(request)) => {
                self.joining = true;
                self.awaits = Some(request.id);
                Next::Send(request, None)
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
        let mut busy = String::new();
        let mut watch = |news: News<'_>| {
            if let News::Busy(error) = news {
                busy = error.to_string();
            }
        };
        let event = self.daemon.hear(&mut self.store, now_ms, id, outcome, &mut watch)?;
        Ok(event.map_or(Heard::Busy(busy), Heard::Event))
    }
}

/// What a process made of an outcome.
#[derive(Debug)]
pub enum Heard {
    /// An event of the engine.
    Event(Event),
    /// The file cannot be written now.
    Busy(String),
    /// How an attempt to join went.
    Join(&'static str),
    /// The server refused the code, and would again.
    JoinRefused(String),
}

impl Heard {
    /// A file that is only locked or full is busy.
    ///
    /// # Errors
    /// The others.
    pub fn unless_final(error: tidemark_client::Error) -> Result<Self> {
        if error.can_retry() { Ok(Self::Busy(error.to_string())) } else { Err(error) }
    }

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
            Self::Busy(_) => "busy",
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
