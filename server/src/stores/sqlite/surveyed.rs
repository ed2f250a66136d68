//! The survey of rows in the embedded upstream: one read transaction on a connection of its own, so that neither pushes
//! nor tokens wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use rusqlite::{Connection, Statement, ToSql};
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tidemark_core::value::ValueRef;
use tokio::time::Instant;

use super::file::{SqliteUpstream, failed};
use super::transaction::SqliteTransaction;
use super::values::{Parameter, typed_or_raw};
use crate::ledger::CursorLedger as _;
use crate::survey::{SURVEY_TIME, Scope, Survey};
use crate::upstream::error::StoreError;
use crate::upstream::{no_cursor, survey_too_long};

/// Rows between two looks at the clock, and at whether anybody still waits.
const ROWS_PER_LOOK: u32 = 1024;

/// Somebody waits for a survey until this is dropped.
struct Wanted(Arc<AtomicBool>);

impl Default for Wanted {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// How long a survey reads.
struct Until {
    ends: Instant,
    is_wanted: Arc<AtomicBool>,
}

impl Until {
    fn is_over(&self) -> bool {
        !self.is_wanted.load(Ordering::Relaxed) || Instant::now() >= self.ends
    }
}

impl SqliteUpstream {
    pub(super) async fn read_station(
        &self,
        station: StationNumber,
        survey: Survey,
    ) -> Result<(Cursor, Survey), StoreError> {
        let schema = Arc::clone(&self.schema);
        // Before a thread is taken: who hangs up while another survey runs leaves none behind.
        let turn = Arc::clone(&self.surveying).lock_owned().await;
        let wanted = Wanted::default();
        let is_wanted = Arc::clone(&wanted.0);
        let surveyed = Self::with(&self.surveyor, move |connection| {
            let _turn = turn;
            let mut survey = survey.over_whole_tables();
            let until = Until { ends: survey.ends(SURVEY_TIME), is_wanted };
            // One snapshot, until the connection's guard ends it.
            connection.execute_batch("BEGIN").map_err(failed)?;
            let mut ledger = SqliteTransaction { schema: &schema, connection };
            let cursor = ledger.cursor(station).now_or_never().expect("BUG: SQLite blocks, it never waits")?;
            let cursor = cursor.ok_or_else(|| no_cursor(station))?;
            let transaction = &*ledger.connection;
            while let Some(reading) = survey.next_reading() {
                let table = reading.table();
                let read = match &reading.scope {
                    // The table has no index on time, and a time written by hand may not sort as it should: all rows
                    // are read.
                    Scope::Span(_) => {
                        let mut select = select(transaction, table, "")?;
                        visit(&mut select, &[&station.get()], table, &mut survey, &until)?
                    }
                    Scope::Rows(rows) => {
                        let key = format!(" AND {} = ?2", quote(&table.key_column().name));
                        let mut select = select(transaction, table, &key)?;
                        let mut read = true;
                        for row in rows {
                            let of: [&dyn ToSql; 2] = [&station.get(), &Parameter(row.key.value())];
                            read = read && visit(&mut select, &of, table, &mut survey, &until)?;
                        }
                        read
                    }
                };
                if !read {
                    // What was answered by then goes out, and the station asks for the rest.
                    return if survey.cut() { Ok((cursor, survey)) } else { Err(survey_too_long(SURVEY_TIME)) };
                }
            }
            Ok((cursor, survey))
        })
        .await;
        drop(wanted);
        surveyed
    }
}

fn select<'c>(connection: &'c Connection, table: &Table, and: &str) -> Result<Statement<'c>, StoreError> {
    let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    let sql = format!("SELECT {} FROM {} WHERE \"station\" = ?1{and}", columns.join(", "), quote(&table.name));
    connection.prepare(&sql).map_err(failed)
}

/// Gives the survey the rows; `false` when the time was over before the last.
fn visit(
    select: &mut Statement<'_>,
    parameters: &[&dyn ToSql],
    table: &Table,
    survey: &mut Survey,
    until: &Until,
) -> Result<bool, StoreError> {
    let mut rows = select.query(parameters).map_err(failed)?;
    let mut read: u32 = 0;
    while let Some(row) = rows.next().map_err(failed)? {
        let cells = table.columns.iter().enumerate();
        let values: rusqlite::Result<Vec<ValueRef<'_>>> =
            cells.map(|(at, column)| Ok(typed_or_raw(column.ty, row.get_ref(at)?))).collect();
        survey.row(&values.map_err(failed)?).map_err(StoreError::Fault)?;
        read = read.wrapping_add(1);
        if read.is_multiple_of(ROWS_PER_LOOK) && until.is_over() {
            return Ok(false);
        }
    }
    Ok(true)
}
