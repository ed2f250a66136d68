//! The image of a rejected change: its values as JSON by column name, exact, so that the change can be applied later.
//!
//! | type | as JSON |
//! |---|---|
//! | integer | number |
//! | real | number that reads back to the same bits, in its shortest form; text `"inf"`, `"-inf"`, `"NaN"` |
//! | text, json | text: json stays to the letter |
//! | boolean | `true`, `false` |
//! | timestamp | text `YYYY-MM-DD HH:MM:SS.ffffff`, UTC; one outside the years 1 to 9999 as a number of microseconds |
//! | bytes | text: `\x` and hex |
//! | uuid | text in canonical form |
//!
//! NULL is `null`. All values of an insert or update are there, of a delete those that identify the row.

use serde_json::{Map, Value as Json};

use crate::batch::{Group, Op};
use crate::schema::Table;
use crate::timestamp;
use crate::value::{ColumnType, Value, ValueRef, format_uuid, hex, parse_uuid, unhex_bytes};

impl ValueRef<'_> {
    /// The value as JSON, as images hold it.
    #[must_use]
    pub fn to_json(self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Integer(v) => v.into(),
            Self::Real(v) if v.is_finite() => v.into(),
            Self::Real(v) => v.to_string().into(),
            Self::Text(v) | Self::Json(v) => v.into(),
            Self::Boolean(v) => v.into(),
            Self::Timestamp(v) if (timestamp::FIRST_US..=timestamp::LAST_US).contains(&v) => {
                timestamp::format(v).into()
            }
            Self::Timestamp(v) => v.into(),
            Self::Bytes(v) => format!("\\x{}", hex(v)).into(),
            Self::Uuid(v) => format_uuid(v).into(),
        }
    }
}

impl Value {
    /// The value a column of type `ty` has in an image; `None` when the JSON is not of that type.
    #[must_use]
    pub fn from_json(ty: ColumnType, json: &Json) -> Option<Self> {
        Some(match (ty, json) {
            (_, Json::Null) => Self::Null,
            (ColumnType::Integer, Json::Number(v)) => Self::Integer(v.as_i64()?),
            (ColumnType::Real, Json::Number(v)) => Self::Real(v.as_f64()?),
            (ColumnType::Real, Json::String(v)) => match v.as_str() {
                "inf" => Self::Real(f64::INFINITY),
                "-inf" => Self::Real(f64::NEG_INFINITY),
                "NaN" => Self::Real(f64::NAN),
                _ => return None,
            },
            (ColumnType::Text, Json::String(v)) => Self::Text(v.clone()),
            (ColumnType::Json, Json::String(v)) => Self::Json(v.clone()),
            (ColumnType::Boolean, Json::Bool(v)) => Self::Boolean(*v),
            (ColumnType::Timestamp, Json::String(v)) => Self::Timestamp(timestamp::parse(v.as_bytes()).ok()?),
            (ColumnType::Timestamp, Json::Number(v)) => Self::Timestamp(v.as_i64()?),
            (ColumnType::Bytes, Json::String(v)) => Self::Bytes(unhex_bytes(v.strip_prefix("\\x")?)?),
            (ColumnType::Uuid, Json::String(v)) => Self::Uuid(parse_uuid(v.as_bytes())?),
            _ => return None,
        })
    }
}

/// The columns of `table` whose values an image of `op` holds, by index: as a group of the batch does. None for
/// [`Op::Void`].
fn columns(table: &Table, op: Op) -> Vec<usize> {
    match op {
        Op::Insert | Op::Update => (0..table.columns.len()).collect(),
        Op::Delete => table.identity().collect(),
        Op::Void => Vec::new(),
    }
}

/// The image of a row of a group, as JSON text.
#[must_use]
pub fn image(table: &Table, group: &Group, row: usize) -> String {
    let values = columns(table, group.op).into_iter().zip(group.row(row));
    let named: Map<String, Json> =
        values.map(|(at, value)| (table.columns[at].name.clone(), value.to_json())).collect();
    Json::Object(named).to_string()
}

/// Reads an image back: the values of a group's row, in the group's order. A column the image does not have, because it
/// came with a later version of the schema, is NULL.
///
/// # Errors
/// The words say what is wrong with the image.
pub fn parse_image(table: &Table, op: Op, image: &str) -> Result<Vec<Value>, String> {
    let mut named: Map<String, Json> =
        serde_json::from_str(image).map_err(|error| format!("the image is not a JSON object: {error}"))?;
    let mut values = Vec::new();
    for at in columns(table, op) {
        let column = &table.columns[at];
        let json = named.remove(&column.name).unwrap_or(Json::Null);
        values.push(Value::from_json(column.ty, &json).ok_or_else(|| {
            format!("{}.{}: the image holds no value of type {}", table.name, column.name, column.ty.as_str())
        })?);
    }
    match named.keys().next() {
        Some(unknown) => Err(format!("the image has a column {unknown:?}, which {} does not have", table.name)),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::Schema;

    const TOML: &str = r#"
        name = "w"
        version = 1
        [tables.t]
        time = "at"
        [tables.t.columns]
        id = { type = "integer" }
        at = { type = "timestamp" }
        r = { type = "real" }
        s = { type = "text" }
        b = { type = "boolean" }
        j = { type = "json" }
        y = { type = "bytes" }
        u = { type = "uuid" }
    "#;

    fn value(ty: ColumnType) -> BoxedStrategy<Value> {
        let some = match ty {
            ColumnType::Integer => any::<i64>().prop_map(Value::Integer).boxed(),
            ColumnType::Real => any::<u64>().prop_map(f64::from_bits).prop_map(Value::Real).boxed(),
            ColumnType::Text => any::<String>().prop_map(Value::Text).boxed(),
            ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
            ColumnType::Timestamp => {
                prop_oneof![any::<i64>(), timestamp::FIRST_US..=timestamp::LAST_US].prop_map(Value::Timestamp).boxed()
            }
            ColumnType::Json => any::<String>().prop_map(Value::Json).boxed(),
            ColumnType::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
            ColumnType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
        };
        prop_oneof![1 => Just(Value::Null), 9 => some].boxed()
    }

    /// Bit for bit, but a NaN is any NaN.
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            _ => a == b,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn an_image_reads_back_to_the_same_values(
            values in [ColumnType::Integer, ColumnType::Timestamp, ColumnType::Real, ColumnType::Text, ColumnType::Boolean,
                ColumnType::Json, ColumnType::Bytes, ColumnType::Uuid].map(value).to_vec()
        ) {
            let schema = Schema::parse(TOML).unwrap();
            let table = &schema.tables()[0];
            for (op, values) in [(Op::Insert, &values[..]), (Op::Delete, &values[..2])] {
                let mut group = Group::new(&schema, 0, op);
                group.push(&values.iter().map(Value::as_ref).collect::<Vec<_>>());
                let read = parse_image(table, op, &image(table, &group, 0)).unwrap();
                prop_assert!(read.len() == values.len() && read.iter().zip(values).all(|(a, b)| same(a, b)), "{read:?}");
            }
        }
    }

    #[test]
    fn extremes_read_back() {
        let reals =
            [-0.0, 5e-324, f64::MAX, f64::MIN_POSITIVE, 0.1 + 0.2, 1e23, 9_007_199_254_740_993.0, f64::INFINITY];
        for real in reals.iter().flat_map(|&real| [real, -real]) {
            let json = serde_json::from_str(&ValueRef::Real(real).to_json().to_string()).unwrap();
            assert!(same(&Value::from_json(ColumnType::Real, &json).unwrap(), &Value::Real(real)), "{real:?}");
        }
        for us in [i64::MIN, i64::MAX, timestamp::FIRST_US, timestamp::LAST_US, -1] {
            let json = ValueRef::Timestamp(us).to_json();
            assert_eq!(Value::from_json(ColumnType::Timestamp, &json), Some(Value::Timestamp(us)));
        }
    }

    #[test]
    fn what_is_no_image_is_refused_in_words() {
        let schema = Schema::parse(TOML).unwrap();
        let table = &schema.tables()[0];
        for (bad, said) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            (r#"{"id":"1"}"#, "t.id: the image holds no value of type integer"),
            (r#"{"id":1.5}"#, "t.id"),
            (r#"{"id":9223372036854775808}"#, "t.id"),
            (r#"{"id":1,"r":"warm"}"#, "t.r"),
            (r#"{"id":1,"y":"\\x0"}"#, "t.y"),
            (r#"{"id":1,"gone":1}"#, "\"gone\""),
        ] {
            let error = parse_image(table, Op::Insert, bad).unwrap_err();
            assert!(error.contains(said), "{bad}: {error}");
        }
        let values = parse_image(table, Op::Insert, r#"{"id":1}"#).unwrap();
        assert!(values[0] == Value::Integer(1) && values[1..].iter().all(|value| *value == Value::Null));
    }
}
