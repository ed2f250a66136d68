//! What `join` and `rejoin` say of a code: one sentence for each thing that can be wrong with it, made from facts.

use tidemark_client::sync::join::JoinError;
use tidemark_client::sync::rejoin::RejoinError;
use tidemark_client::sync::{Refusal, RefusalKind};
use tidemark_core::joincode::JoinCodeError;

use super::remedy;
use crate::station::StationError;

/// How the operator makes a code.
const MADE_BY: &str = "`tidemark-server station add NAME`";

/// What is wrong with a code, and what to do; `None` when the error is about something else.
pub(super) fn words(error: &StationError) -> Option<String> {
    let (StationError::Join(error) | StationError::Rejoin(RejoinError::Join(error))) = error else { return None };
    match error {
        JoinError::Code(JoinCodeError::Form) => {
            Some(format!("not a join code: one begins with `tide1-`; copy the last line that {MADE_BY} printed"))
        }
        JoinError::Code(JoinCodeError::Damaged) => Some(format!(
            "the join code is damaged: it is not whole, or a character of it was changed; copy it again, from the first character to the \
             last, from the last line that {MADE_BY} printed"
        )),
        JoinError::Refused(refusal) => of_refusal(refusal),
        JoinError::Already { remedy: Some(remedy), .. } => Some(remedy::with(&error.to_string(), Some(remedy))),
        _ => None,
    }
}

fn of_refusal(refusal: &Refusal) -> Option<String> {
    match refusal.kind {
        RefusalKind::CodeUnknown => Some(format!(
            "this server did not make this join code: was it made for another server, or before its database was put back? Ask its operator \
             for a new one ({MADE_BY})"
        )),
        RefusalKind::CodeUsed => Some(format!(
            "another station used this join code, and a code is good for one; ask the server's operator for one of your own ({MADE_BY})"
        )),
        RefusalKind::CodeExpired => {
            Some(format!("the join code's time is over; ask the server's operator for a new one ({MADE_BY})"))
        }
        RefusalKind::JoinedBefore => Some(format!(
            "{}; run `tidemark join` with that first code once more, its answer was lost",
            refusal.stop.message
        )),
        RefusalKind::OtherFile
        | RefusalKind::Revoked
        | RefusalKind::Schema
        | RefusalKind::NumbersExhausted
        | RefusalKind::Other => refusal.stop.remedy.is_some().then(|| remedy::of_stop(&refusal.stop)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: JoinError) -> String {
        words(&StationError::Join(error)).expect("it is about a code")
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
        assert_eq!(words(&StationError::Unreachable("away".into())), None);
        assert_eq!(words(&StationError::Join(JoinError::NotNow("busy".into()))), None);
    }
}
