//! `rejects replay|discard`.

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::super::place::Look;
use super::super::terminal::print_json;
use super::super::window::WindowArgs;
use super::select::Chosen;
use crate::clock::{Clock as _, SystemClock};
use crate::fleet::acts::COMMAND_LINE;
use crate::ingest::replay::replay_all;
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

pub(super) async fn replay(args: ReplayArgs) -> anyhow::Result<()> {
    let window = if args.ignore_clock { None } else { Some(args.window.window()?) };
    let (config, upstream) = args.look.place.open().await?;
    let filter = args.chosen.filter(upstream.as_ref()).await?;
    check(upstream.as_ref(), &filter).await?;
    let now_ms = SystemClock.now_ms();
    let done = replay_all(upstream.as_ref(), &config.schema, &filter, window, COMMAND_LINE, now_ms).await?;
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
        discarded += upstream.discard(station, &seqs, "", COMMAND_LINE, SystemClock.now_ms()).await?.len();
        let children = RejectFilter {
            station: Some(station),
            children_of: Some(seqs),
            state: Some(RejectState::Open),
            ..RejectFilter::default()
        };
        orphans += upstream.reject_heads(&children).await?.len();
    }
    if args.look.json {
        return print_json(&json!({ "discarded": discarded, "children_open": orphans }));
    }
    say!("discarded {discarded}");
    if orphans > 0 {
        say!("{orphans} that hang on them stay open; `tidemark-server rejects list --code parent` shows them");
    }
    Ok(())
}
