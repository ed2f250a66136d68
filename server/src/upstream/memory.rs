//! An upstream in memory, with the semantics of the others: for the simulation and for tests. Nothing here waits, so every future is ready
//! at once.

mod exported;
mod lines;
mod rejects;
mod surveyed;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidemark_core::batch::Group;
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::RejectCode;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::{Value, ValueRef};

use self::lines::{LineState, LineUndo};
use super::{KnownSchema, Reject, StoreError, StoreTransaction, Upstream};
use crate::ingest::apply::{Job, Outcome, Part, apply};
use crate::ingest::chunks::chunk_of;
use crate::ingest::plan::TableWrites;
use crate::ingest::questions::{ColumnAt, Facts, Identity, Key, Questions, identity_of};
use crate::lines::Line;
use crate::stations::{
    JoinAsk, JoinOutcome, NewStation, RotateOutcome, StationRecord, StationSummary, join, renew, rotate,
};

/// A row as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow {
    /// The station that wrote it.
    pub station: u32,
    /// Its values, in the schema's column order.
    pub values: Vec<Value>,
}

/// A constraint beyond the schema: says why a row breaks it.
pub type Constraint = Arc<ConstraintFn>;
type ConstraintFn = dyn Fn(&Table, &[Value]) -> Result<(), String> + Send + Sync;

/// A moment at which a database may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// A question outside of a transaction.
    Read,
    /// The transaction begins.
    Begin,
    /// The cursor is locked.
    LockCursor,
    /// Questions about rows.
    Facts,
    /// Rows are written.
    Write,
    /// Rejects are kept.
    StoreRejects,
    /// The cursor moves.
    Advance,
    /// Nothing is durable yet.
    Commit,
    /// All of it is durable, and nobody was told so yet.
    Committed,
}

/// Decides at each moment whether the database fails there, and how: for the simulation.
pub type Faults = Arc<FaultsFn>;
type FaultsFn = dyn Fn(Moment) -> Result<(), StoreError> + Send + Sync;

/// What a transaction has written so far, for a [`Trial`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The chunks of tables with a time column, by table and number, as TimescaleDB would cut them.
    pub chunks: BTreeSet<(usize, i64)>,
}

/// Looks at each row that is written or deleted, and at what its transaction has written with it, and refuses it or panics: a limit or a
/// trigger of the database's, for the simulation and for tests. The values of a deleted row are not given.
pub type Trial = Arc<TrialFn>;
type TrialFn = dyn Fn(&Table, Option<&[Value]>, &Footprint) -> Result<(), StoreError> + Send + Sync;

/// What a database holds.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The rows of every table, by the table's number.
    pub rows: &'a [BTreeMap<Identity, StoredRow>],
    /// The rejected changes, by station and seq.
    pub rejects: &'a BTreeMap<(u32, u64), Reject>,
}

#[derive(Debug, Clone, Copy)]
struct StoredCursor {
    cursor: Cursor,
    updated_at_ms: i64,
    began: u64,
    heard: u64,
}

#[derive(Debug, Clone, Default)]
struct State {
    rows: Vec<BTreeMap<Identity, StoredRow>>,
    stations: BTreeMap<String, StationRecord>,
    cursors: BTreeMap<u32, StoredCursor>,
    rejects: BTreeMap<(u32, u64), Reject>,
    lines: LineState,
    /// Hashes of tokens that ended, and whose they were.
    ended_tokens: BTreeMap<[u8; 32], u32>,
}

/// What undoes a write.
enum Undo {
    Row(usize, Identity, Option<StoredRow>),
    Station(String, StationRecord),
    NewCode(String),
    EndedToken([u8; 32]),
    Cursor(u32, Option<StoredCursor>),
    Reject(u32, u64, Option<Reject>),
    Line(LineUndo),
}

/// The store.
#[derive(Clone)]
pub struct MemoryUpstream {
    schema: Arc<Schema>,
    known: Vec<KnownSchema>,
    state: Arc<Mutex<State>>,
    constraint: Option<Constraint>,
    faults: Option<Faults>,
    trial: Option<Trial>,
}

impl MemoryUpstream {
    /// An empty one.
    #[must_use]
    pub fn new(schema: Arc<Schema>) -> Self {
        let known = vec![KnownSchema { fingerprint: schema.fingerprint().to_hex(), toml: schema.source().to_owned() }];
        let state = State { rows: schema.tables().iter().map(|_| BTreeMap::new()).collect(), ..State::default() };
        Self { schema, known, state: Arc::new(Mutex::new(state)), constraint: None, faults: None, trial: None }
    }

    /// Adds an older schema whose batches it takes.
    #[must_use]
    pub fn knowing(mut self, older: &Schema) -> Self {
        self.known.push(KnownSchema { fingerprint: older.fingerprint().to_hex(), toml: older.source().to_owned() });
        self
    }

    /// Adds a constraint beyond the schema.
    #[must_use]
    pub fn with_constraint(mut self, constraint: Constraint) -> Self {
        self.constraint = Some(constraint);
        self
    }

    /// Adds limits and triggers.
    #[must_use]
    pub fn with_trial(mut self, trial: Trial) -> Self {
        self.trial = Some(trial);
        self
    }

    /// Adds failures.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Looks at everything there is. `look` must not call the store.
    pub fn inspect<R>(&self, look: impl FnOnce(Contents<'_>) -> R) -> R {
        let state = self.state();
        look(Contents { rows: &state.rows, rejects: &state.rejects })
    }

    /// Every row of a table.
    #[must_use]
    pub fn rows(&self, table: usize) -> Vec<StoredRow> {
        self.state().rows.get(table).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, moment: Moment) -> Result<(), StoreError> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults(moment))
    }

    /// Runs a transaction: what it wrote stays if it succeeds.
    fn transact<R>(
        &self,
        run: impl for<'t> FnOnce(&'t mut MemoryTransaction<'_>) -> BoxFuture<'t, Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        let mut state = self.state();
        let mut transaction = MemoryTransaction {
            schema: &self.schema,
            state: &mut state,
            undo: Vec::new(),
            marks: Vec::new(),
            constraint: self.constraint.as_deref(),
            faults: self.faults.as_deref(),
            trial: self.trial.as_deref(),
            work: Footprint::default(),
        };
        let result = self
            .at(Moment::Begin)
            .and_then(|()| run(&mut transaction).now_or_never().expect("BUG: memory never waits"))
            .and_then(|done| self.at(Moment::Commit).map(|()| done));
        if result.is_ok() {
            transaction.undo.clear();
        }
        drop(transaction);
        drop(state);
        result.and_then(|done| self.at(Moment::Committed).map(|()| done))
    }
}

struct MemoryTransaction<'s> {
    schema: &'s Schema,
    state: &'s mut State,
    undo: Vec<Undo>,
    /// Where the undo list and the footprint were at each savepoint.
    marks: Vec<(usize, Footprint)>,
    constraint: Option<&'s ConstraintFn>,
    faults: Option<&'s FaultsFn>,
    trial: Option<&'s TrialFn>,
    work: Footprint,
}

impl Drop for MemoryTransaction<'_> {
    /// Undoes what was not committed, however the work on it ended: a commit leaves nothing to undo.
    fn drop(&mut self) {
        if !(planted(Bug::PanicLeavesRows) && std::thread::panicking()) {
            self.undo_to(0);
        }
    }
}

impl MemoryTransaction<'_> {
    fn at(&self, moment: Moment) -> Result<(), StoreError> {
        self.faults.map_or(Ok(()), |faults| faults(moment))
    }

    fn undo_to(&mut self, mark: usize) {
        while self.undo.len() > mark {
            match self.undo.pop() {
                Some(Undo::Row(table, identity, Some(row))) => drop(self.state.rows[table].insert(identity, row)),
                Some(Undo::Row(table, identity, None)) => drop(self.state.rows[table].remove(&identity)),
                Some(Undo::Station(name, station)) => drop(self.state.stations.insert(name, station)),
                Some(Undo::NewCode(code)) => drop(self.state.stations.remove(&code)),
                Some(Undo::EndedToken(hash)) => drop(self.state.ended_tokens.remove(&hash)),
                Some(Undo::Cursor(station, Some(cursor))) => drop(self.state.cursors.insert(station, cursor)),
                Some(Undo::Cursor(station, None)) => drop(self.state.cursors.remove(&station)),
                Some(Undo::Reject(station, seq, Some(reject))) => {
                    drop(self.state.rejects.insert((station, seq), reject));
                }
                Some(Undo::Reject(station, seq, None)) => drop(self.state.rejects.remove(&(station, seq))),
                Some(Undo::Line(undo)) => self.state.lines.undo(undo),
                None => {}
            }
        }
    }

    fn set_row(&mut self, table: usize, identity: Identity, row: Option<StoredRow>) {
        let before = match row {
            Some(row) => self.state.rows[table].insert(identity, row),
            None => self.state.rows[table].remove(&identity),
        };
        self.undo.push(Undo::Row(table, identity, before));
    }

    fn set_cursor(&mut self, station: StationNumber, cursor: StoredCursor) {
        let before = self.state.cursors.insert(station.get(), cursor);
        self.undo.push(Undo::Cursor(station.get(), before));
    }

    fn set_reject(&mut self, reject: Reject) {
        let (station, seq) = (reject.station.get(), reject.seq);
        let before = self.state.rejects.insert((station, seq), reject);
        self.undo.push(Undo::Reject(station, seq, before));
    }

    fn try_row(&mut self, index: usize, identity: Identity, values: Option<&[Value]>) -> Result<(), StoreError> {
        let Some(trial) = self.trial else { return Ok(()) };
        let table = &self.schema.tables()[index];
        self.work.chunks.extend(chunk_of(table, identity).map(|chunk| (index, chunk)));
        trial(table, values, &self.work)
    }

    /// Rows of a table with one of these keys. Keys are found by walking the table: rows are ordered by time first.
    fn with_keys<'k>(
        &'k self,
        table: usize,
        keys: &'k BTreeSet<Key>,
    ) -> Box<dyn Iterator<Item = (Identity, &'k StoredRow)> + 'k> {
        let rows = &self.state.rows[table];
        if self.schema.tables()[table].time.is_none() {
            let identities = keys.iter().map(|&key| Identity { time_us: 0, key });
            return Box::new(identities.filter_map(|identity| Some((identity, rows.get(&identity)?))));
        }
        Box::new(
            rows.iter().filter(|(identity, _)| keys.contains(&identity.key)).map(|(identity, row)| (*identity, row)),
        )
    }
}

#[async_trait]
impl StoreTransaction for MemoryTransaction<'_> {
    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        self.at(Moment::LockCursor)?;
        Ok(self.state.cursors.get(&station.get()).map(|stored| stored.cursor))
    }

    async fn facts(&mut self, line: &Line, questions: &Questions) -> Result<Facts, StoreError> {
        self.at(Moment::Facts)?;
        let mut facts = Facts::default();
        for (&table, keys) in &questions.present {
            for (identity, _) in self.with_keys(table, keys) {
                facts.present.entry((table, identity.key)).or_default().insert(identity.time_us);
            }
        }
        for (&table, keys) in &questions.foreign {
            for (identity, row) in self.with_keys(table, keys).filter(|(_, row)| !line.owns(row.station)) {
                facts.foreign.insert((table, identity.key), row.station);
            }
        }
        for (&at, keys) in &questions.children {
            for row in self.state.rows[at.table].values() {
                if let Some(key) = Key::of(row.values[at.column].as_ref()).filter(|key| keys.contains(key)) {
                    *facts.children.entry((at, key)).or_default() += 1;
                }
            }
        }
        for (&table, keys) in &questions.holders {
            for column in questions.holder_columns(table) {
                let at = ColumnAt { table, column };
                for (identity, row) in self.with_keys(table, keys) {
                    facts.holders.insert((at, identity.key), Key::of(row.values[column].as_ref()));
                }
            }
        }
        Ok(facts)
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.marks.push((self.undo.len(), self.work.clone()));
        Ok(())
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        let (mark, work) = self.marks.pop().expect("BUG: a savepoint was set");
        self.work = work;
        self.undo_to(mark);
        Ok(())
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.marks.pop();
        Ok(())
    }

    async fn write(&mut self, line: &Line, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        self.at(Moment::Write)?;
        for write in writes {
            let table = &self.schema.tables()[write.table];
            for at in write.fresh.iter().chain(&write.upserts) {
                let group = &groups[at.group as usize];
                let identity = identity_of(table, group, at.row as usize).expect("BUG: a planned row has an identity");
                let values: Vec<Value> = group.row(at.row as usize).map(ValueRef::to_owned).collect();
                self.try_row(write.table, identity, Some(&values))?;
                if let Some(constraint) = self.constraint {
                    constraint(table, &values).map_err(StoreError::Violation)?;
                }
                if self.state.rows[write.table].get(&identity).is_some_and(|row| !line.owns(row.station)) {
                    return Err(StoreError::Violation("the row belongs to another station".to_owned()));
                }
                self.set_row(write.table, identity, Some(StoredRow { station: line.station.get(), values }));
            }
        }
        for write in writes.iter().rev() {
            for identity in &write.deletes {
                self.try_row(write.table, *identity, None)?;
                if self.state.rows[write.table].get(identity).is_some_and(|row| line.owns(row.station)) {
                    self.set_row(write.table, *identity, None);
                }
            }
        }
        Ok(())
    }

    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError> {
        self.at(Moment::StoreRejects)?;
        for reject in rejects {
            self.set_reject(reject);
        }
        Ok(())
    }

    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError> {
        let range = self.state.rejects.range((station.get(), first_seq)..=(station.get(), last_seq));
        Ok(range.filter(|(_, reject)| reject.origin == "server").map(|(_, reject)| rejected_change(reject)).collect())
    }

    async fn advance(
        &mut self,
        station: StationNumber,
        cursor: Cursor,
        began: u64,
        now_ms: i64,
        _clock_offset_ms: i64,
    ) -> Result<(), StoreError> {
        self.at(Moment::Advance)?;
        let (before, heard) =
            self.state.cursors.get(&station.get()).map_or((0, 0), |stored| (stored.began, stored.heard));
        let heard = heard.max(before.min(began));
        self.set_cursor(station, StoredCursor { cursor, updated_at_ms: now_ms, began, heard });
        Ok(())
    }

    async fn lock_stations(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn station_by_code(&mut self, code_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        let code = CodeHash(code_hash).to_string();
        Ok(self.state.stations.get(&code).cloned())
    }

    async fn station_by_name(&mut self, name: &str) -> Result<Option<StationRecord>, StoreError> {
        Ok(self.state.stations.values().find(|station| station.name == name).cloned())
    }

    async fn station_by_uuid(&mut self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        Ok(self.state.stations.values().find(|station| station.uuid == Some(uuid)).cloned())
    }

    async fn last_number(&mut self) -> Result<u32, StoreError> {
        Ok(self.state.stations.values().filter_map(|station| station.number).max().map_or(0, StationNumber::get))
    }

    async fn assign(
        &mut self,
        _name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError> {
        let code = CodeHash(ask.code_hash).to_string();
        let before = self.state.stations.get(&code).cloned();
        let before = before.ok_or_else(|| StoreError::Fault("the station is gone".to_owned()))?;
        let joined = StationRecord {
            number: Some(number),
            uuid: Some(ask.uuid),
            token_hash: Some(ask.token_hash),
            joined_at_ms: Some(ask.now_ms),
            ..before.clone()
        };
        self.state.stations.insert(code.clone(), joined);
        self.undo.push(Undo::Station(code, before));
        let cursor = Cursor { seq: 0, chain: start };
        self.set_cursor(number, StoredCursor { cursor, updated_at_ms: ask.now_ms, began: 0, heard: 0 });
        Ok(())
    }

    async fn renew_code(&mut self, station: &StationRecord, code: &NewStation) -> Result<(), StoreError> {
        let found = self.state.stations.iter().find(|(_, record)| record.name == station.name);
        let old = found.map(|(old, _)| old.clone()).ok_or_else(|| StoreError::Fault("the station is gone".into()))?;
        let Some(before) = self.state.stations.remove(&old) else { return Ok(()) };
        let renewed = StationRecord {
            code_expires_at_ms: code.code_expires_at_ms,
            token_ended_at_ms: before.token_hash.map(|_| before.token_ended_at_ms.unwrap_or(code.now_ms)),
            revoked_at_ms: None,
            ..before.clone()
        };
        self.undo.push(Undo::Station(old, before));
        if let (Some(hash), Some(number)) = (renewed.token_hash, renewed.number)
            && self.state.ended_tokens.insert(hash, number.get()).is_none()
        {
            self.undo.push(Undo::EndedToken(hash));
        }
        let new = CodeHash(code.code_hash).to_string();
        self.state.stations.insert(new.clone(), renewed);
        self.undo.push(Undo::NewCode(new));
        Ok(())
    }

    async fn renew_token(&mut self, name: &str, token_hash: [u8; 32]) -> Result<(), StoreError> {
        let ended = self.state.ended_tokens.contains_key(&token_hash);
        if let Some((code, record)) = self.state.stations.iter_mut().find(|(_, record)| record.name == name) {
            self.undo.push(Undo::Station(code.clone(), record.clone()));
            record.token_hash = Some(token_hash);
            record.token_ended_at_ms = record.token_ended_at_ms.filter(|_| ended);
        }
        Ok(())
    }
}

/// Stations are kept under the hash of their code.
struct CodeHash([u8; 32]);

impl std::fmt::Display for CodeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&tidemark_core::value::hex(&self.0))
    }
}

/// What a duplicate's reply says of a kept reject.
#[must_use]
pub(crate) fn rejected_change(reject: &Reject) -> RejectedChange {
    let code = RejectCode::from_text(&reject.code).unwrap_or(RejectCode::Constraint);
    RejectedChange { seq: reject.seq, code, message: reject.message.clone() }
}

#[async_trait]
impl Upstream for MemoryUpstream {
    fn describe(&self) -> String {
        "memory: nothing outlives the process".to_owned()
    }

    async fn apply(&self, job: Arc<Job>, part: Part) -> Result<Outcome, StoreError> {
        self.transact(|tx| Box::pin(async move { apply(tx, &job, &part).await }))
    }

    async fn knows_code(&self, code_hash: [u8; 32]) -> Result<bool, StoreError> {
        self.at(Moment::Read)?;
        Ok(self.state().stations.contains_key(&CodeHash(code_hash).to_string()))
    }

    async fn join(&self, ask: &JoinAsk) -> Result<JoinOutcome, StoreError> {
        let ask = ask.clone();
        self.transact(|tx| Box::pin(async move { join(tx, &ask).await }))
    }

    async fn renew(&self, ask: &JoinAsk, number: StationNumber) -> Result<JoinOutcome, StoreError> {
        let ask = ask.clone();
        self.transact(|tx| Box::pin(async move { renew(tx, &ask, number).await }))
    }

    async fn rotate_station(&self, code: &NewStation) -> Result<RotateOutcome, StoreError> {
        let code = code.clone();
        self.transact(|tx| Box::pin(async move { rotate(tx, &code).await }))
    }

    async fn add_station(&self, station: &NewStation) -> Result<bool, StoreError> {
        let mut state = self.state();
        if state.stations.values().any(|known| known.name == station.name) {
            return Ok(false);
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
        state.stations.insert(CodeHash(station.code_hash).to_string(), record);
        Ok(true)
    }

    async fn revoke_station(&self, name: &str, now_ms: i64) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(station) = state.stations.values_mut().find(|station| station.name == name) else { return Ok(false) };
        station.revoked_at_ms.get_or_insert(now_ms);
        Ok(true)
    }

    async fn stations(&self) -> Result<Vec<StationSummary>, StoreError> {
        let state = self.state();
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
                    rejects: rejects::open(&state, number).count() as u64,
                }
            })
            .collect();
        summaries.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(summaries)
    }

    async fn station_by_token(&self, token_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        self.at(Moment::Read)?;
        let state = self.state();
        let number = state.ended_tokens.get(&token_hash).and_then(|&number| StationNumber::new(number).ok());
        let has = |station: &&StationRecord| {
            station.token_hash == Some(token_hash) || number.is_some() && station.number == number
        };
        Ok(state.stations.values().find(has).cloned())
    }

    async fn station_by_uuid(&self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        Ok(self.state().stations.values().find(|station| station.uuid == Some(uuid)).cloned())
    }

    async fn cursor(&self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        self.at(Moment::Read)?;
        Ok(self.state().cursors.get(&station.get()).map(|stored| stored.cursor))
    }

    async fn schemas(&self) -> Result<Vec<KnownSchema>, StoreError> {
        Ok(self.known.clone())
    }

    async fn ready(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}
