//! The decision: what a server does with a batch, given the station's cursor. Pure, and the only place that decides.

use crate::chain::Chain;
use crate::planted::{Bug, planted};

/// The place up to which a station's log is durable upstream: its tidemark, with the chain there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Last seq applied; 0 before the first.
    pub seq: u64,
    /// The chain at `seq`.
    pub chain: Chain,
}

/// The part of a log that a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First seq, from 1.
    pub first_seq: u64,
    /// Number of changes, at least 1.
    pub count: u32,
    /// The chain before the first change.
    pub chain_before: Chain,
    /// The chain after the last.
    pub chain_after: Chain,
}

impl Span {
    /// Last seq of the batch.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        self.first_seq + self.count as u64 - 1
    }
}

/// The server's decision on a batch.
///
/// ```
/// use tidemark_core::chain::Chain;
/// use tidemark_core::decision::{Cursor, Decision, Span, decide};
/// let [start, one, two, three] = [[0; 32], [1; 32], [2; 32], [3; 32]].map(Chain);
/// // Changes 1 and 2 are upstream; changes 2 and 3 arrive.
/// let cursor = Cursor { seq: 2, chain: two };
/// let span = Span { first_seq: 2, count: 2, chain_before: one, chain_after: three };
/// assert_eq!(decide(&cursor, &span, |_| two), Decision::Apply { skip: 1 });
/// // Another history of the same numbers.
/// assert_eq!(decide(&cursor, &span, |_| start), Decision::Forked { at: 2 });
/// // Change 3 is missing.
/// let span = Span { first_seq: 4, count: 1, chain_before: three, chain_after: start };
/// assert_eq!(decide(&cursor, &span, |_| start), Decision::Gap { expected: 3 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Apply it, without its first `skip` changes, which are applied already.
    Apply {
        /// The number of changes at its head that are applied already.
        skip: u32,
    },
    /// All of it is applied: acknowledge again with the cursor.
    Duplicate,
    /// Changes before it are missing: the station must go back to `expected`.
    Gap {
        /// The seq that comes next.
        expected: u64,
    },
    /// It continues another history: the station's file was copied, rewound or altered.
    Forked {
        /// The seq at which both histories must agree, and do not.
        at: u64,
    },
}

/// Decides. `chain_at(seq)` is the batch's own chain after change `seq` of it.
///
/// A batch that lies wholly before the cursor is a [`Decision::Duplicate`] although its chain cannot be checked any
/// more (only the chain at the cursor is kept): the acknowledgement carries the cursor with its chain, and the station
/// checks its own log against that before it trims anything.
#[must_use]
pub fn decide(cursor: &Cursor, span: &Span, chain_at: impl FnOnce(u64) -> Chain) -> Decision {
    let expected = cursor.seq + 1;
    if span.first_seq > expected && planted(Bug::GapTaken) {
        return Decision::Apply { skip: 0 };
    }
    if span.first_seq > expected {
        return Decision::Gap { expected };
    }
    let last = span.last_seq();
    if last < cursor.seq {
        return Decision::Duplicate;
    }
    let chain_here = if span.first_seq == expected {
        span.chain_before
    } else if last == cursor.seq {
        span.chain_after
    } else {
        chain_at(cursor.seq)
    };
    if chain_here != cursor.chain && !planted(Bug::ChainNotChecked) {
        Decision::Forked { at: cursor.seq }
    } else if last == cursor.seq {
        Decision::Duplicate
    } else {
        let skip = (expected - span.first_seq) as u32;
        Decision::Apply { skip: if planted(Bug::OverlapOffByOne) && skip > 0 { skip + 1 } else { skip } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(n: u64) -> Chain {
        (0..n).fold(Chain::start([7; 16]), |chain, n| chain.then(&n.to_le_bytes()))
    }

    fn batch(first_seq: u64, last: u64) -> Span {
        Span {
            first_seq,
            count: (last - first_seq + 1) as u32,
            chain_before: chain(first_seq - 1),
            chain_after: chain(last),
        }
    }

    fn decided(cursor_seq: u64, span: Span) -> Decision {
        decide(&Cursor { seq: cursor_seq, chain: chain(cursor_seq) }, &span, chain)
    }

    #[test]
    fn the_next_batch_is_applied_whole() {
        assert_eq!(decided(0, batch(1, 3)), Decision::Apply { skip: 0 });
        assert_eq!(decided(3, batch(4, 4)), Decision::Apply { skip: 0 });
    }

    #[test]
    fn an_overlap_is_skipped() {
        assert_eq!(decided(3, batch(1, 5)), Decision::Apply { skip: 3 });
        assert_eq!(decided(3, batch(3, 4)), Decision::Apply { skip: 1 });
    }

    #[test]
    fn a_replay_is_a_duplicate() {
        assert_eq!(decided(3, batch(1, 3)), Decision::Duplicate);
        assert_eq!(decided(9, batch(1, 3)), Decision::Duplicate);
    }

    #[test]
    fn a_gap_names_the_seq_that_comes_next() {
        assert_eq!(decided(3, batch(5, 6)), Decision::Gap { expected: 4 });
        assert_eq!(decided(0, batch(2, 2)), Decision::Gap { expected: 1 });
    }

    #[test]
    fn another_history_is_forked_wherever_the_chains_meet() {
        let foreign = |span: Span| Span { chain_before: chain(90), chain_after: chain(91), ..span };
        let cursor = Cursor { seq: 3, chain: chain(3) };
        assert_eq!(decide(&cursor, &foreign(batch(4, 6)), chain), Decision::Forked { at: 3 });
        assert_eq!(decide(&cursor, &foreign(batch(1, 3)), chain), Decision::Forked { at: 3 });
        assert_eq!(decide(&cursor, &batch(1, 6), |_| chain(90)), Decision::Forked { at: 3 });
    }

    /// Whatever the overlap, applying what is left of the batch moves the cursor to the batch's end exactly once.
    #[test]
    fn every_overlap_leads_to_the_same_cursor() {
        for cursor in 0..12 {
            for first in 1..12 {
                for last in first..12 {
                    match decided(cursor, batch(first, last)) {
                        Decision::Apply { skip } => {
                            assert_eq!(first + u64::from(skip), cursor + 1);
                            assert!(last > cursor);
                        }
                        Decision::Duplicate => assert!(last <= cursor),
                        Decision::Gap { expected } => assert!(first > expected && expected == cursor + 1),
                        Decision::Forked { .. } => panic!("one history never forks"),
                    }
                }
            }
        }
    }
}
