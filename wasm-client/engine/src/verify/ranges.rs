//! A table cut into ranges, and ranges into smaller ones, with the station's digest of each. Memory is bounded by the
//! number of ranges.

use std::collections::{BTreeMap, BinaryHeap};

use tidemark_core::digest::{RowDigest, RowHash};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::limits::RANGES_MAX;
use tidemark_core::schema::Table;
use tidemark_core::survey::{ListedRow, Range};
use tidemark_core::timestamp::{month_of, month_start_us};
use tidemark_core::value::ColumnType;

use super::pruned::{times_of, whole_days};
use crate::error::Result;
use crate::pruned::{Pruned, day_start_us};
use crate::rows::Rows;

/// A span of integer keys has so many bits.
const KEY_SPAN_BITS: u32 = 18;
/// A table without time and with no more rows than this is one range.
const ROWS_UNCUT_MAX: u64 = 50_000;
/// A range is cut into parts of about so many rows, as far as the bounds of a request allow.
const PART_ROWS: u64 = 16;
/// Identities drawn to find where to cut, over all ranges that are cut at once.
const SAMPLE_MAX: usize = 1 << 16;

/// A range with what the station has in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) table: usize,
    pub(super) range: Range,
    pub(super) digest: RowDigest,
}

/// A table cut into months, or spans of keys.
pub(super) struct Whole {
    /// They leave nothing out: what lies between and beside the station's rows is in ranges of its own.
    pub(super) parts: Vec<Part>,
    /// The number of them that have rows.
    pub(super) filled: u64,
    pub(super) rows: u64,
    pub(super) unsendable: u64,
    /// Rows that were pruned; they are in the digests.
    pub(super) pruned: u64,
}

/// Cuts a table in one pass.
pub(super) fn whole(rows: &Rows<'_>, index: usize) -> Result<Whole> {
    let table = rows.table(index);
    let mut digests: BTreeMap<i64, RowDigest> = BTreeMap::new();
    let mut scratch = Vec::new();
    let unsendable = rows.each(index, |identity, values| {
        let hash = RowHash::of(&mut scratch, &table.name, values.iter().copied());
        digests.entry(span_of(table, &identity)).or_default().add(&hash);
        Ok(())
    })?;
    let count = digests.values().map(RowDigest::rows).sum();
    let mut pruned = 0;
    for (day, gone) in &rows.pruned(index)?.days {
        digests.entry(month_of(day_start_us(*day))).or_default().join(&gone.digest);
        pruned += gone.digest.rows();
    }
    let filled = digests.len() as u64;
    if table.time.is_none() && count <= ROWS_UNCUT_MAX {
        let mut digest = RowDigest::default();
        digests.values().for_each(|part| digest.join(part));
        let parts = vec![Part { table: index, range: Range::ALL, digest }];
        return Ok(Whole { parts, filled: filled.min(1), rows: count, unsendable, pruned });
    }
    let mut parts = Vec::new();
    let mut end = None;
    for (span, digest) in digests {
        let start = span_start(table, span);
        if parts.is_empty() || end != start {
            parts.push(Part { table: index, range: Range { from: end, to: start }, digest: RowDigest::default() });
        }
        end = span_start(table, span + 1);
        parts.push(Part { table: index, range: Range { from: start, to: end }, digest });
    }
    if parts.is_empty() || end.is_some() {
        parts.push(Part { table: index, range: Range { from: end, to: None }, digest: RowDigest::default() });
    }
    Ok(Whole { parts, filled, rows: count, unsendable, pruned })
}

/// The month of a row, or its span of keys.
fn span_of(table: &Table, identity: &Identity) -> i64 {
    match identity.key {
        _ if table.time.is_some() => month_of(identity.time_us),
        Key::Integer(id) => id >> KEY_SPAN_BITS,
        Key::Uuid(uuid) => i64::from(uuid[0]),
    }
}

/// The first key of all.
fn least_key(table: &Table) -> Key {
    if table.key_column().ty == ColumnType::Uuid { Key::Uuid([0; 16]) } else { Key::Integer(i64::MIN) }
}

/// The first identity of a span; `None` for the span that would come after the last one.
fn span_start(table: &Table, span: i64) -> Option<Identity> {
    let least = least_key(table);
    if table.time.is_some() {
        return Some(Identity { time_us: month_start_us(span), key: least });
    }
    let key = match least {
        Key::Integer(_) => Key::Integer(span << KEY_SPAN_BITS),
        Key::Uuid(mut uuid) => {
            uuid[0] = u8::try_from(span).ok()?;
            Key::Uuid(uuid)
        }
    };
    Some(Identity { time_us: 0, key })
}

/// The identities with the smallest marks seen in a range: an even sample, the same at every run.
#[derive(Default)]
struct Sample {
    drawn: BinaryHeap<(u64, Identity)>,
    rows: u64,
}

/// A number that looks random and depends on nothing but the identity.
fn mark(identity: &Identity) -> u64 {
    let key = match identity.key {
        Key::Integer(id) => id.cast_unsigned(),
        Key::Uuid(uuid) => uuid.iter().fold(0, |mark: u64, &byte| mark.rotate_left(7) ^ u64::from(byte)),
    };
    let mut z = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ identity.time_us.cast_unsigned().rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Sample {
    fn see(&mut self, identity: Identity, room: usize) {
        self.rows += 1;
        self.drawn.push((mark(&identity), identity));
        if self.drawn.len() > room {
            self.drawn.pop();
        }
    }

    /// The places at which to cut the range into at most `parts_max` parts with about as many rows each.
    fn cuts(self, range: &Range, parts_max: usize, pruned: &Pruned, least: Key) -> Vec<Identity> {
        let (from_us, to_us) = times_of(range);
        let has_pruned = pruned.between(from_us, to_us).next().is_some();
        let parts = usize::try_from(self.rows.div_ceil(PART_ROWS)).unwrap_or(usize::MAX).clamp(2, parts_max.max(2));
        let mut drawn: Vec<Identity> = self.drawn.into_iter().map(|(_, identity)| identity).collect();
        drawn.sort_unstable();
        if has_pruned {
            whole_days(&mut drawn, range, pruned, Identity { time_us: 0, key: least });
            let count = drawn.len();
            let kept = |n: usize| count < parts_max || n * (parts_max - 1) / count != (n + 1) * (parts_max - 1) / count;
            return (0..count).filter(|&n| kept(n)).map(|n| drawn[n]).collect();
        }
        let mut cuts: Vec<Identity> = (1..parts).filter_map(|n| drawn.get(n * drawn.len() / parts).copied()).collect();
        cuts.dedup();
        cuts.retain(|cut| Some(*cut) != range.from);
        cuts
    }
}

/// Cuts ranges of one table, sorted and disjoint, into parts of about [`PART_ROWS`] rows, or into as many as one
/// request may ask about. Two passes: one finds where to cut, one digests.
pub(super) fn split(rows: &Rows<'_>, index: usize, ranges: &[Range]) -> Result<Vec<Part>> {
    let parts_max = RANGES_MAX / ranges.len().max(1);
    let room = SAMPLE_MAX / ranges.len().max(1);
    let mut samples: Vec<Sample> = ranges.iter().map(|_| Sample::default()).collect();
    rows.each(index, |identity, _| {
        if let Some(at) = Range::find(ranges, &identity) {
            samples[at].see(identity, room);
        }
        Ok(())
    })?;
    let (pruned, least) = (rows.pruned(index)?, least_key(rows.table(index)));
    let mut smaller = Vec::new();
    for (range, sample) in ranges.iter().zip(samples) {
        let mut from = range.from;
        for cut in sample.cuts(range, parts_max, &pruned, least) {
            smaller.push(Range { from, to: Some(cut) });
            from = Some(cut);
        }
        smaller.push(Range { from, to: range.to });
    }
    let mut digests = vec![RowDigest::default(); smaller.len()];
    let (table, mut scratch) = (rows.table(index), Vec::new());
    for (day, gone) in &pruned.days {
        if let Some(at) = Range::find(&smaller, &Identity { time_us: day_start_us(*day), key: least }) {
            digests[at].join(&gone.digest);
        }
    }
    rows.each(index, |identity, values| {
        if let Some(at) = Range::find(&smaller, &identity) {
            digests[at].add(&RowHash::of(&mut scratch, &table.name, values.iter().copied()));
        }
        Ok(())
    })?;
    Ok(smaller.into_iter().zip(digests).map(|(range, digest)| Part { table: index, range, digest }).collect())
}

/// The station's rows in ranges of one table, sorted and disjoint, in order.
pub(super) fn list(rows: &Rows<'_>, index: usize, ranges: &[Range]) -> Result<Vec<ListedRow>> {
    let (table, mut scratch) = (rows.table(index), Vec::new());
    let mut listed = Vec::new();
    rows.each(index, |identity, values| {
        if Range::find(ranges, &identity).is_some() {
            let hash = RowHash::of(&mut scratch, &table.name, values.iter().copied());
            listed.push(ListedRow { id: identity, hash });
        }
        Ok(())
    })?;
    listed.sort_unstable();
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta;
    use crate::store::Store;
    use tidemark_core::schema::Schema;

    const TOML: &str = "name = 'w'\nversion = 1\n[tables.reading]\ntime = 'at'\n[tables.reading.columns]\nid = { type = 'integer' }\n\
        at = { type = 'timestamp' }\n[tables.tag]\nkey = 'uid'\n[tables.tag.columns]\nuid = { type = 'uuid' }\n[tables.site.columns]\n\
        id = { type = 'integer' }\n";

    fn with_rows(statements: &str, check: impl Fn(&Rows<'_>)) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::init(folder.path().join("field.db"), &Schema::parse(TOML).unwrap(), [7; 16]).unwrap();
        store.connection().execute_batch(&format!("UPDATE tidemark_station SET number = 3; {statements}")).unwrap();
        let (tx, file, catalog) = store.read().unwrap();
        check(&Rows::new(&tx, file, catalog, &meta::read(&tx, file).unwrap()).unwrap());
    }

    /// Checks that parts follow each other without a gap from `from` to `to`, and returns their sum.
    fn sum(parts: &[Part], from: Option<Identity>, to: Option<Identity>) -> RowDigest {
        let mut sum = RowDigest::default();
        let mut end = from;
        for part in parts {
            assert_eq!(part.range.from, end);
            end = part.range.to;
            sum.join(&part.digest);
        }
        assert_eq!(end, to);
        sum
    }

    #[test]
    fn a_table_is_cut_into_months_that_leave_nothing_out() {
        let rows = "INSERT INTO reading (at) VALUES ('2024-01-31 23:59:59.999999'), ('2024-02-01'), ('2024-02-29 12:00'), ('0001-01-01'),
            ('9999-12-31 23:59:59.999999'), ('never')";
        with_rows(rows, |rows| {
            let cut = whole(rows, 0).unwrap();
            assert_eq!((cut.rows, cut.filled, cut.unsendable), (5, 4, 1));
            assert_eq!(sum(&cut.parts, None, None).rows(), 5);
            let counts: Vec<u64> = cut.parts.iter().map(|part| part.digest.rows()).collect();
            assert_eq!(counts, [0, 1, 0, 1, 2, 0, 1, 0]);
        });
        with_rows("", |rows| {
            for table in 0..3 {
                assert_eq!(whole(rows, table).unwrap().parts.len(), 1);
            }
        });
    }

    #[test]
    fn tables_without_time_are_cut_by_keys_once_they_are_large() {
        let rows = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50001)
            INSERT INTO site (id) SELECT n * 50 FROM n;
            WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 50001)
            INSERT INTO tag (uid) SELECT printf('%02x%06x-0000-4000-8000-000000000000', (n * 167) % 256, n) FROM n;
            INSERT INTO reading (at) VALUES ('2024-01-31')";
        with_rows(rows, |rows| {
            for (table, filled) in [(2, 10), (1, 256)] {
                let cut = whole(rows, table).unwrap();
                assert_eq!((cut.rows, cut.filled), (50_001, filled));
                assert_eq!(sum(&cut.parts, None, None).rows(), 50_001);
            }
        });
    }

    #[test]
    fn ranges_are_cut_evenly_and_leave_nothing_out() {
        let rows = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
            INSERT INTO reading (at) SELECT iif(n < 10000, '2024-01-01', datetime(1704067200 + n * n / 2000, 'unixepoch')) FROM n";
        with_rows(rows, |rows| {
            let parts = split(rows, 0, &[Range::ALL]).unwrap();
            assert_eq!(sum(&parts, None, None).rows(), 20_000);
            let largest = parts.iter().map(|part| part.digest.rows()).max().unwrap();
            // Half of the rows have one time: they are told apart by their keys.
            assert!(
                parts.len() > 1000 && largest < 8 * PART_ROWS,
                "{} parts, the largest of {largest} rows",
                parts.len()
            );
            let some: Vec<Range> = parts.iter().step_by(3).map(|part| part.range).collect();
            let listed = list(rows, 0, &some).unwrap();
            let smaller = split(rows, 0, &some).unwrap();
            assert_eq!(listed.len() as u64, smaller.iter().map(|part| part.digest.rows()).sum::<u64>());
            assert!(smaller.len() <= RANGES_MAX);
            assert_eq!(listed.len() as u64, parts.iter().step_by(3).map(|part| part.digest.rows()).sum::<u64>());
        });
    }
}
