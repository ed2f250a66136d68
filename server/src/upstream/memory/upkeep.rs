//! What is settled, thinned out in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tidemark_core::ids::StationNumber;

use super::{MemoryUpstream, rejects};
use crate::upstream::upkeep::{Thinned, Thinning, Upkeep};
use crate::upstream::{RejectState, StoreError};

#[async_trait]
impl Upkeep for MemoryUpstream {
    async fn thin(&self, thinning: &Thinning) -> Result<Thinned, StoreError> {
        let mut state = self.state();
        let (station, most) = (thinning.station.get(), thinning.rows_max as usize);
        let Some(stored) = state.cursors.get(&station).copied() else { return Ok(Thinned::default()) };
        let parents: BTreeSet<u64> = rejects::open(&state, station).filter_map(|reject| reject.parent).collect();
        let settled = state.rejects.range((station, 0)..=(station, stored.heard)).filter(|((_, seq), reject)| {
            reject.state != RejectState::Open
                && reject.resolved_at_ms.is_some_and(|at_ms| at_ms < thinning.before_ms)
                && !parents.contains(seq)
        });
        let settled: Vec<(u32, u64)> = settled.map(|(key, _)| *key).take(most).collect();
        settled.iter().for_each(|key| drop(state.rejects.remove(key)));
        let upto = stored.cursor.seq.saturating_sub(thinning.prints_kept);
        let batches = state.lines.thin(station, upto, thinning.before_ms, most);
        Ok(Thinned { rejects: settled.len() as u64, batches })
    }

    async fn heard(&self, station: StationNumber) -> Result<u64, StoreError> {
        Ok(self.state().cursors.get(&station.get()).map_or(0, |stored| stored.heard))
    }
}
