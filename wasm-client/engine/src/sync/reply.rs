//! Replies, read with suspicion: a proxy, a captive portal or a broken server may say anything.

use std::fmt;

use serde::de::DeserializeOwned;
use tidemark_core::limits::MESSAGE_BYTES_MAX;
use tidemark_core::protocol::{Problem, ProblemCode};

use super::{Reply, Stop};
use crate::error::printable;

/// A reply's body as `T`, when the status says success.
pub(crate) enum Read<T> {
    /// It is one.
    Done(T),
    /// A problem of ours, well formed.
    Problem(Problem),
    /// Anything else.
    Other(Foreign),
}

/// A reply that no server of ours wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// It is longer than any of ours.
    TooLong,
    /// It says success, and is no message of ours: what does not fit.
    NotOurs(String),
    /// It says something else than success, and nothing of ours beside it: the HTTP status.
    Status(u16),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the reply has more than {MESSAGE_BYTES_MAX} bytes"),
            Self::NotOurs(detail) => write!(
                f,
                "the reply is not a Tidemark server's ({detail}); is something between this station and its server?"
            ),
            Self::Status(status) => write!(f, "HTTP status {status} without a word of a Tidemark server"),
        }
    }
}

pub(crate) fn read<T: DeserializeOwned>(reply: &Reply) -> Read<T> {
    if reply.body.len() > MESSAGE_BYTES_MAX {
        return Read::Other(Foreign::TooLong);
    }
    if reply.status == 200 {
        return match serde_json::from_slice(&reply.body) {
            Ok(done) => Read::Done(done),
            Err(error) => Read::Other(Foreign::NotOurs(printable(&error.to_string()))),
        };
    }
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(problem) if problem.code.status() == reply.status => {
            Read::Problem(Problem { detail: printable(&problem.detail), ..problem })
        }
        _ => Read::Other(Foreign::Status(reply.status)),
    }
}

/// Problems that asking again does not solve. `None`: the others.
pub(crate) fn stop_of(problem: &Problem) -> Option<Stop> {
    match problem.code {
        ProblemCode::Unauthorized
        | ProblemCode::Revoked
        | ProblemCode::WrongStation
        | ProblemCode::UnknownSchema
        | ProblemCode::IncompatibleSchema
        | ProblemCode::NotFound
        | ProblemCode::MethodNotAllowed
        | ProblemCode::JoinCodeUnknown
        | ProblemCode::JoinCodeUsed
        | ProblemCode::JoinCodeExpired
        | ProblemCode::StationsExhausted
        | ProblemCode::CannotRejoin => Some(Stop::Problem { code: problem.code, detail: problem.detail.clone() }),
        ProblemCode::BadFrame
        | ProblemCode::BadRequest
        | ProblemCode::Gap
        | ProblemCode::Forked
        | ProblemCode::Moved
        | ProblemCode::TooLarge
        | ProblemCode::Timeout
        | ProblemCode::Internal
        | ProblemCode::Unavailable => None,
    }
}
