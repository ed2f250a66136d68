//! Why an engine stopped, and why it has to try again: facts. Words for people are made from them at the edge; what
//! [`std::fmt::Display`] says names no command.

use std::fmt;

use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode, Remedy, UnavailableReason};
use tidemark_core::url::UrlError;

use super::reply::Foreign;
use super::{Failure, FailureKind};
use crate::halt::Halt;

/// How soon a stop that time may heal is tried again.
const REST_MS: i64 = 300_000;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The station has no server yet.
    NotJoined {
        /// The file.
        file: String,
    },
    /// The station has no server yet, so no row of it is upstream.
    NothingUpstream {
        /// The file.
        file: String,
    },
    /// The file has a server's URL that is none.
    Url {
        /// The file.
        file: String,
        /// The fault of the URL.
        error: UrlError,
    },
    /// The file says that nothing may be sent from it.
    Halted(Halt),
    /// The server answered with a problem that asking again does not solve.
    Problem {
        /// Which.
        code: ProblemCode,
        /// The server's words.
        detail: String,
        /// The remedy that the server names.
        remedy: Option<Box<Remedy>>,
    },
    /// The server found the request to be none of the protocol.
    BadRequest {
        /// The server's words.
        detail: String,
    },
    /// The server takes the station for the one of this number.
    OtherNumber(StationNumber),
    /// One change alone is more than the server takes.
    TooLarge {
        /// Its seq.
        seq: u64,
        /// The excess.
        excess: Excess,
    },
    /// The server found what was sent damaged, so many times in a row.
    BadFrames {
        /// How often.
        times: u32,
        /// The server's words.
        detail: String,
    },
    /// The URL is answered by something else than a Tidemark server.
    NoServer(Foreign),
}

/// The excess of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excess {
    /// It has more than the server told that it takes.
    Limit {
        /// Of what.
        what: &'static str,
        /// How much it has.
        have: u64,
        /// How much the server takes.
        max: u64,
    },
    /// The server, or something before it, says so.
    Told(String),
}

/// Why a request did not do what it should; the engine tries again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no answer.
    NoAnswer(Failure),
    /// The server cannot do it now.
    Unwell(Unwell),
    /// The server did not take what was sent, which may have been damaged or overtaken on the way.
    NotTaken(String),
    /// Somebody else answered.
    Foreign(Foreign),
    /// The server answered success, and its tidemark did not move.
    NotMoved,
}

/// A server's word that it cannot do something now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwell {
    /// Which problem it answered with.
    pub code: ProblemCode,
    /// What it waits for itself, where it says so.
    pub reason: Option<UnavailableReason>,
    /// Its words.
    pub detail: String,
}

impl Unwell {
    /// The word that a problem is.
    pub(crate) fn of(problem: &Problem) -> Self {
        Self { code: problem.code, reason: problem.reason, detail: problem.detail.clone() }
    }
}

impl Trouble {
    /// Whether no server of ours was met: no connection was made, or a proxy says that there is nobody behind it.
    #[must_use]
    pub const fn is_unreached(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer(Failure { kind: FailureKind::Unreached, .. }) | Self::Foreign(Foreign::Status(502 | 504))
        )
    }
}

impl Stop {
    /// For programs.
    #[must_use]
    pub const fn kind(&self) -> StopKind {
        match self {
            Self::NotJoined { .. } | Self::NothingUpstream { .. } => StopKind::NotJoined,
            Self::Halted(Halt::Forked(_)) => StopKind::Forked,
            Self::Halted(Halt::Tampered { .. } | Halt::Told(_)) => StopKind::Tampered,
            Self::OtherNumber(_) => StopKind::WrongStation,
            Self::TooLarge { .. } => StopKind::TooLarge,
            Self::Problem { code, .. } => match code {
                ProblemCode::Unauthorized => StopKind::Unauthorized,
                ProblemCode::Revoked => StopKind::Revoked,
                ProblemCode::WrongStation => StopKind::WrongStation,
                ProblemCode::UnknownSchema | ProblemCode::IncompatibleSchema => StopKind::Schema,
                _ => StopKind::Refused,
            },
            Self::Url { .. } | Self::BadRequest { .. } | Self::BadFrames { .. } | Self::NoServer(_) => {
                StopKind::Refused
            }
        }
    }

    /// The remedy that the server names; its sentence is the edge's.
    #[must_use]
    pub fn remedy(&self) -> Option<&Remedy> {
        match self {
            Self::Problem { remedy, .. } => remedy.as_deref(),
            _ => None,
        }
    }

    /// Whether only somebody at this station can repair it. The others may pass when the server is put right.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self.kind(), StopKind::NotJoined | StopKind::Forked | StopKind::Tampered | StopKind::Revoked)
    }

    /// How soon it is tried again, in milliseconds; `None` where only somebody at this station can repair it.
    #[must_use]
    pub const fn rests_ms(&self) -> Option<i64> {
        if self.is_final() { None } else { Some(REST_MS) }
    }
}

impl std::error::Error for Stop {}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJoined { file } => write!(f, "{file}: this station has not joined a server"),
            Self::NothingUpstream { file } => write!(
                f,
                "{file}: this station has not joined a server, so nothing of it is durable upstream and nothing can be pruned"
            ),
            Self::Url { file, error } => write!(f, "{file}: {error}"),
            Self::Halted(halt) => halt.fmt(f),
            Self::Problem { code, detail, .. } => match because(*code) {
                Some(because) => write!(f, "{detail} — {because}"),
                None => f.write_str(detail),
            },
            Self::BadRequest { detail } => write!(f, "the server refuses the request: {detail}"),
            Self::OtherNumber(number) => {
                write!(f, "the server takes this station for number {number}; was the file's station row edited?")
            }
            Self::TooLarge { seq, excess } => write!(
                f,
                "change {seq} alone is more than the server takes at once ({excess}); ask its operator to raise the limit, or make the row \
                 smaller. Nothing is lost, the changes stay in the log"
            ),
            Self::BadFrames { times, detail } => write!(
                f,
                "the server refuses what this station sends, {times} times in a row: {detail}. Compare the versions of both programs; nothing is \
                 lost, the changes stay in the log"
            ),
            Self::NoServer(foreign) => write!(f, "{foreign}: is the server's URL right?"),
        }
    }
}

/// The stop that a problem is for the station; `None` where the server's own words say it all: what helps against one
/// of those makes another worse.
const fn because(code: ProblemCode) -> Option<&'static str> {
    match code {
        ProblemCode::Unauthorized => Some(
            "the server does not know this station's token; is it the right server and database? Nothing is lost, the changes stay in the log",
        ),
        ProblemCode::Revoked => Some("nothing is lost, the changes stay in the log"),
        ProblemCode::WrongStation => {
            Some("the server takes this token for another station's; was the file's station row edited?")
        }
        ProblemCode::UnknownSchema | ProblemCode::IncompatibleSchema => {
            Some("give the server this station's schema. Nothing is lost, the changes stay in the log")
        }
        ProblemCode::NotFound | ProblemCode::MethodNotAllowed => {
            Some("check the server's URL; the server may be older than this program")
        }
        _ => None,
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { what, have, max } => write!(f, "it has {what} {have}, the server takes {max}"),
            Self::Told(said) => f.write_str(said),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(failure) => failure.fmt(f),
            Self::Unwell(unwell) => unwell.fmt(f),
            Self::NotTaken(detail) => f.write_str(detail),
            Self::Foreign(foreign) => foreign.fmt(f),
            Self::NotMoved => f.write_str("the server answered success, but its tidemark did not move"),
        }
    }
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered: {}", self.detail)
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
        | ProblemCode::Forbidden
        | ProblemCode::Conflict
        | ProblemCode::CannotRejoin => {
            let (code, detail, remedy) = (problem.code, problem.detail.clone(), problem.remedy.clone());
            Some(Stop::Problem { code, detail, remedy })
        }
        ProblemCode::BadFrame
        | ProblemCode::BadRequest
        | ProblemCode::Gap
        | ProblemCode::Forked
        | ProblemCode::Moved
        | ProblemCode::TooLarge
        | ProblemCode::Timeout
        | ProblemCode::TooManyRequests
        | ProblemCode::Internal
        | ProblemCode::Unavailable => None,
    }
}
