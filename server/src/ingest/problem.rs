//! The failure of a store, as a client hears it.

use tidemark_core::protocol::{Problem, ProblemCode};

use crate::panics::fault;
use crate::upstream::error::StoreError;

/// The problem of a client whose request a store failed. Words that only the operator may know go to the log.
#[must_use]
pub fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) | StoreError::Conflict(_) => {
            tracing::warn!(%error, "the upstream database could not take a request");
            Problem::new(ProblemCode::Unavailable, "the server's database cannot take it now; try again later")
        }
        StoreError::Refused { .. } => {
            tracing::error!(%error, "the upstream database would not do what a request needs");
            Problem::new(ProblemCode::Unavailable, "the server's database would not do it now; try again later")
        }
        StoreError::Fault(_) | StoreError::Violation(_) => {
            tracing::error!(%error, "a request failed");
            fault()
        }
    }
}
