//! `tidemark log`

use std::path::Path;

use tidemark_client::rusqlite::types::Value;
use tidemark_client::{ImageRow, show_value};

use super::{Fatal, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many changes to show, the newest.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u64,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::open(db)?;
    let pending = store.status()?.pending;
    for change in store.log(args.limit)? {
        show::line(&change_line(&change));
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
