//! Failures that repeat themselves: what is remembered of them, and what is tried next.
//!
//! ```text
//! a batch fails with a cause ─▶ Later: the client is asked to come again        (once for each cause)
//!        the same cause again ─▶ Smaller: now, and in pieces, each a transaction
//!      a piece of several fails ─▶ Smaller: an eighth of it
//!     a piece of one change fails ─▶ Smaller once more, or Later when load may be the cause
//!            the same cause again ─▶ Refuse
//!             a piece goes through ─▶ the next one is twice as large
//! ```
//!
//! A failure has a cause only when the database is there ([`StoreError::cause`]): one that is away is waited for as
//! long as it takes.
//!
//! The memory is this process's, and holds one entry for each station whose batches fail, until one goes through whole.
//! Servers that stand before one database learn each for themselves: with `n` of them a station that meets them in turn
//! is asked to come again up to `n` times as often, and no more.
//!
//! [`StoreError::cause`]: crate::upstream::StoreError::cause

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidemark_core::ids::StationNumber;
use tidemark_core::planted::{Bug, planted};

use crate::upstream::error::Cause;

/// A piece that fails is followed by one of this part of its changes: few tries, because each may take as long as a
/// statement may.
const SHRINK: u32 = 8;
/// A piece that goes through is followed by one of so many times its changes.
const GROW: u32 = 2;

/// The next thing to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The client is asked to come again.
    Later,
    /// It is tried at once, as [`Patience::rows`] says.
    Smaller,
    /// The one change that was tried is kept as rejected, and the rest goes on.
    Refuse,
}

/// The changes that were tried when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// The first seq of the batch as the client sends it.
    pub batch: u64,
    /// The first seq that was tried.
    pub first_seq: u64,
    /// How many changes were tried, or at most that many when [`Patience::rows`] said nothing.
    pub rows: u32,
    /// Whether the database has taken other changes of the same request just before: then its load is not at fault.
    pub after_success: bool,
}

#[derive(Debug, Default)]
struct Trouble {
    /// The batch it is about.
    batch: u64,
    /// The causes of its failures so far.
    seen: Vec<Cause>,
    /// Most changes of the next piece; `None`: as many as there are.
    rows: Option<u32>,
    /// A change that failed alone, with the causes.
    alone: (u64, Vec<Cause>),
}

/// A memory of every station whose batches fail.
#[derive(Debug, Default)]
pub struct Patience(Mutex<HashMap<StationNumber, Trouble>>);

impl Patience {
    fn troubles(&self) -> MutexGuard<'_, HashMap<StationNumber, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Most changes to try at once; `None`: all.
    #[must_use]
    pub fn rows(&self, station: StationNumber) -> Option<u32> {
        self.troubles().get(&station)?.rows
    }

    /// Whether a batch of the station has failed and none went through whole since.
    #[must_use]
    pub fn is_tried(&self, station: StationNumber) -> bool {
        self.troubles().contains_key(&station)
    }

    /// The next thing to do after a failure.
    pub fn failed(&self, station: StationNumber, tried: Tried, cause: Cause) -> Next {
        if planted(Bug::NeverInPieces) {
            return Next::Later;
        }
        let mut troubles = self.troubles();
        let trouble = troubles.entry(station).or_default();
        if trouble.batch != tried.batch {
            trouble.batch = tried.batch;
            trouble.seen.clear();
        }
        let smaller = (tried.rows / SHRINK).max(1);
        if trouble.rows.is_none() {
            if !trouble.seen.contains(&cause) {
                trouble.seen.push(cause);
                return Next::Later;
            }
            trouble.rows = Some(smaller);
            return Next::Smaller;
        }
        if tried.rows > 1 && !planted(Bug::PieceRejected) {
            trouble.rows = Some(smaller);
            return Next::Smaller;
        }
        if trouble.alone.0 != tried.first_seq {
            trouble.alone = (tried.first_seq, Vec::new());
        }
        if trouble.alone.1.contains(&cause) {
            return Next::Refuse;
        }
        trouble.alone.1.push(cause);
        // Time has to pass before the same change is tried again, or the load that was at fault would still be there.
        if cause.depends_on_load() && !tried.after_success { Next::Later } else { Next::Smaller }
    }

    /// `rows` changes went through; `whole`: with them the client's whole batch, in one transaction.
    pub fn went_through(&self, station: StationNumber, rows: u32, whole: bool) {
        let mut troubles = self.troubles();
        let Some(trouble) = troubles.get_mut(&station) else { return };
        if whole {
            troubles.remove(&station);
        } else if let Some(most) = &mut trouble.rows {
            // A piece that the batch's end or its chunks made shorter says nothing of larger ones.
            *most = (*most).max(rows.saturating_mul(GROW));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Cause = Cause::SqlState(*b"53400");
    const MEMORY: Cause = Cause::SqlState(*b"53200");
    const TRIGGER: Cause = Cause::SqlState(*b"42703");

    fn station() -> StationNumber {
        StationNumber::new(7).unwrap()
    }

    fn tried(first_seq: u64, rows: u32) -> Tried {
        Tried { batch: 1, first_seq, rows, after_success: false }
    }

    #[test]
    fn the_same_cause_twice_leads_to_pieces_and_down_to_one_change() {
        let patience = Patience::default();
        let fail = |first_seq, rows| patience.failed(station(), tried(first_seq, rows), LIMIT);
        assert_eq!(fail(1, 100), Next::Later);
        for rows in [100, 12, 1] {
            assert_eq!(fail(1, rows), Next::Smaller, "{rows}");
        }
        assert_eq!(fail(1, 1), Next::Refuse);
        assert_eq!(patience.rows(station()), Some(1));
        // Another change has its own two tries.
        assert_eq!(patience.failed(station(), tried(2, 1), LIMIT), Next::Smaller);
        assert_eq!(patience.failed(station(), tried(2, 1), LIMIT), Next::Refuse);
    }

    #[test]
    fn what_load_may_have_caused_is_not_held_against_a_change_at_once() {
        let patience = Patience::default();
        let fail = |rows| patience.failed(station(), tried(1, rows), MEMORY);
        assert_eq!([fail(8), fail(8), fail(1), fail(1)], [Next::Later, Next::Smaller, Next::Later, Next::Refuse]);
        let busy = Tried { after_success: true, ..tried(2, 1) };
        let fail = || patience.failed(station(), busy, MEMORY);
        assert_eq!([fail(), fail()], [Next::Smaller, Next::Refuse], "the database has just taken others");
    }

    #[test]
    fn causes_in_turn_come_to_an_end_too() {
        let patience = Patience::default();
        let mut tries = 0;
        while patience.failed(station(), tried(1, 1), [LIMIT, TRIGGER, MEMORY][tries % 3]) != Next::Refuse {
            tries += 1;
            assert!(tries < 12);
        }
    }

    #[test]
    fn pieces_grow_again_until_a_batch_goes_through_whole() {
        let patience = Patience::default();
        let fail = || patience.failed(station(), tried(1, 64), TRIGGER);
        assert_eq!([fail(), fail()], [Next::Later, Next::Smaller]);
        patience.went_through(station(), 8, false);
        assert_eq!(patience.rows(station()), Some(16));
        patience.went_through(station(), 3, false);
        assert_eq!(patience.rows(station()), Some(16), "the last piece of a batch is as long as it is");
        patience.went_through(station(), 16, true);
        assert_eq!((patience.rows(station()), patience.is_tried(station())), (None, false));
        assert_eq!(fail(), Next::Later);
    }
}
