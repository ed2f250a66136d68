//! Values of the schema's tables, as PostgreSQL takes and gives them in binary.

use std::error::Error;

use bytes::BytesMut;
use postgres_types::{FromSql, IsNull, ToSql, accepts, to_sql_checked};
use tidemark_core::identity::Key;
use tidemark_core::postgres::qualified;
use tidemark_core::schema::{Schema, Table};
use tidemark_core::sqlite::quote;
use tidemark_core::timestamp::{FIRST_US, LAST_US};
use tidemark_core::value::{ColumnType, ValueRef};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::connect::failed;
use super::copy::EPOCH_2000_US;
use crate::ledger::lineage::Lineage;
use crate::upstream::error::StoreError;

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
fn cell(row: &Row, at: usize, ty: ColumnType) -> Result<ValueRef<'_>, tokio_postgres::Error> {
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

/// A query of a table's rows, all of them, whose values [`values_of`] gives.
pub(super) fn select_sql(schema: &Schema, table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    format!("SELECT {} FROM {}", columns.join(", "), qualified(schema, table))
}

/// The values of a row that begins with the table's columns, in their order.
pub(super) fn values_of<'r>(row: &'r Row, table: &Table) -> Result<Vec<ValueRef<'r>>, StoreError> {
    let cells = table.columns.iter().enumerate().map(|(at, column)| cell(row, at, column.ty));
    cells.collect::<Result<_, _>>().map_err(failed)
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

/// The numbers whose rows the station owns.
pub(super) fn owned_array(lineage: &Lineage) -> Vec<i32> {
    lineage.owned().map(u32::cast_signed).collect()
}
