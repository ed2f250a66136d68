//! A reject as JSON.

use serde_json::{Map, Value as Json, json};
use tidemark_client::Reject;

use super::super::json::value_json;

/// A reject with its image, nothing shortened.
pub(super) fn to_json(reject: &Reject) -> Json {
    let image: Map<String, Json> =
        reject.change.values.iter().map(|(name, value)| (name.clone(), value_json(value))).collect();
    json!({
        "seq": reject.change.seq,
        "at_ms": reject.change.at_ms,
        "table": reject.change.table,
        "op": reject.change.op,
        "code": reject.code,
        "message": reject.message,
        "origin": reject.origin,
        "rejected_at_ms": reject.rejected_at_ms,
        "state": reject.state.as_str(),
        "resolved_at_ms": reject.resolved_at_ms,
        "image": image,
    })
}
