//! The messages by which a file whose history parted from its number's goes on under a new one, as JSON.

use serde::{Deserialize, Serialize};

use crate::chain::{Chain, Print};
use crate::ids::StationNumber;
use crate::limits::FrameLimits;
use crate::value::{hex, unhex};

/// Most prints in one [`HistoryReply`].
pub const HISTORY_PRINTS_MAX: usize = 65_536;

/// Reply to `GET /v1/history?after=SEQ`: what the server knows of a station's chain after that seq.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// The number of the station.
    pub station: StationNumber,
    /// Last seq durable upstream.
    pub tidemark: u64,
    /// The chain there.
    pub chain: Chain,
    /// The number was revoked and not replaced: nothing is pushed under it any more, so its file may go on under
    /// another one, also where both histories agree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// The seq of the first print; at least `after` + 1, and more where the server has no prints: of batches that it
    /// applied before it kept any, or so long ago that it keeps them no more.
    pub first_seq: u64,
    /// The prints of contiguous changes from `first_seq` on, at most [`HISTORY_PRINTS_MAX`]. Empty: there are none
    /// after `after`.
    pub prints: Prints,
}

/// Prints of contiguous changes; in JSON the hex of all of them in one text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prints(pub Vec<Print>);

impl Serialize for Prints {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(self.0.as_flattened()))
    }
}

impl<'de> Deserialize<'de> for Prints {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bad = || serde::de::Error::custom("prints are 16 hex digits each, and not too many");
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let (digits, rest) = text.as_bytes().as_chunks::<16>();
        if !rest.is_empty() || digits.len() > HISTORY_PRINTS_MAX {
            return Err(bad());
        }
        let print = |digits: &[u8; 16]| std::str::from_utf8(digits).ok().and_then(unhex);
        digits.iter().map(print).collect::<Option<Vec<Print>>>().map(Self).ok_or_else(bad)
    }
}

/// `POST /v1/rejoin`, with the token of the number the file had: the file asks for another number.
///
/// As with a join, uuid and token are made and kept before asking, so that a lost reply is repaired by asking again
/// with the same words.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejoinRequest {
    /// The secret of the join code, hex of 32 bytes.
    pub secret: String,
    /// The file's new uuid, canonical text.
    pub station_uuid: String,
    /// The token the file will use from now on, hex of 32 bytes.
    pub token: String,
    /// Fingerprint of the file's schema, hex.
    pub fingerprint: String,
    /// The server's place when the file compared histories: if it stands elsewhere by now, they must be compared
    /// again.
    pub tidemark: u64,
    /// The chain there.
    pub chain: Chain,
    /// Last seq that both histories have in common.
    pub common: u64,
    /// The chain after the file's first change beyond `common`, if it has one: the same change must not go on twice.
    pub next: Option<Chain>,
    /// The file must take over its old number's rows, because its log does not say all that happened to them.
    pub must_replace: bool,
}

/// Reply to a rejoin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejoinReply {
    /// The new number.
    pub station: StationNumber,
    /// The name the server's operator gave it.
    pub name: String,
    /// True when the new number replaces the old one, and may write the old one's rows.
    pub replaces: bool,
    /// The bounds of one frame.
    pub limits: FrameLimits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_travel_as_one_text() {
        let prints = Prints(vec![[1; 8], [0xab; 8]]);
        let json = serde_json::to_string(&prints).unwrap();
        assert_eq!(json, r#""0101010101010101abababababababab""#);
        assert_eq!(serde_json::from_str::<Prints>(&json).unwrap(), prints);
        assert_eq!(serde_json::from_str::<Prints>(r#""""#).unwrap(), Prints::default());
        for bad in [r#""01""#, r#""0101010101010101ab""#, r#""zz01010101010101""#, "7"] {
            assert!(serde_json::from_str::<Prints>(bad).is_err(), "{bad}");
        }
        let many = format!("\"{}\"", "0".repeat(16 * (HISTORY_PRINTS_MAX + 1)));
        assert!(serde_json::from_str::<Prints>(&many).is_err());
    }
}
