//! Verdicts that need nothing but the change itself: types, rules, whose key it is, what time it says. Order does not
//! matter here.

use std::collections::HashMap;

use tidemark_core::batch::{Group, Op};
use tidemark_core::convert::check_column;
use tidemark_core::reject::{RejectCode, Rejection};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::timestamp;
use tidemark_core::value::ValueRef;

use super::resolve::Change;
use crate::bounds::ClockWindow;
use crate::ledger::lineage::Lineage;
use crate::upstream::writes::RowAt;

/// Which times a table's time column may say, microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// Earliest.
    pub first_us: i64,
    /// Latest.
    pub last_us: i64,
}

impl TimeRange {
    /// Every time there is.
    pub const ANY: Self = Self { first_us: timestamp::FIRST_US, last_us: timestamp::LAST_US };

    /// The times that a window takes at a moment, milliseconds since 1970 UTC.
    #[must_use]
    pub const fn new(window: ClockWindow, now_ms: i64) -> Self {
        Self { first_us: window.floor_us, last_us: now_ms.saturating_mul(1000).saturating_add(window.skew_us) }
    }
}

/// The rows that cannot be applied, whatever else there is.
pub type Refused = HashMap<RowAt, Rejection>;

/// Checks changes of a batch, which follows `schema`.
#[must_use]
pub fn check(schema: &Schema, lineage: &Lineage, groups: &[Group], changes: &[Change], times: TimeRange) -> Refused {
    let columns: Vec<Vec<usize>> = groups.iter().map(|group| columns_of(schema, group)).collect();
    let mut refused = Refused::new();
    for change in changes {
        let Some(table) = schema.tables().get(change.table) else { continue };
        if let (true, Op::Update | Op::Delete, Some(key)) = (table.append, change.op, change.key) {
            refused.insert(change.at, Rejection::append_only(&table.name, change.op.as_str(), key));
            continue;
        }
        let times = (change.op != Op::Delete).then_some(times);
        for (block, &column) in columns[change.at.group as usize].iter().enumerate() {
            if let Err(rejection) = check_cell(table, column, lineage, change.value(groups, block), times) {
                refused.insert(change.at, rejection);
                break;
            }
        }
    }
    refused
}

/// The columns of the table that a group has, in its order; none of a void one.
fn columns_of(schema: &Schema, group: &Group) -> Vec<usize> {
    let Some(table) = schema.tables().get(group.table as usize) else { return Vec::new() };
    match group.op {
        Op::Void => Vec::new(),
        Op::Delete => table.identity().collect(),
        Op::Insert | Op::Update => (0..table.columns.len()).collect(),
    }
}

fn check_cell(
    table: &Table,
    column: usize,
    lineage: &Lineage,
    value: ValueRef<'_>,
    times: Option<TimeRange>,
) -> Result<(), Rejection> {
    check_column(table, column, value)?;
    let at = || format!("{}.{}", table.name, table.columns[column].name);
    match value {
        ValueRef::Integer(id) if column == table.key && !lineage.station.owns(id) => match lineage.former_of(id) {
            Some(former) if former.owned => Ok(()),
            Some(former) => Err(Rejection::new(
                RejectCode::Owner,
                format!("{}: the row {id} belongs to station {}, which this file was before", at(), former.number),
            )),
            None => Err(Rejection::new(
                RejectCode::IdRange,
                format!("{}: the key {id} is not in the block of station {}", at(), lineage.station),
            )),
        },
        ValueRef::Integer(id) if table.columns[column].references.is_some() && !lineage.may_reference(id) => {
            Err(Rejection::new(
                RejectCode::IdRange,
                format!(
                    "{}: the reference {id} is neither to a row of station {} nor to one of HQ",
                    at(),
                    lineage.station
                ),
            ))
        }
        ValueRef::Timestamp(us) if Some(column) == table.time => match times {
            Some(times) if us < times.first_us || us > times.last_us => Err(Rejection::new(
                RejectCode::Clock,
                format!(
                    "{}: {} is outside {} … {}, the times the server takes; is the station's clock right?",
                    at(),
                    timestamp::format(us),
                    timestamp::format(times.first_us),
                    timestamp::format(times.last_us)
                ),
            )),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
