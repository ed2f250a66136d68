//! Many keys as few ranges. A station's keys lie side by side, and a hypertable's index says for each chunk at once
//! what lies within a range; `= ANY` alone is estimated key by key, and looks for each of them in each chunk.

use std::collections::BTreeSet;

use tidemark_core::identity::Key;

/// Most ranges of one question.
const RANGES_MAX: usize = 8;
/// Fewer keys are asked for one by one.
const KEYS_MIN: usize = 32;
/// The ranges together are at most so many times as wide as there are keys: so many entries of an index are read in the
/// time in which a key is looked for in it, and of a hypertable in each of some chunks.
const WIDTH_PER_KEY: u64 = 8;
const WIDTH_PER_KEY_OF_CHUNKS: u64 = 32;

/// Ranges that hold all of the keys and not much more; `None` where there are none such. `in_chunks`: of a table with a
/// time column.
pub(super) fn ranges(keys: &BTreeSet<Key>, in_chunks: bool) -> Option<Vec<(i64, i64)>> {
    let width_per_key = if in_chunks { WIDTH_PER_KEY_OF_CHUNKS } else { WIDTH_PER_KEY };
    if keys.len() < KEYS_MIN {
        return None;
    }
    let mut ids = Vec::with_capacity(keys.len());
    for key in keys {
        let Key::Integer(id) = key else { return None };
        ids.push(*id);
    }
    // They are in order; the widest gaps part the ranges.
    let mut gaps: Vec<(u64, usize)> = (1..ids.len()).map(|at| (ids[at].abs_diff(ids[at - 1]), at)).collect();
    let parting = gaps.len().min(RANGES_MAX - 1);
    gaps.select_nth_unstable_by(parting - 1, |a, b| b.cmp(a));
    let mut starts: Vec<usize> =
        gaps[..parting].iter().filter(|(gap, _)| *gap > width_per_key).map(|&(_, at)| at).collect();
    starts.push(0);
    starts.sort_unstable();
    let ends = starts.iter().skip(1).copied().chain([ids.len()]);
    let ranges: Vec<(i64, i64)> = starts.iter().zip(ends).map(|(&start, end)| (ids[start], ids[end - 1])).collect();
    let width = ranges.iter().fold(0_u64, |sum, (first, last)| sum.saturating_add(last.abs_diff(*first) + 1));
    (width <= ids.len() as u64 * width_per_key).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: impl IntoIterator<Item = i64>) -> Option<Vec<(i64, i64)>> {
        ranges(&ids.into_iter().map(Key::Integer).collect(), true)
    }

    #[test]
    fn keys_that_lie_together_are_few_ranges() {
        let own = 7_i64 << 32;
        assert_eq!(of(own + 1..own + 1000), Some(vec![(own + 1, own + 999)]));
        assert_eq!(of((1..20).chain(own + 5..own + 105)), Some(vec![(1, 19), (own + 5, own + 104)]));
        assert_eq!(of((0..300).map(|n| n * 30)), Some(vec![(0, 8970)]));
        assert_eq!(ranges(&(0..300).map(|n| Key::Integer(n * 30)).collect(), false), None);
        let eight = (0..8).flat_map(|block| (0..10).map(move |n| block * 1_000_000 + n));
        assert_eq!(of(eight).map(|ranges| ranges.len()), Some(8));
    }

    #[test]
    fn keys_that_lie_apart_are_none() {
        assert_eq!(of((0..300).map(|n| n * 100)), None);
        assert_eq!(of([i64::MIN, 0, i64::MAX].into_iter().chain((0..40).map(|n| n << 40))), None);
        assert_eq!(of(1..10), None);
        assert_eq!(ranges(&(0..100).map(|n| Key::Uuid([n; 16])).collect(), true), None);
    }
}
