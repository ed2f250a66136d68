//! `tidemark rejects repair|requeue|renumber|discard`

use std::path::Path;

use serde_json::json;
use tidemark_client::rusqlite::types::Value;
use tidemark_client::{Chosen, Requeued};

use super::super::fatal::Fatal;
use super::super::show;
use crate::clock::now_ms;
use crate::import::field::convert;

#[derive(Debug, clap::Args)]
pub(super) struct RepairArgs {
    /// The number of the rejected change in the log.
    seq: u64,
    /// A column and its right value, written as in a CSV file (empty is NULL); may be given more than once.
    #[arg(long = "set", required = true, value_name = "COLUMN=VALUE")]
    set: Vec<String>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RequeueArgs {
    /// The numbers of the rejected changes in the log.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    seqs: Vec<u64>,
    /// All open ones.
    #[arg(long)]
    all: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DiscardArgs {
    /// The numbers of the rejected changes in the log.
    #[arg(required = true)]
    seqs: Vec<u64>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn repair(db: &Path, args: &RepairArgs) -> Result<(), Fatal> {
    let mut store = super::super::file::open(db)?;
    let Some(reject) = store.reject(args.seq)? else {
        return Err(Fatal::new(format!(
            "change {} was not rejected; `tidemark rejects` shows those that were",
            args.seq
        )));
    };
    let table = store.table(&reject.change.table)?;
    let mut set: Vec<(&str, Value)> = Vec::new();
    for assignment in &args.set {
        let Some((column, text)) = assignment.split_once('=') else {
            return Err(Fatal::new(format!("--set {assignment:?}: write COLUMN=VALUE")));
        };
        let Some(index) = table.column_index(column) else {
            let known: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
            return Err(Fatal::new(format!(
                "--set {assignment:?}: the table {} has no column {column:?}; it has: {}",
                table.name,
                known.join(", ")
            )));
        };
        let value = convert(table, index, text);
        set.push((column, value.map_err(|message| Fatal::new(format!("{}.{column}: {message}", table.name)))?));
    }
    say(store.repair(args.seq, &set, now_ms())?, args.json);
    Ok(())
}

pub(super) fn requeue(db: &Path, args: &RequeueArgs) -> Result<(), Fatal> {
    let mut store = super::super::file::open(db)?;
    let which = if args.all { Chosen::All } else { Chosen::Seqs(&args.seqs) };
    say(store.requeue(which, now_ms())?, args.json);
    Ok(())
}

pub(super) fn renumber(db: &Path, as_json: bool) -> Result<(), Fatal> {
    let mut store = super::super::file::open(db)?;
    let tables = store.renumber(now_ms())?;
    if as_json {
        let tables = tables.iter().map(
            |done| json!({ "table": done.table, "rows": done.rows, "references": done.references, "last": done.last }),
        );
        show::json(&json!({ "tables": tables.collect::<Vec<_>>() }));
        return Ok(());
    }
    for done in &tables {
        show::line(&format!(
            "{}: {} renumbered, {} to them followed; numbering goes on after {}",
            done.table,
            show::count(done.rows, "row"),
            show::count(done.references, "reference"),
            done.last
        ));
    }
    show::line(if tables.is_empty() { "no key is too large" } else { "`tidemark push` sends what changed" });
    Ok(())
}

pub(super) fn discard(db: &Path, args: &DiscardArgs) -> Result<(), Fatal> {
    let mut store = super::super::file::open(db)?;
    store.discard_rejects(&args.seqs, now_ms())?;
    if args.json {
        show::json(&json!({ "discarded": args.seqs }));
        return Ok(());
    }
    show::line(&format!(
        "{} discarded; the rows stay as they are",
        show::count(args.seqs.len() as u64, "rejected change")
    ));
    Ok(())
}

fn say(done: Requeued, as_json: bool) {
    if as_json {
        show::json(&json!({ "changes": done.changes, "rejects": done.rejects }));
        return;
    }
    show::line(&format!(
        "{} for {}; `tidemark push` sends {}",
        show::count(done.changes, "new change"),
        show::count(done.rejects, "rejected change"),
        if done.changes == 1 { "it" } else { "them" },
    ));
}
