//! A batch that was decoded, with what is needed to apply it, and the parts that it is applied in.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use tidemark_core::batch::{Batch, Group, Op};
use tidemark_core::chain::{Chain, Print};
use tidemark_core::columns::ColumnBlock;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::schema::Schema;
use tokio::time::Instant;

use super::check::TimeRange;
use super::chunks::Touched;
use super::foreseen::Foreseen;
use super::resolve::Change;
use super::stages::Stages;
use crate::ledger::lineage::Lineage;
use crate::metrics::Stage;

/// The memory that a change takes beside its values, in bytes: its place in the order, times, prints, and what it is
/// resolved to.
pub const ROW_BYTES: usize = 256;

/// A decoded batch, and everything that is needed to apply it.
#[derive(Debug)]
pub struct Decoded {
    /// The batch as it came.
    pub batch: Batch,
    /// The print of the chain after each of its changes.
    pub prints: Vec<Print>,
    /// The schema it follows.
    pub schema: Arc<Schema>,
    /// The schema that is served.
    pub current: Arc<Schema>,
    /// The batch's groups by the served schema, when the batch follows an older one.
    pub projected: Option<Vec<Group>>,
    /// Which times are taken.
    pub times: TimeRange,
    /// The server's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// The chain after each of its changes, once it is needed.
    pub chains: OnceLock<Vec<Chain>>,
    /// Where its time goes.
    pub stages: Stages,
    /// What will come of a part that begins with it, if that was foreseen.
    pub foreseen: Option<(Part, Foreseen)>,
}

/// A bound on how much of a batch one transaction takes, counted from the station's cursor on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Most changes.
    pub rows_max: u32,
    /// Most chunks that they touch. One change is always taken.
    pub chunks_max: u32,
    /// Up to which seq whoever asks knows what became of the changes: of those nothing is told again. 0: of none.
    pub known_to: u64,
    /// The change that is kept as rejected, with these words, instead of being written; if it is not the next one,
    /// nothing is refused.
    pub refuse: Option<(u64, String)>,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { rows_max: u32::MAX, chunks_max: u32::MAX, known_to: 0, refuse: None };
}

impl Decoded {
    /// The memory that it takes while it is applied, in bytes: about, and rather more than less.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let columns = |group: &Group| group.columns.iter().map(ColumnBlock::bytes).sum::<usize>();
        let groups = self.batch.groups.iter().chain(self.projected.iter().flatten());
        groups.map(columns).sum::<usize>() + self.batch.order.len() * ROW_BYTES
    }

    /// The tables that it writes, by index in the served schema.
    #[must_use]
    pub fn tables(&self) -> Arc<[usize]> {
        let tables = self.groups().iter().filter(|group| group.op != Op::Void).map(|group| group.table as usize);
        tables.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The chain after a change of the batch.
    #[must_use]
    pub fn chain_at(&self, seq: u64) -> Chain {
        let chains = self.chains.get_or_init(|| self.batch.chain_after_each(&self.schema));
        let place = seq.checked_sub(self.batch.first_seq).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| chains.get(place)).copied().unwrap_or(self.batch.chain_before)
    }

    /// The changes of a part that begins after the batch's first `skip` changes, resolved.
    #[must_use]
    pub fn resolve(&self, skip: u32, part: &Part) -> Vec<Change> {
        let changes = self.batch.changes().skip(skip as usize).take(part.rows_max.max(1) as usize);
        let changes = changes.map(|change| Change::of(&self.current, self.groups(), &change));
        if part.chunks_max == u32::MAX || planted(Bug::ChunksUncapped) {
            return changes.collect();
        }
        let mut touched = Touched::default();
        changes.take_while(|change| touched.fits(&self.current, change, part.chunks_max)).collect()
    }

    /// Works a part out before its turn, as if it followed the cursor and its station's file had only ever been that.
    #[must_use]
    pub fn foresee(self, part: Part) -> Self {
        let began = Instant::now();
        let (lineage, groups) = (Lineage::new(self.batch.station), self.groups());
        let foresee = || Foreseen::of(&self.current, lineage, groups, self.resolve(0, &part), self.times);
        // What the program fails over is met again in its turn, where the change that it is can be found.
        let foreseen = catch_unwind(AssertUnwindSafe(foresee)).ok();
        self.stages.since(Stage::Plan, began);
        Self { foreseen: foreseen.map(|foreseen| (part, foreseen)), ..self }
    }

    /// What was foreseen of a part that begins after the batch's first `skip` changes.
    #[must_use]
    pub fn foreseen(&self, skip: u32, part: &Part) -> Option<&Foreseen> {
        let (of, foreseen) = self.foreseen.as_ref()?;
        (skip == 0 && *of == Part { known_to: of.known_to, ..part.clone() }).then_some(foreseen)
    }

    /// The groups by the served schema.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        self.projected.as_deref().unwrap_or(&self.batch.groups)
    }
}
