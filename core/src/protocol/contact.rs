//! What a station says of itself, so that its operators see how it fares. The server shows it and decides nothing by
//! it: whatever stands there, however large or odd, is taken within bounds.

use serde::{Deserialize, Serialize};

use crate::limits::VERSION_BYTES_MAX;
use crate::printable::one_line;

/// The largest number that a reader of JSON in a browser takes to the digit.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// `POST /v1/contact`: a station says how it fares. All of it may be missing, and what a later version says besides is
/// passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContactRequest {
    /// The station's clock, milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now_ms: Option<i64>,
    /// Changes that are not upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<u64>,
    /// When the oldest of them was captured, milliseconds since 1970 UTC by the station's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<i64>,
    /// Free room on the disk of its file, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_disk_bytes: Option<u64>,
    /// The version of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
    /// The version of its schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
}

/// Reply to [`ContactRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactReply {
    /// The server's clock, milliseconds since 1970 UTC.
    pub server_time_ms: i64,
}

impl ContactRequest {
    /// The same within bounds: numbers that a browser reads to the digit, and one short line that does nothing to a
    /// terminal.
    #[must_use]
    pub fn bounded(self) -> Self {
        let number = |number: u64| number.min(NUMBER_MAX);
        let time = |ms: i64| ms.clamp(-(NUMBER_MAX as i64), NUMBER_MAX as i64);
        Self {
            now_ms: self.now_ms.map(time),
            pending: self.pending.map(number),
            oldest_ms: self.oldest_ms.map(time),
            free_disk_bytes: self.free_disk_bytes.map(number),
            client_version: self.client_version.map(|version| short(&version)),
            schema_version: self.schema_version,
        }
    }
}

/// The beginning of a text, as one line.
fn short(text: &str) -> String {
    let line = one_line(text);
    let mut end = line.len().min(VERSION_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_station_says_is_taken_within_bounds() {
        let said: ContactRequest = serde_json::from_str(
            r#"{"now_ms":-9223372036854775808,"pending":18446744073709551615,"oldest_ms":9223372036854775807,
                "free_disk_bytes":18446744073709551615,"client_version":"\u001b[2J\u202e\n","later":[1]}"#,
        )
        .unwrap();
        let bounded = said.bounded();
        assert_eq!(bounded.pending, Some(NUMBER_MAX));
        assert_eq!(bounded.now_ms, Some(-(NUMBER_MAX as i64)));
        assert_eq!(bounded.client_version.as_deref(), Some("\\u001b[2J\\u202e\\n"));
        let long = ContactRequest { client_version: Some("ж".repeat(VERSION_BYTES_MAX)), ..ContactRequest::default() };
        let long = long.bounded().client_version.unwrap();
        assert!(long.len() <= VERSION_BYTES_MAX && long.starts_with('ж'));
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        assert_eq!(serde_json::to_string(&ContactRequest::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<ContactRequest>("{}").unwrap(), ContactRequest::default());
    }
}
