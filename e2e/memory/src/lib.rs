//! An upstream in memory, with the semantics of the databases: for the simulation and for tests. Nothing here waits, so
//! every future is ready at once. The contract suite, which every store passes, keeps it honest.

mod books;
mod cursors;
mod lineage;
mod rejects;
mod rows;
mod state;
mod stations;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tidemark_core::decision::Cursor;
use tidemark_core::identity::Identity;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Schema;
use tidemark_core::value::{Value, ValueRef};
use tidemark_server::export::Export;
use tidemark_server::ledger::Ledger;
use tidemark_server::ledger::rejects::Reject;
use tidemark_server::ledger::schemas::{KnownSchema, SchemaLedger};
use tidemark_server::survey::Survey;
use tidemark_server::upstream::{StoreError, Upstream, Work, no_cursor};

use self::books::{Alone, Books};
pub use self::state::{Constraint, Faults, Footprint, Moment, StoredRow, Trial};
use self::state::{Session, State};

/// The contents of the store.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The rows of every table, by the table's number.
    pub rows: &'a [BTreeMap<Identity, StoredRow>],
    /// The rejected changes, by station and seq.
    pub rejects: &'a BTreeMap<(u32, u64), Reject>,
}

/// The store.
#[derive(Clone)]
pub struct MemoryUpstream {
    schema: Arc<Schema>,
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
        let rows = schema.tables().iter().map(|_| BTreeMap::new()).collect();
        let state = State { rows, known, ..State::default() };
        Self { schema, state: Arc::new(Mutex::new(state)), constraint: None, faults: None, trial: None }
    }

    /// Adds an older schema whose batches it takes.
    #[must_use]
    pub fn knowing(self, older: &Schema) -> Self {
        self.state()
            .known
            .push(KnownSchema { fingerprint: older.fingerprint().to_hex(), toml: older.source().to_owned() });
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

    fn session<'s>(&'s self, state: &'s mut State) -> Session<'s> {
        let (constraint, faults) = (self.constraint.as_deref(), self.faults.as_deref());
        Session::new(&self.schema, state, constraint, faults, self.trial.as_deref())
    }

    /// The store as the server sees it.
    #[must_use]
    pub fn upstream(&self) -> &dyn Upstream {
        self
    }
}

#[async_trait]
impl<A: books::Access> SchemaLedger for Books<A> {
    async fn schemas(&mut self) -> Result<Vec<KnownSchema>, StoreError> {
        Ok(self.0.with(|session| session.state.known.clone()))
    }
}

#[async_trait]
impl Upstream for MemoryUpstream {
    fn describe(&self) -> String {
        "memory: nothing outlives the process".to_owned()
    }

    async fn ready(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn transact(&self, work: Work) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut books = Books(self.session(&mut state));
        let result = self
            .at(Moment::Begin)
            .and_then(|()| work(&mut books).now_or_never().expect("BUG: memory never waits"))
            .and_then(|()| self.at(Moment::Commit));
        if result.is_ok() {
            books.0.commit();
        }
        drop(books);
        drop(state);
        result.and_then(|()| self.at(Moment::Committed))
    }

    fn ledger(&self) -> Box<dyn Ledger + '_> {
        Box::new(Books(Alone(self)))
    }

    async fn survey(&self, station: StationNumber, survey: Survey) -> Result<(Cursor, Survey), StoreError> {
        let mut survey = survey.over_whole_tables();
        let state = self.state();
        let cursor = state.cursors.get(&station.get()).ok_or_else(|| no_cursor(station))?.cursor;
        while let Some(reading) = survey.next_reading() {
            let table = reading.table();
            let missing = || StoreError::Fault(format!("table {} is not upstream", table.name));
            let index = self.schema.table_index(&table.name).ok_or_else(missing)?;
            let here = &self.schema.tables()[index];
            let columns: Option<Vec<usize>> =
                table.columns.iter().map(|column| here.column_index(&column.name)).collect();
            let columns = columns.ok_or_else(missing)?;
            for row in state.rows[index].values().filter(|row| row.station == station.get()) {
                let values: Vec<ValueRef<'_>> = columns.iter().map(|&at| Value::as_ref(&row.values[at])).collect();
                survey.row(&values).map_err(StoreError::Fault)?;
            }
        }
        Ok((cursor, survey))
    }

    async fn export(&self, mut export: Export) -> Result<Export, StoreError> {
        let state = self.state();
        let rows = |table: usize| state.rows[table].values();
        for table in export.tables() {
            for row in rows(table).filter(|row| export.wants(row.station)).collect::<Vec<_>>() {
                let values: Vec<ValueRef<'_>> = row.values.iter().map(Value::as_ref).collect();
                export.extent_of(table, &values).map_err(StoreError::Fault)?;
            }
        }
        export.settle().map_err(StoreError::Fault)?;
        for table in export.tables() {
            for row in rows(table).filter(|row| export.wants(row.station)).collect::<Vec<_>>() {
                let values: Vec<ValueRef<'_>> = row.values.iter().map(Value::as_ref).collect();
                export.row(table, &values).map_err(StoreError::Fault)?;
            }
        }
        Ok(export)
    }
}
