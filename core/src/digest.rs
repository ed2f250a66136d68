//! Digests of rows that do not depend on their order: the sum of every row's hash.
//!
//! A sum, unlike xor, sees a row that is there twice. It is four 64-bit lanes, each wrapping.

use crate::value::{ValueRef, hex};

/// The digest of a set of rows of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowDigest {
    lanes: [u64; 4],
    rows: u64,
}

impl RowDigest {
    /// Adds one row; `values` are in the schema's column order, as upstream holds them.
    pub fn add<'a>(&mut self, scratch: &mut Vec<u8>, table: &str, values: impl Iterator<Item = ValueRef<'a>>) {
        scratch.clear();
        scratch.push(table.len() as u8);
        scratch.extend_from_slice(table.as_bytes());
        values.for_each(|value| value.write_canonical(scratch));
        let hash = blake3::hash(scratch);
        for (lane, part) in self.lanes.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let part = u64::from_le_bytes(part.try_into().expect("BUG: a chunk of 8 has 8 bytes"));
            *lane = lane.wrapping_add(part);
        }
        self.rows += 1;
    }

    /// How many rows went in.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_but_count_does() {
        let row = |digest: &mut RowDigest, n| digest.add(&mut Vec::new(), "t", [ValueRef::Integer(n)].into_iter());
        let (mut a, mut b, mut twice) = (RowDigest::default(), RowDigest::default(), RowDigest::default());
        [1, 2].into_iter().for_each(|n| row(&mut a, n));
        [2, 1].into_iter().for_each(|n| row(&mut b, n));
        [1, 2, 1, 1].into_iter().for_each(|n| row(&mut twice, n));
        assert_eq!(a, b);
        assert_ne!(a.to_hex(), twice.to_hex());
    }
}
