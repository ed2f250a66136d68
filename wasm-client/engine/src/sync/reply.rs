//! Replies, read with suspicion: a proxy, a captive portal or a broken server may say anything.

use serde::de::DeserializeOwned;
use tidemark_core::limits::MESSAGE_BYTES_MAX;
use tidemark_core::protocol::{Problem, ProblemCode};

use super::{Reply, Stop, StopKind};
use crate::error::printable;

/// A reply's body as `T`, when the status says success.
pub(crate) enum Read<T> {
    /// It is one.
    Done(T),
    /// A problem of ours, well formed.
    Problem(Problem),
    /// Anything else, in words.
    Other(String),
}

pub(crate) fn read<T: DeserializeOwned>(reply: &Reply) -> Read<T> {
    if reply.body.len() > MESSAGE_BYTES_MAX {
        return Read::Other(format!("the reply has more than {MESSAGE_BYTES_MAX} bytes"));
    }
    if reply.status == 200 {
        return match serde_json::from_slice(&reply.body) {
            Ok(done) => Read::Done(done),
            Err(error) => Read::Other(format!(
                "the reply is not a Tidemark server's ({}); is something between this station and its server?",
                printable(&error.to_string())
            )),
        };
    }
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(problem) if problem.code.status() == reply.status => {
            let remedy = problem.remedy.map(|remedy| Box::new(remedy.map_names(printable)));
            Read::Problem(Problem { detail: printable(&problem.detail), remedy, ..problem })
        }
        _ => Read::Other(format!("HTTP status {} without a word of a Tidemark server", reply.status)),
    }
}

/// Problems that asking again does not solve. `None`: the others.
pub(crate) fn stop_of(problem: &Problem) -> Option<Stop> {
    let detail = &problem.detail;
    let helped = |stop| Stop { remedy: problem.remedy.clone(), ..stop };
    let stop = |kind, what_to_do: &str| Some(helped(Stop::new(kind, format!("{detail} — {what_to_do}"))));
    match problem.code {
        ProblemCode::Unauthorized => stop(
            StopKind::Unauthorized,
            "the server does not know this station's token; is it the right server and database? Nothing is lost, the changes stay in the log",
        ),
        ProblemCode::Revoked => stop(StopKind::Revoked, "nothing is lost, the changes stay in the log"),
        ProblemCode::WrongStation => stop(
            StopKind::WrongStation,
            "the server takes this token for another station's; was the file's station row edited?",
        ),
        ProblemCode::UnknownSchema | ProblemCode::IncompatibleSchema => stop(
            StopKind::Schema,
            "give the server this station's schema (`tidemark info --schema` prints it; then `tidemark-server migrate up --schema FILE`). \
             Nothing is lost, the changes stay in the log",
        ),
        ProblemCode::NotFound | ProblemCode::MethodNotAllowed => stop(
            StopKind::Refused,
            "check the server's URL (`tidemark server` shows and changes it); the server may be older than this program",
        ),
        ProblemCode::JoinCodeUnknown
        | ProblemCode::JoinCodeUsed
        | ProblemCode::JoinCodeExpired
        | ProblemCode::StationsExhausted
        | ProblemCode::CannotRejoin => {
            // The server's own words say what to do: what helps against one of these makes another worse.
            Some(helped(Stop::new(StopKind::Refused, detail.clone())))
        }
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
