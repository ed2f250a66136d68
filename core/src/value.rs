//! Values: typed as the schema types them, and untyped as SQLite hands them out.

use std::fmt;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// 64-bit signed integer.
    Integer,
    /// IEEE 754 double; NaN does not exist in SQLite (it stores NULL).
    Real,
    /// UTF-8 text without NUL.
    Text,
    /// True or false; 1 or 0 in SQLite.
    Boolean,
    /// Microseconds since 1970-01-01 UTC; text in SQLite.
    Timestamp,
    /// JSON text, kept to the letter.
    Json,
    /// Any bytes.
    Bytes,
    /// 128-bit uuid; lower-case canonical text in SQLite.
    Uuid,
}

impl ColumnType {
    /// Every type.
    pub const ALL: &[Self] =
        &[Self::Integer, Self::Real, Self::Text, Self::Boolean, Self::Timestamp, Self::Json, Self::Bytes, Self::Uuid];

    /// The type's name in a schema file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
            Self::Bytes => "bytes",
            Self::Uuid => "uuid",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|ty| ty.as_str() == text)
    }
}

/// A typed value, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// No value.
    Null,
    /// See [`ColumnType::Integer`].
    Integer(i64),
    /// See [`ColumnType::Real`].
    Real(f64),
    /// See [`ColumnType::Text`].
    Text(&'a str),
    /// See [`ColumnType::Boolean`].
    Boolean(bool),
    /// Microseconds since 1970 UTC.
    Timestamp(i64),
    /// See [`ColumnType::Json`].
    Json(&'a str),
    /// See [`ColumnType::Bytes`].
    Bytes(&'a [u8]),
    /// The 16 bytes in network order.
    Uuid([u8; 16]),
}

/// A typed value, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// See [`ColumnType::Integer`].
    Integer(i64),
    /// See [`ColumnType::Real`].
    Real(f64),
    /// See [`ColumnType::Text`].
    Text(String),
    /// See [`ColumnType::Boolean`].
    Boolean(bool),
    /// Microseconds since 1970 UTC.
    Timestamp(i64),
    /// See [`ColumnType::Json`].
    Json(String),
    /// See [`ColumnType::Bytes`].
    Bytes(Vec<u8>),
    /// The 16 bytes in network order.
    Uuid([u8; 16]),
}

impl Value {
    /// Borrows it.
    #[must_use]
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(v) => ValueRef::Integer(*v),
            Self::Real(v) => ValueRef::Real(*v),
            Self::Text(v) => ValueRef::Text(v),
            Self::Boolean(v) => ValueRef::Boolean(*v),
            Self::Timestamp(v) => ValueRef::Timestamp(*v),
            Self::Json(v) => ValueRef::Json(v),
            Self::Bytes(v) => ValueRef::Bytes(v),
            Self::Uuid(v) => ValueRef::Uuid(*v),
        }
    }
}

impl ValueRef<'_> {
    /// True for NULL.
    #[must_use]
    pub const fn is_null(self) -> bool {
        matches!(self, Self::Null)
    }

    /// Copies it.
    #[must_use]
    pub fn to_owned(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(v) => Value::Integer(v),
            Self::Real(v) => Value::Real(v),
            Self::Text(v) => Value::Text(v.into()),
            Self::Boolean(v) => Value::Boolean(v),
            Self::Timestamp(v) => Value::Timestamp(v),
            Self::Json(v) => Value::Json(v.into()),
            Self::Bytes(v) => Value::Bytes(v.into()),
            Self::Uuid(v) => Value::Uuid(v),
        }
    }

    /// The number of canonical bytes of the value.
    #[must_use]
    pub const fn canonical_len(self) -> usize {
        match self {
            Self::Null => 1,
            Self::Boolean(_) => 2,
            Self::Integer(_) | Self::Real(_) | Self::Timestamp(_) => 9,
            Self::Uuid(_) => 17,
            Self::Text(v) | Self::Json(v) => 5 + v.len(),
            Self::Bytes(v) => 5 + v.len(),
        }
    }

    /// Appends the value's canonical bytes: a tag, then the payload; lengths are u32, everything little-endian.
    /// Chain and digest are hashes over these bytes (docs/FORMAT.md, "Canonical bytes").
    pub fn write_canonical(self, out: &mut Vec<u8>) {
        fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        match self {
            Self::Null => out.push(0),
            Self::Integer(v) => {
                out.push(1);
                out.extend_from_slice(&v.to_le_bytes());
            }
            Self::Real(v) => {
                out.push(2);
                out.extend_from_slice(&v.to_bits().to_le_bytes());
            }
            Self::Text(v) => sized(out, 3, v.as_bytes()),
            Self::Boolean(v) => out.extend_from_slice(&[4, u8::from(v)]),
            Self::Timestamp(v) => {
                out.push(5);
                out.extend_from_slice(&v.to_le_bytes());
            }
            Self::Json(v) => sized(out, 6, v.as_bytes()),
            Self::Bytes(v) => sized(out, 7, v),
            Self::Uuid(v) => {
                out.push(8);
                out.extend_from_slice(&v);
            }
        }
    }
}

impl fmt::Display for ValueRef<'_> {
    /// Shows the value to people: short, and without control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS: usize = 40;
        const SHOWN_BYTES: usize = 20;
        match *self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(v) => v.fmt(f),
            Self::Real(v) => write!(f, "{v:?}"),
            Self::Boolean(v) => v.fmt(f),
            Self::Timestamp(v) => f.write_str(&crate::timestamp::format(v)),
            Self::Uuid(v) => f.write_str(&format_uuid(v)),
            Self::Text(v) | Self::Json(v) => {
                let head: String = v.chars().take(SHOWN_CHARS).collect();
                write!(f, "{head:?}")?;
                if head.len() < v.len() { write!(f, "… ({} bytes)", v.len()) } else { Ok(()) }
            }
            Self::Bytes(v) => {
                write!(f, "x'{}'", hex(&v[..v.len().min(SHOWN_BYTES)]))?;
                if v.len() > SHOWN_BYTES { write!(f, "… ({} bytes)", v.len()) } else { Ok(()) }
            }
        }
    }
}

/// A value as SQLite stores it, before conversion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SqliteValue<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT; SQLite does not promise UTF-8.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

impl fmt::Display for SqliteValue<'_> {
    /// Shows the value in a message: short, and without control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(v) => write!(f, "integer {v}"),
            Self::Real(v) => write!(f, "real {v:?}"),
            Self::Text(v) => {
                let text = String::from_utf8_lossy(&v[..v.len().min(160)]);
                let short: String = text.chars().take(40).collect();
                write!(f, "text {short:?}{}", if short.len() < v.len() { " …" } else { "" })
            }
            Self::Blob(v) => write!(f, "blob of {} bytes", v.len()),
        }
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Reads lower- or upper-case hex into exactly `N` bytes.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex_bytes(text)?.try_into().ok()
}

/// Reads lower- or upper-case hex.
#[must_use]
pub fn unhex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some((hex_digit(pair[0])? << 4) | hex_digit(pair[1])?)).collect()
}

fn hex_digit(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|d| d as u8)
}

/// A uuid's lower-case canonical text.
#[must_use]
pub fn format_uuid(uuid: [u8; 16]) -> String {
    let h = hex(&uuid);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// Parses exactly the lower-case canonical form: one uuid has one text, so SQLite's key and PostgreSQL's agree.
#[must_use]
pub fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 || text.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut digits = String::with_capacity(32);
    for (at, &byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
        } else {
            digits.push(byte as char);
        }
    }
    unhex(&digits)
}

/// The memory of a list, empty, for values that borrow from elsewhere: of the next row, where these were of the last.
/// It stays where both types have one layout, as one type has with two lifetimes; elsewhere the list is a new one.
#[must_use]
pub fn emptied<T, U>(mut values: Vec<T>) -> Vec<U> {
    values.clear();
    values.into_iter().map(|_| unreachable!("BUG: the list was emptied")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_uuid_has_one_text() {
        let text = "0190f1a2-b3c4-7d5e-8f60-718293a4b5c6";
        assert_eq!(format_uuid(parse_uuid(text.as_bytes()).unwrap()), text);
        for bad in [
            "",
            "0190F1A2-b3c4-7d5e-8f60-718293a4b5c6",
            "0190f1a2b3c47d5e8f60718293a4b5c6",
            "0190f1a2-b3c4-7d5e-8f60-718293a4b5cg",
            "0190f1a2-b3c4-7d5e-8f60_718293a4b5c6",
        ] {
            assert_eq!(parse_uuid(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn canonical_bytes_tell_neighbours_apart() {
        let bytes = |values: &[ValueRef<'_>]| {
            let mut out = Vec::new();
            values.iter().for_each(|v| v.write_canonical(&mut out));
            out
        };
        assert_ne!(
            bytes(&[ValueRef::Text("ab"), ValueRef::Text("c")]),
            bytes(&[ValueRef::Text("a"), ValueRef::Text("bc")])
        );
        assert_ne!(bytes(&[ValueRef::Real(0.0)]), bytes(&[ValueRef::Real(-0.0)]));
        assert_ne!(bytes(&[ValueRef::Text("")]), bytes(&[ValueRef::Null]));
        assert_ne!(bytes(&[ValueRef::Integer(1)]), bytes(&[ValueRef::Timestamp(1)]));
        for value in [
            ValueRef::Null,
            ValueRef::Real(1.5),
            ValueRef::Text("рыба"),
            ValueRef::Boolean(true),
            ValueRef::Bytes(&[1, 2]),
            ValueRef::Uuid([3; 16]),
        ] {
            assert_eq!(bytes(&[value]).len(), value.canonical_len());
        }
    }

    #[test]
    fn an_emptied_list_keeps_its_memory() {
        let mut values: Vec<ValueRef<'_>> = Vec::with_capacity(24);
        values.push(ValueRef::Text("a"));
        let (place, room) = (values.as_ptr().addr(), values.capacity());
        let values: Vec<ValueRef<'static>> = emptied(values);
        assert_eq!((values.as_ptr().addr(), values.capacity(), values.len()), (place, room, 0));
    }
}
