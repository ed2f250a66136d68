//! The words of this command line: what is said of a stop or an error, made from its facts, and which command helps.

mod file;
mod halt;
mod remedy;
mod untrusted;
mod wait;
mod watch;

use tidemark_client::Status;
use tidemark_client::bundle::BundleError;
use tidemark_client::sync::join::JoinError;
use tidemark_client::sync::rejoin::RejoinError;
use tidemark_client::sync::{Refusal, RefusalKind, Stop, Words};
use tidemark_core::joincode::JoinCodeError;
use tidemark_core::protocol::ProblemCode;

pub(super) use self::halt::halt;
pub(crate) use self::untrusted::failure;
pub(super) use self::wait::trouble;
pub(super) use self::watch::unwatched;
use crate::error::StationError;
use crate::import::ImportError;

/// The words that the engine keeps in the file.
pub(crate) const KEPT: Words = Words { stop: kept, trouble };

/// The reason why nothing goes on by itself, and what to do.
pub(super) fn stop(stop: &Stop) -> String {
    remedy::with(&kept(stop), stop.remedy())
}

/// The failure that the file keeps, and what to do.
pub(super) fn last_error(status: &Status) -> Option<String> {
    status.last_error.as_deref().map(|kept| remedy::with(kept, status.last_remedy.as_ref()))
}

/// The words of a stop for the file, which keeps the remedy that the server names beside them, as a fact.
fn kept(stop: &Stop) -> String {
    match stop {
        Stop::NotJoined { .. } => {
            format!("{stop}; run `tidemark join CODE` (the server's operator makes the code)")
        }
        Stop::NothingUpstream { .. } => format!("{stop}; run `tidemark join CODE` first"),
        Stop::Halted(found) => halt(found),
        Stop::Problem { code: ProblemCode::UnknownSchema | ProblemCode::IncompatibleSchema, detail, .. } => format!(
            "{detail} — give the server this station's schema (`tidemark info --schema` prints it; then `tidemark-server migrate up --schema \
             FILE`). Nothing is lost, the changes stay in the log"
        ),
        Stop::Problem { code: ProblemCode::NotFound | ProblemCode::MethodNotAllowed, detail, .. } => format!(
            "{detail} — check the server's URL (`tidemark server` shows and changes it); the server may be older than this program"
        ),
        Stop::TooLarge { seq, excess } => format!(
            "change {seq} alone is more than the server takes at once ({excess}); ask its operator to raise the limit, or make the row smaller \
             (`tidemark log` shows it). Nothing is lost, the changes stay in the log"
        ),
        Stop::NoServer(_) => format!("{stop} `tidemark server` shows and changes it"),
        Stop::Url { .. }
        | Stop::Problem { .. }
        | Stop::BadRequest { .. }
        | Stop::OtherNumber(_)
        | Stop::BadFrames { .. } => stop.to_string(),
    }
}

/// An error, and what to do.
pub(super) fn error(error: &StationError) -> String {
    let words = match error {
        StationError::Store(error)
        | StationError::Bundle(BundleError::Store(error))
        | StationError::Join(JoinError::Store(error))
        | StationError::Rejoin(RejoinError::Join(JoinError::Store(error))) => Some(file::words(error)),
        StationError::Bundle(error) => Some(bundle(error)),
        StationError::Join(error) | StationError::Rejoin(RejoinError::Join(error)) => join(error),
        StationError::Rejoin(error) => Some(rejoin(error)),
        StationError::Unreachable(_) | StationError::Entropy(_) => None,
    };
    words.unwrap_or_else(|| error.to_string())
}

/// Why a CSV file was not imported, and what to do.
pub(super) fn import(error: &ImportError) -> String {
    match error {
        ImportError::Store(error) => file::words(error),
        other => other.to_string(),
    }
}

/// Why no bundle was written, or a receipt not taken, and what to do.
fn bundle(error: &BundleError) -> String {
    match error {
        BundleError::Forked(found) => halt(found),
        BundleError::TooLarge { .. } => format!("{error}; make the row smaller (`tidemark log` shows it)"),
        BundleError::Gap { .. } => {
            format!("{error}; import the receipt of the bundle before first, or run `tidemark push`")
        }
        BundleError::Store(_) | BundleError::Write(_) | BundleError::Receipt(_) | BundleError::Foreign { .. } => {
            error.to_string()
        }
    }
}

/// Why a file could not rejoin, and what to do.
fn rejoin(error: &RejoinError) -> String {
    const INTO_A_NEW_FILE: &str =
        "ake a new file (`tidemark init`), join it, and insert there what is missing upstream";
    match error {
        RejoinError::NotJoined(_) => format!("{error}; run `tidemark join CODE`"),
        RejoinError::NotForked { file, common, number } => format!(
            "{file}: not forked: the server has the same history up to change {common}, so `tidemark push` goes on as station {number}. If \
             this file is a copy of one that keeps that number: first push from the other one, so that nothing that waits in both is sent \
             twice, then run `tidemark rejoin --force CODE` here"
        ),
        RejoinError::Unknown { .. } | RejoinError::Tampered { .. } => {
            format!("{error}. Put the file back to a copy that fits, or m{INTO_A_NEW_FILE}")
        }
        RejoinError::FormerRows => format!("{error}. M{INTO_A_NEW_FILE}"),
        RejoinError::Known { .. } => format!("{error}. Run `tidemark rejoin` without --anew"),
        RejoinError::InDoubt { .. } => {
            format!("{error}. Push from the copy that keeps the number, then run the same command again")
        }
        RejoinError::Join(_) | RejoinError::CodeOfJoin => error.to_string(),
    }
}

/// How the operator makes a code.
const MADE_BY: &str = "`tidemark-server station add NAME`";

/// What is wrong with a code, or why a server does not let the file in; `None` when the error is about something else.
fn join(error: &JoinError) -> Option<String> {
    match error {
        JoinError::Code(JoinCodeError::Form) => Some(format!(
            "not a join code: one begins with `tide1-` or `tide2-`; copy the last line that {MADE_BY} printed"
        )),
        JoinError::Code(JoinCodeError::Damaged) => Some(format!(
            "the join code is damaged: it is not whole, or a character of it was changed; copy it again, from the first character to the \
             last, from the last line that {MADE_BY} printed"
        )),
        JoinError::Refused(refusal) => Some(of_refusal(refusal)),
        JoinError::Already { remedy, .. } => Some(remedy::with(&error.to_string(), remedy.as_deref())),
        _ => None,
    }
}

fn of_refusal(refusal: &Refusal) -> String {
    match refusal.kind {
        RefusalKind::CodeUnknown => format!(
            "this server did not make this join code: was it made for another server, or before its database was put back? Ask its operator \
             for a new one ({MADE_BY})"
        ),
        RefusalKind::CodeUsed => format!(
            "another station used this join code, and a code is good for one; ask the server's operator for one of your own ({MADE_BY})"
        ),
        RefusalKind::CodeExpired => {
            format!("the join code's time is over; ask the server's operator for a new one ({MADE_BY})")
        }
        RefusalKind::JoinedBefore => {
            format!("{}; run `tidemark join` with that first code once more, its answer was lost", kept(&refusal.stop))
        }
        RefusalKind::OtherFile
        | RefusalKind::Revoked
        | RefusalKind::Schema
        | RefusalKind::NumbersExhausted
        | RefusalKind::Other => stop(&refusal.stop),
    }
}

#[cfg(test)]
mod tests {
    use tidemark_client::halt::{Fork, Found, Halt};
    use tidemark_client::sync::join::NotNow;
    use tidemark_client::sync::{Excess, Foreign};
    use tidemark_client::{Error, RejectProblem};

    use super::*;

    fn said(error: JoinError) -> String {
        join(&error).expect("it is about a code")
    }

    #[test]
    fn a_word_that_is_none_and_a_damaged_code_are_told_apart() {
        let (none, damaged) = (said(JoinCodeError::Form.into()), said(JoinCodeError::Damaged.into()));
        assert!(none.starts_with("not a join code") && damaged.contains("damaged"), "{none} / {damaged}");
        for words in [none, damaged] {
            assert_eq!(words.matches(MADE_BY).count(), 1, "{words}");
        }
    }

    #[test]
    fn what_is_not_about_a_code_keeps_its_own_words() {
        assert_eq!(error(&StationError::Unreachable("away".into())), "away");
        assert_eq!(join(&JoinError::NotNow(NotNow::Overtaken)), None);
    }

    #[test]
    fn stops_name_the_command_that_helps() {
        let file = || "field.db".to_owned();
        let problem = |code| Stop::Problem { code, detail: "because".into(), remedy: None };
        let forked = Fork { name: "sea".into(), found: Found::Beyond { server: 2, last: 1 } };
        for (found, said) in [
            (
                Stop::NotJoined { file: file() },
                "field.db: this station has not joined a server; run `tidemark join CODE` (the server's operator makes the code)",
            ),
            (
                Stop::NothingUpstream { file: file() },
                "field.db: this station has not joined a server, so nothing of it is durable upstream and nothing can be pruned; run `tidemark \
                 join CODE` first",
            ),
            (
                Stop::Halted(Halt::Forked(forked)),
                "forked: the server has 2 changes of this station, this file only 1: the file was put back to an older copy. Nothing was sent or \
                 trimmed, all rows and changes are still here. What to do: put the file or the server's database back to the state that fits, then \
                 run `tidemark push`, which asks the server again. Or let this file go on under a new number: ask the server's operator for a code, \
                 made with `tidemark-server station add NAME --replaces \"sea\"` if this is the only copy in use, or with `tidemark-server station \
                 add NAME` if another copy goes on as \"sea\", and run `tidemark rejoin CODE`",
            ),
            (
                Stop::Halted(Halt::Tampered { file: file(), detail: "torn".into() }),
                "field.db: the change log was tampered with: torn. Nothing is sent from this file any more, since changes would be missing upstream; \
                 put the file back to a copy that fits, or let it go on from its rows as they are: ask the server's operator for a code made with \
                 `tidemark-server station add NAME --replaces OLD` and run `tidemark rejoin CODE`",
            ),
            (
                problem(ProblemCode::IncompatibleSchema),
                "because — give the server this station's schema (`tidemark info --schema` prints it; then `tidemark-server migrate up --schema \
                 FILE`). Nothing is lost, the changes stay in the log",
            ),
            (
                problem(ProblemCode::NotFound),
                "because — check the server's URL (`tidemark server` shows and changes it); the server may be older than this program",
            ),
            (problem(ProblemCode::Revoked), "because — nothing is lost, the changes stay in the log"),
            (
                Stop::TooLarge { seq: 4, excess: Excess::Limit { what: "bytes", have: 2, max: 1 } },
                "change 4 alone is more than the server takes at once (it has bytes 2, the server takes 1); ask its operator to raise the limit, or \
                 make the row smaller (`tidemark log` shows it). Nothing is lost, the changes stay in the log",
            ),
            (
                Stop::NoServer(Foreign::Status(302)),
                "HTTP status 302 without a word of a Tidemark server: is the server's URL right? `tidemark server` shows and changes it",
            ),
        ] {
            assert_eq!(stop(&found), said);
        }
    }

    #[test]
    fn the_remedy_of_a_stop_is_said_and_not_among_the_words_that_are_kept() {
        let remedy = Some(Box::new(tidemark_core::protocol::Remedy::TakeToken));
        let found = Stop::Problem { code: ProblemCode::Revoked, detail: "because".into(), remedy };
        let words = "because — nothing is lost, the changes stay in the log";
        assert_eq!(kept(&found), words);
        assert_eq!(stop(&found), format!("{words}. Take the new token with `tidemark join CODE`"));
    }

    #[test]
    fn what_is_said_of_a_log_that_is_not_whole_is_the_same_as_stop_and_as_error() {
        let (file, detail) = ("field.db".to_owned(), "torn".to_owned());
        let tampered = Halt::Tampered { file: file.clone(), detail: detail.clone() };
        assert_eq!(halt(&tampered), file::words(&Error::LogTampered { file: file.clone(), detail }));
        assert_eq!(stop(&Stop::NotJoined { file: file.clone() }), file::words(&Error::NotJoined { file }));
    }

    #[test]
    fn what_an_older_program_kept_of_a_fork_is_said_as_it_said_it() {
        let older =
            halt(&Halt::Forked(Fork { name: "sea".into(), found: Found::Behind { server: 1, acknowledged: 2 } }));
        assert_eq!(halt(&Halt::read(&older)), older);
    }

    #[test]
    fn what_cannot_be_done_with_a_reject_names_the_command_that_helps() {
        let reject = |problem| error(&StationError::Store(Error::Reject(problem)));
        assert_eq!(
            reject(RejectProblem::Unknown { seq: 3 }),
            "change 3 was not rejected; `tidemark rejects` shows those that were"
        );
        assert_eq!(
            reject(RejectProblem::RowGone { seq: 3, table: "site".into() }),
            "the row of change 3 is not in site any more: there is nothing to repair. `tidemark rejects show 3` shows what it was, `tidemark \
             rejects discard 3` gives it up"
        );
        assert_eq!(
            reject(RejectProblem::NoTable { seq: 3, schema: "weather".into() }),
            "change 3 is of a table that the schema weather does not have: it cannot be sent again, `tidemark rejects discard 3` gives it up"
        );
    }
}
