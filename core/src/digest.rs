//! Digests of rows that do not depend on their order: the sum of every row's hash.
//!
//! A sum, unlike xor, sees a row that is there twice. It is four 64-bit lanes, each wrapping.

use serde::{Deserialize, Serialize};

use crate::value::{ValueRef, hex, unhex};

/// The hash of one row, as upstream holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowHash(pub [u8; 32]);

impl RowHash {
    /// Hashes a row; `values` are in the schema's column order. `scratch` is only there to be used again.
    #[must_use]
    pub fn of<'a>(scratch: &mut Vec<u8>, table: &str, values: impl Iterator<Item = ValueRef<'a>>) -> Self {
        scratch.clear();
        scratch.push(table.len() as u8);
        scratch.extend_from_slice(table.as_bytes());
        values.for_each(|value| value.write_canonical(scratch));
        Self(*blake3::hash(scratch).as_bytes())
    }
}

/// The first 8 bytes of the hash of one value's canonical bytes: tells which columns of a row differ without sending
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellHash(pub [u8; 8]);

impl CellHash {
    /// Hashes a value.
    #[must_use]
    pub fn of(scratch: &mut Vec<u8>, value: ValueRef<'_>) -> Self {
        scratch.clear();
        value.write_canonical(scratch);
        let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(scratch).as_bytes();
        Self([a, b, c, d, e, f, g, h])
    }
}

/// The digest of a set of rows of one table.
///
/// ```
/// use tidemark_core::digest::{RowDigest, RowHash};
/// use tidemark_core::value::ValueRef;
/// let row = |id| RowHash::of(&mut Vec::new(), "site", [ValueRef::Integer(id), ValueRef::Null].into_iter());
/// let (mut here, mut there) = (RowDigest::default(), RowDigest::default());
/// [1, 2, 3].iter().for_each(|&id| here.add(&row(id)));
/// [3, 1, 2].iter().for_each(|&id| there.add(&row(id)));
/// assert_eq!((here, here.rows()), (there, 3)); // whatever the order
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowDigest {
    lanes: [u64; 4],
    rows: u64,
}

impl RowDigest {
    /// Adds one row.
    pub fn add(&mut self, row: &RowHash) {
        for (lane, part) in self.lanes.iter_mut().zip(lanes_of(row.0)) {
            *lane = lane.wrapping_add(part);
        }
        self.rows = self.rows.wrapping_add(1);
    }

    /// Adds the rows of another set, which shares none with this one.
    pub fn join(&mut self, other: &Self) {
        for (lane, part) in self.lanes.iter_mut().zip(other.lanes) {
            *lane = lane.wrapping_add(part);
        }
        self.rows = self.rows.wrapping_add(other.rows);
    }

    /// The number of rows that went in.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Lower-case hex of the lanes.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.lanes.iter().map(|lane| hex(&lane.to_le_bytes())).collect()
    }
}

fn lanes_of(bytes: [u8; 32]) -> [u64; 4] {
    std::array::from_fn(|lane| {
        let part = &bytes[lane * 8..lane * 8 + 8];
        u64::from_le_bytes(part.try_into().expect("BUG: 8 bytes are 8 bytes"))
    })
}

/// Hashes travel as lower-case hex.
macro_rules! as_hex {
    ($hash:ident, $what:literal) => {
        impl Serialize for $hash {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $hash {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                unhex(&text)
                    .map(Self)
                    .ok_or_else(|| serde::de::Error::custom(concat!($what, " is hex digits of its bytes")))
            }
        }
    };
}

as_hex!(RowHash, "a row's hash");
as_hex!(CellHash, "a cell's hash");

/// A digest as it travels.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestMessage {
    rows: u64,
    sum: RowHash,
}

impl Serialize for RowDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sum = [0; 32];
        for (bytes, lane) in sum.chunks_exact_mut(8).zip(self.lanes) {
            bytes.copy_from_slice(&lane.to_le_bytes());
        }
        DigestMessage { rows: self.rows, sum: RowHash(sum) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let message = DigestMessage::deserialize(deserializer)?;
        Ok(Self { lanes: lanes_of(message.sum.0), rows: message.rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: &[i64]) -> RowDigest {
        let mut digest = RowDigest::default();
        for &n in rows {
            digest.add(&RowHash::of(&mut Vec::new(), "t", [ValueRef::Integer(n)].into_iter()));
        }
        digest
    }

    #[test]
    fn order_does_not_matter_but_count_does() {
        assert_eq!(digest(&[1, 2]), digest(&[2, 1]));
        assert_ne!(digest(&[1, 2]).to_hex(), digest(&[1, 2, 1, 1]).to_hex());
    }

    #[test]
    fn parts_join_to_the_whole_and_a_digest_travels_as_json() {
        let mut joined = digest(&[1, 2]);
        joined.join(&digest(&[3]));
        assert_eq!(joined, digest(&[3, 2, 1]));
        let json = serde_json::to_string(&joined).unwrap();
        assert_eq!(json, format!(r#"{{"rows":3,"sum":"{}"}}"#, joined.to_hex()));
        assert_eq!(serde_json::from_str::<RowDigest>(&json).unwrap(), joined);
        assert!(serde_json::from_str::<RowDigest>(r#"{"rows":3,"sum":"00"}"#).is_err());
    }
}
