//! `tidemark log`

use std::path::Path;

use serde_json::{Map, Value as Json, json};
use tidemark_client::rusqlite::types::Value;
use tidemark_client::{ImageRow, Store, show_value};

use super::fatal::Fatal;
use super::json::value_json;
use super::show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many changes to show, the newest.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u64,
    /// As JSON, one object per line, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let (pending, changes) =
        Store::look(db, |store| Ok::<_, Fatal>((store.status()?.pending, store.log(args.limit)?)))?;
    for change in &changes {
        if args.json {
            show::line(&json_of(change).to_string());
        } else {
            show::line(&change_line(change));
        }
    }
    if pending > args.limit {
        show::error(&format!(
            "tidemark: {} of {} pending; --limit N shows more",
            args.limit,
            show::count(pending, "change")
        ));
    }
    Ok(())
}

fn json_of(change: &ImageRow) -> Json {
    let image: Map<String, Json> =
        change.values.iter().map(|(name, value)| (name.clone(), value_json(value))).collect();
    json!({ "seq": change.seq, "at_ms": change.at_ms, "table": change.table, "op": change.op, "image": image })
}

/// An operation of the log in words.
pub(super) fn op_word(op: &str) -> &str {
    match op {
        "I" => "insert",
        "U" => "update",
        "D" => "delete",
        other => other,
    }
}

/// One change on one line: seq, time, what, and the image without its NULLs.
pub(super) fn change_line(change: &ImageRow) -> String {
    let op = op_word(&change.op);
    let values = change.values.iter().filter(|(_, value)| *value != Value::Null);
    let values: Vec<String> = values.map(|(name, value)| format!("{name}={}", show_value(value))).collect();
    format!("{}  {}  {op} {}  {}", change.seq, show::time(change.at_ms), change.table, values.join(" "))
}
