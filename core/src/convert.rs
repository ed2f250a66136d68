//! Strict conversion of SQLite's untyped values to the schema's types, and the checks every value passes on both sides.
//!
//! SQLite keeps whatever a program writes. Nothing is guessed here: a value either is of its column's type or the
//! change is rejected with a code and a message that names the column. The conversion is a pure function of the row and
//! the schema, so cutting the same log twice gives the same batch.

use crate::idmap::IdMap;
use crate::limits::{JSON_DEPTH_MAX, ROW_BYTES_MAX, VALUE_BYTES_MAX};
use crate::reject::{RejectCode, Rejection};
use crate::schema::{Bound, Column, Schema, Table};
use crate::value::{ColumnType, SqliteValue, ValueRef};

/// Converts the columns `wanted` of a captured row of the schema's table `own` to what travels upstream: typed, with
/// keys and references as upstream ids. `out` is cleared first.
///
/// # Errors
/// The first value that does not convert, with its column; or that the row as a whole is too large to travel.
pub fn convert_row<'a>(
    schema: &Schema,
    own: usize,
    ids: &IdMap,
    row: &[SqliteValue<'a>],
    wanted: impl Iterator<Item = usize>,
    out: &mut Vec<ValueRef<'a>>,
) -> Result<(), Rejection> {
    out.clear();
    let table = &schema.tables()[own];
    for index in wanted {
        let raw = row.get(index).copied().unwrap_or(SqliteValue::Null);
        let value = convert_value(&table.columns[index], raw).and_then(|value| {
            let value = to_upstream(table, own, index, ids, value)?;
            check_value(table, index, value)?;
            Ok(value)
        });
        out.push(value.map_err(|rejection| at_column(table, index, rejection))?);
    }
    let bytes: usize = out.iter().map(|value| value.canonical_len()).sum();
    if bytes > ROW_BYTES_MAX {
        let message =
            format!("{}: the row has {bytes} bytes, one that travels has at most {ROW_BYTES_MAX}", table.name);
        return Err(Rejection::new(RejectCode::TooLarge, message));
    }
    Ok(())
}

fn at_column(table: &Table, index: usize, rejection: Rejection) -> Rejection {
    Rejection { message: format!("{}.{}: {}", table.name, table.columns[index].name, rejection.message), ..rejection }
}

/// Types one value.
fn convert_value<'a>(column: &Column, raw: SqliteValue<'a>) -> Result<ValueRef<'a>, Rejection> {
    let value = match (column.ty, raw) {
        (_, SqliteValue::Null) => ValueRef::Null,
        (ColumnType::Integer, SqliteValue::Integer(v)) => ValueRef::Integer(v),
        (ColumnType::Real, SqliteValue::Real(v)) => ValueRef::Real(v),
        (ColumnType::Real, SqliteValue::Integer(v)) if (v as f64) as i128 == i128::from(v) => ValueRef::Real(v as f64),
        (ColumnType::Boolean, SqliteValue::Integer(v @ (0 | 1))) => ValueRef::Boolean(v == 1),
        (ColumnType::Text, SqliteValue::Text(v)) => ValueRef::Text(utf8(v)?),
        (ColumnType::Json, SqliteValue::Text(v)) => ValueRef::Json(utf8(v)?),
        (ColumnType::Bytes, SqliteValue::Blob(v)) => ValueRef::Bytes(v),
        (ColumnType::Timestamp, SqliteValue::Text(v)) => match crate::timestamp::parse(v) {
            Ok(us) => ValueRef::Timestamp(us),
            Err(error) => return Err(Rejection::new(RejectCode::Timestamp, format!("{raw} is {error}"))),
        },
        (ColumnType::Uuid, SqliteValue::Text(v)) => match crate::value::parse_uuid(v) {
            Some(uuid) => ValueRef::Uuid(uuid),
            None => {
                return Err(Rejection::new(
                    RejectCode::Uuid,
                    format!("{raw} is not a uuid in lower-case canonical form"),
                ));
            }
        },
        _ => {
            return Err(Rejection::new(
                RejectCode::Type,
                format!("{raw} does not fit a column of type {}", column.ty.as_str()),
            ));
        }
    };
    Ok(value)
}

fn utf8(bytes: &[u8]) -> Result<&str, Rejection> {
    std::str::from_utf8(bytes).map_err(|error| {
        Rejection::new(RejectCode::Utf8, format!("the text is not UTF-8 from byte {}", error.valid_up_to()))
    })
}

/// Turns a key or integer reference into an upstream id. `own` is the table's index in the schema.
fn to_upstream<'a>(
    table: &Table,
    own: usize,
    index: usize,
    ids: &IdMap,
    value: ValueRef<'a>,
) -> Result<ValueRef<'a>, Rejection> {
    let ValueRef::Integer(local) = value else { return Ok(value) };
    let (moved, what) = if index == table.key {
        (ids.upstream_id(own, local), "key")
    } else if let Some(parent) = table.columns[index].references {
        (ids.upstream_reference(parent, local), "reference")
    } else {
        return Ok(value);
    };
    moved.map(ValueRef::Integer).ok_or_else(|| {
        Rejection::new(RejectCode::IdRange, format!("the {what} {local} is outside 1 … {}", crate::ids::LOCAL_ID_MAX))
    })
}

/// The checks a typed value passes before it travels and again before it is applied.
///
/// # Errors
/// Says what is wrong with it; the message does not name the column.
pub fn check_value(table: &Table, index: usize, value: ValueRef<'_>) -> Result<(), Rejection> {
    let column = &table.columns[index];
    match value {
        ValueRef::Null if table.is_not_null(index) => {
            return Err(Rejection::new(RejectCode::Required, "NULL, but the column is required"));
        }
        ValueRef::Integer(v) => {
            if matches!(column.min, Some(Bound::Integer(min)) if v < min)
                || matches!(column.max, Some(Bound::Integer(max)) if v > max)
            {
                return Err(out_of_range(column, &v.to_string()));
            }
        }
        ValueRef::Real(v) => {
            if matches!(column.min, Some(Bound::Real(min)) if v < min)
                || matches!(column.max, Some(Bound::Real(max)) if v > max)
            {
                return Err(out_of_range(column, &format!("{v:?}")));
            }
        }
        ValueRef::Text(v) => {
            check_length(column, v.len())?;
            // What looks for one byte looks at many at once; where it is, is seldom asked.
            if v.as_bytes().contains(&0) {
                let at = v.bytes().position(|byte| byte == 0).unwrap_or_default();
                return Err(Rejection::new(
                    RejectCode::Nul,
                    format!("the text has a NUL character at byte {at}, which PostgreSQL cannot store"),
                ));
            }
        }
        ValueRef::Json(v) => {
            check_length(column, v.len())?;
            check_json(v)?;
        }
        ValueRef::Bytes(v) => check_length(column, v.len())?,
        // Text never parses to one, but a frame can carry any number, and PostgreSQL's range ends.
        ValueRef::Timestamp(v) if !(crate::timestamp::FIRST_US..=crate::timestamp::LAST_US).contains(&v) => {
            let message = format!("{v} µs since 1970 is outside the years 1 to 9999");
            return Err(Rejection::new(RejectCode::Timestamp, message));
        }
        ValueRef::Null | ValueRef::Boolean(_) | ValueRef::Timestamp(_) | ValueRef::Uuid(_) => {}
    }
    Ok(())
}

/// [`check_value`] with the column named in the message.
///
/// # Errors
/// Says what is wrong with the value, and in which column.
pub fn check_column(table: &Table, index: usize, value: ValueRef<'_>) -> Result<(), Rejection> {
    check_value(table, index, value).map_err(|rejection| at_column(table, index, rejection))
}

fn out_of_range(column: &Column, value: &str) -> Rejection {
    let bound = |bound: Option<Bound>| bound.map_or_else(|| "…".to_owned(), |b| b.to_string());
    let unit = column.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
    Rejection::new(
        RejectCode::Range,
        format!("{value}{unit} is outside {} … {}{unit}", bound(column.min), bound(column.max)),
    )
}

fn check_length(column: &Column, bytes: usize) -> Result<(), Rejection> {
    if let Some(max) = column.max_bytes.filter(|&max| bytes > max as usize) {
        return Err(Rejection::new(RejectCode::Length, format!("{bytes} bytes, the column takes {max}")));
    }
    if bytes > VALUE_BYTES_MAX {
        return Err(Rejection::new(
            RejectCode::TooLarge,
            format!("{bytes} bytes, a value that travels has at most {VALUE_BYTES_MAX}"),
        ));
    }
    Ok(())
}

/// JSON that PostgreSQL's `json` and `jsonb` both hold.
fn check_json(text: &str) -> Result<(), Rejection> {
    let bad = |message: String| Err(Rejection::new(RejectCode::Json, message));
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = text.bytes().enumerate();
    // Depth and escapes first: this scan needs no stack, and what it cannot judge the parser below refuses.
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                if let Some((_, b'u')) = bytes.next() {
                    let unit = text.get(at + 2..at + 6).and_then(|hex| u16::from_str_radix(hex, 16).ok());
                    match unit {
                        Some(0) => return bad(format!("\\u0000 at byte {at}, which PostgreSQL cannot store")),
                        Some(0xD800..=0xDBFF) => {
                            let low = text.get(at + 6..at + 12).filter(|next| next.starts_with("\\u"));
                            let low = low.and_then(|next| u16::from_str_radix(&next[2..], 16).ok());
                            if !matches!(low, Some(0xDC00..=0xDFFF)) {
                                return bad(format!("a lone surrogate at byte {at}, which PostgreSQL cannot store"));
                            }
                            // The low half is this pair's, not a lone one.
                            for _ in 0..10 {
                                bytes.next();
                            }
                        }
                        Some(0xDC00..=0xDFFF) => {
                            return bad(format!("a lone surrogate at byte {at}, which PostgreSQL cannot store"));
                        }
                        _ => {}
                    }
                }
            }
            0 => return bad(format!("a NUL character at byte {at}")),
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return bad(format!("nested deeper than {JSON_DEPTH_MAX} levels"));
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(text.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => bad(format!("not JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StationNumber;

    fn schema() -> Schema {
        Schema::parse(
            r#"
            name = "w"
            version = 1
            [tables.p.columns]
            id = { type = "integer" }
            [tables.t]
            time = "at"
            [tables.t.columns]
            id = { type = "integer" }
            p_id = { type = "integer", references = "p" }
            at = { type = "timestamp" }
            n = { type = "integer", min = 0, max = 10 }
            r = { type = "real", min = -90, max = 60, unit = "°C" }
            s = { type = "text", max_bytes = 5 }
            b = { type = "boolean" }
            j = { type = "json" }
            y = { type = "bytes" }
            u = { type = "uuid" }
            "#,
        )
        .unwrap()
    }

    const TIME: SqliteValue<'static> = SqliteValue::Text(b"2026-01-01 00:00:00");

    fn convert<'a>(set: &[(&str, SqliteValue<'a>)]) -> Result<Vec<ValueRef<'a>>, Rejection> {
        let schema = schema();
        let table = schema.table("t").unwrap();
        let mut row = vec![SqliteValue::Null; table.columns.len()];
        row[0] = SqliteValue::Integer(1);
        row[2] = TIME;
        for (name, value) in set {
            row[table.column_index(name).unwrap()] = *value;
        }
        let mut out = Vec::new();
        convert_row(&schema, 1, &StationNumber::new(2).unwrap().into(), &row, 0..row.len(), &mut out)?;
        Ok(out)
    }

    #[track_caller]
    fn refused(column: &str, value: SqliteValue<'_>, code: RejectCode) {
        let rejection = convert(&[(column, value)]).expect_err("the value is bad");
        assert_eq!(rejection.code, code, "{rejection}");
        assert!(rejection.message.starts_with(&format!("t.{column}: ")), "{rejection}");
    }

    #[test]
    fn keys_and_references_move_into_the_block() {
        let row = convert(&[("id", SqliteValue::Integer(7)), ("p_id", SqliteValue::Integer(-4))]).unwrap();
        assert_eq!(row[0], ValueRef::Integer(2 << 32 | 7));
        assert_eq!(row[1], ValueRef::Integer(4));
        for bad in [0, -1, 1 << 32, i64::MIN, i64::MAX] {
            refused("id", SqliteValue::Integer(bad), RejectCode::IdRange);
        }
        for bad in [0, 1 << 32, i64::MIN, i64::MAX] {
            refused("p_id", SqliteValue::Integer(bad), RejectCode::IdRange);
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        refused("n", SqliteValue::Text(b"12"), RejectCode::Type);
        refused("n", SqliteValue::Real(1.0), RejectCode::Type);
        refused("r", SqliteValue::Text(b"warm"), RejectCode::Type);
        refused("b", SqliteValue::Integer(2), RejectCode::Type);
        refused("b", SqliteValue::Text(b"true"), RejectCode::Type);
        refused("s", SqliteValue::Blob(b"x"), RejectCode::Type);
        refused("y", SqliteValue::Text(b"x"), RejectCode::Type);
        refused("u", SqliteValue::Text(b"x"), RejectCode::Uuid);
        refused("at", SqliteValue::Integer(0), RejectCode::Type);
    }

    #[test]
    fn an_integer_in_a_real_column_converts_only_when_exact() {
        assert_eq!(convert(&[("r", SqliteValue::Integer(7))]).unwrap()[4], ValueRef::Real(7.0));
        let schema =
            Schema::parse("name='w'\nversion=1\n[tables.t.columns]\nid={type='integer'}\nr={type='real'}").unwrap();
        for (v, ok) in [(1 << 53, true), ((1 << 53) + 1, false), (i64::MAX, false), (i64::MIN, true)] {
            let row = [SqliteValue::Integer(1), SqliteValue::Integer(v)];
            let converted =
                convert_row(&schema, 0, &StationNumber::new(1).unwrap().into(), &row, 0..2, &mut Vec::new());
            assert_eq!(converted.is_ok(), ok, "{v}");
        }
    }

    #[test]
    fn null_is_refused_in_the_time_column() {
        refused("at", SqliteValue::Null, RejectCode::Required);
        assert!(convert(&[("n", SqliteValue::Null)]).is_ok());
    }

    #[test]
    fn ranges_and_lengths_are_kept() {
        for ok in [0, 10] {
            assert!(convert(&[("n", SqliteValue::Integer(ok))]).is_ok());
        }
        refused("n", SqliteValue::Integer(11), RejectCode::Range);
        refused("r", SqliteValue::Real(f64::INFINITY), RejectCode::Range);
        refused("s", SqliteValue::Text("рыба".as_bytes()), RejectCode::Length);
        assert!(convert(&[("s", SqliteValue::Text(b"12345"))]).is_ok());
        assert!(
            convert(&[("r", SqliteValue::Real(60.5))])
                .unwrap_err()
                .message
                .contains("60.5 °C is outside -90.0 … 60.0 °C")
        );
    }

    #[test]
    fn text_postgres_cannot_hold_is_refused() {
        refused("s", SqliteValue::Text(b"a\0b"), RejectCode::Nul);
        refused("s", SqliteValue::Text(b"a\xff"), RejectCode::Utf8);
        refused("at", SqliteValue::Text(b"infinity"), RejectCode::Timestamp);
    }

    #[test]
    fn json_is_checked_as_postgres_will() {
        for good in ["{}", "null", "1e300", r#"{"a":[1,"\\u0000","\ud83d\ude00"]}"#, r#""\u0001""#] {
            assert!(convert(&[("j", SqliteValue::Text(good.as_bytes()))]).is_ok(), "{good}");
        }
        let deep = "[".repeat(101) + &"]".repeat(101);
        for bad in [
            "",
            "{",
            "NaN",
            "[Infinity]",
            r#""\u0000""#,
            r#"{"a\u0000":1}"#,
            r#""\ud800""#,
            r#""\ude00\ud83d""#,
            r#""\ud83dx""#,
            "{} x",
            deep.as_str(),
            "\"\0\"",
        ] {
            refused("j", SqliteValue::Text(bad.as_bytes()), RejectCode::Json);
        }
        refused("j", SqliteValue::Integer(1), RejectCode::Type);
    }
}
