//! The chain: a running hash over a station's log.
//!
//! `chain₀ = blake3(station uuid)`, `chainₙ = blake3(chainₙ₋₁ ‖ canonical bytes of change n)`. Two logs with the same
//! chain at n hold the same changes 1 … n; a copied or rewound file shows as the same seq with another chain.

use crate::value::{ValueRef, hex, unhex};

/// The first bytes of a chain: enough to tell two histories apart, small enough to keep for every change.
pub type Print = [u8; 8];

/// Up to so many bytes are hashed in one piece: a hasher that takes several is larger than most changes, and making one
/// costs more than hashing them.
const SMALL_BYTES: usize = 512;

/// The chain's value at some seq.
///
/// ```
/// use tidemark_core::chain::Chain;
/// let start = Chain::start([7; 16]);
/// let (one, other) = (start.then(b"a change"), start.then(b"another change"));
/// assert_ne!(one.print(), other.print()); // two histories are told apart by the first bytes
/// assert_eq!(Chain::from_hex(&one.to_hex()), Some(one));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// The chain before a station's first change.
    #[must_use]
    pub fn start(station_uuid: [u8; 16]) -> Self {
        Self(*blake3::hash(&station_uuid).as_bytes())
    }

    /// The chain after one more change.
    #[must_use]
    pub fn then(self, canonical: &[u8]) -> Self {
        let mut whole = [0; SMALL_BYTES];
        let bytes = self.0.len() + canonical.len();
        if bytes <= SMALL_BYTES {
            whole[..32].copy_from_slice(&self.0);
            whole[32..bytes].copy_from_slice(canonical);
            return Self(*blake3::hash(&whole[..bytes]).as_bytes());
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(canonical);
        Self(*hasher.finalize().as_bytes())
    }

    /// Its first bytes.
    #[must_use]
    pub fn print(&self) -> Print {
        std::array::from_fn(|at| self.0[at])
    }

    /// Lower-case hex, as it travels in JSON.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Reads what [`Chain::to_hex`] wrote.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chain({}…)", hex(&self.0[..6]))
    }
}

impl serde::Serialize for Chain {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> serde::Deserialize<'de> for Chain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("a chain is 64 hex digits"))
    }
}

/// Writes the canonical bytes of one change into `out`, which is cleared first: seq, time, operation, table and values
/// (docs/FORMAT.md, "Canonical bytes").
pub fn canonical_change<'a>(
    out: &mut Vec<u8>,
    seq: u64,
    at_ms: i64,
    op: u8,
    table: &str,
    values: impl Iterator<Item = ValueRef<'a>>,
) {
    out.clear();
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&at_ms.to_le_bytes());
    out.push(op);
    out.push(table.len() as u8);
    out.extend_from_slice(table.as_bytes());
    values.for_each(|value| value.write_canonical(out));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_length_is_hashed_after_the_chain_before_it() {
        let before = Chain::start([3; 16]);
        for length in [0, 1, 31, 32, 33, SMALL_BYTES - 33, SMALL_BYTES - 32, SMALL_BYTES - 31, 5_000] {
            let change: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let whole = [&before.0[..], &change].concat();
            assert_eq!(before.then(&change).0, *blake3::hash(&whole).as_bytes(), "{length}");
        }
    }
}
