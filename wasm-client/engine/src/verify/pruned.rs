//! The days of pruned rows that were listed since their digests differed: what upstream has of each, compared in the
//! end.

use std::collections::{BTreeMap, BTreeSet};

use tidemark_core::digest::RowDigest;
use tidemark_core::identity::Identity;
use tidemark_core::survey::{ListedRow, Range};

use super::report::PrunedDifference;
use crate::error::Result;
use crate::pruned::{Pruned, day_of, day_start_us};
use crate::rows::Rows;

/// By table and day: the sum of what upstream listed of pruned ids.
#[derive(Debug, Default)]
pub(super) struct ListedDays(BTreeMap<(usize, i64), RowDigest>);

/// The span of times that a range touches.
pub(super) fn times_of(range: &Range) -> (i64, i64) {
    (range.from.map_or(i64::MIN, |from| from.time_us), range.to.map_or(i64::MAX, |to| to.time_us))
}

impl ListedDays {
    /// These ranges are being listed: of the days that were pruned in them upstream must have something.
    pub(super) fn begin(&mut self, table: usize, ranges: &[Range], pruned: &Pruned) {
        for range in ranges {
            let (from_us, to_us) = times_of(range);
            for (day, _) in pruned.between(from_us, to_us) {
                self.0.entry((table, day)).or_default();
            }
        }
    }

    /// Upstream has this row of a pruned id.
    pub(super) fn add(&mut self, table: usize, row: &ListedRow) {
        self.0.entry((table, day_of(row.id.time_us))).or_default().add(&row.hash);
    }

    /// The tables of these days.
    pub(super) fn tables(&self) -> BTreeSet<usize> {
        self.0.keys().map(|(table, _)| *table).collect()
    }

    /// The days of one table that differ from what was pruned.
    pub(super) fn differences(&self, rows: &Rows<'_>, table: usize) -> Result<Vec<PrunedDifference>> {
        let pruned = rows.pruned(table)?;
        let listed = self.0.iter().filter(|((of, _), _)| *of == table);
        let mut differences = Vec::new();
        for (&(table, day), upstream) in listed {
            let here = pruned.days.get(&day).copied().unwrap_or_default();
            let same = if here.older { here.digest.rows() == upstream.rows() } else { here.digest == *upstream };
            if !same {
                let (here, upstream) = (here.digest.rows(), upstream.rows());
                differences.push(PrunedDifference { table, day_us: day_start_us(day), here, upstream });
            }
        }
        Ok(differences)
    }
}

/// Moves cuts so that no pruned day is cut apart: those inside of such a day go to its beginning, and its bounds become
/// cuts.
pub(super) fn whole_days(cuts: &mut Vec<Identity>, range: &Range, pruned: &Pruned, least: Identity) {
    let (from_us, to_us) = times_of(range);
    let start = |day: i64| Identity { time_us: day_start_us(day), key: least.key };
    for cut in cuts.iter_mut() {
        let day = day_of(cut.time_us);
        if pruned.days.contains_key(&day) {
            *cut = start(day);
        }
    }
    cuts.extend(pruned.between(from_us, to_us).flat_map(|(day, _)| [start(day), start(day + 1)]));
    cuts.sort_unstable();
    cuts.dedup();
    cuts.retain(|cut| range.from.is_none_or(|from| *cut > from) && range.to.is_none_or(|to| *cut < to));
}
