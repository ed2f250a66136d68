//! Statements of the ledger on SQLite. Every text is prepared once and kept.

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::file::{SqliteUpstream, failed};
use super::transaction::SqliteTransaction;
use super::values::at_text;
use crate::stores::sql::{Cell, Dialect, Each, Param, Record, Sql};
use crate::upstream::error::StoreError;

/// A set as a JSON array, which SQLite takes apart.
fn set<T: serde::Serialize>(values: &T) -> ToSqlOutput<'static> {
    let text = serde_json::to_string(values).expect("BUG: numbers and texts serialise");
    ToSqlOutput::Owned(Value::Text(text))
}

impl ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => number.to_sql(),
            Self::Int(int) => int.to_sql(),
            Self::Bool(yes) => yes.to_sql(),
            Self::Text(text) | Self::Json(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
            Self::Ms(ms) => Ok(ms.map_or(ToSqlOutput::Owned(Value::Null), |ms| at_text(ms).into())),
            Self::Uuid(uuid) => uuid.to_sql(),
            Self::Numbers(numbers) => Ok(set(numbers)),
            Self::Ints(None) => Ok(ToSqlOutput::Owned(Value::Null)),
            Self::Ints(Some(ints)) => Ok(set(ints)),
            Self::Texts(texts) => Ok(set(texts)),
        }
    }
}

fn cell(value: ValueRef<'_>) -> rusqlite::Result<Cell> {
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(int) => Cell::Int(int),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
    })
}

/// Runs a query of the ledger.
pub(super) fn query(connection: &Connection, sql: &str, params: &[Param]) -> rusqlite::Result<Vec<Record>> {
    let mut select = connection.prepare_cached(&Dialect::Sqlite.render(sql))?;
    let width = select.column_count();
    let mut rows = select.query(params_from_iter(params))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let cells: rusqlite::Result<Vec<Cell>> = (0..width).map(|at| cell(row.get_ref(at)?)).collect();
        records.push(Record::new(cells?));
    }
    Ok(records)
}

fn execute(connection: &Connection, sql: &str, params: &[Param]) -> rusqlite::Result<u64> {
    let written = connection.prepare_cached(&Dialect::Sqlite.render(sql))?.execute(params_from_iter(params))?;
    Ok(written as u64)
}

fn execute_each(connection: &Connection, each: &Each, params: &[Param], rows: &[Vec<Param>]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&Dialect::Sqlite.render_each(each, params.len() + 1))?;
    for row in rows {
        statement.execute(params_from_iter(params.iter().chain(row)))?;
    }
    Ok(())
}

#[async_trait]
impl Sql for SqliteTransaction<'_> {
    async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Record>, StoreError> {
        query(self.connection, sql, &params).map_err(failed)
    }

    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, StoreError> {
        execute(self.connection, sql, &params).map_err(failed)
    }

    async fn execute_each(&mut self, each: &Each, params: Vec<Param>, rows: Vec<Vec<Param>>) -> Result<(), StoreError> {
        execute_each(self.connection, each, &params, &rows).map_err(failed)
    }

    async fn lock_table(&mut self, _: &str) -> Result<(), StoreError> {
        // The transaction began as the one writer: everything is locked.
        Ok(())
    }
}

/// The ledger outside of a transaction: queries on the connection that answers in passing, writes on the writer's.
pub(super) struct Alone<'u>(pub(super) &'u SqliteUpstream);

#[async_trait]
impl Sql for Alone<'_> {
    async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Record>, StoreError> {
        let sql = sql.to_owned();
        SqliteUpstream::with(&self.0.reader, move |connection| query(connection, &sql, &params).map_err(failed)).await
    }

    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, StoreError> {
        let sql = sql.to_owned();
        SqliteUpstream::with(&self.0.writer, move |connection| execute(connection, &sql, &params).map_err(failed)).await
    }

    async fn execute_each(&mut self, each: &Each, params: Vec<Param>, rows: Vec<Vec<Param>>) -> Result<(), StoreError> {
        let each = *each;
        let run = move |connection: &mut Connection| execute_each(connection, &each, &params, &rows).map_err(failed);
        SqliteUpstream::with(&self.0.writer, run).await
    }

    async fn lock_table(&mut self, _: &str) -> Result<(), StoreError> {
        panic!("BUG: a lock lasts as long as its transaction, and there is none")
    }
}
