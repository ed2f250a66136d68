//! One CSV field to what SQLite stores, strictly by the column's type.

use tidemark_client::rusqlite::types::Value;
use tidemark_core::convert::check_value;
use tidemark_core::ids::LOCAL_ID_MAX;
use tidemark_core::schema::Table;
use tidemark_core::value::{ColumnType, ValueRef, format_uuid, parse_uuid};

/// Whether a field stands for NULL.
#[must_use]
pub fn is_null(field: &str) -> bool {
    field.is_empty() || field == "NA"
}

/// Converts the field of a column; the message does not name the column.
///
/// # Errors
/// The fault of it.
pub fn convert(table: &Table, index: usize, field: &str) -> Result<Value, String> {
    let column = &table.columns[index];
    if is_null(field) {
        // SQLite numbers the row itself.
        let numbered = index == table.key && column.ty == ColumnType::Integer;
        if !numbered {
            check_value(table, index, ValueRef::Null)
                .map_err(|rejection| format!("empty or NA ({})", rejection.message))?;
        }
        return Ok(Value::Null);
    }
    let wrong = || format!("{} is not {}", shown(field), expected(column.ty));
    let check = |value: ValueRef<'_>| check_value(table, index, value).map_err(|rejection| rejection.message);
    match column.ty {
        ColumnType::Integer => {
            let number: i64 = plain_integer(field).ok_or_else(wrong)?;
            let is_id = index == table.key || column.references.is_some();
            let hq = index != table.key && (-LOCAL_ID_MAX..0).contains(&number);
            if is_id && !hq && !(1..=LOCAL_ID_MAX).contains(&number) {
                return Err(format!("the id {number} is outside 1 … {LOCAL_ID_MAX}"));
            }
            check(ValueRef::Integer(number))?;
            Ok(Value::Integer(number))
        }
        ColumnType::Real => {
            let number: f64 = plain_real(field).ok_or_else(wrong)?;
            check(ValueRef::Real(number))?;
            Ok(Value::Real(number))
        }
        ColumnType::Boolean => match field.to_ascii_lowercase().as_str() {
            "1" | "true" => Ok(Value::Integer(1)),
            "0" | "false" => Ok(Value::Integer(0)),
            _ => Err(wrong()),
        },
        ColumnType::Timestamp => {
            let us = tidemark_core::timestamp::parse(field.as_bytes())
                .map_err(|error| format!("{} is {error}", shown(field)))?;
            check(ValueRef::Timestamp(us))?;
            Ok(Value::Text(tidemark_core::timestamp::format(us)))
        }
        ColumnType::Uuid => {
            let uuid = parse_uuid(field.to_ascii_lowercase().as_bytes()).ok_or_else(wrong)?;
            Ok(Value::Text(format_uuid(uuid)))
        }
        ColumnType::Bytes => {
            let bytes = hex_bytes(field.strip_prefix("\\x").unwrap_or(field)).ok_or_else(wrong)?;
            check(ValueRef::Bytes(&bytes))?;
            Ok(Value::Blob(bytes))
        }
        ColumnType::Text => {
            check(ValueRef::Text(field))?;
            Ok(Value::Text(field.to_owned()))
        }
        ColumnType::Json => {
            check(ValueRef::Json(field))?;
            Ok(Value::Text(field.to_owned()))
        }
    }
}

/// What a column of this type takes, in words.
const fn expected(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Integer => "an integer of 64 bits",
        ColumnType::Real => "a number",
        ColumnType::Boolean => "true, false, 1 or 0",
        ColumnType::Timestamp => "a timestamp",
        ColumnType::Uuid => "a uuid",
        ColumnType::Bytes => "bytes in hex, two digits each",
        ColumnType::Text => "text",
        ColumnType::Json => "JSON",
    }
}

fn shown(field: &str) -> String {
    let head: String = field.chars().take(40).collect();
    format!("{head:?}{}", if head.len() < field.len() { " …" } else { "" })
}

/// Digits with an optional minus: no blanks, no plus, no separators.
fn plain_integer(field: &str) -> Option<i64> {
    let digits = field.strip_prefix('-').unwrap_or(field);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| field.parse().ok()).flatten()
}

/// A decimal number, perhaps with an exponent; words such as `inf`, and numbers too large for a double, are none.
fn plain_real(field: &str) -> Option<f64> {
    let plain = field.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    field.parse::<f64>().ok().filter(|number| plain && number.is_finite())
}

fn hex_bytes(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair =
        |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(tidemark_core::value::unhex::<1>).map(|[byte]| byte);
    digits.chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemark_core::schema::Schema;

    fn table() -> Table {
        let schema = Schema::parse(
            r#"
            name = "w"
            version = 1
            [tables.t]
            time = "timestamp"
            [tables.t.columns]
            id = { type = "integer" }
            parent = { type = "integer", references = "t2" }
            integer = { type = "integer", min = -5, max = 100 }
            real = { type = "real" }
            boolean = { type = "boolean" }
            timestamp = { type = "timestamp" }
            uuid = { type = "uuid" }
            bytes = { type = "bytes", max_bytes = 3 }
            text = { type = "text", required = true }
            json = { type = "json" }
            [tables.t2.columns]
            id = { type = "integer" }
            "#,
        )
        .unwrap();
        schema.table("t").unwrap().clone()
    }

    fn field(column: &str, text: &str) -> Result<Value, String> {
        let table = table();
        convert(&table, table.column_index(column).unwrap(), text)
    }

    #[test]
    fn each_type_is_stored_as_its_column_wants_it() {
        for (column, given, stored) in [
            ("id", "", Value::Null),
            ("id", "4294967295", Value::Integer(4_294_967_295)),
            ("parent", "-3", Value::Integer(-3)),
            ("integer", "-5", Value::Integer(-5)),
            ("integer", "NA", Value::Null),
            ("real", "10.357019999999999", Value::Real(10.357019999999999)),
            ("real", "-1e-3", Value::Real(-0.001)),
            ("boolean", "True", Value::Integer(1)),
            ("boolean", "0", Value::Integer(0)),
            ("timestamp", "2013-01-01T06:00:00Z", Value::Text("2013-01-01 06:00:00.000000".into())),
            (
                "uuid",
                "0190F1A2-b3c4-7d5e-8f60-718293a4b5c6",
                Value::Text("0190f1a2-b3c4-7d5e-8f60-718293a4b5c6".into()),
            ),
            ("bytes", "\\x00fF", Value::Blob(vec![0, 255])),
            ("text", " СИНЕЦ 🐟 ", Value::Text(" СИНЕЦ 🐟 ".into())),
            ("json", r#"{"a": 1}"#, Value::Text(r#"{"a": 1}"#.into())),
        ] {
            assert_eq!(field(column, given), Ok(stored), "{column} {given}");
        }
    }

    #[test]
    fn what_would_be_guessing_is_refused() {
        for (column, given, says) in [
            ("id", "0", "outside 1"),
            ("id", "-1", "outside 1"),
            ("parent", "4294967296", "outside 1"),
            ("integer", "1.0", "not an integer"),
            ("integer", "+1", "not an integer"),
            ("integer", " 1", "not an integer"),
            ("integer", "101", "outside -5 … 100"),
            ("integer", "99999999999999999999", "not an integer"),
            ("real", "warm", "not a number"),
            ("real", "inf", "not a number"),
            ("real", "NaN", "not a number"),
            ("real", "1e999", "not a number"),
            ("real", "1,5", "not a number"),
            ("boolean", "yes", "not true, false"),
            ("timestamp", "infinity", "not a timestamp"),
            ("timestamp", "NA", "required"),
            ("uuid", "x", "not a uuid"),
            ("bytes", "abc", "not bytes"),
            ("bytes", "00112233", "4 bytes"),
            ("text", "", "required"),
            ("text", "a\0b", "NUL"),
            ("json", "{", "not JSON"),
        ] {
            let message = field(column, given).expect_err(given);
            assert!(message.contains(says), "{column} {given}: {message}");
        }
    }
}
