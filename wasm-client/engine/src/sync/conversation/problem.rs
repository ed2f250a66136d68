//! Replies that are no answer: problems of ours, and what a proxy, a portal or a broken server says. Here is what
//! follows from them whatever was asked; a conversation looks first at those that mean something to its own question.

use tidemark_core::protocol::{Problem, ProblemCode};

use super::link::BAD_FRAMES_MAX;
use super::{Heard, Link};
use crate::sync::backoff::retry_after_ms;
use crate::sync::stop::stop_of;
use crate::sync::{Foreign, Reply, Stop, Trouble, Unwell};

/// A problem of ours.
pub(super) fn on_problem(link: &mut Link, reply: &Reply, problem: &Problem) -> Heard {
    if let Some(stop) = stop_of(problem) {
        return Heard::Stopped(stop);
    }
    if !matches!(problem.code, ProblemCode::BadFrame | ProblemCode::BadRequest) {
        return failed(reply, Trouble::Unwell(Unwell::of(problem)));
    }
    link.bad_frames += 1;
    if link.bad_frames >= BAD_FRAMES_MAX {
        return Heard::Stopped(Stop::BadFrames { times: link.bad_frames, detail: problem.detail.clone() });
    }
    // Perhaps its limits have changed: it tells them when it is asked where it stands.
    link.ask_station = true;
    Heard::Failed { why: Trouble::NotTaken(problem.detail.clone()), retry_after_ms: None }
}

/// Whether a reply that nobody of ours wrote says that there is no Tidemark server at the URL.
pub(super) const fn is_elsewhere(reply: &Reply) -> bool {
    matches!(reply.status, 300..=399 | 404 | 405)
}

/// A reply that nobody of ours wrote.
pub(super) fn on_other(reply: &Reply, foreign: Foreign) -> Heard {
    if is_elsewhere(reply) {
        return Heard::Stopped(Stop::NoServer(foreign));
    }
    failed(reply, Trouble::Foreign(foreign))
}

/// A failure after which the server may say when to come again.
pub(super) fn failed(reply: &Reply, why: Trouble) -> Heard {
    Heard::Failed { why, retry_after_ms: retry_after_ms(reply.retry_after.as_deref()) }
}
