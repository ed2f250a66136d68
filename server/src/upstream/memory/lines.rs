//! Lines of stations in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tidemark_core::chain::{Chain, Print};
use tidemark_core::ids::StationNumber;

use super::{CodeHash, MemoryTransaction, MemoryUpstream, State, Undo};
use crate::lines::{
    Fork, Former, History, Line, LineSummary, Parting, RejoinAsk, RejoinOutcome, ReplacementOutcome, rejoin,
};
use crate::stations::{NewStation, StationRecord};
use crate::upstream::lines::prints_after;
use crate::upstream::{LineTransaction, Lines, StoreError, Upstream as _};

/// A station's place in its line.
#[derive(Debug, Clone)]
pub(super) struct Descent {
    parting: Parting,
    /// The last number first.
    former: Vec<Former>,
}

/// The prints of a batch, and when it was applied.
#[derive(Debug, Clone)]
struct Applied {
    prints: Vec<Print>,
    at_ms: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct LineState {
    history: BTreeMap<(u32, u64), Applied>,
    forks: BTreeMap<u32, Fork>,
    replacements: BTreeMap<String, String>,
    descents: BTreeMap<u32, Descent>,
}

/// What undoes a write.
pub(super) enum LineUndo {
    History((u32, u64)),
    Fork(u32, Option<Fork>),
    Descent(u32, Option<Box<Descent>>),
}

impl LineState {
    pub(super) fn undo(&mut self, undo: LineUndo) {
        match undo {
            LineUndo::History(key) => drop(self.history.remove(&key)),
            LineUndo::Fork(station, Some(fork)) => drop(self.forks.insert(station, fork)),
            LineUndo::Fork(station, None) => drop(self.forks.remove(&station)),
            LineUndo::Descent(station, Some(descent)) => drop(self.descents.insert(station, *descent)),
            LineUndo::Descent(station, None) => drop(self.descents.remove(&station)),
        }
    }

    fn successor(&self, station: StationNumber) -> Option<StationNumber> {
        let replaced = Former { number: station, owned: true };
        let found = self.descents.iter().find(|(_, descent)| descent.former.first() == Some(&replaced));
        found.and_then(|(&number, _)| StationNumber::new(number).ok())
    }

    fn stored(&self, station: StationNumber) -> impl Iterator<Item = (u64, Vec<u8>)> + '_ {
        let range = self.history.range((station.get(), 0)..=(station.get(), u64::MAX));
        range.map(|((_, first_seq), batch)| (*first_seq, batch.prints.as_flattened().to_vec()))
    }

    /// Takes the first batches of a station away that end at or before `upto` and were applied before a time, at most `most`.
    pub(super) fn thin(&mut self, station: u32, upto: u64, before_ms: i64, most: usize) -> u64 {
        let range = self.history.range((station, 0)..=(station, u64::MAX)).take(most);
        let old = range.take_while(|((_, first_seq), batch)| {
            first_seq + batch.prints.len() as u64 <= upto + 1 && batch.at_ms < before_ms
        });
        let old: Vec<(u32, u64)> = old.map(|(key, _)| *key).collect();
        old.iter().for_each(|key| drop(self.history.remove(key)));
        old.len() as u64
    }
}

fn named(state: &State, number: u32) -> Option<&StationRecord> {
    state.stations.values().find(|station| station.number.map(StationNumber::get) == Some(number))
}

#[async_trait]
impl LineTransaction for MemoryTransaction<'_> {
    async fn line(&mut self, station: StationNumber) -> Result<Line, StoreError> {
        let former = self.state.lines.descents.get(&station.get()).map(|descent| descent.former.clone());
        let revoked = named(self.state, station.get()).is_some_and(|record| record.revoked_at_ms.is_some());
        Ok(Line { station, former: former.unwrap_or_default(), revoked })
    }

    async fn keep_history(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        prints: &[Print],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let key = (station.get(), first_seq);
        self.state.lines.history.insert(key, Applied { prints: prints.to_vec(), at_ms: now_ms });
        self.undo.push(Undo::Line(LineUndo::History(key)));
        Ok(())
    }

    async fn print_at(&mut self, station: StationNumber, seq: u64) -> Result<Option<Print>, StoreError> {
        let Some(after) = seq.checked_sub(1) else { return Ok(None) };
        let (first_seq, prints) = prints_after(self.state.lines.stored(station), after, 1);
        Ok(prints.first().copied().filter(|_| first_seq == seq))
    }

    async fn note_fork(&mut self, station: StationNumber, seq: u64, now_ms: i64) -> Result<(), StoreError> {
        let before = self.state.lines.forks.insert(station.get(), Fork { seq, seen_at_ms: now_ms });
        self.undo.push(Undo::Line(LineUndo::Fork(station.get(), before)));
        Ok(())
    }

    async fn successor(&mut self, station: StationNumber) -> Result<Option<StationNumber>, StoreError> {
        Ok(self.state.lines.successor(station))
    }

    async fn replaces(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.state.lines.replacements.get(name).cloned())
    }

    async fn continued(
        &mut self,
        former: StationNumber,
        common: u64,
        next: Chain,
    ) -> Result<Option<String>, StoreError> {
        let parting = Parting { common, next: Some(next) };
        let mut descents = self.state.lines.descents.iter();
        let found = descents.find(|(_, descent)| {
            descent.parting == parting && descent.former.first().is_some_and(|direct| direct.number == former)
        });
        Ok(found.and_then(|(&station, _)| named(self.state, station)).map(|record| record.name.clone()))
    }

    async fn descend(&mut self, station: StationNumber, former: Former, parting: Parting) -> Result<(), StoreError> {
        let earlier = self.state.lines.descents.get(&former.number.get()).map(|descent| descent.former.clone());
        let earlier = earlier.unwrap_or_default().into_iter();
        let earlier = earlier.map(|older| Former { owned: older.owned && former.owned, ..older });
        let descent = Descent { parting, former: std::iter::once(former).chain(earlier).collect() };
        let before = self.state.lines.descents.insert(station.get(), descent);
        self.undo.push(Undo::Line(LineUndo::Descent(station.get(), before.map(Box::new))));
        Ok(())
    }

    async fn revoke(&mut self, station: StationNumber, now_ms: i64) -> Result<(), StoreError> {
        let found = self.state.stations.iter_mut().find(|(_, record)| record.number == Some(station));
        if let Some((code, record)) = found {
            self.undo.push(Undo::Station(code.clone(), record.clone()));
            record.revoked_at_ms.get_or_insert(now_ms);
        }
        Ok(())
    }
}

#[async_trait]
impl Lines for MemoryUpstream {
    async fn rejoin(&self, ask: &RejoinAsk) -> Result<RejoinOutcome, StoreError> {
        let ask = ask.clone();
        self.transact(|tx| Box::pin(async move { rejoin(tx, &ask).await }))
    }

    async fn add_replacement(&self, station: &NewStation, replaces: &str) -> Result<ReplacementOutcome, StoreError> {
        {
            let state = self.state();
            match state.stations.values().find(|record| record.name == replaces) {
                Some(StationRecord { number: Some(number), .. }) => {
                    if state.lines.successor(*number).is_some() {
                        return Ok(ReplacementOutcome::Gone);
                    }
                }
                _ => return Ok(ReplacementOutcome::NoSuchStation),
            }
        }
        if !self.add_station(station).await? {
            return Ok(ReplacementOutcome::NameTaken);
        }
        let mut state = self.state();
        debug_assert!(state.stations.contains_key(&CodeHash(station.code_hash).to_string()));
        state.lines.replacements.insert(station.name.clone(), replaces.to_owned());
        Ok(ReplacementOutcome::Added)
    }

    async fn replaced_by(&self, station: StationNumber) -> Result<Option<String>, StoreError> {
        let state = self.state();
        let successor = state.lines.successor(station);
        Ok(successor.and_then(|number| named(&state, number.get())).map(|record| record.name.clone()))
    }

    async fn history(&self, station: StationNumber, after: u64, limit: usize) -> Result<Option<History>, StoreError> {
        let state = self.state();
        let Some(stored) = state.cursors.get(&station.get()) else { return Ok(None) };
        let (first_seq, prints) = prints_after(state.lines.stored(station), after, limit);
        Ok(Some(History { cursor: stored.cursor, first_seq, prints }))
    }

    async fn lines(&self) -> Result<Vec<LineSummary>, StoreError> {
        let state = self.state();
        let numbers = state.stations.values().filter_map(|record| record.number);
        let mut summaries: Vec<LineSummary> = numbers
            .map(|station| LineSummary {
                station,
                former: state.lines.descents.get(&station.get()).and_then(|descent| descent.former.first().copied()),
                fork: state.lines.forks.get(&station.get()).copied(),
            })
            .filter(|summary| summary.former.is_some() || summary.fork.is_some())
            .collect();
        summaries.sort_by_key(|summary| summary.station);
        Ok(summaries)
    }
}
