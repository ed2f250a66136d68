//! `tidemark rejects`

use std::path::Path;

use serde_json::{Map, Value as Json, json};
use tidemark_client::Reject;
use tidemark_client::rusqlite::types::Value;
use tidemark_core::value::hex;

use super::log::change_line;
use super::{Fatal, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many to show, the oldest first.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: u64,
    /// As JSON, one object per line, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let store = super::open(db)?;
    let show = |former: Option<u32>, reject: &Reject| {
        if args.json {
            let image: Map<String, Json> =
                reject.change.values.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
            let json = json!({
                "station": former,
                "seq": reject.change.seq,
                "at_ms": reject.change.at_ms,
                "table": reject.change.table,
                "op": reject.change.op,
                "code": reject.code,
                "message": reject.message,
                "origin": reject.origin,
                "rejected_at_ms": reject.rejected_at_ms,
                "image": image,
            });
            show::line(&json.to_string());
        } else {
            show::line(&format!(
                "{}{}\n    {} (by the {}): {}",
                former.map_or_else(String::new, |number| format!("as station {number}: ")),
                change_line(&reject.change),
                reject.code,
                reject.origin,
                reject.message
            ));
        }
    };
    store.former_rejects::<Fatal>(|number, reject| {
        show(Some(number), &reject);
        Ok(())
    })?;
    store.rejects::<Fatal>(0, args.limit, |reject| {
        show(None, &reject);
        Ok(())
    })?;
    let count = store.rejects_count()?;
    if count == 0 {
        show::error("tidemark: no rejected changes");
    } else if count > args.limit {
        show::error(&format!("tidemark: {} of {count}; --limit N shows more", args.limit));
    }
    Ok(())
}

/// A value as JSON; bytes as `x'…'`, reals that JSON cannot say as text.
fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(v) => (*v).into(),
        Value::Real(v) if v.is_finite() => (*v).into(),
        Value::Real(v) => v.to_string().into(),
        Value::Text(v) => v.as_str().into(),
        Value::Blob(v) => format!("x'{}'", hex(v)).into(),
    }
}
