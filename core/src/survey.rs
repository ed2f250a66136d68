//! `POST /v1/digest`: what a station asks about its rows upstream, and the answers.
//!
//! Rows of a table are ordered by their [`Identity`] (time, then key). A range of that order is asked for its digest;
//! where the digests of both sides differ, for those of smaller ranges, and at last for the rows themselves. Every
//! reply says at which change of the station's log the rows stood that way.

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::digest::{CellHash, RowDigest, RowHash};
use crate::identity::Identity;
use crate::limits::{FIND_CELLS_MAX, FIND_ROWS_MAX, RANGES_MAX};
use crate::schema::{Schema, Table};

/// A range of a table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first identity in it; none: from the first row on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Identity>,
    /// The first identity after it; none: to the last row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Identity>,
}

impl Range {
    /// Every row.
    pub const ALL: Self = Self { from: None, to: None };

    /// True when a row lies in it.
    #[must_use]
    pub fn contains(&self, identity: &Identity) -> bool {
        self.from.is_none_or(|from| *identity >= from) && self.to.is_none_or(|to| *identity < to)
    }

    /// The place, among sorted and disjoint ranges, of the one that a row lies in.
    #[must_use]
    pub fn find(ranges: &[Self], identity: &Identity) -> Option<usize> {
        let after = ranges.partition_point(|range| range.from.is_none_or(|from| from <= *identity));
        let at = after.checked_sub(1)?;
        ranges[at].contains(identity).then_some(at)
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DigestRequest {
    /// Fingerprint of the station's schema, hex: digests are over its columns, in its order.
    pub fingerprint: String,
    /// The questions. A reply may answer only the first ones; the others are asked again.
    pub asks: Vec<Ask>,
}

/// A question about one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The table's name.
    pub table: String,
    /// The question.
    pub question: Question,
}

/// A question about rows of the station that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Question {
    /// The digest of each of these ranges, which are sorted and disjoint.
    Digests(Vec<Range>),
    /// The rows in these ranges, which are sorted and disjoint.
    Rows(Vec<Range>),
    /// The rows of these identities, as far as they are there.
    Find {
        /// The identities.
        rows: Vec<Identity>,
        /// True when their cells are wanted, too.
        cells: bool,
    },
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestReply {
    /// Last seq durable upstream when the rows were read.
    pub tidemark: u64,
    /// The chain there.
    pub chain: Chain,
    /// The answers to the first asks: at least one.
    pub answers: Vec<Answer>,
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// One digest per range.
    Digests(Vec<RowDigest>),
    /// The rows in order.
    Rows {
        /// Identity and hash of each.
        rows: Vec<ListedRow>,
        /// True when rows that come after the last one listed were left out.
        more: bool,
    },
    /// The rows that are there.
    Found(Vec<FoundRow>),
}

/// A row by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListedRow {
    /// The row.
    pub id: Identity,
    /// Its hash.
    pub hash: RowHash,
}

/// A row that was looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRow {
    /// The row.
    pub id: Identity,
    /// Its hash.
    pub hash: RowHash,
    /// Its cells in the schema's column order, when they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
}

/// A cell: enough to tell whether it is equal, and to show it to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The value's hash.
    pub hash: CellHash,
    /// The value, shortened.
    pub shown: String,
}

impl DigestRequest {
    /// Checks what was asked against the station's schema and the bounds.
    ///
    /// # Errors
    /// Says what is wrong with it, and with which ask (counted from 0).
    pub fn check(&self, schema: &Schema) -> Result<(), String> {
        if self.asks.is_empty() {
            return Err("`asks` is empty".to_owned());
        }
        let (mut ranges_count, mut rows_count, mut cells_count) = (0, 0, 0);
        for (at, ask) in self.asks.iter().enumerate() {
            let table = schema
                .table(&ask.table)
                .ok_or_else(|| format!("ask {at}: {} is no table of the schema", shown(&ask.table)))?;
            let checked = match &ask.question {
                Question::Digests(ranges) | Question::Rows(ranges) => {
                    ranges_count += ranges.len();
                    check_ranges(table, ranges)
                }
                Question::Find { rows, cells } => {
                    rows_count += rows.len();
                    cells_count += if *cells { rows.len() * table.columns.len() } else { 0 };
                    check_rows(table, rows)
                }
            };
            checked.map_err(|what| format!("ask {at}: {what}"))?;
        }
        for (what, count, max) in [
            ("ranges", ranges_count, RANGES_MAX),
            ("rows", rows_count, FIND_ROWS_MAX),
            ("cells", cells_count, FIND_CELLS_MAX),
        ] {
            if count > max {
                return Err(format!("{count} {what} are asked for, at most {max} are answered at once"));
            }
        }
        Ok(())
    }
}

/// A name from outside, as it may stand in a message.
fn shown(name: &str) -> String {
    let head: String = name.chars().take(crate::limits::NAME_BYTES_MAX).collect();
    format!("{head:?}")
}

fn check_ranges(table: &Table, ranges: &[Range]) -> Result<(), String> {
    if ranges.is_empty() {
        return Err("no range is given".to_owned());
    }
    for (at, range) in ranges.iter().enumerate() {
        for identity in range.from.iter().chain(&range.to) {
            check_identity(table, identity).map_err(|what| format!("range {at}: {what}"))?;
        }
        if matches!((range.from, range.to), (Some(from), Some(to)) if from >= to) {
            return Err(format!("range {at} ends before it begins"));
        }
    }
    for (at, pair) in ranges.windows(2).enumerate() {
        if !matches!((pair[0].to, pair[1].from), (Some(to), Some(from)) if to <= from) {
            return Err(format!("range {} does not come after the one before it", at + 1));
        }
    }
    Ok(())
}

fn check_rows(table: &Table, rows: &[Identity]) -> Result<(), String> {
    if rows.is_empty() {
        return Err("no row is given".to_owned());
    }
    rows.iter()
        .enumerate()
        .try_for_each(|(at, row)| check_identity(table, row).map_err(|what| format!("row {at}: {what}")))
}

fn check_identity(table: &Table, identity: &Identity) -> Result<(), String> {
    if !identity.key.fits(table) {
        return Err(format!("the key of table {} is of type {}", table.name, table.key_column().ty.as_str()));
    }
    if table.time.is_none() && identity.time_us != 0 {
        return Err(format!("table {} has no time column", table.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Key;

    fn schema() -> Schema {
        Schema::parse(
            "name = 'w'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\n[tables.tag]\nkey = 'uid'\n[tables.tag.columns]\n\
             uid = { type = 'uuid' }\n[tables.reading]\ntime = 'at'\n[tables.reading.columns]\nid = { type = 'integer' }\nat = { type = 'timestamp' }",
        )
        .unwrap()
    }

    fn id(key: i64) -> Option<Identity> {
        Some(Identity { time_us: 0, key: Key::Integer(key) })
    }

    #[test]
    fn a_row_is_found_in_its_range_and_in_no_gap() {
        let ranges =
            [Range { from: None, to: id(3) }, Range { from: id(5), to: id(8) }, Range { from: id(8), to: None }];
        for (key, at) in [
            (i64::MIN, Some(0)),
            (2, Some(0)),
            (3, None),
            (4, None),
            (5, Some(1)),
            (7, Some(1)),
            (8, Some(2)),
            (i64::MAX, Some(2)),
        ] {
            assert_eq!(Range::find(&ranges, &id(key).unwrap()), at, "{key}");
        }
        assert_eq!(Range::find(&ranges[1..2], &id(9).unwrap()), None);
        assert_eq!(Range::find(&[], &id(9).unwrap()), None);
    }

    #[test]
    fn a_request_that_makes_no_sense_is_refused_with_its_place() {
        let ask = |table: &str, question| DigestRequest {
            fingerprint: String::new(),
            asks: vec![Ask { table: table.to_owned(), question }],
        };
        let uuid = Identity { time_us: 0, key: Key::Uuid([1; 16]) };
        let late = Identity { time_us: 1, key: Key::Integer(1) };
        let range = |from, to| Range { from, to };
        for (request, says) in [
            (DigestRequest { fingerprint: String::new(), asks: Vec::new() }, "`asks` is empty"),
            (ask("x\u{7}", Question::Digests(vec![Range::ALL])), r#"ask 0: "x\u{7}" is no table"#),
            (ask("site", Question::Digests(Vec::new())), "no range is given"),
            (ask("site", Question::Digests(vec![range(id(3), id(3))])), "range 0 ends before it begins"),
            (
                ask("site", Question::Rows(vec![range(id(4), id(5)), range(id(1), id(2))])),
                "range 1 does not come after",
            ),
            (ask("site", Question::Rows(vec![Range::ALL, Range::ALL])), "range 1 does not come after"),
            (
                ask("site", Question::Rows(vec![range(Some(uuid), None)])),
                "range 0: the key of table site is of type integer",
            ),
            (
                ask("tag", Question::Find { rows: vec![uuid, late], cells: false }),
                "row 1: the key of table tag is of type uuid",
            ),
            (ask("site", Question::Find { rows: vec![late], cells: false }), "row 0: table site has no time column"),
            (ask("site", Question::Find { rows: Vec::new(), cells: false }), "no row is given"),
            (
                ask("site", Question::Find { rows: vec![id(1).unwrap(); FIND_ROWS_MAX + 1], cells: false }),
                "501 rows are asked for",
            ),
        ] {
            let error = request.check(&schema()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let ranges = (0..=RANGES_MAX as i64).map(|n| range(id(n), id(n + 1))).collect();
        assert!(ask("site", Question::Digests(ranges)).check(&schema()).unwrap_err().contains("4097 ranges"));
        assert_eq!(ask("reading", Question::Find { rows: vec![late], cells: true }).check(&schema()), Ok(()));
        assert_eq!(
            ask("tag", Question::Digests(vec![range(None, Some(uuid)), range(Some(uuid), None)])).check(&schema()),
            Ok(())
        );
    }
}
