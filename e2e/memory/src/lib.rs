//! An upstream in memory, with the semantics of the databases: for the simulation and for tests. Nothing here waits, so
//! every future is ready at once. The contract suite, which every store passes, keeps it honest.

mod books;
mod cursors;
mod fleet;
mod lineage;
mod memory;
mod rejects;
mod rows;
mod state;
mod stations;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::value::{Value, ValueRef};
use tidemark_server::export::Export;
use tidemark_server::ledger::Ledger;
use tidemark_server::ledger::schemas::{KnownSchema, SchemaLedger};
use tidemark_server::survey::Survey;
use tidemark_server::upstream::{StoreError, Upstream, Work, no_cursor};

use self::books::{Alone, Books};
pub use self::memory::{Contents, MemoryUpstream};
use self::state::Prepared;
pub use self::state::{Constraint, Faults, Footprint, Moment, StoredRow, Trial};

#[async_trait]
impl<A: books::Access> SchemaLedger for Books<A> {
    async fn schemas(&mut self) -> Result<Vec<KnownSchema>, StoreError> {
        Ok(self.0.with(|session| session.state.known.clone()))
    }
}

impl MemoryUpstream {
    fn attempt(&self, work: &Work) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut books = Books(self.session(&mut state));
        books.0.prepared = *self.prepared();
        let result = self
            .at(Moment::Begin)
            .and_then(|()| work(&mut books).now_or_never().expect("BUG: memory never waits"))
            .and_then(|()| if planted(Bug::BookkeepingLost) { Ok(()) } else { books.0.told() })
            .and_then(|()| self.at(Moment::Commit));
        if result.is_ok() {
            books.0.commit();
        }
        *self.prepared() = books.0.prepared;
        drop(books);
        drop(state);
        result.and_then(|()| self.at(Moment::Committed))
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

    async fn probe(&self) -> Result<(), StoreError> {
        self.at(Moment::Begin)
    }

    async fn transact(&self, work: Work) -> Result<(), StoreError> {
        let done = self.attempt(&work);
        if !self.prepared().met_older || planted(Bug::StatementOfOldSchema) {
            return done;
        }
        // Over a connection that has no statements yet.
        *self.prepared() = Prepared::default();
        self.attempt(&work)
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
