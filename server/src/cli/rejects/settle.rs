//! `rejects replay|discard`.

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::super::place::Look;
use super::super::terminal::print_json;
use super::super::window::WindowArgs;
use super::select::Chosen;
use crate::clock::{Clock as _, SystemClock};
use crate::fleet::acts::{COMMAND_LINE, changes, words};
use crate::ingest::replay::replay_all;
use crate::ledger::operators::NewAct;
use crate::ledger::rejects::{RejectFilter, RejectState};
use crate::upstream::Upstream;

/// Most reasons that are printed.
const SHOWN_MAX: usize = 20;

#[derive(Args)]
pub(in super::super) struct ReplayArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Take any time, also one that the server's clock calls wrong.
    #[arg(long)]
    ignore_clock: bool,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    look: Look,
}

#[derive(Args)]
pub(in super::super) struct DiscardArgs {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    look: Look,
}

/// Refuses numbers that are no open rejects: a slip of the pen should not pass for a success.
async fn check(upstream: &dyn Upstream, filter: &RejectFilter) -> anyhow::Result<()> {
    let Some(seqs) = &filter.seqs else { return Ok(()) };
    let heads = upstream.reject_heads(filter).await?;
    for seq in seqs {
        match heads.iter().find(|head| head.seq == *seq) {
            Some(head) if head.state == RejectState::Open => {}
            Some(head) => bail!("reject {seq} is {} already; nothing was done", head.state.as_str()),
            None => bail!("there is no reject {seq} of that station; nothing was done"),
        }
    }
    Ok(())
}

/// Puts what was done to the rejects of a filter into the audit.
async fn noted(upstream: &dyn Upstream, act: &'static str, filter: &RejectFilter, done: String) -> anyhow::Result<()> {
    let of = filter.seqs.as_deref().map(changes).unwrap_or_default();
    let detail = if of.is_empty() { done } else { format!("{of}: {done}") };
    let (at_ms, operator) = (SystemClock.now_ms(), COMMAND_LINE.to_owned());
    Ok(upstream.note_act(&NewAct { at_ms, operator, act, station: filter.station, detail }).await?)
}

pub(super) async fn replay(args: ReplayArgs) -> anyhow::Result<()> {
    let window = if args.ignore_clock { None } else { Some(args.window.window()?) };
    let (config, upstream) = args.look.place.open().await?;
    let filter = args.chosen.filter(upstream.as_ref()).await?;
    check(upstream.as_ref(), &filter).await?;
    let done = replay_all(upstream.as_ref(), &config.schema, &filter, window, SystemClock.now_ms()).await?;
    let (applied, superseded, open) = (done.applied, done.superseded, done.still_open.len());
    let detail = format!("replayed {applied}, superseded {superseded}, still open {open}");
    noted(upstream.as_ref(), words::REJECTS_REPLAY, &filter, detail).await?;
    if args.look.json {
        let open = done.still_open.iter().map(|open| {
            json!({ "station": open.station.get(), "seq": open.seq, "code": open.code, "message": open.message })
        });
        let open: Vec<_> = open.collect();
        return print_json(&json!({ "replayed": done.applied, "superseded": done.superseded, "still_open": open }));
    }
    for open in done.still_open.iter().take(SHOWN_MAX) {
        say!("station {} change {} stays open: {}: {}", open.station, open.seq, open.code, open.message);
    }
    if done.still_open.len() > SHOWN_MAX {
        say!("… and {} more; `tidemark-server rejects list` shows them", done.still_open.len() - SHOWN_MAX);
    }
    say!("replayed {}, superseded {}, still open {}", done.applied, done.superseded, done.still_open.len());
    Ok(())
}

pub(super) async fn discard(args: DiscardArgs) -> anyhow::Result<()> {
    let upstream = args.look.place.upstream().await?;
    let filter = RejectFilter { state: None, ..args.chosen.filter(upstream.as_ref()).await? };
    check(upstream.as_ref(), &filter).await?;
    let open = RejectFilter { state: Some(RejectState::Open), ..filter };
    let heads = upstream.reject_heads(&open).await?;
    let (mut discarded, mut orphans) = (0, 0);
    for of_station in heads.chunk_by(|a, b| a.station == b.station) {
        let station = of_station[0].station;
        let seqs: Vec<u64> = of_station.iter().map(|head| head.seq).collect();
        discarded += upstream.close(station, &seqs, RejectState::Discarded, SystemClock.now_ms()).await?.len();
        let children = RejectFilter {
            station: Some(station),
            children_of: Some(seqs),
            state: Some(RejectState::Open),
            ..RejectFilter::default()
        };
        orphans += upstream.reject_heads(&children).await?.len();
    }
    noted(upstream.as_ref(), words::REJECTS_DISCARD, &open, format!("discarded {discarded}")).await?;
    if args.look.json {
        return print_json(&json!({ "discarded": discarded, "children_open": orphans }));
    }
    say!("discarded {discarded}");
    if orphans > 0 {
        say!("{orphans} that hang on them stay open; `tidemark-server rejects list --code parent` shows them");
    }
    Ok(())
}
