//! Lineages in memory.

use async_trait::async_trait;
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_server::ledger::lineage::{Fork, Former, Lineage, LineageLedger, LineageSummary, Parting};
use tidemark_server::upstream::StoreError;

use super::books::{Access, Books};
use super::state::{Descent, State};

fn summaries(state: &State) -> Vec<LineageSummary> {
    let numbers = state.stations.values().filter_map(|record| record.number);
    let mut summaries: Vec<LineageSummary> = numbers
        .map(|station| LineageSummary {
            station,
            former: state.descents.get(&station.get()).and_then(|descent| descent.former.first().copied()),
            fork: state.forks.get(&station.get()).copied(),
        })
        .filter(|summary| summary.former.is_some() || summary.fork.is_some())
        .collect();
    summaries.sort_by_key(|summary| summary.station);
    summaries
}

#[async_trait]
impl<A: Access> LineageLedger for Books<A> {
    async fn lineage(&mut self, station: StationNumber) -> Result<Lineage, StoreError> {
        Ok(self.0.with(|session| {
            let former = session.state.descents.get(&station.get()).map(|descent| descent.former.clone());
            let revoked = session.state.named(station.get()).is_some_and(|record| record.revoked_at_ms.is_some());
            Lineage { station, former: former.unwrap_or_default(), revoked }
        }))
    }

    async fn lineages(&mut self) -> Result<Vec<LineageSummary>, StoreError> {
        Ok(self.0.with(|session| summaries(session.state)))
    }

    async fn note_fork(&mut self, station: StationNumber, seq: u64, now_ms: i64) -> Result<(), StoreError> {
        self.0.with(|session| session.set_fork(station, Fork { seq, seen_at_ms: now_ms }));
        Ok(())
    }

    async fn successor(&mut self, station: StationNumber) -> Result<Option<StationNumber>, StoreError> {
        Ok(self.0.with(|session| session.state.successor(station)))
    }

    async fn replaces(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.0.with(|session| session.state.replacements.get(name).cloned()))
    }

    async fn set_replaces(&mut self, name: &str, replaces: &str) -> Result<(), StoreError> {
        self.0.with(|session| session.set_replacement(name, replaces));
        Ok(())
    }

    async fn continued(
        &mut self,
        former: StationNumber,
        common: u64,
        next: Chain,
    ) -> Result<Option<String>, StoreError> {
        let parting = Parting { common, next: Some(next) };
        Ok(self.0.with(|session| {
            let found = session.state.descents.iter().find(|(_, descent)| {
                descent.parting == parting && descent.former.first().is_some_and(|direct| direct.number == former)
            });
            found.and_then(|(&station, _)| session.state.named(station)).map(|record| record.name.clone())
        }))
    }

    async fn descend(&mut self, station: StationNumber, former: Former, parting: Parting) -> Result<(), StoreError> {
        self.0.with(|session| {
            let earlier = session.state.descents.get(&former.number.get()).map(|descent| descent.former.clone());
            let earlier = earlier.unwrap_or_default().into_iter();
            let earlier = earlier.map(|older| Former { owned: older.owned && former.owned, ..older });
            let former = std::iter::once(former).chain(earlier).collect();
            session.set_descent(station, Descent { parting, former });
        });
        Ok(())
    }
}
