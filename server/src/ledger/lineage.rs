//! Lineage: the numbers that one file has had, and where its history parted from theirs.
//!
//! A file that is copied, or put back to an older copy, and written to since, continues another history than its number
//! has here: it is forked. [`crate::rejoin`] tells how it goes on.

use async_trait::async_trait;
use tidemark_core::chain::Chain;
use tidemark_core::ids::{LOCAL_ID_MAX, StationNumber};

use crate::upstream::error::StoreError;

/// A number that a station's file had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// The number.
    pub number: StationNumber,
    /// Whether the station replaced it, and owns its rows.
    pub owned: bool,
}

/// A station with the numbers its file had before: they say whose rows it may write and reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// Its number.
    pub station: StationNumber,
    /// The numbers its file had before, the last first.
    pub former: Vec<Former>,
    /// The station was revoked: nothing of it is applied any more.
    pub revoked: bool,
}

impl Lineage {
    /// The lineage of a file that has only ever been `station`.
    #[must_use]
    pub const fn new(station: StationNumber) -> Self {
        Self { station, former: Vec::new(), revoked: false }
    }

    /// The numbers whose rows it owns: its own first, then those it replaced.
    pub fn owned(&self) -> impl Iterator<Item = u32> + '_ {
        let replaced = self.former.iter().filter(|former| former.owned).map(|former| former.number);
        std::iter::once(self.station).chain(replaced).map(StationNumber::get)
    }

    /// Whether it owns rows that `number` wrote.
    #[must_use]
    pub fn owns(&self, number: u32) -> bool {
        self.owned().any(|owned| owned == number)
    }

    /// The former number in whose block `upstream` lies.
    #[must_use]
    pub fn former_of(&self, upstream: i64) -> Option<&Former> {
        self.former.iter().find(|former| former.number.owns(upstream))
    }

    /// Whether `upstream` may stand as a reference in its rows: to its own row, one of the shared history, or one of
    /// HQ's.
    #[must_use]
    pub fn may_reference(&self, upstream: i64) -> bool {
        self.station.owns(upstream) || (1..=LOCAL_ID_MAX).contains(&upstream) || self.former_of(upstream).is_some()
    }

    /// Whether a row that `number` wrote may be referenced by its rows: [`Lineage::may_reference`] for keys that do not
    /// say whose row they name. HQ is 0.
    #[must_use]
    pub fn may_reference_rows_of(&self, number: u32) -> bool {
        number == 0 || self.station.get() == number || self.former.iter().any(|former| former.number.get() == number)
    }
}

/// The place where two histories part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    /// Last seq in common.
    pub common: u64,
    /// The chain after the file's next change, if it has one: it tells apart files that part at the same seq.
    pub next: Option<Chain>,
}

/// A batch that continued another history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The seq at which both histories should have agreed.
    pub seq: u64,
    /// When it came, milliseconds since 1970 UTC.
    pub seen_at_ms: i64,
}

/// One station's descent and last fork, for `station list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageSummary {
    /// The station.
    pub station: StationNumber,
    /// The number its file had before, and whether it replaced that.
    pub former: Option<Former>,
    /// The last batch of it that continued another history.
    pub fork: Option<Fork>,
}

/// The lineages of a ledger.
#[async_trait]
pub trait LineageLedger: Send {
    /// A station's lineage.
    async fn lineage(&mut self, station: StationNumber) -> Result<Lineage, StoreError>;
    /// Every station that came from another or has forked, by number.
    async fn lineages(&mut self) -> Result<Vec<LineageSummary>, StoreError>;
    /// Notes that a batch continued another history.
    async fn note_fork(&mut self, station: StationNumber, seq: u64, now_ms: i64) -> Result<(), StoreError>;
    /// The number that replaced this one, if one did.
    async fn successor(&mut self, station: StationNumber) -> Result<Option<StationNumber>, StoreError>;
    /// The station that the invited one of this name is to replace.
    async fn replaces(&mut self, name: &str) -> Result<Option<String>, StoreError>;
    /// Notes that the invited station `name` is to replace another.
    async fn set_replaces(&mut self, name: &str, replaces: &str) -> Result<(), StoreError>;
    /// The name of the station that went on from `former` after change `common` with a change after which the chain is
    /// `next`.
    async fn continued(
        &mut self,
        former: StationNumber,
        common: u64,
        next: Chain,
    ) -> Result<Option<String>, StoreError>;
    /// Notes that a station comes from `former` and from all that this one came from. Done again, it only moves the
    /// parting.
    async fn descend(&mut self, station: StationNumber, former: Former, parting: Parting) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_owns_what_it_replaced_and_references_all_of_it() {
        let number = |number| StationNumber::new(number).unwrap();
        let former = vec![Former { number: number(5), owned: true }, Former { number: number(2), owned: false }];
        let lineage = Lineage { former, ..Lineage::new(number(7)) };
        assert_eq!(lineage.owned().collect::<Vec<_>>(), [7, 5]);
        assert!(lineage.owns(5) && !lineage.owns(2) && !lineage.owns(0));
        let id = |of, local| number(of).upstream_id(local).unwrap();
        for reference in [id(7, 1), id(5, 1), id(2, LOCAL_ID_MAX), 1, LOCAL_ID_MAX] {
            assert!(lineage.may_reference(reference), "{reference}");
        }
        for reference in [id(3, 1), 0, -1, 7 << 32, i64::MAX, i64::MIN] {
            assert!(!lineage.may_reference(reference), "{reference}");
        }
        assert_eq!(lineage.former_of(id(2, 9)).map(|former| former.owned), Some(false));
    }
}
