//! The argument `--json` of commands that print facts, and values as JSON.

use serde_json::{Value as Json, json};
use tidemark_client::rusqlite::types::Value;
use tidemark_core::value::hex;

/// Of a command that prints facts.
#[derive(Debug, clap::Args)]
pub(super) struct JsonArgs {
    /// As JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// A value of SQLite as JSON that tells its storage classes apart: bytes as `{"blob": hex}`, reals that JSON cannot say
/// as `{"real": text}`.
pub(super) fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(v) => (*v).into(),
        Value::Real(v) if v.is_finite() => (*v).into(),
        Value::Real(v) => json!({ "real": v.to_string() }),
        Value::Text(v) => v.as_str().into(),
        Value::Blob(v) => json!({ "blob": hex(v) }),
    }
}
