//! Rejected changes in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use tidemark_core::batch::Group;
use tidemark_core::ids::StationNumber;

use super::{MemoryTransaction, MemoryUpstream, State};
use crate::ingest::plan::Step;
use crate::ingest::questions::Key;
use crate::ingest::replay::{self, Replay, ReplayOutcome};
use crate::lines::Line;
use crate::upstream::StoreError;
use crate::upstream::isolate::{IsolateTransaction, Isolated, one_by_one};
use crate::upstream::rejects::{
    AppliedRow, Reject, RejectFilter, RejectHead, RejectState, RejectStore, RejectTransaction, RejectedRow, Settled,
};

fn of(state: &State, station: u32) -> impl Iterator<Item = &Reject> {
    state.rejects.range((station, 0)..=(station, u64::MAX)).map(|(_, reject)| reject)
}

/// A station's open rejects.
pub(super) fn open(state: &State, station: u32) -> impl Iterator<Item = &Reject> {
    of(state, station).filter(|reject| reject.state == RejectState::Open)
}

fn matches(state: &State, filter: &RejectFilter, reject: &Reject) -> bool {
    let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let is_child = |seqs: &Vec<u64>| {
        let at = |seq: u64| state.rejects.get(&(reject.station.get(), seq));
        let parent = reject.parent.and_then(at);
        parent.is_some_and(|parent| {
            let same_row = |other: &Reject| other.table == parent.table && other.key == parent.key;
            parent.key.is_some() && seqs.iter().filter_map(|&seq| at(seq)).any(same_row)
        })
    };
    filter.station.is_none_or(|station| station == reject.station)
        && filter.seqs.as_ref().is_none_or(|seqs| seqs.contains(&reject.seq))
        && filter.children_of.as_ref().is_none_or(is_child)
        && same(&filter.table, &reject.table)
        && same(&filter.code, &reject.code)
        && filter.state.is_none_or(|state| state == reject.state)
}

#[async_trait]
impl RejectTransaction for MemoryTransaction<'_> {
    async fn has_open_rejects(&mut self, line: &Line) -> Result<bool, StoreError> {
        Ok(line.owned().any(|number| open(self.state, number).next().is_some()))
    }

    async fn rejected_rows(
        &mut self,
        station: StationNumber,
        keys: &BTreeMap<usize, BTreeSet<Key>>,
    ) -> Result<HashMap<(usize, Key), RejectedRow>, StoreError> {
        let mut rows = HashMap::new();
        for (&table, keys) in keys {
            let keys: HashMap<String, Key> = keys.iter().map(|key| (key.to_string(), *key)).collect();
            let name = &self.schema.tables()[table].name;
            let of_rows =
                open(self.state, station.get()).filter(|reject| reject.table == *name && reject.op != "delete");
            // In seq order, so the newest stays.
            for reject in of_rows {
                if let Some(&key) = reject.key.as_ref().and_then(|key| keys.get(key)) {
                    rows.insert((table, key), RejectedRow { seq: reject.seq, code: reject.code.clone() });
                }
            }
        }
        Ok(rows)
    }

    async fn supersede(&mut self, line: &Line, applied: &[AppliedRow], now_ms: i64) -> Result<(), StoreError> {
        let last: HashMap<(&str, String), u64> = applied
            .iter()
            .map(|row| ((self.schema.tables()[row.table].name.as_str(), row.key.to_string()), row.seq))
            .collect();
        let is_old = |reject: &&Reject| {
            let key = reject.key.clone().and_then(|key| last.get(&(reject.table.as_str(), key)));
            key.is_some_and(|&seq| reject.station != line.station || seq > reject.seq)
        };
        let state = &*self.state;
        let old: Vec<Reject> = line.owned().flat_map(|number| open(state, number)).filter(is_old).cloned().collect();
        for reject in old {
            self.set_reject(Reject { state: RejectState::Superseded, resolved_at_ms: Some(now_ms), ..reject });
        }
        Ok(())
    }

    async fn open_rejects(&mut self, station: StationNumber, seqs: &[u64]) -> Result<Vec<Reject>, StoreError> {
        Ok(open(self.state, station.get()).filter(|reject| seqs.contains(&reject.seq)).cloned().collect())
    }

    async fn settle(&mut self, station: StationNumber, settled: &[Settled], now_ms: i64) -> Result<(), StoreError> {
        for change in settled {
            let Some(reject) = self.state.rejects.get(&(station.get(), change.seq)) else { continue };
            let mut reject = reject.clone();
            reject.state = change.state;
            reject.resolved_at_ms = (change.state != RejectState::Open).then_some(now_ms);
            if let Some((code, message)) = change.reason.clone() {
                (reject.code, reject.message, reject.parent) = (code, message, change.parent);
            }
            self.set_reject(reject);
        }
        Ok(())
    }
}

#[async_trait]
impl IsolateTransaction for MemoryTransaction<'_> {
    async fn write_each(&mut self, line: &Line, groups: &[Group], steps: &[Step]) -> Result<Isolated, StoreError> {
        let schema = self.schema;
        one_by_one(self, schema, line, groups, steps).await
    }
}

#[async_trait]
impl RejectStore for MemoryUpstream {
    async fn list_rejects(&self, filter: &RejectFilter) -> Result<Vec<Reject>, StoreError> {
        let state = self.state();
        let mut found: Vec<Reject> =
            state.rejects.values().filter(|reject| matches(&state, filter, reject)).cloned().collect();
        found.sort_by_key(|reject| std::cmp::Reverse((reject.received_at_ms, reject.station, reject.seq)));
        found.truncate(filter.limit.map_or(usize::MAX, |limit| limit as usize));
        Ok(found)
    }

    async fn reject_heads(&self, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError> {
        let state = self.state();
        let found = state.rejects.values().filter(|reject| matches(&state, filter, reject));
        let head = |reject: &Reject| RejectHead {
            station: reject.station,
            seq: reject.seq,
            state: reject.state,
            image_bytes: reject.image.as_ref().map(|image| image.len() as u64),
        };
        Ok(found.take(filter.limit.map_or(usize::MAX, |limit| limit as usize)).map(head).collect())
    }

    async fn replay(&self, replay: Arc<Replay>) -> Result<ReplayOutcome, StoreError> {
        self.transact(|tx| Box::pin(async move { replay::replay(tx, &replay).await }))
    }

    async fn close(
        &self,
        station: StationNumber,
        seqs: &[u64],
        state: RejectState,
        now_ms: i64,
    ) -> Result<Vec<u64>, StoreError> {
        let seqs = seqs.to_vec();
        self.transact(|tx| Box::pin(async move { replay::close(tx, station, &seqs, state, now_ms).await }))
    }
}
