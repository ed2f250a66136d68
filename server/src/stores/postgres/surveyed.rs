//! The survey of rows in PostgreSQL: one read-only transaction on one snapshot, rows streamed as they come.

use futures_util::TryStreamExt as _;
use postgres_types::ToSql;
use tidemark_core::decision::Cursor;
use tidemark_core::identity::{Identity, Key};
use tidemark_core::ids::StationNumber;
use tidemark_core::schema::Table;
use tidemark_core::sqlite::quote;
use tidemark_core::survey::Range;
use tidemark_core::timestamp::{FIRST_US, LAST_US};
use tokio_postgres::types::Type;
use tokio_postgres::{IsolationLevel, Transaction};

use super::connect::failed;
use super::pool::{LOOKUP_SILENCE, Lent, PostgresUpstream, Purpose};
use super::sql::Connected;
use super::transaction::BEGIN_SILENCE;
use super::values::{KeyArray, StampUs, UuidBytes, select_sql, values_of};
use crate::ledger::CursorLedger as _;
use crate::survey::{Reading, Scope, Survey};
use crate::upstream::error::StoreError;
use crate::upstream::{no_cursor, survey_too_long};

const SETTINGS: &str = "SET LOCAL statement_timeout = '45s'; SET LOCAL lock_timeout = '10s'; \
    SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL TIME ZONE 'UTC'";

type Parameter = (Box<dyn ToSql + Send + Sync>, Type);

impl PostgresUpstream {
    pub(super) async fn read_station(
        &self,
        station: StationNumber,
        mut survey: Survey,
    ) -> Result<(Cursor, Survey), StoreError> {
        let mut lent = self.lend(Purpose::Work).await?;
        let done = self.survey_on(&mut lent, station, &mut survey).await;
        Ok((lent.end(done)?, survey))
    }

    async fn survey_on(
        &self,
        lent: &mut Lent<'_>,
        station: StationNumber,
        survey: &mut Survey,
    ) -> Result<Cursor, StoreError> {
        let ends = survey.ends(self.survey_time);
        let (client, pulse) = lent.take();
        let begin = async {
            let builder = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
            let transaction = builder.start().await.map_err(failed)?;
            transaction.batch_execute(SETTINGS).await.map_err(failed)?;
            let cursor = Connected(&transaction).cursor(station).await?.ok_or_else(|| no_cursor(station))?;
            Ok((transaction, cursor))
        };
        let (transaction, cursor) = pulse.watch(LOOKUP_SILENCE, begin).await?;
        let number = station.get().cast_signed();
        while let Some(reading) = survey.next_reading() {
            let read =
                pulse.watch(self.survey_time + LOOKUP_SILENCE, self.read(&transaction, number, &reading, survey));
            match tokio::time::timeout_at(ends, read).await {
                Ok(read) => read?,
                // The connection knows that it is still at work, and ends the statement. What was answered by then
                // goes out, and the station asks for the rest.
                Err(_) => return if survey.cut() { Ok(cursor) } else { Err(survey_too_long(self.survey_time)) },
            }
        }
        pulse.watch(BEGIN_SILENCE, async { transaction.commit().await.map_err(failed) }).await?;
        Ok(cursor)
    }
}

impl PostgresUpstream {
    async fn read(
        &self,
        transaction: &Transaction<'_>,
        station: i32,
        reading: &Reading,
        survey: &mut Survey,
    ) -> Result<(), StoreError> {
        let table = reading.table();
        let mut parameters: Vec<Parameter> = vec![(Box::new(station), Type::INT4)];
        let mut and = String::new();
        match &reading.scope {
            Scope::Span(range) => span_condition(table, range, &mut and, &mut parameters),
            Scope::Rows(rows) => rows_condition(table, rows, &mut and, &mut parameters),
        }
        let sql = format!("{} WHERE \"station\" = $1{and}", select_sql(&self.schema, table));
        let parameters = parameters.iter().map(|(value, ty)| (&**value as &(dyn ToSql + Sync), ty.clone()));
        let rows = transaction.query_typed_raw(&sql, parameters).await.map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            survey.row(&values_of(&row, table)?).map_err(StoreError::Fault)?;
        }
        Ok(())
    }
}

/// ` AND column op $n`, with its parameter.
fn compare(column: &str, op: &str, value: Parameter, and: &mut String, parameters: &mut Vec<Parameter>) {
    parameters.push(value);
    and.push_str(&format!(" AND {} {op} ${}", quote(column), parameters.len()));
}

/// Times between `first_us` and `last_us`, so that TimescaleDB reads no chunk for nothing. What lies beyond the years
/// that can be said is not bounded: there may be rows that somebody wrote by hand.
fn time_condition(table: &Table, first_us: i64, last_us: i64, and: &mut String, parameters: &mut Vec<Parameter>) {
    let Some(time) = table.time_column() else { return };
    let stamp = |us: i64| -> Parameter { (Box::new(StampUs(us)), Type::TIMESTAMPTZ) };
    if first_us > FIRST_US {
        compare(&time.name, ">=", stamp(first_us), and, parameters);
    }
    if last_us < LAST_US {
        compare(&time.name, "<=", stamp(last_us), and, parameters);
    }
}

/// No less than the rows of a range.
fn span_condition(table: &Table, range: &Range, and: &mut String, parameters: &mut Vec<Parameter>) {
    if table.time.is_some() {
        let bound = |identity: Option<Identity>, none| identity.map_or(none, |identity| identity.time_us);
        return time_condition(table, bound(range.from, i64::MIN), bound(range.to, i64::MAX), and, parameters);
    }
    let key = &table.key_column().name;
    for (bound, op) in [(range.from, ">="), (range.to, "<")] {
        let Some(identity) = bound else { continue };
        let value: Parameter = match identity.key {
            Key::Integer(id) => (Box::new(id), Type::INT8),
            Key::Uuid(uuid) => (Box::new(UuidBytes(uuid)), Type::UUID),
        };
        compare(key, op, value, and, parameters);
    }
}

/// The rows with one of these keys, within their times.
fn rows_condition(table: &Table, rows: &[Identity], and: &mut String, parameters: &mut Vec<Parameter>) {
    let keys = KeyArray::new(table.key_column().ty, rows.iter().map(|row| &row.key));
    let any = format!("= ANY (${}::{})", parameters.len() + 1, keys.sql_type());
    parameters.push(keys.into_parameter());
    and.push_str(&format!(" AND {} {any}", quote(&table.key_column().name)));
    let times = rows.iter().map(|row| row.time_us);
    time_condition(table, times.clone().min().unwrap_or(i64::MIN), times.max().unwrap_or(i64::MAX), and, parameters);
}
