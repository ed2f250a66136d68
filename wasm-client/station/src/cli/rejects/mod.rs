//! `tidemark rejects`: list, show, export, repair, requeue, discard.

mod export;
mod facts;
mod repair;

use std::path::Path;

use clap::{Args as ClapArgs, Subcommand};
use tidemark_client::rusqlite::types::Value;
use tidemark_client::{Reject, RejectState};
use tidemark_core::value::hex;

use self::facts::to_json;
use super::fatal::Fatal;
use super::log::{change_line, op_word};
use super::show;

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the open ones; what `tidemark rejects` does alone.
    List(ListArgs),
    /// Show one with its whole image, and what hangs on it.
    Show(ShowArgs),
    /// Write all of them, open or not, with their images to a file.
    Export(export::Args),
    /// Change the row of a rejected change; the repaired row is a new change.
    Repair(repair::RepairArgs),
    /// Log the rows of rejected changes once more, as they are now: new changes.
    Requeue(repair::RequeueArgs),
    /// Give rows whose key is too large to travel keys that do, with what references them; later rows are numbered on
    /// from there.
    Renumber(super::json::JsonArgs),
    /// Give rejected changes up. They are kept, as discarded.
    Discard(repair::DiscardArgs),
}

#[derive(Debug, ClapArgs)]
struct ListArgs {
    /// How many to show, the oldest first.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    limit: u64,
    /// Also those that are resolved, requeued or discarded.
    #[arg(long)]
    all: bool,
    /// As JSON, one object per line, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct ShowArgs {
    /// The number of the change in the log.
    seq: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    match &args.verb {
        None => list(db, &args.list),
        Some(Verb::List(args)) => list(db, args),
        Some(Verb::Show(args)) => show_one(db, args),
        Some(Verb::Export(args)) => export::run(db, args),
        Some(Verb::Repair(args)) => repair::repair(db, args),
        Some(Verb::Requeue(args)) => repair::requeue(db, args),
        Some(Verb::Renumber(args)) => repair::renumber(db, args.json),
        Some(Verb::Discard(args)) => repair::discard(db, args),
    }
}

fn list(db: &Path, args: &ListArgs) -> Result<(), Fatal> {
    let store = super::file::open(db)?;
    let state = if args.all { None } else { Some(RejectState::Open) };
    let mut shown = 0_u64;
    let mut show = |former: Option<u32>, reject: &Reject| {
        shown += 1;
        if args.json {
            let mut json = to_json(reject);
            json["station"] = former.into();
            show::line(&json.to_string());
            return;
        }
        let state = if reject.state == RejectState::Open { "" } else { reject.state.as_str() };
        show::line(&format!(
            "{}{}\n    {} (by the {}): {}{}{state}",
            former.map_or_else(String::new, |number| format!("as station {number}: ")),
            change_line(&reject.change),
            show::one_line(&reject.code),
            reject.origin,
            show::one_line(&reject.message),
            if state.is_empty() { "" } else { "; " },
        ));
    };
    store.former_rejects::<Fatal>(|number, reject| {
        if state.is_none_or(|state| reject.state == state) {
            show(Some(number), &reject);
        }
        Ok(())
    })?;
    store.rejects_in::<Fatal>(state, 0, args.limit, |reject| {
        show(None, &reject);
        Ok(())
    })?;
    let open = store.rejects_count()?;
    if shown == 0 {
        show::error("tidemark: no rejected changes");
    } else if shown == args.limit {
        show::error(&format!("tidemark: the first {shown}; --limit N shows more"));
    } else if open > 0 && !args.json {
        show::error(
            "tidemark: `tidemark rejects show SEQ` shows one, `repair SEQ --set COLUMN=VALUE` corrects its row, `requeue SEQ` sends the row \
             again as it is, `discard SEQ` gives it up",
        );
    }
    Ok(())
}

fn show_one(db: &Path, args: &ShowArgs) -> Result<(), Fatal> {
    let store = super::file::open(db)?;
    let Some(reject) = store.reject(args.seq)? else {
        return Err(Fatal::new(format!(
            "change {} was not rejected; `tidemark rejects --all` shows those that were",
            args.seq
        )));
    };
    let children = store.reject_children(args.seq)?;
    if args.json {
        let mut json = to_json(&reject);
        json["children"] = children.into();
        show::line(&format!("{json:#}"));
        return Ok(());
    }
    let line = |name: &str, value: &str| show::line(&format!("{name:<14}{}", show::one_line(value)));
    line("change", &format!("{}: {} {}", args.seq, op_word(&reject.change.op), reject.change.table));
    line("captured", &show::time(reject.change.at_ms));
    line("rejected", &format!("{}, by the {}", show::time(reject.rejected_at_ms), reject.origin));
    line("reason", &format!("{}: {}", reject.code, reject.message));
    let since = reject.resolved_at_ms.map(|ms| format!(" since {}", show::time(ms))).unwrap_or_default();
    line("state", &format!("{}{since}", reject.state.as_str()));
    for (column, value) in &reject.change.values {
        line(&format!("  {column}"), &whole(value));
    }
    if !children.is_empty() {
        let list: Vec<String> = children.iter().map(u64::to_string).collect();
        line("waiting", &format!("{} (rejected for want of this row; sent again with it)", list.join(", ")));
    }
    if reject.state == RejectState::Open {
        line("to do", what_to_do(&reject));
    }
    Ok(())
}

fn what_to_do(reject: &Reject) -> &'static str {
    match reject.code.as_str() {
        "parent" => "repair or requeue the row it references: this one goes along",
        "reference" => "write the row it references, then `tidemark rejects requeue` this one",
        "referenced" => "delete the rows that reference it, then `tidemark rejects requeue` this one",
        "id-range" => {
            "`tidemark rejects renumber`, if a key is too large; else `tidemark rejects repair SEQ --set COLUMN=VALUE`, or `discard SEQ`"
        }
        "append-only" => "`tidemark rejects discard SEQ`: upstream the row stays as it was inserted",
        "clock" => "if the time is right, the server's operator can release it; else `tidemark rejects repair`",
        _ => "`tidemark rejects repair SEQ --set COLUMN=VALUE`, or `discard SEQ`",
    }
}

/// A value to the last character.
fn whole(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Blob(bytes) => format!("x'{}'", hex(bytes)),
        other => tidemark_client::show_value(other),
    }
}
