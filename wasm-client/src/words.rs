//! The words of a page, made from facts. There is no command line where it runs: whoever reads them has the page, and
//! the server's operator.

use tidemark_client::bundle::BundleError;
use tidemark_client::halt::Halt;
use tidemark_client::sync::join::JoinError;
use tidemark_client::sync::{Stop, Trouble, Words};
use tidemark_client::{RejectProblem, Status};
use tidemark_core::protocol::{ProblemCode, Remedy, UnavailableReason};

/// The help when nothing may be sent from the database any more.
const ASK_THE_OPERATOR: &str = "export the database, and ask the server's operator";

/// The words that the engine keeps in the database.
pub const KEPT: Words = Words { stop: kept, trouble };

/// The reason why nothing goes on by itself, and what to do.
#[must_use]
pub fn stop(stop: &Stop) -> String {
    with(&kept(stop), stop.remedy())
}

/// The failure that the file keeps, and what to do.
#[must_use]
pub fn last_error(status: &Status) -> Option<String> {
    status.last_error.as_deref().map(|kept| with(kept, status.last_remedy.as_ref()))
}

/// The words of a stop for the file, which keeps the remedy that the server names beside them, as a fact.
#[must_use]
fn kept(stop: &Stop) -> String {
    match stop {
        Stop::NotJoined { .. } | Stop::NothingUpstream { .. } => {
            format!("{stop}; join one with a code that its operator makes")
        }
        Stop::Halted(found) => halt(found),
        Stop::Problem { code: ProblemCode::UnknownSchema | ProblemCode::IncompatibleSchema, detail, .. } => format!(
            "{detail} — give the server this station's schema (there: `tidemark-server migrate up --schema FILE`). Nothing is lost, the changes stay \
             in the log"
        ),
        Stop::Problem { code: ProblemCode::NotFound | ProblemCode::MethodNotAllowed, detail, .. } => format!(
            "{detail} — check the server's URL (is the page opened with the right one?); the server may be older than this program"
        ),
        Stop::NoServer(_) => format!("{stop} is the page opened with the right one?"),
        Stop::Url { .. }
        | Stop::Problem { .. }
        | Stop::BadRequest { .. }
        | Stop::OtherNumber(_)
        | Stop::TooLarge { .. }
        | Stop::BadFrames { .. } => stop.to_string(),
    }
}

/// Why something has to be tried again.
#[must_use]
pub fn trouble(why: &Trouble) -> String {
    let Trouble::Unwell(unwell) = why else { return why.to_string() };
    if unwell.code == ProblemCode::TooManyRequests {
        return "the server is asked too often from this network".into();
    }
    let Some(reason) = unwell.reason.and_then(waits_for) else { return why.to_string() };
    format!("the server {reason}")
}

/// The rest of a sentence that begins with the server.
const fn waits_for(reason: UnavailableReason) -> Option<&'static str> {
    Some(match reason {
        UnavailableReason::ServerBusy => "has as much to do as it takes on at once",
        UnavailableReason::ServerStopping => "is being stopped",
        UnavailableReason::DatabaseAway => "does not reach its database",
        UnavailableReason::DatabaseStarting => "waits until its database has started",
        UnavailableReason::DatabaseReadOnly => "has a database that takes no writes now; tell its operator",
        UnavailableReason::DatabaseFull => "has a database without room on its disk; tell its operator",
        UnavailableReason::DatabaseLocked => "waits for a lock that somebody holds in its database",
        UnavailableReason::DatabaseBusy => "finds no free connection to its database",
        UnavailableReason::DatabaseFault => "has a database with a fault of its own; tell its operator",
        UnavailableReason::DatabaseDiffers => "has a database that is not as its schema wants it; tell its operator",
        UnavailableReason::Other => return None,
    })
}

/// Why nothing may be sent from the database, and what to do.
#[must_use]
pub fn halt(halt: &Halt) -> String {
    match halt {
        Halt::Forked(_) => format!("{halt}. What to do: {ASK_THE_OPERATOR}"),
        Halt::Tampered { .. } => format!("{halt}; {ASK_THE_OPERATOR}"),
        Halt::Told(_) => halt.to_string(),
    }
}

/// Why something cannot be done with a rejected change, and what to do.
#[must_use]
pub fn reject(problem: &RejectProblem) -> String {
    match problem {
        RejectProblem::RowGone { .. } => format!("{problem}. Give it up, or leave it open"),
        RejectProblem::NoTable { .. } => format!("{problem}; give it up"),
        RejectProblem::Settled { .. } | RejectProblem::Unknown { .. } | RejectProblem::NoKeys { .. } => {
            problem.to_string()
        }
    }
}

/// Why the station could not join.
#[must_use]
pub fn join(error: &JoinError) -> String {
    match error {
        JoinError::Refused(refusal) => stop(&refusal.stop),
        JoinError::Already { remedy, .. } => with(&error.to_string(), remedy.as_deref()),
        JoinError::NotNow(why) => format!("{why}. Nothing is lost: call join again with the same code"),
        other => other.to_string(),
    }
}

/// Why no bundle was made, or a receipt not taken.
#[must_use]
pub fn bundle(error: &BundleError) -> String {
    match error {
        BundleError::Forked(found) => halt(found),
        BundleError::TooLarge { .. } => format!("{error}; make the row smaller"),
        BundleError::Gap { .. } => format!("{error}; import the receipt of the bundle before first"),
        other => other.to_string(),
    }
}

/// A message, and what the server says would help.
fn with(message: &str, remedy: Option<&Remedy>) -> String {
    match remedy {
        Some(remedy) => format!("{message}. {}", sentence(remedy)),
        None => message.to_owned(),
    }
}

/// The sentence of a remedy, without its full stop. A command in it is the operator's.
const fn sentence(remedy: &Remedy) -> &'static str {
    match remedy {
        Remedy::Join => "Join first, with a code that the server's operator makes",
        Remedy::TakeToken => "Join with the code that the server's operator has for it",
        Remedy::RenewToken => {
            "Ask the server's operator for a code for another token (`tidemark-server station rotate NAME`), and join with that"
        }
        Remedy::RejoinAnew => {
            "If the server's database was put back to a backup from before this station joined: export the database, and ask the server's operator"
        }
        Remedy::RejoinThere { .. } => {
            "Ask the server's operator for a code of your own (`tidemark-server station add NAME`)"
        }
        Remedy::RejoinBeside { .. } | Remedy::ReplaceStation { .. } | Remedy::ReplaceNone => {
            "Export the database, and ask the server's operator"
        }
        Remedy::AddReader => "Ask the server's operator for a reader's token (`tidemark-server reader add NAME`)",
    }
}
