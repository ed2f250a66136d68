//! The sync engine's contract: what it asks for, and what it is told.
//!
//! ```text
//! loop:  engine.next(store, now) ─┬─ Send(request) ── perform it ── engine.on_reply / engine.on_failure ─┐
//!                                 ├─ WaitUntil(ms)   nothing to do until then                          │
//!                                 ├─ Idle            everything is upstream: ask again when the log grew │
//!                                 └─ Stopped(stop)   needs a person (or, some of them, time)             │
//!        ◄───────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The engine is level-triggered: every call of [`Engine::next`] looks at the store itself, so no lost hint can stall it. It depends on
//! nothing that it holds in memory: after a failure the batch is cut again, and gives the same chain. Only the server's tidemark,
//! checked against the station's own chain, ever removes a change from the log.
//!
//! Whoever can do two things at once calls [`Engine::look_ahead`] while a request is under way, and [`Engine::settle`] before it lets go of the
//! engine.

pub(crate) mod backoff;
pub(crate) mod conversation;
pub mod daemon;
mod drive;
mod engine;
pub mod join;
mod pace;
mod refusal;
pub mod rejoin;
pub(crate) mod reply;
pub(crate) mod request;
mod url;

pub use backoff::{Backoff, BackoffBounds};
pub use drive::{Clock, Drained, Patience, Summary, Transport, agree, drain};
pub use engine::{Config, Engine};
pub use pace::Pace;
pub use refusal::{Refusal, RefusalKind};
pub use request::{Failure, Method, Reply, Request};
pub use url::{ServerUrl, UrlError};

use tidemark_core::protocol::Remedy;

/// What to do next.
#[derive(Debug, Clone)]
pub enum Action {
    /// Perform this request and report its outcome.
    Send(Request),
    /// Ask again at this time (milliseconds since 1970 UTC), or when a hint says so.
    WaitUntil(i64),
    /// Everything is upstream. Ask again when the log grew.
    Idle,
    /// It cannot go on by itself.
    Stopped(Stop),
}

/// What an outcome led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Changes are durable upstream, and out of the log.
    Acked {
        /// The tidemark.
        tidemark: u64,
        /// How many changes it moved over.
        changes: u64,
        /// Of them rejected on this station.
        rejected_here: u64,
        /// Of them rejected by the server.
        rejected_by_server: u64,
    },
    /// The server was asked where it stands, and its history is the station's.
    Agreed,
    /// Rejects that were open here are settled upstream, by its operator or by a later change: they are open here no more.
    Settled {
        /// What they were to bring in is upstream.
        resolved: u64,
        /// The operator gave them up.
        discarded: u64,
    },
    /// The server takes less at once, or took too long: the next batch is smaller.
    Smaller {
        /// Most changes of the next batch.
        rows: u32,
    },
    /// It did not work; the engine tries again.
    Failed {
        /// What happened.
        message: String,
        /// When it tries again.
        retry_at_ms: i64,
    },
    /// The engine stopped.
    Stopped(Stop),
    /// A late reply, or another process was faster: nothing to do.
    Ignored,
}

/// Why an engine stopped, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// The station has no server yet.
    NotJoined,
    /// Station and server hold different histories.
    Forked,
    /// The server's operator revoked the station.
    Revoked,
    /// The server does not know the station's token.
    Unauthorized,
    /// The token is another station's.
    WrongStation,
    /// The server does not take this schema.
    Schema,
    /// The file's log is not what Tidemark wrote; nothing is pushed from it.
    Tampered,
    /// One change alone is more than the server takes.
    TooLarge,
    /// The server does not take what we send, or is no Tidemark server.
    Refused,
}

/// Why an engine stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Stop {
    /// For programs.
    pub kind: StopKind,
    /// What happened, where, what to do.
    pub message: String,
    /// What the server says would help; the sentence is the edge's.
    pub remedy: Option<Box<Remedy>>,
}

impl Stop {
    pub(crate) fn new(kind: StopKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None }
    }

    /// Whether only somebody at this station can repair it. The others may pass when the server is put right.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self.kind, StopKind::NotJoined | StopKind::Forked | StopKind::Tampered | StopKind::Revoked)
    }
}
