//! The engine's conversations with its server, one file each.
//!
//! | file | question | what its answer leads to |
//! |---|---|---|
//! | [`push`] | `POST /v1/push`: the next changes | they are acknowledged here |
//! | [`station`] | `GET /v1/station`: where do you stand? | the histories agree, or the station is forked |
//! | [`contact`] | `POST /v1/contact`: so the station fares | nothing |
//! | [`rejects`] | `POST /v1/rejects`: what became of open rejects? | they are settled here |
//!
//! Each is a [`Conversation`]: [`Conversation::ask`] builds the request, [`Conversation::hear`] judges what came back.
//! None waits, retries or stops: they say what is to be done, and the engine does it. What they know of the server
//! in common is the [`Link`].
//!
//! **To add one**: a file here with a type that implements [`Conversation`]; a field and a variant of `Asked` in the
//! engine, which the compiler then asks for in `Engine::hear`; and the place in `Engine::next_action` where its turn
//! comes. `Request::get` and `Request::json` make its request.
//!
//! [`crate::sync::join`], [`crate::sync::rejoin`] and [`crate::verify::Search`] have the same pair, `ask` and `hear`.
//! No engine keeps their requests in flight: whoever joins, rejoins or verifies drives them alone and sees every step.

pub(super) mod contact;
mod fork;
mod joined;
mod link;
mod outage;
mod problem;
pub(super) mod push;
pub(super) mod rejects;
pub(super) mod station;

use std::fmt::Debug;

pub(crate) use joined::Joined;
pub(super) use link::Link;

use super::{Event, Failure, Reply, Request, Stop, Trouble};
use crate::error::Result;
use crate::halt::Halt;
use crate::store::Store;

/// A question to the server, and what is made of its answer.
pub(super) trait Conversation {
    /// The facts of the question that are needed when the answer comes.
    type Asked: Debug;

    /// The question, if there is one now.
    fn ask(&mut self, turn: &mut Turn<'_>, joined: &Joined<'_>) -> Result<Ask<Self::Asked>>;

    /// Draws the conclusion from the answer, or from there being none.
    fn hear(&mut self, turn: &mut Turn<'_>, asked: &Self::Asked, came: &Came<'_>) -> Result<Heard>;
}

/// The things a conversation works with.
pub(super) struct Turn<'a> {
    /// The file.
    pub store: &'a mut Store,
    /// The knowledge of the server.
    pub link: &'a mut Link,
    /// Milliseconds since 1970 UTC.
    pub now_ms: i64,
}

/// The answer to a request, or why there is none.
pub(super) struct Came<'a> {
    /// The reply, or why there is none.
    pub outcome: std::result::Result<&'a Reply, &'a Failure>,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
}

/// A request that was sent before its turn came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Early {
    /// Its number.
    pub id: u64,
    /// How long it may take once its turn has come, in milliseconds.
    pub timeout_ms: u64,
}

/// The wish of a conversation.
#[derive(Debug)]
pub(super) enum Ask<A> {
    /// This, to be heard with what is kept beside it.
    Send(Request, A),
    /// Nothing more: this is under way already.
    UnderWay(Early, A),
    /// Nothing.
    Nothing,
    /// Nothing yet: the server is to be asked something else first, or the file became another station meanwhile.
    Again,
    /// Nothing that the server would take.
    Stop(Stop),
}

impl<A> Ask<A> {
    /// The same with what is kept in another form.
    pub(super) fn map<B>(self, keep: impl FnOnce(A) -> B) -> Ask<B> {
        match self {
            Self::Send(request, asked) => Ask::Send(request, keep(asked)),
            Self::UnderWay(early, asked) => Ask::UnderWay(early, keep(asked)),
            Self::Nothing => Ask::Nothing,
            Self::Again => Ask::Again,
            Self::Stop(stop) => Ask::Stop(stop),
        }
    }
}

/// The conclusion from an answer: what the engine is to do.
#[derive(Debug)]
pub(super) enum Heard {
    /// Go on; the server takes batches, so waits begin from the shortest again.
    Well(Event),
    /// Go on.
    On(Event),
    /// Wait, then try again.
    Failed {
        /// Why.
        why: Trouble,
        /// How long the server asks to wait, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// Stop.
    Stopped(Stop),
    /// Stop, and let the file say that nothing may be sent from it.
    Halted(Halt),
}
