//! Rejects in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use tidemark_core::identity::Key;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::schema::Schema;
use tidemark_server::ledger::lineage::Lineage;
use tidemark_server::ledger::rejects::{
    AppliedRow, Reject, RejectFilter, RejectHead, RejectLedger, RejectState, RejectedRow, Settled,
};
use tidemark_server::upstream::StoreError;

use super::books::{Access, Books};
use super::state::{Moment, Session, State};

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

fn limit_of(filter: &RejectFilter) -> usize {
    filter.limit.map_or(usize::MAX, |limit| limit as usize)
}

fn supersede(session: &mut Session<'_>, schema: &Schema, lineage: &Lineage, applied: &[AppliedRow], now_ms: i64) {
    let last: HashMap<(&str, String), u64> =
        applied.iter().map(|row| ((schema.tables()[row.table].name.as_str(), row.key.to_string()), row.seq)).collect();
    let is_old = |reject: &&Reject| {
        let key = reject.key.clone().and_then(|key| last.get(&(reject.table.as_str(), key)));
        key.is_some_and(|&seq| reject.station != lineage.station || seq > reject.seq)
    };
    let state = &*session.state;
    let open = lineage.owned().flat_map(|number| state.open_rejects(number));
    let old: Vec<Reject> = open.filter(is_old).cloned().collect();
    for reject in old {
        session.set_reject(Reject { state: RejectState::Superseded, resolved_at_ms: Some(now_ms), ..reject });
    }
}

#[async_trait]
impl<A: Access> RejectLedger for Books<A> {
    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError> {
        self.0.with(|session| {
            session.at(Moment::StoreRejects)?;
            rejects.for_each(|reject| session.set_reject(reject));
            Ok(())
        })
    }

    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError> {
        Ok(self.0.with(|session| {
            let range = session.state.rejects.range((station.get(), first_seq)..=(station.get(), last_seq));
            range.map(|(_, reject)| reject).filter(|reject| reject.origin == "server").map(Reject::verdict).collect()
        }))
    }

    async fn list_rejects(&mut self, filter: &RejectFilter) -> Result<Vec<Reject>, StoreError> {
        Ok(self.0.with(|Session { state, .. }| {
            let matching = state.rejects.values().filter(|reject| matches(state, filter, reject));
            let mut found: Vec<Reject> = matching.cloned().collect();
            found.sort_by_key(|reject| std::cmp::Reverse((reject.received_at_ms, reject.station, reject.seq)));
            found.truncate(limit_of(filter));
            found
        }))
    }

    async fn reject_heads(&mut self, filter: &RejectFilter) -> Result<Vec<RejectHead>, StoreError> {
        let head = |reject: &Reject| RejectHead {
            station: reject.station,
            seq: reject.seq,
            state: reject.state,
            image_bytes: reject.image.as_ref().map(|image| image.len() as u64),
        };
        Ok(self.0.with(|Session { state, .. }| {
            let found = state.rejects.values().filter(|reject| matches(state, filter, reject));
            found.take(limit_of(filter)).map(head).collect()
        }))
    }

    async fn open_by_code(&mut self) -> Result<Vec<(String, u64)>, StoreError> {
        self.0.with(|session| {
            let mut counts = BTreeMap::<String, u64>::new();
            for reject in session.state.rejects.values().filter(|reject| reject.state == RejectState::Open) {
                *counts.entry(reject.code.clone()).or_default() += 1;
            }
            Ok(counts.into_iter().collect())
        })
    }

    async fn rejected_rows(
        &mut self,
        schema: &Schema,
        station: StationNumber,
        keys: &BTreeMap<usize, BTreeSet<Key>>,
    ) -> Result<HashMap<(usize, Key), RejectedRow>, StoreError> {
        Ok(self.0.with(|session| {
            let mut rows = HashMap::new();
            for (&table, keys) in keys {
                let keys: HashMap<String, Key> = keys.iter().map(|key| (key.to_string(), *key)).collect();
                let name = &schema.tables()[table].name;
                let open = session.state.open_rejects(station.get());
                // In seq order, so the newest stays.
                for reject in open.filter(|reject| reject.table == *name && reject.op != "delete") {
                    if let Some(&key) = reject.key.as_ref().and_then(|key| keys.get(key)) {
                        rows.insert((table, key), RejectedRow { seq: reject.seq, code: reject.code.clone() });
                    }
                }
            }
            rows
        }))
    }

    async fn supersede(
        &mut self,
        schema: &Schema,
        lineage: &Lineage,
        applied: &[AppliedRow],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.0.with(|session| supersede(session, schema, lineage, applied, now_ms));
        Ok(())
    }

    async fn settle(&mut self, station: StationNumber, settled: &[Settled], now_ms: i64) -> Result<(), StoreError> {
        self.0.with(|session| {
            for change in settled {
                let Some(reject) = session.state.rejects.get(&(station.get(), change.seq)) else { continue };
                let mut reject = reject.clone();
                reject.state = change.state;
                reject.resolved_at_ms = (change.state != RejectState::Open).then_some(now_ms);
                if let Some((code, message)) = change.reason.clone() {
                    (reject.code, reject.message, reject.parent) = (code, message, change.parent);
                }
                session.set_reject(reject);
            }
        });
        Ok(())
    }
}
