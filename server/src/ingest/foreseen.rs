//! A batch worked out before its turn: what the stages from *resolve* to *ask* make of it, and, where nothing has to be
//! asked, *plan*. So the next batch is worked out while the one before it is written, and the database waits for neither.
//!
//! It is foreseen for a station that has not been another before, and for a batch that follows the cursor. Whether that
//! is so is known once the cursor is locked; else the stages run as ever.

use tidemark_core::batch::Group;
use tidemark_core::schema::Schema;

use super::check::{Refused, TimeRange, check};
use super::plan::{Plan, plan};
use super::questions::questions;
use super::resolve::Change;
use crate::ledger::lineage::Lineage;
use crate::upstream::facts::{Facts, Questions};

/// Changes of a batch, worked out.
#[derive(Debug)]
pub struct Foreseen {
    /// The lineage that was taken for the station's.
    lineage: Lineage,
    /// The changes.
    pub changes: Vec<Change>,
    /// Those that are refused for what they are alone.
    pub refused: Refused,
    /// What has to be asked of the others.
    pub asked: Questions,
    /// The plan, if nothing has to be asked.
    pub plan: Option<Plan>,
}

impl Foreseen {
    /// Works changes of a station of this lineage out.
    #[must_use]
    pub fn of(schema: &Schema, lineage: Lineage, groups: &[Group], changes: Vec<Change>, times: TimeRange) -> Self {
        let refused = check(schema, &lineage, groups, &changes, times);
        let asked = questions(schema, &lineage, groups, &changes, &refused);
        let planned = || plan(schema, &lineage, groups, &changes, &refused, &asked, Facts::default());
        let plan = (asked == Questions::default()).then(planned);
        Self { lineage, changes, refused, asked, plan }
    }

    /// Whether it is of all these changes, and the lineage is this.
    #[must_use]
    pub fn is_of(&self, lineage: &Lineage, changes: &[Change]) -> bool {
        std::ptr::eq(changes, self.changes.as_slice()) && *lineage == self.lineage
    }
}
