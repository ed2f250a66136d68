//! The sentences of a terminal for what is waited for: each says what has to end, and who can end it.

use tidemark_client::sync::{Trouble, Unwell};
use tidemark_core::protocol::{ProblemCode, UnavailableReason};

/// Why something has to be tried again.
pub(crate) fn trouble(why: &Trouble) -> String {
    match why {
        Trouble::Unwell(unwell) => {
            reason(unwell).map_or_else(|| format!("the server answered: {}", unwell.detail), str::to_owned)
        }
        Trouble::NoAnswer(failure) => super::failure(failure),
        Trouble::NotTaken(_) | Trouble::Foreign(_) | Trouble::NotMoved => why.to_string(),
    }
}

/// The sentence of a reason, without its full stop; `None` where only the server's own words say it.
const fn reason(unwell: &Unwell) -> Option<&'static str> {
    if matches!(unwell.code, ProblemCode::TooManyRequests) {
        return Some("the server is asked too often from this address, by this station or by others there");
    }
    let Some(reason) = unwell.reason else { return None };
    Some(match reason {
        UnavailableReason::ServerBusy => {
            "the server has as much to do as it takes on at once; it says when to come back"
        }
        UnavailableReason::ServerStopping => "the server is being stopped; it goes on once it runs again",
        UnavailableReason::DatabaseAway => {
            "the server's database does not answer; its operator sees why with `tidemark-server test`"
        }
        UnavailableReason::DatabaseStarting => "the server's database is starting or ending; that passes by itself",
        UnavailableReason::DatabaseReadOnly => {
            "the server's database takes no writes: it is read-only, or a standby; its operator has to make it writable"
        }
        UnavailableReason::DatabaseFull => {
            "the server's database has no room left on its disk; its operator has to make room"
        }
        UnavailableReason::DatabaseLocked => {
            "somebody holds a lock in the server's database for long; it goes on when that one is done"
        }
        UnavailableReason::DatabaseBusy => {
            "the server's database has as many connections as it takes; it goes on when one is free"
        }
        UnavailableReason::DatabaseFault => {
            "the server's database has a fault of its own; its operator finds it in the server's log"
        }
        UnavailableReason::DatabaseDiffers => {
            "the server's database is not as its schema wants it; its operator repairs that with `tidemark-server migrate up`"
        }
        UnavailableReason::Other => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: ProblemCode, reason: Option<UnavailableReason>) -> String {
        trouble(&Trouble::Unwell(Unwell { code, reason, detail: "its own words".into() }))
    }

    #[test]
    fn each_reason_has_a_sentence_of_its_own() {
        use UnavailableReason as Reason;
        let of = |reason| said(ProblemCode::Unavailable, Some(reason));
        let mut sentences = [
            (Reason::ServerBusy, "as much to do"),
            (Reason::ServerStopping, "being stopped"),
            (Reason::DatabaseAway, "does not answer"),
            (Reason::DatabaseStarting, "starting"),
            (Reason::DatabaseReadOnly, "read-only"),
            (Reason::DatabaseFull, "no room left"),
            (Reason::DatabaseLocked, "lock"),
            (Reason::DatabaseBusy, "as many connections"),
            (Reason::DatabaseFault, "fault of its own"),
            (Reason::DatabaseDiffers, "`tidemark-server migrate up`"),
        ]
        .map(|(reason, word)| {
            let said = of(reason);
            assert!(said.contains(word) && !said.ends_with('.') && !said.contains("its own words"), "{said}");
            said
        });
        sentences.sort();
        assert!(sentences.windows(2).all(|pair| pair[0] != pair[1]), "{sentences:?}");
        assert!(said(ProblemCode::TooManyRequests, None).contains("asked too often"));
    }

    #[test]
    fn without_a_reason_that_is_known_the_server_speaks() {
        for (code, reason) in [
            (ProblemCode::Unavailable, None),
            (ProblemCode::Unavailable, Some(UnavailableReason::Other)),
            (ProblemCode::Internal, None),
        ] {
            assert_eq!(said(code, reason), "the server answered: its own words");
        }
    }
}
