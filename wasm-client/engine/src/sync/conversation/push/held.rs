//! Acknowledgements that wait, so that the log is trimmed of many batches at once.
//!
//! SQLite empties a table by giving its pages back, which costs a fraction of deleting the same rows: each row deleted
//! moves others, and every page it touches is written. So while batches follow each other, what they brought upstream
//! stays in the log until it is all that the log holds. Where the log does not come to an end, the oldest batches are
//! acknowledged one by one, as each of them would have been.
//!
//! What waits is what a process that is killed sends once more: it is bounded by time and number, and nothing waits
//! that has rejects to keep.

use std::collections::VecDeque;

use tidemark_core::decision::Cursor;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::Rejection;

use super::pending::{AT_ONCE, AtOnce};
use crate::ack::{Ack, Acked, acknowledge};
use crate::error::Result;
use crate::store::Store;

/// An acknowledgement waits no longer than this for others, in milliseconds.
const WAITS_MS: i64 = 5_000;
/// Most changes that wait: emptying the log of them keeps it locked for less than a tenth of a second.
const CHANGES_MAX: u64 = 1_000_000;

/// Acknowledgements that wait, in the order of the log: each follows the one before it.
#[derive(Debug, Default)]
pub(super) struct Held {
    acks: VecDeque<Kept>,
}

/// An [`Ack`] that waits.
#[derive(Debug)]
struct Kept {
    _at_once: AtOnce,
    base: Cursor,
    upto: Cursor,
    largest_ids: Vec<(String, i64)>,
    rejected_here: Vec<(u64, Rejection)>,
    rejected_by_server: Vec<RejectedChange>,
    limits: FrameLimits,
    now_ms: i64,
}

impl Kept {
    fn of(ack: &Ack<'_>, at_once: AtOnce) -> Self {
        Self {
            _at_once: at_once,
            base: ack.base,
            upto: ack.upto,
            largest_ids: ack.largest_ids.to_vec(),
            rejected_here: ack.rejected_here.to_vec(),
            rejected_by_server: ack.rejected_by_server.to_vec(),
            limits: ack.limits,
            now_ms: ack.now_ms,
        }
    }

    fn ack(&self) -> Ack<'_> {
        Ack {
            base: self.base,
            upto: self.upto,
            largest_ids: &self.largest_ids,
            rejected_here: &self.rejected_here,
            rejected_by_server: &self.rejected_by_server,
            limits: self.limits,
            now_ms: self.now_ms,
        }
    }

    fn has_rejects(&self) -> bool {
        !self.rejected_here.is_empty() || !self.rejected_by_server.is_empty()
    }
}

impl Held {
    /// Nothing waits.
    pub(super) const fn new() -> Self {
        Self { acks: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.acks.is_empty()
    }

    /// Where the changes that are upstream end, in a file that says `tidemark`.
    pub(super) fn upstream(&self, tidemark: Cursor) -> Cursor {
        match (self.acks.front(), self.acks.back()) {
            (Some(first), Some(last)) if first.base == tidemark => last.upto,
            _ => tidemark,
        }
    }

    /// Leaves an acknowledgement for later, in a build that can, if it follows what waits.
    pub(super) fn take(&mut self, ack: &Ack<'_>) -> bool {
        let follows = self.acks.back().is_none_or(|last| last.upto == ack.base);
        let Some(at_once) = AT_ONCE.filter(|_| follows) else { return false };
        self.acks.push_back(Kept::of(ack, at_once));
        true
    }

    /// Acknowledges what has waited long enough.
    pub(super) fn settle_due(&mut self, store: &mut Store, now_ms: i64) -> Result<()> {
        while let (Some(first), Some(last)) = (self.acks.front(), self.acks.back()) {
            // A clock that was set back ends the wait.
            let waits = (first.now_ms..first.now_ms.saturating_add(WAITS_MS)).contains(&now_ms);
            let few = last.upto.seq - first.base.seq <= CHANGES_MAX;
            if waits && few && !self.acks.iter().any(Kept::has_rejects) {
                break;
            }
            acknowledge(store, &first.ack())?;
            self.acks.pop_front();
        }
        Ok(())
    }

    /// Acknowledges all that waits. Where another process was faster, that is as good.
    pub(super) fn settle(&mut self, store: &mut Store) -> Result<()> {
        let Some(last) = self.acks.pop_back() else { return Ok(()) };
        let done = self.settle_with(store, &last.ack());
        if done.is_err() {
            self.acks.push_back(last);
        }
        done.map(drop)
    }

    /// Acknowledges all that waits, and `last` behind it: in one transaction if that is all that the log holds.
    pub(super) fn settle_with(&mut self, store: &mut Store, last: &Ack<'_>) -> Result<Acked> {
        let follows = self.acks.back().is_some_and(|before| before.upto == last.base);
        if let Some(first) = self.acks.front().filter(|_| follows)
            && store.last_seq()? == last.upto.seq
        {
            let all = || self.acks.iter().map(Kept::ack).chain([*last]);
            let whole = Ack {
                base: first.base,
                largest_ids: &all().flat_map(|ack| ack.largest_ids).cloned().collect::<Vec<_>>(),
                rejected_here: &all().flat_map(|ack| ack.rejected_here).cloned().collect::<Vec<_>>(),
                rejected_by_server: &all().flat_map(|ack| ack.rejected_by_server).cloned().collect::<Vec<_>>(),
                ..*last
            };
            let acked = acknowledge(store, &whole)?;
            self.acks.clear();
            return Ok(if acked == Acked::Stale { acked } else { last.moves() });
        }
        while let Some(first) = self.acks.front() {
            acknowledge(store, &first.ack())?;
            self.acks.pop_front();
        }
        acknowledge(store, last)
    }
}

#[cfg(test)]
mod tests {
    use tidemark_core::chain::Chain;
    use tidemark_core::schema::Schema;

    use super::*;

    #[test]
    fn no_more_than_a_million_changes_wait() {
        let folder = tempfile::tempdir().unwrap();
        let schema = Schema::parse("name = 'w'\nversion = 1\n[tables.t.columns]\nid = { type = 'integer' }").unwrap();
        let mut store = Store::init(folder.path().join("field.db"), &schema, [7; 16]).unwrap();
        let mut held = Held::new();
        let mut base = store.meta().unwrap().tidemark;
        for (seq, acknowledged) in [(600_000, 0), (1_000_000, 0), (1_000_001, 600_000)] {
            let upto = Cursor { seq, chain: Chain([1; 32]) };
            let (largest_ids, rejected_here, rejected_by_server) = (&[], &[], &[]);
            let limits = FrameLimits::DEFAULT;
            assert!(held.take(&Ack { base, upto, largest_ids, rejected_here, rejected_by_server, limits, now_ms: 0 }));
            held.settle_due(&mut store, 0).unwrap();
            let tidemark = store.meta().unwrap().tidemark;
            assert_eq!((tidemark.seq, held.upstream(tidemark)), (acknowledged, upto));
            base = upto;
        }
    }
}
