//! A batch worked out before its turn: what the stages from *resolve* to *ask* make of it, and, where nothing has to be
//! asked, *plan*. So the next batch is worked out while the one before it is written, and the database waits for
//! neither.
//!
//! It is foreseen for a batch that follows the cursor, of a station whose file has never been another station's.
//! Whether that is so is known once the cursor is locked; else the stages run as ever. A batch with refused changes is
//! not foreseen: there are few, and while they wait their words would take more memory than the rows.

use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;

use super::check::{TimeRange, check};
use super::plan::{Plan, plan};
use super::questions::questions;
use super::resolve::Change;
use crate::ledger::lineage::Lineage;
use crate::upstream::facts::{Facts, Questions};

/// The changes of a batch, worked out. None of them is refused for what it is alone.
#[derive(Debug)]
pub struct Foreseen {
    /// The lineage that was taken for the station's.
    lineage: Lineage,
    /// The most chunks that they were to touch.
    chunks_max: u32,
    /// The changes.
    pub changes: Vec<Change>,
    /// What has to be asked of them.
    pub asked: Questions,
    /// The plan, if nothing has to be asked.
    pub plan: Option<Plan>,
}

impl Foreseen {
    /// Works changes of a station of this lineage out, the first of a batch that touch so many chunks; `None` when one
    /// of them is refused.
    #[must_use]
    pub fn of(
        schema: &Schema,
        lineage: Lineage,
        groups: &[Group],
        mut changes: Vec<Change>,
        times: TimeRange,
        chunks_max: u32,
    ) -> Option<Self> {
        let refused = check(schema, &lineage, groups, &changes, times);
        if !refused.is_empty() {
            return None;
        }
        let asked = questions(schema, &lineage, groups, &changes, &refused);
        let planned = || plan(schema, &lineage, groups, &changes, &refused, &asked, Facts::default());
        let mut plan = (asked == Questions::default()).then(planned);
        // They wait: what their growth has left over is given back.
        changes.shrink_to_fit();
        if let Some(plan) = &mut plan {
            plan.steps.shrink_to_fit();
        }
        Some(Self { lineage, chunks_max, changes, asked, plan })
    }

    /// Whether it is of changes that touch so many chunks, of a station of this lineage.
    #[must_use]
    pub fn is_of(&self, chunks_max: u32, lineage: &Lineage) -> bool {
        chunks_max == self.chunks_max && *lineage == self.lineage
    }

    /// The memory that its questions take, in bytes: about, and rather more than less. That of the changes is counted
    /// with the batch's.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // A set holds keys of 24 bytes, and is half full at worst.
        self.asked.keys() * 48
    }
}
