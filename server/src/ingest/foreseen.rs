//! A batch worked out before its turn: what the stages from *resolve* to *ask* make of it, and, where nothing has to be
//! asked, *plan*. So the next batch is worked out while the one before it is written, and the database waits for
//! neither.
//!
//! It is foreseen for a batch that follows the cursor, of a station whose file has never been another station's.
//! Whether that is so is known once the cursor is locked; else the stages run as ever. A batch with refused changes is
//! not foreseen: there are few, and while they wait their words would take more memory than the rows.

use tidemark_core::planted::{Bug, planted};

use super::check::check;
use super::decoded::{Decoded, Part};
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
    /// Works the part of a batch out that touches so many chunks; `None` when a change of it is refused.
    #[must_use]
    pub fn of(job: &Decoded, chunks_max: u32) -> Option<Self> {
        let (schema, groups, lineage) = (&job.current, job.groups(), Lineage::new(job.batch.station));
        let mut changes = job.resolve(0, &Part { chunks_max, ..Part::WHOLE });
        let refused = check(schema, &lineage, groups, &changes, job.times);
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

    /// Whether it is of this part of its batch, which leaves out the first `skip` changes, and of this lineage.
    #[must_use]
    pub fn is_of(&self, skip: u32, part: &Part, lineage: &Lineage) -> bool {
        let from_the_first = skip == 0 || planted(Bug::ForeseenForRest);
        let to_the_same = part.rows_max == u32::MAX && part.chunks_max == self.chunks_max && part.refuse.is_none();
        from_the_first && to_the_same && *lineage == self.lineage
    }

    /// The memory that its questions take, in bytes: about, and rather more than less. That of the changes is counted
    /// with the batch's.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // A set holds keys of 24 bytes, and is half full at worst.
        self.asked.keys() * 48
    }
}
