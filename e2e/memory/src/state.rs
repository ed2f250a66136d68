//! The contents of the store, and how a write is undone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidemark_core::chain::Print;
use tidemark_core::decision::Cursor;
use tidemark_core::identity::{Identity, Key};
use tidemark_core::ids::StationNumber;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::schema::{Schema, Table};
use tidemark_core::value::{Value, hex};
use tidemark_server::ingest::chunks::chunk_of;
use tidemark_server::ledger::fleet::Contact;
use tidemark_server::ledger::lineage::{Fork, Former, Parting};
use tidemark_server::ledger::rejects::{Reject, RejectState};
use tidemark_server::ledger::schemas::KnownSchema;
use tidemark_server::ledger::stations::StationRecord;
use tidemark_server::upstream::{Cause, StoreError};

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
pub(crate) type ConstraintFn = dyn Fn(&Table, &[Value]) -> Result<(), String> + Send + Sync;

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
    /// Prints are kept; nobody waits for it.
    KeepHistory,
    /// The cursor moves; nobody waits for it.
    Advance,
    /// Nothing is durable yet.
    Commit,
    /// All of it is durable, and nobody was told so yet.
    Committed,
}

/// Decides at each moment whether the database fails there, and how: for the simulation.
pub type Faults = Arc<FaultsFn>;
pub(crate) type FaultsFn = dyn Fn(Moment) -> Result<(), StoreError> + Send + Sync;

/// The writes of a transaction so far, for a [`Trial`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// The chunks of tables with a time column, by table and number, as TimescaleDB would cut them.
    pub chunks: BTreeSet<(usize, i64)>,
}

/// Looks at each row that is written or deleted, and at what its transaction has written with it, and refuses it or
/// panics: a limit or a trigger of the database's, for the simulation and for tests. The values of a deleted row are
/// not given.
pub type Trial = Arc<TrialFn>;
pub(crate) type TrialFn = dyn Fn(&Table, Option<&[Value]>, &Footprint) -> Result<(), StoreError> + Send + Sync;

#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredCursor {
    pub(crate) cursor: Cursor,
    pub(crate) updated_at_ms: i64,
    pub(crate) began: u64,
    pub(crate) heard: u64,
}

/// A station's place in its lineage.
#[derive(Debug, Clone)]
pub(crate) struct Descent {
    pub(crate) parting: Parting,
    /// The last number first.
    pub(crate) former: Vec<Former>,
}

/// The prints of a batch, and when it was applied.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) prints: Vec<Print>,
    pub(crate) at_ms: i64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) known: Vec<KnownSchema>,
    pub(crate) rows: Vec<BTreeMap<Identity, StoredRow>>,
    /// Under the hash of their code, hex.
    pub(crate) stations: BTreeMap<String, StationRecord>,
    pub(crate) cursors: BTreeMap<u32, StoredCursor>,
    pub(crate) rejects: BTreeMap<(u32, u64), Reject>,
    /// Hashes of tokens that ended, and whose they were.
    pub(crate) ended_tokens: BTreeMap<[u8; 32], u32>,
    pub(crate) history: BTreeMap<(u32, u64), Applied>,
    pub(crate) forks: BTreeMap<u32, Fork>,
    pub(crate) replacements: BTreeMap<String, String>,
    pub(crate) descents: BTreeMap<u32, Descent>,
    /// For display alone, so no transaction undoes it.
    pub(crate) contacts: BTreeMap<u32, Contact>,
    /// How often somebody has altered the tables.
    pub(crate) alterations: u64,
}

/// The text under which a station is kept.
pub(crate) fn code_of(code_hash: [u8; 32]) -> String {
    hex(&code_hash)
}

impl State {
    pub(crate) fn named(&self, number: u32) -> Option<&StationRecord> {
        self.stations.values().find(|station| station.number.map(StationNumber::get) == Some(number))
    }

    pub(crate) fn successor(&self, station: StationNumber) -> Option<StationNumber> {
        let replaced = Former { number: station, owned: true };
        let found = self.descents.iter().find(|(_, descent)| descent.former.first() == Some(&replaced));
        found.and_then(|(&number, _)| StationNumber::new(number).ok())
    }

    /// A station's open rejects.
    pub(crate) fn open_rejects(&self, station: u32) -> impl Iterator<Item = &Reject> {
        let of_station = self.rejects.range((station, 0)..=(station, u64::MAX)).map(|(_, reject)| reject);
        of_station.filter(|reject| reject.state == RejectState::Open)
    }
}

/// The former value of something that was written.
enum Undo {
    Row(usize, Identity, Option<StoredRow>),
    Station(String, Option<StationRecord>),
    EndedToken([u8; 32]),
    Cursor(u32, Option<StoredCursor>),
    Reject(u32, u64, Option<Reject>),
    History((u32, u64), Option<Applied>),
    Fork(u32, Option<Fork>),
    Replacement(String),
    Descent(u32, Option<Box<Descent>>),
}

/// Puts a former value back.
fn put_back<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, before: Option<V>) {
    match before {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// The statements that a connection has prepared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prepared {
    /// The tables' alterations until then; `None` while there are no statements.
    after: Option<u64>,
    /// One was refused, because the tables were altered since.
    pub(crate) met_older: bool,
}

/// Work on the state. What it wrote is undone when it is dropped, unless it was committed.
pub(crate) struct Session<'s> {
    pub(crate) schema: &'s Schema,
    pub(crate) state: &'s mut State,
    undo: Vec<Undo>,
    /// The length of the undo list, and the footprint, at each savepoint.
    marks: Vec<(usize, Footprint)>,
    pub(crate) constraint: Option<&'s ConstraintFn>,
    faults: Option<&'s FaultsFn>,
    trial: Option<&'s TrialFn>,
    footprint: Footprint,
    pub(crate) prepared: Prepared,
    /// The first failure of what nobody waits for. As PostgreSQL does, the database refuses all that follows.
    unseen: Option<StoreError>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !(planted(Bug::PanicLeavesRows) && std::thread::panicking()) {
            self.undo_to(0);
        }
    }
}

impl<'s> Session<'s> {
    pub(crate) fn new(
        schema: &'s Schema,
        state: &'s mut State,
        constraint: Option<&'s ConstraintFn>,
        faults: Option<&'s FaultsFn>,
        trial: Option<&'s TrialFn>,
    ) -> Self {
        let (undo, marks, footprint) = (Vec::new(), Vec::new(), Footprint::default());
        let (prepared, unseen) = (Prepared::default(), None);
        Self { schema, state, undo, marks, constraint, faults, trial, footprint, prepared, unseen }
    }

    fn fails_at(&self, moment: Moment) -> Result<(), StoreError> {
        self.faults.map_or(Ok(()), |faults| faults(moment))
    }

    /// A request whose answer is waited for, behind those of all that was sent before.
    pub(crate) fn at(&self, moment: Moment) -> Result<(), StoreError> {
        self.told()?;
        self.fails_at(moment)
    }

    /// Runs a statement for whose answer nobody waits. It fails at once where it cannot be sent; that the database has
    /// refused it is seen with the next answer that is waited for.
    pub(crate) fn send(&mut self, moment: Moment, run: impl FnOnce(&mut Self)) -> Result<(), StoreError> {
        if self.unseen.is_none() {
            match self.fails_at(moment) {
                Ok(()) => run(self),
                Err(error @ StoreError::Unavailable { .. }) => return Err(error),
                Err(error) => self.unseen = Some(error),
            }
        }
        Ok(())
    }

    /// Whether all that was sent has succeeded.
    pub(crate) fn told(&self) -> Result<(), StoreError> {
        self.unseen.clone().map_or(Ok(()), Err)
    }

    /// Uses a prepared statement. It is refused if the tables were altered since an earlier transaction prepared it.
    pub(crate) fn use_statement(&mut self) -> Result<(), StoreError> {
        let alterations = self.state.alterations;
        if *self.prepared.after.get_or_insert(alterations) == alterations {
            return Ok(());
        }
        self.prepared.met_older = true;
        let message = "cached plan must not change result type".to_owned();
        Err(StoreError::Refused { cause: Cause::sql_state("0A000"), message })
    }

    /// Everything stays. A database that has refused a part undoes all of it, and answers as if it had gone well.
    pub(crate) fn commit(&mut self) {
        if self.unseen.is_none() {
            self.undo.clear();
        }
    }

    pub(crate) fn mark(&mut self) {
        self.marks.push((self.undo.len(), self.footprint.clone()));
    }

    pub(crate) fn back_to_mark(&mut self) {
        let (mark, footprint) = self.marks.pop().expect("BUG: a savepoint was set");
        self.footprint = footprint;
        self.undo_to(mark);
    }

    pub(crate) fn drop_mark(&mut self) {
        self.marks.pop();
    }

    fn undo_to(&mut self, mark: usize) {
        let state = &mut *self.state;
        for undo in self.undo.drain(mark..).rev() {
            match undo {
                Undo::Row(table, identity, row) => put_back(&mut state.rows[table], identity, row),
                Undo::Station(code, station) => put_back(&mut state.stations, code, station),
                Undo::EndedToken(hash) => drop(state.ended_tokens.remove(&hash)),
                Undo::Cursor(station, cursor) => put_back(&mut state.cursors, station, cursor),
                Undo::Reject(station, seq, reject) => put_back(&mut state.rejects, (station, seq), reject),
                Undo::History(key, applied) => put_back(&mut state.history, key, applied),
                Undo::Fork(station, fork) => put_back(&mut state.forks, station, fork),
                Undo::Replacement(name) => drop(state.replacements.remove(&name)),
                Undo::Descent(station, descent) => {
                    put_back(&mut state.descents, station, descent.map(|descent| *descent));
                }
            }
        }
    }

    pub(crate) fn set_row(&mut self, table: usize, identity: Identity, row: Option<StoredRow>) {
        let before = match row {
            Some(row) => self.state.rows[table].insert(identity, row),
            None => self.state.rows[table].remove(&identity),
        };
        self.undo.push(Undo::Row(table, identity, before));
    }

    pub(crate) fn set_station(&mut self, code: String, record: Option<StationRecord>) {
        let before = match record {
            Some(record) => self.state.stations.insert(code.clone(), record),
            None => self.state.stations.remove(&code),
        };
        self.undo.push(Undo::Station(code, before));
    }

    pub(crate) fn end_token(&mut self, hash: [u8; 32], station: u32) {
        if self.state.ended_tokens.insert(hash, station).is_none() {
            self.undo.push(Undo::EndedToken(hash));
        }
    }

    pub(crate) fn set_cursor(&mut self, station: StationNumber, cursor: StoredCursor) {
        let before = self.state.cursors.insert(station.get(), cursor);
        self.undo.push(Undo::Cursor(station.get(), before));
    }

    pub(crate) fn set_reject(&mut self, reject: Reject) {
        let (station, seq) = (reject.station.get(), reject.seq);
        let before = self.state.rejects.insert((station, seq), reject);
        self.undo.push(Undo::Reject(station, seq, before));
    }

    pub(crate) fn forget_reject(&mut self, key: (u32, u64)) {
        let before = self.state.rejects.remove(&key);
        self.undo.push(Undo::Reject(key.0, key.1, before));
    }

    pub(crate) fn set_history(&mut self, key: (u32, u64), applied: Option<Applied>) {
        let before = match applied {
            Some(applied) => self.state.history.insert(key, applied),
            None => self.state.history.remove(&key),
        };
        self.undo.push(Undo::History(key, before));
    }

    pub(crate) fn set_fork(&mut self, station: StationNumber, fork: Fork) {
        let before = self.state.forks.insert(station.get(), fork);
        self.undo.push(Undo::Fork(station.get(), before));
    }

    pub(crate) fn set_replacement(&mut self, name: &str, replaces: &str) {
        self.state.replacements.insert(name.to_owned(), replaces.to_owned());
        self.undo.push(Undo::Replacement(name.to_owned()));
    }

    pub(crate) fn set_descent(&mut self, station: StationNumber, descent: Descent) {
        let before = self.state.descents.insert(station.get(), descent);
        self.undo.push(Undo::Descent(station.get(), before.map(Box::new)));
    }

    pub(crate) fn try_row(
        &mut self,
        index: usize,
        identity: Identity,
        values: Option<&[Value]>,
    ) -> Result<(), StoreError> {
        let Some(trial) = self.trial else { return Ok(()) };
        let table = &self.schema.tables()[index];
        self.footprint.chunks.extend(chunk_of(table, identity).map(|chunk| (index, chunk)));
        trial(table, values, &self.footprint)
    }

    /// Rows of a table with one of these keys. Keys are found by walking the table: rows are ordered by time first.
    pub(crate) fn with_keys<'k>(
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
