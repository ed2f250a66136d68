//! The words of a page, made from facts. There is no command line where it runs: whoever reads them has the page, and
//! the server's operator.

use tidemark_client::RejectProblem;
use tidemark_client::bundle::BundleError;
use tidemark_client::halt::Halt;
use tidemark_client::sync::Stop;
use tidemark_client::sync::join::JoinError;
use tidemark_core::protocol::ProblemCode;

/// What helps when nothing may be sent from the database any more.
const ASK_THE_OPERATOR: &str = "export the database, and ask the server's operator";

/// Why nothing goes on by itself, and what to do.
#[must_use]
pub fn stop(stop: &Stop) -> String {
    match stop {
        Stop::NotJoined { .. } | Stop::NothingUpstream { .. } => {
            format!("{stop}; join one with a code that its operator makes")
        }
        Stop::Halted(found) => halt(found),
        Stop::Problem { code: ProblemCode::UnknownSchema | ProblemCode::IncompatibleSchema, detail } => format!(
            "{detail} — give the server this station's schema (there: `tidemark-server migrate up --schema FILE`). Nothing is lost, the changes stay \
             in the log"
        ),
        Stop::Problem { code: ProblemCode::NotFound | ProblemCode::MethodNotAllowed, detail } => format!(
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
        JoinError::NotNow(why) => format!("{why}. Nothing is lost: call join again with the same code"),
        other => other.to_string(),
    }
}

/// Why no bundle was made, or a receipt not taken.
#[must_use]
pub fn bundle(error: &BundleError) -> String {
    match error {
        BundleError::Forked(found) => halt(found),
        BundleError::TooLarge { seq, why } => {
            format!("change {seq} alone is more than a server takes at once ({why}); make the row smaller")
        }
        other => other.to_string(),
    }
}
