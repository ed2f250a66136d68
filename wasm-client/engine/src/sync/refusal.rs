//! Why a server does not let a file in, as facts. What a person reads is made from them at the edge.

use std::fmt;

use tidemark_core::protocol::{Problem, ProblemCode};

use super::Stop;
use super::stop::stop_of;

/// Why a server does not let a file in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The server made no such code.
    CodeUnknown,
    /// Another file used the code.
    CodeUsed,
    /// The code's time is over.
    CodeExpired,
    /// This file joined before, by another code.
    JoinedBefore,
    /// The code is for another file, or for another purpose.
    OtherFile,
    /// The station of the code was revoked.
    Revoked,
    /// The server does not take this file's schema.
    Schema,
    /// The server has no station numbers left.
    NumbersExhausted,
    /// Anything else; the words say what.
    Other,
}

/// A server's refusal: why, and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub kind: RefusalKind,
    /// The server's words.
    pub stop: Stop,
}

impl Refusal {
    /// The refusal that a problem is; `None` when asking again may help.
    pub(super) fn of(problem: &Problem) -> Option<Self> {
        let kind = match problem.code {
            ProblemCode::JoinCodeUnknown => RefusalKind::CodeUnknown,
            ProblemCode::JoinCodeUsed if problem.joined_before => RefusalKind::JoinedBefore,
            ProblemCode::JoinCodeUsed => RefusalKind::CodeUsed,
            ProblemCode::JoinCodeExpired => RefusalKind::CodeExpired,
            ProblemCode::CannotRejoin => RefusalKind::OtherFile,
            ProblemCode::Revoked => RefusalKind::Revoked,
            ProblemCode::UnknownSchema | ProblemCode::IncompatibleSchema => RefusalKind::Schema,
            ProblemCode::StationsExhausted => RefusalKind::NumbersExhausted,
            _ => RefusalKind::Other,
        };
        let bad_request = || (problem.status == 400).then(|| Stop::BadRequest { detail: problem.detail.clone() });
        Some(Self { kind, stop: stop_of(problem).or_else(bad_request)? })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stop.fmt(f)
    }
}
