//! The identity of a row upstream: its key, and its time where the table has a time column.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::schema::Table;
use crate::value::{ColumnType, ValueRef, format_uuid, parse_uuid};

/// A key, or a reference to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Of a table keyed by integers; an upstream id.
    Integer(i64),
    /// Of a table keyed by uuids.
    Uuid([u8; 16]),
}

impl Key {
    /// The key a value is.
    #[must_use]
    pub const fn of(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Integer(id) => Some(Self::Integer(id)),
            ValueRef::Uuid(uuid) => Some(Self::Uuid(uuid)),
            _ => None,
        }
    }

    /// As a value.
    #[must_use]
    pub const fn value(self) -> ValueRef<'static> {
        match self {
            Self::Integer(id) => ValueRef::Integer(id),
            Self::Uuid(uuid) => ValueRef::Uuid(uuid),
        }
    }

    /// True when a table's key column can hold it.
    #[must_use]
    pub fn fits(self, table: &Table) -> bool {
        matches!(
            (self, table.key_column().ty),
            (Self::Uuid(_), ColumnType::Uuid) | (Self::Integer(_), ColumnType::Integer)
        )
    }

    /// The key that follows in order, and whether the order began anew.
    const fn successor(self) -> (Self, bool) {
        match self {
            Self::Integer(i64::MAX) => (Self::Integer(i64::MIN), true),
            Self::Integer(id) => (Self::Integer(id + 1), false),
            Self::Uuid(uuid) => {
                let next = u128::from_be_bytes(uuid).wrapping_add(1);
                (Self::Uuid(next.to_be_bytes()), next == 0)
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(id) => id.fmt(f),
            Self::Uuid(uuid) => f.write_str(&format_uuid(*uuid)),
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(id) => serializer.serialize_i64(*id),
            Self::Uuid(uuid) => serializer.serialize_str(&format_uuid(*uuid)),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a uuid in lower-case canonical form")
            }
            fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<Key, E> {
                Ok(Key::Integer(id))
            }
            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Key, E> {
                i64::try_from(id).map(Key::Integer).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Key, E> {
                parse_uuid(text.as_bytes()).map(Key::Uuid).ok_or_else(|| E::custom("the key is not a uuid"))
            }
        }
        deserializer.deserialize_any(Visitor).map_err(D::Error::custom)
    }
}

/// The identity of a row upstream: its key and, in a table with a time column, its time (else 0). Ordered by time
/// first, so that sorted writes and ranges of rows go chunk by chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Microseconds since 1970 UTC, or 0.
    #[serde(rename = "time", default, skip_serializing_if = "is_zero")]
    pub time_us: i64,
    /// The key.
    pub key: Key,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form serde asks for
const fn is_zero(time_us: &i64) -> bool {
    *time_us == 0
}

impl Identity {
    /// The identity of a whole row, its values in the schema's column order; `None` when key or time are of another
    /// type.
    #[must_use]
    pub fn of_row(table: &Table, values: &[ValueRef<'_>]) -> Option<Self> {
        let time_us = match table.time {
            Some(time) => match values.get(time)? {
                ValueRef::Timestamp(us) => *us,
                _ => return None,
            },
            None => 0,
        };
        Some(Self { time_us, key: Key::of(*values.get(table.key)?)? })
    }

    /// The identity that follows in order; `None` after the last one of all.
    ///
    /// ```
    /// use tidemark_core::identity::{Identity, Key};
    /// let last = Identity { time_us: 7, key: Key::Uuid([0xff; 16]) };
    /// assert_eq!(last.successor(), Some(Identity { time_us: 8, key: Key::Uuid([0; 16]) }));
    /// ```
    #[must_use]
    pub const fn successor(self) -> Option<Self> {
        match self.key.successor() {
            (key, false) => Some(Self { time_us: self.time_us, key }),
            (_, true) if self.time_us == i64::MAX => None,
            (key, true) => Some(Self { time_us: self.time_us + 1, key }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_travels_as_json() {
        for (identity, json) in [
            (Identity { time_us: 0, key: Key::Integer(i64::MIN) }, r#"{"key":-9223372036854775808}"#),
            (Identity { time_us: -1, key: Key::Integer(i64::MAX) }, r#"{"time":-1,"key":9223372036854775807}"#),
            (Identity { time_us: 0, key: Key::Uuid([1; 16]) }, r#"{"key":"01010101-0101-0101-0101-010101010101"}"#),
        ] {
            assert_eq!(serde_json::to_string(&identity).unwrap(), json);
            assert_eq!(serde_json::from_str::<Identity>(json).unwrap(), identity);
        }
        for bad in
            [r#"{"key":1.5}"#, r#"{"key":"x"}"#, r#"{"key":18446744073709551615}"#, r#"{"time":1}"#, r#"{"key":null}"#]
        {
            assert!(serde_json::from_str::<Identity>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_successor_follows_directly_and_the_last_has_none() {
        let at = |time_us, key| Identity { time_us, key };
        assert_eq!(at(3, Key::Integer(5)).successor(), Some(at(3, Key::Integer(6))));
        assert_eq!(at(3, Key::Integer(i64::MAX)).successor(), Some(at(4, Key::Integer(i64::MIN))));
        assert_eq!(at(i64::MAX, Key::Integer(i64::MAX)).successor(), None);
        assert_eq!(at(i64::MAX, Key::Uuid([0xff; 16])).successor(), None);
    }
}
