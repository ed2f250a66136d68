//! The map from local ids to upstream ids in a file that has been more than one station.
//!
//! A file that rejoins under a new number keeps its rows, and upstream keeps theirs: what the old number wrote before
//! the histories parted stays in the old number's block, everything else is the new number's. Which local ids those are
//! is kept in the file.

use std::sync::Arc;

use crate::ids::{LOCAL_ID_MAX, StationNumber};

/// A range of local ids of one table whose rows lie in the block of a number the file had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormerIds {
    /// First local id.
    pub first: u32,
    /// Last local id, inclusive.
    pub last: u32,
    /// The number in whose block they lie.
    pub number: StationNumber,
}

/// The map from local ids to upstream ids, for one station and one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    station: StationNumber,
    /// By the table's index in the schema; empty for a file that has only been one station.
    former: Vec<Arc<[FormerIds]>>,
}

impl IdMap {
    /// The map of a file that has only ever been `station`.
    #[must_use]
    pub const fn new(station: StationNumber) -> Self {
        Self { station, former: Vec::new() }
    }

    /// The map of a file that was other stations before: for each table of the schema in turn, its ranges in ascending
    /// order.
    #[must_use]
    pub fn with_former(station: StationNumber, former: impl Iterator<Item = Arc<[FormerIds]>>) -> Self {
        let former: Vec<_> = former.collect();
        let never = former.iter().all(|ranges| ranges.is_empty());
        Self { station, former: if never { Vec::new() } else { former } }
    }

    /// The station's number now.
    #[must_use]
    pub const fn station(&self) -> StationNumber {
        self.station
    }

    /// The number in whose block row `local` of a table lies.
    #[must_use]
    pub fn number_of(&self, table: usize, local: i64) -> StationNumber {
        let Some(ranges) = self.former.get(table) else { return self.station };
        let Ok(local) = u32::try_from(local) else { return self.station };
        let at = ranges.partition_point(|range| range.last < local);
        ranges.get(at).filter(|range| range.first <= local).map_or(self.station, |range| range.number)
    }

    /// The upstream id of row `local` of a table, by the table's index in the schema; `None` when `local` is outside 1
    /// … 2³² − 1.
    ///
    /// ```
    /// use tidemark_core::{idmap::{FormerIds, IdMap}, ids::StationNumber};
    /// let [old, new] = [3, 8].map(|number| StationNumber::new(number).unwrap());
    /// let former = [FormerIds { first: 1, last: 100, number: old }];
    /// let ids = IdMap::with_former(new, [former.into()].into_iter());
    /// assert_eq!(ids.upstream_id(0, 100), old.upstream_id(100));
    /// assert_eq!(ids.upstream_id(0, 101), new.upstream_id(101));
    /// ```
    #[must_use]
    pub fn upstream_id(&self, table: usize, local: i64) -> Option<i64> {
        self.number_of(table, local).upstream_id(local)
    }

    /// The upstream id that a reference to a row of `parent` means: the file's own row, or for −k HQ's row k.
    #[must_use]
    pub fn upstream_reference(&self, parent: usize, local: i64) -> Option<i64> {
        if (-LOCAL_ID_MAX..0).contains(&local) {
            return Some(-local);
        }
        self.upstream_id(parent, local)
    }
}

impl From<StationNumber> for IdMap {
    fn from(station: StationNumber) -> Self {
        Self::new(station)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> StationNumber {
        StationNumber::new(number).unwrap()
    }

    #[test]
    fn ranges_hold_at_their_edges_and_in_their_table() {
        let range = |first, last, of| FormerIds { first, last, number: number(of) };
        let ranges: Arc<[FormerIds]> = [range(2, 4, 1), range(6, 6, 5), range(u32::MAX, u32::MAX, 1)].into();
        let ids = IdMap::with_former(number(9), [Arc::from([]), ranges].into_iter());
        let found: Vec<u32> = (1..=7).map(|local| ids.number_of(1, local).get()).collect();
        assert_eq!(found, [9, 1, 1, 1, 9, 5, 9]);
        assert_eq!(ids.upstream_id(1, LOCAL_ID_MAX), number(1).upstream_id(LOCAL_ID_MAX));
        for (table, local) in [(0, 3), (2, 3), (1, LOCAL_ID_MAX - 1)] {
            assert_eq!(ids.upstream_id(table, local), number(9).upstream_id(local));
        }
        for outside in [0, -1, i64::MIN, LOCAL_ID_MAX + 1, i64::MAX] {
            assert_eq!(ids.upstream_id(1, outside), None);
        }
    }

    #[test]
    fn a_negative_reference_means_hq() {
        let ids = IdMap::new(number(9));
        assert_eq!(ids.upstream_reference(0, -5), Some(5));
        assert_eq!(ids.upstream_reference(0, 5), number(9).upstream_id(5));
        assert_eq!(ids.upstream_reference(0, i64::MIN), None);
        assert_eq!(ids.upstream_reference(0, 0), None);
    }

    #[test]
    fn a_file_that_was_one_station_has_no_ranges() {
        let empty = IdMap::with_former(number(2), [Arc::from([]), Arc::from([])].into_iter());
        assert_eq!(empty, IdMap::new(number(2)));
    }
}
