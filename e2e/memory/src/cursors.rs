//! Cursors and histories in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use tidemark_core::chain::Print;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_server::ledger::cursors::{Advance, CursorLedger, History, Thinned, Thinning, prints_after};
use tidemark_server::ledger::rejects::RejectState;
use tidemark_server::upstream::StoreError;

use super::books::{Access, Books};
use super::state::{Applied, Moment, Session, StoredCursor};

fn thin(session: &mut Session<'_>, thinning: &Thinning) -> Thinned {
    let (station, most) = (thinning.station.get(), thinning.rows_max as usize);
    let Some(stored) = session.state.cursors.get(&station).copied() else { return Thinned::default() };
    let parents: BTreeSet<u64> = session.state.open_rejects(station).filter_map(|reject| reject.parent).collect();
    let settled = session.state.rejects.range((station, 0)..=(station, stored.heard)).filter(|((_, seq), reject)| {
        reject.state != RejectState::Open
            && reject.resolved_at_ms.is_some_and(|at_ms| at_ms < thinning.before_ms)
            && !parents.contains(seq)
    });
    let settled: Vec<(u32, u64)> = settled.map(|(key, _)| *key).take(most).collect();
    let upto = stored.cursor.seq.saturating_sub(thinning.prints_kept);
    let old = session.state.history.range((station, 0)..=(station, u64::MAX)).take(most);
    let old = old.take_while(|((_, first_seq), batch)| {
        first_seq + batch.prints.len() as u64 <= upto + 1 && batch.at_ms < thinning.before_ms
    });
    let old: Vec<(u32, u64)> = old.map(|(key, _)| *key).collect();
    settled.iter().for_each(|key| session.forget_reject(*key));
    old.iter().for_each(|key| session.set_history(*key, None));
    Thinned { rejects: settled.len() as u64, batches: old.len() as u64 }
}

#[async_trait]
impl<A: Access> CursorLedger for Books<A> {
    async fn cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        self.0.read()?;
        Ok(self.0.with(|session| session.state.cursors.get(&station.get()).map(|stored| stored.cursor)))
    }

    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        self.0.with(|session| {
            session.at(Moment::LockCursor)?;
            Ok(session.state.cursors.get(&station.get()).map(|stored| stored.cursor))
        })
    }

    async fn advance(&mut self, advance: &Advance) -> Result<(), StoreError> {
        let Advance { station, cursor, began, now_ms, .. } = *advance;
        let advance = |session: &mut Session<'_>| {
            let stored = session.state.cursors.get(&station.get());
            let (before, heard) = stored.map_or((0, 0), |stored| (stored.began, stored.heard));
            let heard = if before < began { heard.max(before) } else { heard };
            session.set_cursor(station, StoredCursor { cursor, updated_at_ms: now_ms, began, heard });
        };
        self.0.with(|session| session.send(Moment::Advance, advance))
    }

    async fn heard(&mut self, station: StationNumber) -> Result<u64, StoreError> {
        Ok(self.0.with(|session| session.state.cursors.get(&station.get()).map_or(0, |stored| stored.heard)))
    }

    async fn keep_history(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        prints: &[Print],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let applied = Applied { prints: prints.to_vec(), at_ms: now_ms };
        let keep = |session: &mut Session<'_>| session.set_history((station.get(), first_seq), Some(applied));
        self.0.with(|session| session.send(Moment::KeepHistory, keep))
    }

    async fn history(
        &mut self,
        station: StationNumber,
        after: u64,
        limit: usize,
    ) -> Result<Option<History>, StoreError> {
        Ok(self.0.with(|session| {
            let cursor = session.state.cursors.get(&station.get())?.cursor;
            let range = session.state.history.range((station.get(), 0)..=(station.get(), u64::MAX));
            let stored = range.map(|((_, first), batch)| (*first, batch.prints.as_flattened().to_vec()));
            let (first_seq, prints) = prints_after(stored, after, limit);
            Some(History { cursor, first_seq, prints })
        }))
    }

    async fn thin(&mut self, thinning: &Thinning) -> Result<Thinned, StoreError> {
        Ok(self.0.with(|session| thin(session, thinning)))
    }
}
