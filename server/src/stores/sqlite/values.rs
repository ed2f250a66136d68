//! Typed values as SQLite holds them upstream: times as text, uuids as text, booleans as 0 and 1.

use rusqlite::types::{ToSqlOutput, ValueRef as SqlValue};
use rusqlite::{Row, ToSql};
use tidemark_core::schema::Table;
use tidemark_core::timestamp;
use tidemark_core::value::{ColumnType, ValueRef, format_uuid, parse_uuid};

use tidemark_core::identity::Key;

/// A typed value as a parameter.
pub(crate) struct Parameter<'a>(pub(crate) ValueRef<'a>);

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            ValueRef::Null => ToSqlOutput::Borrowed(SqlValue::Null),
            ValueRef::Integer(v) => v.into(),
            ValueRef::Real(v) => v.into(),
            ValueRef::Text(v) | ValueRef::Json(v) => ToSqlOutput::Borrowed(SqlValue::Text(v.as_bytes())),
            ValueRef::Boolean(v) => i64::from(v).into(),
            ValueRef::Timestamp(v) => timestamp::format(v).into(),
            ValueRef::Bytes(v) => ToSqlOutput::Borrowed(SqlValue::Blob(v)),
            ValueRef::Uuid(v) => format_uuid(v).into(),
        })
    }
}

/// A stored value by its column's type.
pub(super) fn typed(ty: ColumnType, value: SqlValue<'_>) -> Option<ValueRef<'_>> {
    Some(match (ty, value) {
        (_, SqlValue::Null) => ValueRef::Null,
        (ColumnType::Integer, SqlValue::Integer(v)) => ValueRef::Integer(v),
        (ColumnType::Boolean, SqlValue::Integer(v @ (0 | 1))) => ValueRef::Boolean(v == 1),
        (ColumnType::Real, SqlValue::Real(v)) => ValueRef::Real(v),
        (ColumnType::Real, SqlValue::Integer(v)) if (v as f64) as i128 == i128::from(v) => ValueRef::Real(v as f64),
        (ColumnType::Text, SqlValue::Text(v)) => ValueRef::Text(std::str::from_utf8(v).ok()?),
        (ColumnType::Json, SqlValue::Text(v)) => ValueRef::Json(std::str::from_utf8(v).ok()?),
        (ColumnType::Timestamp, SqlValue::Text(v)) => ValueRef::Timestamp(timestamp::parse(v).ok()?),
        (ColumnType::Uuid, SqlValue::Text(v)) => ValueRef::Uuid(parse_uuid(v)?),
        (ColumnType::Bytes, SqlValue::Blob(v)) => ValueRef::Bytes(v),
        _ => return None,
    })
}

/// A stored value by its column's type; as what it is, or bytes, where somebody wrote another by hand.
pub(super) fn typed_or_raw(ty: ColumnType, value: SqlValue<'_>) -> ValueRef<'_> {
    typed(ty, value).unwrap_or(match value {
        SqlValue::Null => ValueRef::Null,
        SqlValue::Integer(v) => ValueRef::Integer(v),
        SqlValue::Real(v) => ValueRef::Real(v),
        SqlValue::Text(v) | SqlValue::Blob(v) => ValueRef::Bytes(v),
    })
}

pub(super) fn key_of(table: &Table, column: usize, row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Key>> {
    Ok(typed(table.columns[column].ty, row.get_ref(at)?).and_then(Key::of))
}

pub(super) fn at_text(ms: i64) -> String {
    timestamp::format(ms.saturating_mul(1000))
}
