//! JavaScript's values: read with suspicion, made without ceremony.

use js_sys::{Array, BigInt, Date, Error as JsError, JsString, Object, Reflect, Uint8Array};
use rusqlite::types::{Value, ValueRef};
use wasm_bindgen::{JsCast as _, JsValue};

use crate::error::{Failure, Result};
use crate::value::{self, Params, SAFE_INTEGER_MAX};

impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let error = JsError::new(&failure.message);
        // Setting a property of a fresh object does not fail.
        let _ = Reflect::set(&error, &"code".into(), &failure.code.as_str().into());
        let _ = Reflect::set(&error, &"reason".into(), &text(failure.reason));
        error.into()
    }
}

/// An object with these fields.
pub fn object<const N: usize>(fields: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new();
    for (name, value) in fields {
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object.into()
}

/// A field of an object; undefined where there is none.
pub fn field(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

/// A text field that may be missing.
pub fn text_field(object: &JsValue, name: &str) -> Result<Option<String>> {
    let value = field(object, name);
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    value.as_string().map(Some).ok_or_else(|| Failure::argument(format!("{name} must be text")))
}

/// An integer: a number while it is a safe one, else a bigint.
pub fn integer(value: i64) -> JsValue {
    if (-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).contains(&value) {
        (value as f64).into()
    } else {
        BigInt::from(value).into()
    }
}

/// A count or a time, as a number.
pub fn number(value: impl Into<Option<i64>>) -> JsValue {
    value.into().map_or(JsValue::NULL, |value| (value as f64).into())
}

/// A count as a number.
pub fn count(value: u64) -> JsValue {
    (value as f64).into()
}

/// Text, or null.
pub fn text(value: Option<&str>) -> JsValue {
    value.map_or(JsValue::NULL, Into::into)
}

/// Bytes, copied out of the module's memory.
pub fn bytes(value: &[u8]) -> JsValue {
    Uint8Array::from(value).into()
}

/// Names.
pub fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Array {
    names.into_iter().map(JsValue::from).collect()
}

/// A value of SQLite. Text that is not UTF-8 is repaired.
pub fn from_sqlite(value: ValueRef<'_>) -> JsValue {
    match value {
        ValueRef::Null => JsValue::NULL,
        ValueRef::Integer(v) => integer(v),
        ValueRef::Real(v) => v.into(),
        ValueRef::Text(v) => JsValue::from_str(&String::from_utf8_lossy(v)),
        ValueRef::Blob(v) => bytes(v),
    }
}

/// A value for SQLite; `what` names it in the error.
pub fn to_sqlite(value: &JsValue, what: impl Fn() -> String) -> Result<Value> {
    let named = |failure: Failure| Failure::argument(format!("{}: {}", what(), failure.message));
    if let Some(number) = value.as_f64() {
        return value::number(number).map_err(named);
    }
    if let Some(text) = value.as_string() {
        return Ok(Value::Text(text));
    }
    if value.is_null() {
        return Ok(Value::Null);
    }
    if let Some(yes) = value.as_bool() {
        return Ok(Value::Integer(yes.into()));
    }
    if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        return Ok(Value::Blob(bytes.to_vec()));
    }
    if let Some(date) = value.dyn_ref::<Date>() {
        return value::date(date.get_time()).map_err(named);
    }
    if value.is_bigint() {
        let digits = value.dyn_ref::<BigInt>().and_then(|v| v.to_string(10).ok()).map(String::from).unwrap_or_default();
        return value::bigint(&digits).map_err(named);
    }
    Err(Failure::argument(format!(
        "{}: {}",
        what(),
        if value.is_undefined() {
            "undefined cannot be stored; give null, or leave the column out"
        } else if value.is_object() {
            "an object cannot be stored; JSON.stringify it (bytes are given as Uint8Array)"
        } else {
            "cannot be stored; give a number, bigint, string, boolean, Date, Uint8Array or null"
        }
    )))
}

fn own_entries(object: &JsValue) -> impl Iterator<Item = (String, JsValue)> {
    let entries = Object::entries(object.unchecked_ref());
    entries.into_iter().map(|entry| {
        let entry: Array = entry.unchecked_into();
        (entry.get(0).unchecked_into::<JsString>().into(), entry.get(1))
    })
}

/// Parameters: an array, an object, or nothing.
pub fn params(value: &JsValue) -> Result<Params> {
    if value.is_undefined() || value.is_null() {
        return Ok(Params::Positional(Vec::new()));
    }
    if let Some(array) = value.dyn_ref::<Array>() {
        let values = (0..array.length()).map(|at| to_sqlite(&array.get(at), || format!("parameter {}", at + 1)));
        return Ok(Params::Positional(values.collect::<Result<_>>()?));
    }
    if !value.is_object() {
        return Err(Failure::argument("parameters are given as an array or an object"));
    }
    let values = own_entries(value).map(|(name, value)| {
        let value = to_sqlite(&value, || format!("parameter {name:?}"))?;
        Ok((name, value))
    });
    Ok(Params::Named(values.collect::<Result<_>>()?))
}

/// A row by column names; what is undefined is left out.
pub fn row(value: &JsValue) -> Result<Vec<(String, Value)>> {
    if !value.is_object() || Array::is_array(value) {
        return Err(Failure::argument("a row is given as an object: { column: value }"));
    }
    own_entries(value)
        .filter(|(_, value)| !value.is_undefined())
        .map(|(name, value)| {
            let value = to_sqlite(&value, || format!("column {name:?}"))?;
            Ok((name, value))
        })
        .collect()
}

/// A seq given as a number.
pub fn seq(value: f64) -> Result<u64> {
    if value.fract() == 0.0 && (0.0..=SAFE_INTEGER_MAX as f64).contains(&value) {
        Ok(value as u64)
    } else {
        Err(Failure::argument(format!("{value} is not the number of a change")))
    }
}

/// Exactly so many bytes.
pub fn fixed_bytes<const N: usize>(value: &JsValue, what: &str) -> Result<[u8; N]> {
    let bytes = value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default();
    bytes.try_into().map_err(|_| Failure::argument(format!("{what} must be {N} bytes")))
}
