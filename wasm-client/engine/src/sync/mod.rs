//! The sync engine's contract: what it asks for, and what it is told.
//!
//! ```text
//! loop:  engine.next(store, now) ─┬─ Send(request) ── perform it ── engine.on_reply / engine.on_failure ─┐
//!                                 ├─ UnderWay(id)    the same, of one that engine.early gave before     │
//!                                 ├─ WaitUntil(ms)   nothing to do until then                          │
//!                                 ├─ Idle            everything is upstream: ask again when the log grew │
//!                                 └─ Stopped(stop)   needs a person (or, some of them, time)             │
//!        ◄───────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The engine is level-triggered: every call of [`Engine::next`] looks at the store itself, so no lost hint can stall
//! it. It depends on nothing that it holds in memory: after a failure the batch is cut again, and gives the same chain.
//! Only the server's tidemark, checked against the station's own chain, ever removes a change from the log.
//!
//! Whoever can do two things at once calls [`Engine::look_ahead`] while a request is under way, and [`Engine::settle`]
//! before it lets go of the engine. Whoever can have two requests under way performs what [`Engine::early`] gives, too,
//! and keeps the outcome until [`Action::UnderWay`] asks for it; if that never does, nobody needs it.

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
pub(crate) mod stop;
mod transport;
mod untrusted;

pub use backoff::{Backoff, BackoffBounds};
pub use drive::{Clock, Drained, Patience, Summary, agree, drain, say_contact};
pub use engine::{Config, Engine, Words};
pub use pace::Pace;
pub use refusal::{Refusal, RefusalKind};
pub use reply::Foreign;
pub use request::{Failure, FailureKind, Method, Reply, Request};
pub use stop::{Excess, Stop, StopKind, Trouble, Unwell};
pub use tidemark_core::url::{ServerUrl, UrlError};
pub use transport::{Beside, Outcome, Transport};
pub use untrusted::Untrusted;

/// The next thing to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// Perform this request and report its outcome.
    Send(Request),
    /// The request of this number, which [`Engine::early`] gave, is the next: report its outcome, once it is there.
    UnderWay(u64),
    /// Ask again at this time (milliseconds since 1970 UTC), or when a hint says so.
    WaitUntil(i64),
    /// Everything is upstream. Ask again when the log grew.
    Idle,
    /// It cannot go on by itself.
    Stopped(Stop),
}

/// The event that an outcome led to.
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
    /// Rejects that were open here are settled upstream, by its operator or by a later change: they are open here no
    /// more.
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
        /// Why.
        why: Trouble,
        /// When it tries again.
        retry_at_ms: i64,
    },
    /// The engine stopped.
    Stopped(Stop),
    /// A late reply, or another process was faster: nothing to do.
    Ignored,
}
