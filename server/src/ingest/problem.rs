//! The failure of a store, as a client hears it: one sentence for each reason, for whoever uses a station.

use tidemark_core::protocol::{Problem, UnavailableReason};

use crate::panics::fault;
use crate::upstream::error::{StoreError, Unavailability};

/// The problem of a client whose request a store failed. Words that only the operator may know are for the log.
#[must_use]
pub fn store_problem(error: StoreError) -> Problem {
    let why = match &error {
        StoreError::Unavailable { why, .. } => *why,
        // Met others again and again.
        StoreError::Conflict(_) => Unavailability::Locked,
        StoreError::Refused { cause, .. } => cause.unavailability(),
        StoreError::Fault(_) | StoreError::Violation(_) => return fault().because(error.to_string()),
    };
    let (reason, says) = words(why);
    let detail = format!("the server's database {says}; rows stay with the station, which sends them again by itself");
    Problem::unavailable(reason, detail).because(error.to_string())
}

/// The reason as it travels, and what the database does or lacks.
const fn words(why: Unavailability) -> (UnavailableReason, &'static str) {
    match why {
        Unavailability::Away => (UnavailableReason::DatabaseAway, "does not answer, or lets nobody in"),
        Unavailability::Starting => (UnavailableReason::DatabaseStarting, "is starting or ending"),
        Unavailability::ReadOnly => {
            (UnavailableReason::DatabaseReadOnly, "takes no writes now: it is read-only, or a standby of another")
        }
        Unavailability::Full => (UnavailableReason::DatabaseFull, "has no room left on its disk"),
        Unavailability::Locked => {
            (UnavailableReason::DatabaseLocked, "waits for somebody else who holds a lock on what is needed")
        }
        Unavailability::Busy => (UnavailableReason::DatabaseBusy, "has as much to do as it takes on at once"),
        Unavailability::Damaged => (UnavailableReason::DatabaseFault, "has a fault that its operator must see to"),
        Unavailability::Differs => (UnavailableReason::DatabaseDiffers, DIFFERS),
    }
}

const DIFFERS: &str = "is not as its schema wants it, which its operator must see to";

/// The problem of a client whose server's database has not what the schema wants.
#[must_use]
pub fn differs(differences: &[String]) -> Problem {
    let message = differences.join("; ");
    store_problem(StoreError::unavailable(Unavailability::Differs, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Cause;

    #[test]
    fn each_reason_has_a_sentence_of_its_own_and_the_operators_words_do_not_travel() {
        use Unavailability::{Away, Busy, Damaged, Differs, Full, Locked, ReadOnly, Starting};
        let mut said = std::collections::HashSet::new();
        for why in [Away, Starting, ReadOnly, Full, Locked, Busy, Damaged, Differs] {
            let problem = store_problem(StoreError::unavailable(why, "role 'tide' on 10.0.0.7"));
            let json = serde_json::to_string(&problem).unwrap();
            assert!(!json.contains("tide'") && problem.for_log.unwrap().contains("10.0.0.7"), "{json}");
            assert!(said.insert((problem.reason, problem.detail.clone())), "{}", problem.detail);
        }
        let reasons: std::collections::HashSet<_> = said.iter().map(|(reason, _)| reason).collect();
        assert_eq!(reasons.len(), 8);
        let refused = StoreError::Refused { cause: Cause::sql_state("42P01"), message: String::new() };
        assert_eq!(store_problem(refused).reason, Some(UnavailableReason::DatabaseDiffers));
        assert_eq!(store_problem(StoreError::Fault("secret".into())).reason, None);
    }
}
