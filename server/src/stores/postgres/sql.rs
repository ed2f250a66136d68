//! Statements of the ledger on PostgreSQL: within a transaction prepared once per connection, outside of one with their
//! parameters' types, so that none is prepared before it is run; and rows as the ledger reads them.

use std::error::Error;

use async_trait::async_trait;
use bytes::BytesMut;
use postgres_types::{IsNull, ToSql, to_sql_checked};
use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row, Statement};

use super::connect::failed;
use super::pipeline::{Pipeline, sent};
use super::pool::{LOOKUP_SILENCE, PostgresUpstream, Purpose};
use super::transaction::PostgresTransaction;
use super::values::{JsonText, StampMs, UuidBytes};
use crate::stores::sql::{Cell, Dialect, Each, Param, Record, Sql};
use crate::upstream::error::StoreError;

impl ToSql for Param {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Number(number) => number.map(u32::cast_signed).to_sql(ty, out),
            Self::Int(int) => int.to_sql(ty, out),
            Self::Bool(yes) => yes.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Json(Some(text)) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            Self::Json(None) => Ok(IsNull::Yes),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
            Self::Ms(ms) => ms.map(StampMs).to_sql(ty, out),
            Self::Uuid(uuid) => UuidBytes(*uuid).to_sql(ty, out),
            Self::Numbers(numbers) => numbers.iter().map(|n| n.cast_signed()).collect::<Vec<i32>>().to_sql(ty, out),
            Self::Ints(ints) => ints.to_sql(ty, out),
            Self::Texts(texts) => texts.to_sql(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The type of a parameter.
const fn type_of(param: &Param) -> Type {
    match param {
        Param::Number(_) => Type::INT4,
        Param::Int(_) => Type::INT8,
        Param::Bool(_) => Type::BOOL,
        Param::Text(_) => Type::TEXT,
        Param::Json(_) => Type::JSON,
        Param::Bytes(_) => Type::BYTEA,
        Param::Ms(_) => Type::TIMESTAMPTZ,
        Param::Uuid(_) => Type::UUID,
        Param::Numbers(_) => Type::INT4_ARRAY,
        Param::Ints(_) => Type::INT8_ARRAY,
        Param::Texts(_) => Type::TEXT_ARRAY,
    }
}

/// The type of many parameters of one kind.
fn array_of(param: &Param) -> Type {
    match param {
        Param::Number(_) => Type::INT4_ARRAY,
        Param::Int(_) => Type::INT8_ARRAY,
        Param::Bool(_) => Type::BOOL_ARRAY,
        Param::Text(_) => Type::TEXT_ARRAY,
        Param::Json(_) => Type::JSON_ARRAY,
        Param::Bytes(_) => Type::BYTEA_ARRAY,
        Param::Ms(_) => Type::TIMESTAMPTZ_ARRAY,
        Param::Uuid(_) => Type::UUID_ARRAY,
        Param::Numbers(_) | Param::Ints(_) | Param::Texts(_) => panic!("BUG: there are no rows of sets"),
    }
}

fn cell(row: &Row, at: usize) -> Result<Cell, tokio_postgres::Error> {
    Ok(match *row.columns()[at].type_() {
        Type::INT4 => row.try_get::<_, Option<i32>>(at)?.map(|int| Cell::Int(int.into())),
        Type::INT8 => row.try_get::<_, Option<i64>>(at)?.map(Cell::Int),
        Type::BOOL => row.try_get::<_, Option<bool>>(at)?.map(Cell::Bool),
        Type::JSON => row.try_get::<_, Option<JsonText<'_>>>(at)?.map(|text| Cell::Text(text.0.to_owned())),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at)?.map(Cell::Bytes),
        Type::TIMESTAMPTZ => row.try_get::<_, Option<StampMs>>(at)?.map(|stamp| Cell::Ms(stamp.0)),
        Type::UUID => row.try_get::<_, Option<UuidBytes>>(at)?.map(|uuid| Cell::Uuid(uuid.0)),
        _ => row.try_get::<_, Option<String>>(at)?.map(Cell::Text),
    }
    .unwrap_or(Cell::Null))
}

fn record(row: &Row) -> Result<Record, tokio_postgres::Error> {
    let cells: Result<Vec<Cell>, _> = (0..row.len()).map(|at| cell(row, at)).collect();
    cells.map(Record::new)
}

fn typed(params: &[Param]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    params.iter().map(|param| (param as &(dyn ToSql + Sync), type_of(param))).collect()
}

fn values(params: &[Param]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}

fn records(rows: &[Row]) -> Result<Vec<Record>, StoreError> {
    rows.iter().map(|row| record(row).map_err(failed)).collect()
}

/// Rows of values as columns, and the types of all parameters: those that the rows share, then the columns. `None`
/// where there are no rows.
fn columns_of(shared: &[Param], rows: Vec<Vec<Param>>) -> Option<(Vec<Vec<Param>>, Vec<Type>)> {
    let first = rows.first()?;
    let types = shared.iter().map(type_of).chain(first.iter().map(array_of)).collect();
    let mut columns: Vec<Vec<Param>> = first.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for row in rows {
        for (column, param) in columns.iter_mut().zip(row) {
            column.push(param);
        }
    }
    Some((columns, types))
}

fn lock_sql(table: &str) -> String {
    format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
}

/// A connection at work for the ledger.
pub(super) struct Connected<'c, C>(pub(super) &'c C);

#[async_trait]
impl<C: GenericClient + Sync> Sql for Connected<'_, C> {
    async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Record>, StoreError> {
        records(&self.0.query_typed(&Dialect::Postgres.render(sql), &typed(&params)).await.map_err(failed)?)
    }

    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, StoreError> {
        self.0.execute_typed(&Dialect::Postgres.render(sql), &typed(&params)).await.map_err(failed)
    }

    async fn execute_each(&mut self, each: &Each, params: Vec<Param>, rows: Vec<Vec<Param>>) -> Result<(), StoreError> {
        let Some((columns, types)) = columns_of(&params, rows) else { return Ok(()) };
        let sql = Dialect::Postgres.render_each(each, params.len() + 1);
        let columns = columns.iter().map(|column| column as &(dyn ToSql + Sync));
        let typed: Vec<_> = values(&params).into_iter().chain(columns).zip(types).collect();
        self.0.execute_typed(&sql, &typed).await.map(|_| ()).map_err(failed)
    }

    async fn lock_table(&mut self, table: &str) -> Result<(), StoreError> {
        self.0.batch_execute(&lock_sql(table)).await.map_err(failed)
    }
}

impl PostgresTransaction<'_> {
    /// A statement of the ledger, prepared.
    async fn prepared(&self, sql: &str, params: &[Param]) -> Result<Statement, tokio_postgres::Error> {
        let types: Vec<Type> = params.iter().map(type_of).collect();
        self.pipeline.statement(sql, || Dialect::Postgres.render(sql), &types).await
    }
}

#[async_trait]
impl Sql for PostgresTransaction<'_> {
    async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Record>, StoreError> {
        self.begun().await?;
        let statement = self.prepared(sql, &params).await.map_err(failed)?;
        let rows = self.pipeline.told(self.pipeline.client.query(&statement, &values(&params))).await;
        records(&rows.map_err(failed)?)
    }

    async fn query_all(
        &mut self,
        asked: Vec<(&'static str, Vec<Param>)>,
    ) -> Result<Vec<Vec<Record>>, (usize, StoreError)> {
        let mut statements = Vec::with_capacity(asked.len());
        for (at, (sql, params)) in asked.iter().enumerate() {
            let types: Vec<Type> = params.iter().map(type_of).collect();
            let statement = match self.pipeline.known(sql, &types) {
                Some(statement) => statement,
                None => {
                    // Before anything waits for a lock: a failure to prepare would hide what became of that.
                    self.begun().await.map_err(|error| (at, error))?;
                    self.prepared(sql, params).await.map_err(|error| (at, failed(error)))?
                }
            };
            statements.push(statement);
        }
        let client = self.pipeline.client;
        let mut answers = Vec::with_capacity(asked.len());
        for ((_, params), statement) in asked.into_iter().zip(statements) {
            let ask = async move { client.query(&statement, &values(&params)).await };
            answers.push(sent(Box::pin(ask)).await);
        }
        self.begun().await.map_err(|error| (0, error))?;
        self.pipeline.done().await.map_err(|error| (0, failed(error)))?;
        let mut all = Vec::with_capacity(answers.len());
        for (at, answer) in answers.into_iter().enumerate() {
            let rows = self.pipeline.noted(answer.await).map_err(|error| (at, failed(error)))?;
            all.push(records(&rows).map_err(|error| (at, error))?);
        }
        Ok(all)
    }

    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, StoreError> {
        self.begun().await?;
        let statement = self.prepared(sql, &params).await.map_err(failed)?;
        self.pipeline.told(self.pipeline.client.execute(&statement, &values(&params))).await.map_err(failed)
    }

    async fn send(&mut self, sql: &str, params: Vec<Param>) -> Result<(), StoreError> {
        self.begun().await?;
        let statement = self.prepared(sql, &params).await.map_err(failed)?;
        let client = self.pipeline.client;
        let run = async move { client.execute(&statement, &values(&params)).await.map(|_| ()) };
        self.pipeline.send(run).await;
        Ok(())
    }

    async fn execute_each(&mut self, each: &Each, params: Vec<Param>, rows: Vec<Vec<Param>>) -> Result<(), StoreError> {
        self.begun().await?;
        let first = params.len() + 1;
        let Some((columns, types)) = columns_of(&params, rows) else { return Ok(()) };
        let render = || Dialect::Postgres.render_each(each, first);
        let statement = self.pipeline.statement(each.sql, render, &types).await.map_err(failed)?;
        let mut values = values(&params);
        values.extend(columns.iter().map(|column| column as &(dyn ToSql + Sync)));
        self.pipeline.told(self.pipeline.client.execute(&statement, &values)).await.map(|_| ()).map_err(failed)
    }

    async fn lock_table(&mut self, table: &str) -> Result<(), StoreError> {
        self.begun().await?;
        self.pipeline.told(self.pipeline.client.batch_execute(&lock_sql(table))).await.map_err(failed)
    }
}

/// The ledger outside of a transaction: each statement on whatever connection is free.
pub(super) struct Alone<'u>(pub(super) &'u PostgresUpstream);

impl Alone<'_> {
    /// A query, prepared: each request of a station begins with one. `None` when the connection's statements are of a
    /// schema from before.
    async fn ask(&self, sql: &str, params: &[Param]) -> Result<Option<Vec<Record>>, StoreError> {
        let mut lent = self.0.lend(Purpose::Lookup).await?;
        let connection = lent.connection();
        let pipeline = Pipeline::new(&connection.client, &connection.prepared);
        let asked = async {
            let types: Vec<Type> = params.iter().map(type_of).collect();
            let statement = pipeline.statement(sql, || Dialect::Postgres.render(sql), &types).await.map_err(failed)?;
            records(&pipeline.told(connection.client.query(&statement, &values(params))).await.map_err(failed)?)
        };
        let done = connection.pulse.watch(LOOKUP_SILENCE, asked).await;
        if done.is_err() && pipeline.met_older_statement() {
            self.0.forget_statements(connection.epoch);
            return Ok(None);
        }
        drop(pipeline);
        lent.end(done).map(Some)
    }
}

#[async_trait]
impl Sql for Alone<'_> {
    async fn query(&mut self, sql: &str, params: Vec<Param>) -> Result<Vec<Record>, StoreError> {
        loop {
            // Each round ends an epoch of connections, and those of the next know no statement yet.
            if let Some(records) = self.ask(sql, &params).await? {
                return Ok(records);
            }
        }
    }

    async fn execute(&mut self, sql: &str, params: Vec<Param>) -> Result<u64, StoreError> {
        let mut lent = self.0.lend(Purpose::Lookup).await?;
        let (client, pulse) = lent.take();
        let done = pulse.watch(LOOKUP_SILENCE, Connected(&*client).execute(sql, params)).await;
        lent.end(done)
    }

    async fn execute_each(&mut self, each: &Each, params: Vec<Param>, rows: Vec<Vec<Param>>) -> Result<(), StoreError> {
        let mut lent = self.0.lend(Purpose::Lookup).await?;
        let (client, pulse) = lent.take();
        let done = pulse.watch(LOOKUP_SILENCE, Connected(&*client).execute_each(each, params, rows)).await;
        lent.end(done)
    }

    async fn lock_table(&mut self, _: &str) -> Result<(), StoreError> {
        panic!("BUG: a lock lasts as long as its transaction, and there is none")
    }
}
