//! The store transaction on PostgreSQL: every question and every write is one statement per table, whatever the number of rows.

use std::collections::BTreeSet;
use std::error::Error;

use async_trait::async_trait;
use bytes::BytesMut;
use postgres_types::{FromSql, IsNull, ToSql, accepts, to_sql_checked};
use tidemark_core::batch::Group;
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;
use tidemark_core::postgres::{primary_key, qualified};
use tidemark_core::protocol::RejectedChange;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::timestamp::{FIRST_US, LAST_US};
use tidemark_core::value::{ColumnType, ValueRef};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::copy::{EPOCH_2000_US, copy_rows};
use super::failed;
use super::ranges::ranges;
use super::rejects::{self, REJECT_COLUMNS, reject_of};
use super::reports;
use crate::ingest::check::RowAt;
use crate::ingest::plan::TableWrites;
use crate::ingest::questions::{ColumnAt, Facts, Key, Questions};
use crate::lines::Line;
use crate::stations::{JoinAsk, NewStation, StationRecord};
use crate::upstream::memory::rejected_change;
use crate::upstream::{Reject, StoreError, StoreTransaction};

/// A `timestamptz`, microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct StampUs(pub i64);

/// A `timestamptz`, milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct StampMs(pub i64);

impl ToSql for StampUs {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let us = self.0.clamp(FIRST_US, LAST_US) - EPOCH_2000_US;
        out.extend_from_slice(&us.to_be_bytes());
        Ok(IsNull::No)
    }
    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for StampUs {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_2000_US)))
    }
    accepts!(TIMESTAMPTZ);
}

impl ToSql for StampMs {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        StampUs(self.0.saturating_mul(1000)).to_sql(ty, out)
    }
    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for StampMs {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(StampUs::from_sql(ty, raw)?.0.div_euclid(1000)))
    }
    accepts!(TIMESTAMPTZ);
}

/// A uuid as its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct UuidBytes(pub [u8; 16]);

impl ToSql for UuidBytes {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for UuidBytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }
    accepts!(UUID);
}

/// JSON's text, to the letter.
pub(super) struct JsonText<'a>(pub(super) &'a str);

impl<'a> FromSql<'a> for JsonText<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?))
    }
    accepts!(JSON);
}

/// A cell by its column's type.
pub(super) fn cell(row: &Row, at: usize, ty: ColumnType) -> Result<ValueRef<'_>, tokio_postgres::Error> {
    let value = match ty {
        ColumnType::Integer => row.try_get::<_, Option<i64>>(at)?.map(ValueRef::Integer),
        ColumnType::Real => row.try_get::<_, Option<f64>>(at)?.map(ValueRef::Real),
        ColumnType::Text => row.try_get::<_, Option<&str>>(at)?.map(ValueRef::Text),
        ColumnType::Boolean => row.try_get::<_, Option<bool>>(at)?.map(ValueRef::Boolean),
        ColumnType::Timestamp => row.try_get::<_, Option<StampUs>>(at)?.map(|stamp| ValueRef::Timestamp(stamp.0)),
        ColumnType::Json => row.try_get::<_, Option<JsonText<'_>>>(at)?.map(|text| ValueRef::Json(text.0)),
        ColumnType::Bytes => row.try_get::<_, Option<&[u8]>>(at)?.map(ValueRef::Bytes),
        ColumnType::Uuid => row.try_get::<_, Option<UuidBytes>>(at)?.map(|uuid| ValueRef::Uuid(uuid.0)),
    };
    Ok(value.unwrap_or(ValueRef::Null))
}

pub(super) const STATION_COLUMNS: &str =
    "name, number, station_uuid, token_hash, code_expires_at, joined_at, revoked_at,
    (SELECT e.ended_at FROM tidemark.ended_token AS e WHERE e.token_hash = station.token_hash)";

fn array32(bytes: Option<&[u8]>) -> Option<[u8; 32]> {
    bytes.and_then(|bytes| bytes.try_into().ok())
}

pub(super) fn station_of(row: &Row) -> StationRecord {
    let ms = |at: usize| row.get::<_, Option<StampMs>>(at).map(|stamp| stamp.0);
    StationRecord {
        name: row.get(0),
        number: row.get::<_, Option<i32>>(1).and_then(|number| StationNumber::new(number.cast_unsigned()).ok()),
        uuid: row.get::<_, Option<UuidBytes>>(2).map(|uuid| uuid.0),
        token_hash: array32(row.get(3)),
        code_expires_at_ms: ms(4).unwrap_or(0),
        joined_at_ms: ms(5),
        revoked_at_ms: ms(6),
        token_ended_at_ms: ms(7),
    }
}

pub(super) fn cursor_of(row: &Row) -> Result<Cursor, StoreError> {
    let chain =
        array32(Some(row.get(1))).ok_or_else(|| StoreError::Fault("a cursor's chain has not 32 bytes".into()))?;
    Ok(Cursor { seq: row.get::<_, i64>(0).unsigned_abs(), chain: Chain(chain) })
}

/// Keys of one table as one array parameter.
pub(super) enum KeyArray {
    Integers(Vec<i64>),
    Uuids(Vec<UuidBytes>),
}

impl KeyArray {
    pub(super) fn new<'k>(ty: ColumnType, keys: impl Iterator<Item = &'k Key>) -> Self {
        if ty == ColumnType::Uuid {
            return Self::Uuids(
                keys.filter_map(|key| if let Key::Uuid(uuid) = key { Some(UuidBytes(*uuid)) } else { None }).collect(),
            );
        }
        Self::Integers(keys.filter_map(|key| if let Key::Integer(id) = key { Some(*id) } else { None }).collect())
    }

    pub(super) fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Integers(ids) => (ids, Type::INT8_ARRAY),
            Self::Uuids(uuids) => (uuids, Type::UUID_ARRAY),
        }
    }

    /// The same as an owned parameter.
    pub(super) fn into_parameter(self) -> (Box<dyn ToSql + Send + Sync>, Type) {
        match self {
            Self::Integers(ids) => (Box::new(ids), Type::INT8_ARRAY),
            Self::Uuids(uuids) => (Box::new(uuids), Type::UUID_ARRAY),
        }
    }

    pub(super) const fn sql_type(&self) -> &'static str {
        match self {
            Self::Integers(_) => "bigint[]",
            Self::Uuids(_) => "uuid[]",
        }
    }
}

pub(super) fn key_cell(row: &Row, at: usize, ty: ColumnType) -> Result<Option<Key>, StoreError> {
    Ok(Key::of(cell(row, at, ty).map_err(failed)?))
}

/// The type of a table's key.
pub(super) fn key_type(table: &Table) -> ColumnType {
    table.key_column().ty
}

pub(super) struct PostgresTransaction<'c> {
    pub(super) schema: &'c Schema,
    pub(super) inner: &'c Transaction<'c>,
    /// Whether a unique index besides the primary key does not end a write at once: the rows that are told apart are written by every means.
    pub(super) to_the_end: bool,
    /// Whether there are roll-ups, which are told which days were written.
    pub(super) has_reports: bool,
}

impl<'c> PostgresTransaction<'c> {
    pub(super) const fn new(schema: &'c Schema, inner: &'c Transaction<'c>, has_reports: bool) -> Self {
        Self { schema, inner, to_the_end: false, has_reports }
    }

    pub(super) async fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.inner.batch_execute(sql).await.map_err(failed)
    }

    async fn copy_fresh(
        &self,
        line: &Line,
        groups: &[Group],
        table: &Table,
        rows: &[RowAt],
    ) -> Result<(), tokio_postgres::Error> {
        let sql = copy_sql(&qualified(self.schema, table), table);
        copy_rows(self.inner, &sql, line.station.get().cast_signed(), groups, rows.iter().copied()).await?;
        Ok(())
    }

    async fn upsert(
        &self,
        line: &Line,
        groups: &[Group],
        write: &TableWrites,
        rows: Vec<RowAt>,
    ) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let target = qualified(self.schema, table);
        let temporary = format!("pg_temp.\"tidemark_upsert_{}\"", write.table);
        self.run(&format!(
            "DROP TABLE IF EXISTS {temporary}; CREATE TEMPORARY TABLE {} (LIKE {target}) ON COMMIT DROP",
            temporary.trim_start_matches("pg_temp.")
        ))
        .await?;
        let sql = copy_sql(&temporary, table);
        let number = line.station.get().cast_signed();
        let copied = copy_rows(self.inner, &sql, number, groups, rows.into_iter()).await.map_err(failed)?;
        let written =
            self.inner.execute_typed(&upsert_sql(&target, &temporary, table, line), &[]).await.map_err(failed)?;
        if written < copied {
            return Err(StoreError::Violation("the row belongs to another station".to_owned()));
        }
        Ok(())
    }

    async fn write_rows(&self, line: &Line, groups: &[Group], write: &TableWrites) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let references_itself = table.columns.iter().any(|column| column.references == Some(write.table));
        let mut upserts = write.upserts.clone();
        if references_itself && !upserts.is_empty() {
            // A fresh row may hang on one that is upserted: both go in one statement.
            upserts.extend(&write.fresh);
        } else if !write.fresh.is_empty() {
            self.run("SAVEPOINT tidemark_fresh").await?;
            match self.copy_fresh(line, groups, table, &write.fresh).await {
                Ok(()) => self.run("RELEASE SAVEPOINT tidemark_fresh").await?,
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    self.run("ROLLBACK TO SAVEPOINT tidemark_fresh; RELEASE SAVEPOINT tidemark_fresh").await?;
                    if !self.to_the_end && !self.is_primary(&error).await? {
                        return Err(failed(error));
                    }
                    upserts.extend(&write.fresh);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        if upserts.is_empty() { Ok(()) } else { self.upsert(line, groups, write, upserts).await }
    }

    /// Whether a unique violation is the primary key's; of a hypertable, a chunk's.
    async fn is_primary(&self, error: &tokio_postgres::Error) -> Result<bool, StoreError> {
        let named = error.as_db_error().and_then(|error| error.schema().zip(error.constraint()));
        let Some((schema, index)) = named else { return Ok(true) };
        let sql = "SELECT i.indisprimary FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&schema, Type::TEXT), (&index, Type::TEXT)];
        let row = self.inner.query_typed_opt(sql, &parameters).await.map_err(failed)?;
        Ok(row.is_none_or(|row| row.get(0)))
    }

    async fn delete_rows(&self, line: &Line, write: &TableWrites) -> Result<(), StoreError> {
        let table = &self.schema.tables()[write.table];
        let keys = KeyArray::new(key_type(table), write.deletes.iter().map(|identity| &identity.key));
        let owned = owned_array(line);
        let (target, key) = (qualified(self.schema, table), quote(&table.key_column().name));
        let Some(time) = table.time_column().map(|time| quote(&time.name)) else {
            let sql =
                format!("DELETE FROM {target} WHERE {key} = ANY ($1::{}) AND \"station\" = ANY ($2)", keys.sql_type());
            self.inner.execute_typed(&sql, &[keys.parameter(), (&owned, Type::INT4_ARRAY)]).await.map_err(failed)?;
            return Ok(());
        };
        // The range lets TimescaleDB leave out every chunk that cannot hold one of the rows.
        let sql = format!(
            "DELETE FROM {target} AS t USING unnest($1::{}, $2::timestamptz[]) AS gone (key, time)
             WHERE t.{key} = gone.key AND t.{time} = gone.time AND t.\"station\" = ANY ($3) AND t.{time} BETWEEN $4 AND $5",
            keys.sql_type()
        );
        let times: Vec<StampUs> = write.deletes.iter().map(|identity| StampUs(identity.time_us)).collect();
        let range = write.deletes.iter().map(|identity| identity.time_us);
        let (first, last) = (StampUs(range.clone().min().unwrap_or(0)), StampUs(range.max().unwrap_or(0)));
        self.inner
            .execute_typed(
                &sql,
                &[
                    keys.parameter(),
                    (&times, Type::TIMESTAMPTZ_ARRAY),
                    (&owned, Type::INT4_ARRAY),
                    (&first, Type::TIMESTAMPTZ),
                    (&last, Type::TIMESTAMPTZ),
                ],
            )
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Keys and times of the rows with these keys.
    async fn rows_present(&self, table: &Table, keys: &BTreeSet<Key>) -> Result<Vec<Row>, StoreError> {
        let mut columns = quote(&table.key_column().name);
        let key = columns.clone();
        if let Some(time) = table.time_column() {
            columns = format!("{columns}, {}", quote(&time.name));
        }
        let target = qualified(self.schema, table);
        let array = KeyArray::new(key_type(table), keys.iter());
        let Some(ranges) = ranges(keys, table.time.is_some()) else {
            let sql = format!("SELECT {columns} FROM {target} WHERE {key} = ANY ($1::{})", array.sql_type());
            return self.inner.query_typed(&sql, &[array.parameter()]).await.map_err(failed);
        };
        let within: Vec<String> =
            (0..ranges.len()).map(|at| format!("{key} BETWEEN ${} AND ${}", 2 * at + 2, 2 * at + 3)).collect();
        // OFFSET 0 keeps the two apart, also where no statistics tell the planner yet how large the table is: a scan of the ranges, and a hash.
        let sql = format!(
            "SELECT * FROM (SELECT {columns} FROM {target} WHERE {} OFFSET 0) AS within
             WHERE {key} IN (SELECT unnest($1::{}) OFFSET 0)",
            within.join(" OR "),
            array.sql_type(),
        );
        let mut parameters = vec![array.parameter()];
        for (first, last) in &ranges {
            parameters.extend([(first as &(dyn ToSql + Sync), Type::INT8), (last, Type::INT8)]);
        }
        self.inner.query_typed(&sql, &parameters).await.map_err(failed)
    }

    async fn station_where(
        &self,
        column: &str,
        value: (&(dyn ToSql + Sync), Type),
    ) -> Result<Option<StationRecord>, StoreError> {
        let sql = format!("SELECT {STATION_COLUMNS} FROM tidemark.station WHERE {column} = $1");
        Ok(self.inner.query_typed_opt(&sql, &[value]).await.map_err(failed)?.as_ref().map(station_of))
    }
}

pub(super) fn column_list(table: &Table) -> String {
    let mut columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    columns.push("\"station\"".to_owned());
    columns.join(", ")
}

pub(super) fn copy_sql(target: &str, table: &Table) -> String {
    format!("COPY {target} ({}) FROM STDIN (FORMAT BINARY)", column_list(table))
}

/// The numbers whose rows the line owns.
pub(super) fn owned_array(line: &Line) -> Vec<i32> {
    line.owned().map(u32::cast_signed).collect()
}

/// The same as a list of SQL.
pub(super) fn owned_list(line: &Line) -> String {
    line.owned().map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

pub(super) fn upsert_sql(target: &str, from: &str, table: &Table, line: &Line) -> String {
    let owned = owned_list(line);
    let columns = column_list(table);
    let key: Vec<String> = primary_key(table).into_iter().map(quote).collect();
    let names = table.columns.iter().map(|column| quote(&column.name)).chain(["\"station\"".to_owned()]);
    let sets: Vec<String> = names.map(|name| format!("{name} = EXCLUDED.{name}")).collect();
    format!(
        "INSERT INTO {target} AS t ({columns}) SELECT {columns} FROM {from} \
         ON CONFLICT ({}) DO UPDATE SET {} WHERE t.\"station\" IN ({})",
        key.join(", "),
        sets.join(", "),
        owned
    )
}

#[async_trait]
impl StoreTransaction for PostgresTransaction<'_> {
    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError> {
        let sql = "SELECT seq, chain FROM tidemark.cursor WHERE station = $1 FOR UPDATE";
        let number = station.get().cast_signed();
        let row = self.inner.query_typed_opt(sql, &[(&number, Type::INT4)]).await.map_err(failed)?;
        row.as_ref().map(cursor_of).transpose()
    }

    async fn facts(&mut self, line: &Line, questions: &Questions) -> Result<Facts, StoreError> {
        let mut facts = Facts::default();
        let owned = owned_array(line);
        for (&index, keys) in &questions.present {
            let table = &self.schema.tables()[index];
            for row in self.rows_present(table, keys).await? {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                let time = if table.time.is_some() { row.try_get::<_, StampUs>(1).map_err(failed)?.0 } else { 0 };
                facts.present.entry((index, key)).or_default().insert(time);
            }
        }
        for (&index, keys) in &questions.foreign {
            let table = &self.schema.tables()[index];
            let keys = KeyArray::new(key_type(table), keys.iter());
            let key = quote(&table.key_column().name);
            let target = qualified(self.schema, table);
            let sql = format!(
                "SELECT {key}, \"station\" FROM {target} WHERE {key} = ANY ($1::{}) AND NOT \"station\" = ANY ($2)",
                keys.sql_type()
            );
            for row in
                self.inner.query_typed(&sql, &[keys.parameter(), (&owned, Type::INT4_ARRAY)]).await.map_err(failed)?
            {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                facts.foreign.insert((index, key), row.get::<_, i32>(1).cast_unsigned());
            }
        }
        for (&at, keys) in &questions.children {
            let table = &self.schema.tables()[at.table];
            let column = &table.columns[at.column];
            let keys = KeyArray::new(column.ty, keys.iter());
            let (name, target) = (quote(&column.name), qualified(self.schema, table));
            let sql = format!(
                "SELECT {name}, count(*) FROM {target} WHERE {name} = ANY ($1::{}) GROUP BY {name}",
                keys.sql_type()
            );
            for row in self.inner.query_typed(&sql, &[keys.parameter()]).await.map_err(failed)? {
                let Some(key) = key_cell(&row, 0, column.ty)? else { continue };
                facts.children.insert((at, key), row.get::<_, i64>(1).unsigned_abs());
            }
        }
        for (&index, keys) in &questions.holders {
            let table = &self.schema.tables()[index];
            let keys = KeyArray::new(key_type(table), keys.iter());
            let columns = questions.holder_columns(index);
            let list: String = columns.iter().map(|&at| format!(", {}", quote(&table.columns[at].name))).collect();
            let (key, target) = (quote(&table.key_column().name), qualified(self.schema, table));
            let sql = format!("SELECT {key}{list} FROM {target} WHERE {key} = ANY ($1::{})", keys.sql_type());
            for row in self.inner.query_typed(&sql, &[keys.parameter()]).await.map_err(failed)? {
                let Some(key) = key_cell(&row, 0, key_type(table))? else { continue };
                for (place, &column) in columns.iter().enumerate() {
                    let held = key_cell(&row, place + 1, table.columns[column].ty)?;
                    facts.holders.insert((ColumnAt { table: index, column }, key), held);
                }
            }
        }
        Ok(facts)
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.run("SAVEPOINT tidemark_range").await
    }

    async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK TO SAVEPOINT tidemark_range; RELEASE SAVEPOINT tidemark_range").await
    }

    async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.run("RELEASE SAVEPOINT tidemark_range").await
    }

    async fn write(&mut self, line: &Line, groups: &[Group], writes: &[TableWrites]) -> Result<(), StoreError> {
        for write in writes {
            self.write_rows(line, groups, write).await?;
        }
        for write in writes.iter().rev().filter(|write| !write.deletes.is_empty()) {
            self.delete_rows(line, write).await?;
        }
        if self.has_reports { reports::note_touched(self, groups, writes).await } else { Ok(()) }
    }

    async fn store_rejects(&mut self, rejects: &mut (dyn Iterator<Item = Reject> + Send)) -> Result<(), StoreError> {
        rejects::store(self.inner, rejects).await
    }

    async fn rejected_between(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Vec<RejectedChange>, StoreError> {
        let sql = format!(
            "SELECT {REJECT_COLUMNS} FROM tidemark.rejects
             WHERE station = $1 AND seq BETWEEN $2 AND $3 AND origin = 'server' ORDER BY seq"
        );
        let (number, first, last) = (station.get().cast_signed(), first_seq.cast_signed(), last_seq.cast_signed());
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&number, Type::INT4), (&first, Type::INT8), (&last, Type::INT8)];
        let rows = self.inner.query_typed(&sql, &parameters).await.map_err(failed)?;
        Ok(rows.iter().filter_map(reject_of).map(|reject| rejected_change(&reject)).collect())
    }

    async fn advance(
        &mut self,
        station: StationNumber,
        cursor: Cursor,
        began: u64,
        now_ms: i64,
        clock_offset_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark.cursor SET seq = $2, chain = $3, updated_at = $4, clock_offset_ms = $5,
                       heard = CASE WHEN began < $6 THEN greatest(heard, began) ELSE heard END, began = $6 WHERE station = $1";
        let (number, seq, began) = (station.get().cast_signed(), cursor.seq.cast_signed(), began.cast_signed());
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&number, Type::INT4),
            (&seq, Type::INT8),
            (&cursor.chain.0.as_slice(), Type::BYTEA),
            (&StampMs(now_ms), Type::TIMESTAMPTZ),
            (&clock_offset_ms, Type::INT8),
            (&began, Type::INT8),
        ];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn lock_stations(&mut self) -> Result<(), StoreError> {
        self.run("LOCK TABLE tidemark.station IN SHARE ROW EXCLUSIVE MODE").await
    }

    async fn station_by_code(&mut self, code_hash: [u8; 32]) -> Result<Option<StationRecord>, StoreError> {
        self.station_where("code_hash", (&code_hash.as_slice(), Type::BYTEA)).await
    }

    async fn station_by_name(&mut self, name: &str) -> Result<Option<StationRecord>, StoreError> {
        self.station_where("name", (&name, Type::TEXT)).await
    }

    async fn station_by_uuid(&mut self, uuid: [u8; 16]) -> Result<Option<StationRecord>, StoreError> {
        self.station_where("station_uuid", (&UuidBytes(uuid), Type::UUID)).await
    }

    async fn last_number(&mut self) -> Result<u32, StoreError> {
        let sql = "SELECT coalesce(max(number), 0) FROM tidemark.station";
        let row = self.inner.query_typed_one(sql, &[]).await.map_err(failed)?;
        Ok(row.get::<_, i32>(0).cast_unsigned())
    }

    async fn assign(
        &mut self,
        name: &str,
        number: StationNumber,
        ask: &JoinAsk,
        start: Chain,
    ) -> Result<(), StoreError> {
        let now = StampMs(ask.now_ms);
        let number = number.get().cast_signed();
        let sql = "UPDATE tidemark.station SET number = $2, station_uuid = $3, token_hash = $4, joined_at = $5 WHERE name = $1";
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&name, Type::TEXT),
            (&number, Type::INT4),
            (&UuidBytes(ask.uuid), Type::UUID),
            (&ask.token_hash.as_slice(), Type::BYTEA),
            (&now, Type::TIMESTAMPTZ),
        ];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        let sql = "INSERT INTO tidemark.cursor (station, seq, chain, updated_at) VALUES ($1, 0, $2, $3)";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&number, Type::INT4), (&start.0.as_slice(), Type::BYTEA), (&now, Type::TIMESTAMPTZ)];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn renew_code(&mut self, station: &StationRecord, code: &NewStation) -> Result<(), StoreError> {
        let sql = "INSERT INTO tidemark.ended_token (token_hash, station, ended_at)
                   SELECT token_hash, number, $2 FROM tidemark.station WHERE name = $1 AND number IS NOT NULL ON CONFLICT DO NOTHING";
        let now = StampMs(code.now_ms);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&station.name, Type::TEXT), (&now, Type::TIMESTAMPTZ)];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        let sql = "UPDATE tidemark.station SET code_hash = $2, code_expires_at = $3, revoked_at = NULL WHERE name = $1";
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&station.name, Type::TEXT),
            (&code.code_hash.as_slice(), Type::BYTEA),
            (&StampMs(code.code_expires_at_ms), Type::TIMESTAMPTZ),
        ];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }

    async fn renew_token(&mut self, name: &str, token_hash: [u8; 32]) -> Result<(), StoreError> {
        let sql = "UPDATE tidemark.station SET token_hash = $2 WHERE name = $1";
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&token_hash.as_slice(), Type::BYTEA)];
        self.inner.execute_typed(sql, &parameters).await.map_err(failed)?;
        Ok(())
    }
}
