//! What became of the last real writes: a try that is undone does not meet all that a write may meet.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::error::{StoreError, Unavailability};

/// How long a failed write speaks against the next one, when none has succeeded since.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The failure of the last write, if it failed by what others would meet, too.
#[derive(Debug, Default)]
pub(super) struct LastWrite(Mutex<Option<(Instant, StoreError)>>);

impl LastWrite {
    fn held(&self) -> MutexGuard<'_, Option<(Instant, StoreError)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write ended so.
    pub(super) fn note(&self, done: &Result<(), StoreError>) {
        match done {
            Ok(()) => *self.held() = None,
            // A lock is on one table, and so is a difference that no comparison finds.
            Err(error) => match error.unavailability() {
                None | Some(Unavailability::Locked | Unavailability::Differs) => {}
                Some(_) => *self.held() = Some((Instant::now(), error.clone())),
            },
        }
    }

    /// The failure that is remembered.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.held().as_ref().filter(|(at, _)| at.elapsed() < REMEMBERED).map(|(_, error)| error.clone())
    }

    /// What is still to be said after a try that began at `began` and succeeded: where it met all that a write meets,
    /// nothing.
    ///
    /// # Errors
    /// The failure that is remembered.
    pub(super) fn after_a_try(&self, began: Instant) -> Result<(), StoreError> {
        let mut held = self.held();
        match held.take_if(|(at, error)| {
            let room = matches!(
                error.unavailability(),
                Some(Unavailability::Full | Unavailability::Busy | Unavailability::Damaged)
            );
            at.elapsed() >= REMEMBERED || (*at < began && !room)
        }) {
            Some(_) => Ok(()),
            None => held.as_ref().map_or(Ok(()), |(_, error)| Err(error.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_speaks_until_a_write_or_a_try_that_would_have_met_it_succeeds() {
        let last = LastWrite::default();
        let fail = |why| last.note(&Err(StoreError::unavailable(why, "")));
        for why in [Unavailability::Locked, Unavailability::Differs] {
            fail(why);
            assert_eq!(last.failure(), None, "{why:?} is about one table");
        }
        last.note(&Err(StoreError::Violation(String::new())));
        assert_eq!(last.failure(), None);
        // Read-only: a try that began before it says nothing, one that began behind it does.
        let before = Instant::now();
        fail(Unavailability::ReadOnly);
        assert!(last.after_a_try(before).is_err() && last.failure().is_some());
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!((last.after_a_try(Instant::now()), last.failure()), (Ok(()), None));
        // Full: a small write may still find room.
        fail(Unavailability::Full);
        std::thread::sleep(Duration::from_millis(2));
        assert!(last.after_a_try(Instant::now()).is_err());
        last.note(&Ok(()));
        assert_eq!(last.after_a_try(Instant::now()), Ok(()));
    }
}
