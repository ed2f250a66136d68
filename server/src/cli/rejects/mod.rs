//! `rejects list|show|replay|discard`.

mod select;
mod settle;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use tidemark_core::printable::one_line;

use self::select::{Only, parse_station, state};
use super::place::Place;
use super::terminal::{complain, print_table, shown_ms};
use crate::ledger::rejects::{Reject, RejectFilter, RejectState};

#[derive(Subcommand)]
pub(super) enum RejectsCommand {
    /// Changes that could not be applied, the newest first.
    List(ListArgs),
    /// One of them with its image, and what hangs on it.
    Show(ShowArgs),
    /// Apply them again, now that the reason is gone; what hangs on them goes along, in the order of the log.
    Replay(settle::ReplayArgs),
    /// Give them up. They are kept, as discarded.
    Discard(settle::DiscardArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    only: Only,
    /// Only those of this table.
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Only those in this state: open, replayed, discarded, superseded, or all.
    #[arg(long, default_value = "open", value_name = "STATE", value_parser = state)]
    state: select::StateChoice,
    /// How many to show.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    /// As JSON, one object per line, with the images.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The station: its number or its name.
    station: String,
    /// The number of the change in the station's log.
    seq: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(command: RejectsCommand) -> anyhow::Result<()> {
    match command {
        RejectsCommand::List(args) => list(args).await,
        RejectsCommand::Show(args) => show(&args).await,
        RejectsCommand::Replay(args) => settle::replay(args).await,
        RejectsCommand::Discard(args) => settle::discard(args).await,
    }
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let upstream = args.place.upstream().await?;
    let mut filter = args.only.filter(upstream.as_ref()).await?;
    (filter.table, filter.state, filter.limit) = (args.table, args.state.0, Some(args.limit));
    let rejects = upstream.list_rejects(&filter).await?;
    if args.json {
        rejects.iter().for_each(|reject| say!("{}", to_json(reject)));
    } else {
        print_rejects(&rejects);
    }
    if rejects.len() == args.limit as usize {
        complain(&format!("the newest {}; there may be more: --limit N shows them", args.limit));
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let upstream = args.place.upstream().await?;
    let station = parse_station(upstream.as_ref(), &args.station).await?;
    let one = RejectFilter { station: Some(station), seqs: Some(vec![args.seq]), ..RejectFilter::default() };
    let Some(reject) = upstream.list_rejects(&one).await?.pop() else {
        bail!(
            "there is no reject {} of station {station}; `tidemark-server rejects list --state all` shows all",
            args.seq
        );
    };
    let of = RejectFilter { station: Some(station), children_of: Some(vec![args.seq]), ..RejectFilter::default() };
    let mut children = upstream.list_rejects(&of).await?;
    children.reverse();
    if args.json {
        let mut json = to_json(&reject);
        json["children"] = children.iter().map(to_json).collect();
        say!("{json:#}");
        return Ok(());
    }
    let line = |name: &str, value: &str| say!("{name:<10}{}", one_line(value));
    line("change", &format!("{} of station {}: {} {}", reject.seq, reject.station, reject.op, reject.table));
    line("captured", &format!("{} UTC by the station's clock", shown_ms(Some(reject.at_ms))));
    line("rejected", &format!("{} UTC, at the {}", shown_ms(Some(reject.received_at_ms)), reject.origin));
    line("reason", &format!("{}: {}", reject.code, reject.message));
    let since = reject.resolved_at_ms.map(|ms| format!(" since {} UTC", shown_ms(Some(ms)))).unwrap_or_default();
    line("state", &format!("{}{since}", reject.state.as_str()));
    if let Some(key) = &reject.key {
        line("key", key);
    }
    if let Some(parent) = reject.parent {
        line("parent", &format!("change {parent}"));
    }
    match &reject.image {
        Some(image) => line("image", image),
        None => line("image", "on the station: `tidemark rejects show` there"),
    }
    if reject.state == RejectState::Open {
        line("to do", what_to_do(&reject));
    }
    if !children.is_empty() {
        say!("\nrejected because of it, and replayed with it:");
        print_rejects(&children);
    }
    Ok(())
}

fn what_to_do(reject: &Reject) -> &'static str {
    match (reject.origin.as_str(), reject.code.as_str()) {
        ("station", _) => "repair it on the station: `tidemark rejects repair`, or discard it",
        (_, "clock") => {
            "if the time is right, `rejects replay --ignore-clock`; else repair it on the station, or discard it"
        }
        (_, "parent") => "repair or replay its parent: this one goes along",
        _ => "remove the reason and replay it, repair it on the station, or discard it",
    }
}

fn print_rejects(rejects: &[Reject]) {
    let row = |reject: &Reject| {
        vec![
            reject.station.to_string(),
            reject.seq.to_string(),
            shown_ms(Some(reject.at_ms)),
            reject.table.clone(),
            reject.op.clone(),
            reject.state.as_str().to_owned(),
            reject.code.clone(),
            reject.origin.clone(),
            reject.message.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = rejects.iter().map(row).collect();
    print_table(&["station", "seq", "captured (UTC)", "table", "op", "state", "code", "at", "message"], &rows);
}

fn to_json(reject: &Reject) -> Json {
    let image: Option<Json> = reject.image.as_ref().and_then(|image| serde_json::from_str(image).ok());
    json!({
        "station": reject.station.get(),
        "seq": reject.seq,
        "at_ms": reject.at_ms,
        "received_at_ms": reject.received_at_ms,
        "table": reject.table,
        "op": reject.op,
        "state": reject.state.as_str(),
        "resolved_at_ms": reject.resolved_at_ms,
        "code": reject.code,
        "message": reject.message,
        "origin": reject.origin,
        "key": reject.key,
        "parent": reject.parent,
        "image": image,
    })
}
