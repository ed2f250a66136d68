//! Stations in memory.

use async_trait::async_trait;
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_server::ledger::readers::{Reader, ReaderLedger};
use tidemark_server::ledger::stations::{JoinAsk, NewStation, StationBy, StationLedger, StationRecord, StationSummary};
use tidemark_server::upstream::StoreError;

use super::books::{Access, Books};
use super::state::{Session, State, StoredCursor, code_of};

fn gone() -> StoreError {
    StoreError::Fault("the station is gone".to_owned())
}

fn by_name(state: &State, name: &str) -> Option<(String, StationRecord)> {
    let found = state.stations.iter().find(|(_, record)| record.name == name);
    found.map(|(code, record)| (code.clone(), record.clone()))
}

fn by_token(state: &State, token_hash: [u8; 32]) -> Option<&StationRecord> {
    let number = state.ended_tokens.get(&token_hash).and_then(|&number| StationNumber::new(number).ok());
    let has = |station: &&StationRecord| {
        station.token_hash == Some(token_hash) || number.is_some() && station.number == number
    };
    state.stations.values().find(has)
}

fn summaries(state: &State) -> Vec<StationSummary> {
    let mut summaries: Vec<StationSummary> = state
        .stations
        .values()
        .map(|record| {
            let number = record.number.map_or(0, StationNumber::get);
            let cursor = state.cursors.get(&number);
            StationSummary {
                record: record.clone(),
                tidemark: cursor.map_or(0, |stored| stored.cursor.seq),
                updated_at_ms: cursor.map(|stored| stored.updated_at_ms),
                rejects: state.open_rejects(number).count() as u64,
                clock_offset_ms: None,
            }
        })
        .collect();
    summaries.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    summaries
}

fn renew_code(session: &mut Session<'_>, code: &NewStation) -> Result<(), StoreError> {
    let (old, before) = by_name(session.state, &code.name).ok_or_else(gone)?;
    let renewed = StationRecord {
        code_expires_at_ms: code.code_expires_at_ms,
        token_ended_at_ms: before.token_hash.map(|_| before.token_ended_at_ms.unwrap_or(code.now_ms)),
        revoked_at_ms: None,
        ..before
    };
    if let (Some(hash), Some(number)) = (renewed.token_hash, renewed.number) {
        session.end_token(hash, number.get());
    }
    session.set_station(old, None);
    session.set_station(code_of(code.code_hash), Some(renewed));
    Ok(())
}

#[async_trait]
impl<A: Access> StationLedger for Books<A> {
    async fn lock_stations(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn stations(&mut self) -> Result<Vec<StationSummary>, StoreError> {
        Ok(self.0.with(|session| summaries(session.state)))
    }

    async fn station(&mut self, by: StationBy<'_>) -> Result<Option<StationRecord>, StoreError> {
        if matches!(by, StationBy::Code(_) | StationBy::Token(_)) {
            self.0.read()?;
        }
        Ok(self.0.with(|Session { state, .. }| match by {
            StationBy::Code(hash) => state.stations.get(&code_of(hash)).cloned(),
            StationBy::Name(name) => by_name(state, name).map(|(_, record)| record),
            StationBy::Number(number) => state.named(number.get()).cloned(),
            StationBy::Token(hash) => by_token(state, hash).cloned(),
            StationBy::Uuid(uuid) => state.stations.values().find(|station| station.uuid == Some(uuid)).cloned(),
        }))
    }

    async fn last_number(&mut self) -> Result<u32, StoreError> {
        let last = |session: &mut Session<'_>| {
            session.state.stations.values().filter_map(|station| station.number).max().map_or(0, StationNumber::get)
        };
        Ok(self.0.with(last))
    }

    async fn invite(&mut self, station: &NewStation) -> Result<bool, StoreError> {
        Ok(self.0.with(|session| {
            if by_name(session.state, &station.name).is_some() {
                return false;
            }
            let record = StationRecord {
                name: station.name.clone(),
                number: None,
                uuid: None,
                token_hash: None,
                token_ended_at_ms: None,
                code_expires_at_ms: station.code_expires_at_ms,
                joined_at_ms: None,
                revoked_at_ms: None,
            };
            session.set_station(code_of(station.code_hash), Some(record));
            true
        }))
    }

    async fn assign(
        &mut self,
        name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError> {
        self.0.with(|session| {
            let (code, before) = by_name(session.state, name).ok_or_else(gone)?;
            let joined = StationRecord {
                number: Some(number),
                uuid: Some(ask.uuid),
                token_hash: Some(ask.token_hash),
                joined_at_ms: Some(ask.now_ms),
                ..before
            };
            session.set_station(code, Some(joined));
            let cursor = Cursor { seq: 0, chain: start };
            session.set_cursor(number, StoredCursor { cursor, updated_at_ms: ask.now_ms, began: 0, heard: 0 });
            Ok(())
        })
    }

    async fn renew_code(&mut self, code: &NewStation) -> Result<(), StoreError> {
        self.0.with(|session| renew_code(session, code))
    }

    async fn renew_token(&mut self, name: &str, token_hash: [u8; 32]) -> Result<(), StoreError> {
        self.0.with(|session| {
            let ended = session.state.ended_tokens.contains_key(&token_hash);
            if let Some((code, before)) = by_name(session.state, name) {
                let token_ended_at_ms = before.token_ended_at_ms.filter(|_| ended);
                let renewed = StationRecord { token_hash: Some(token_hash), token_ended_at_ms, ..before };
                session.set_station(code, Some(renewed));
            }
        });
        Ok(())
    }

    async fn revoke(&mut self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        Ok(self.0.with(|session| {
            let Some((code, before)) = by_name(session.state, name) else { return false };
            let revoked_at_ms = Some(before.revoked_at_ms.unwrap_or(now_ms));
            session.set_station(code, Some(StationRecord { revoked_at_ms, ..before }));
            true
        }))
    }

    async fn rename(&mut self, name: &str, to: &str) -> Result<bool, StoreError> {
        Ok(self.0.with(|session| {
            let Some((code, before)) = by_name(session.state, name) else { return false };
            session.set_station(code, Some(StationRecord { name: to.to_owned(), ..before }));
            true
        }))
    }
}

/// Nobody reads reports from memory: it has none.
#[async_trait]
impl<A: Access> ReaderLedger for Books<A> {
    async fn add_reader(&mut self, _: &str, _: [u8; 32], _: i64) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn revoke_reader(&mut self, _: &str, _: i64) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn readers(&mut self) -> Result<Vec<Reader>, StoreError> {
        Ok(Vec::new())
    }

    async fn reader_by_token(&mut self, _: [u8; 32]) -> Result<Option<Reader>, StoreError> {
        Ok(None)
    }
}
