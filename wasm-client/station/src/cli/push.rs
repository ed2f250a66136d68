//! `tidemark push`

use std::path::Path;

use tidemark_client::sync::{Drained, Event, StopKind, Summary};

use super::{EXIT_UNREACHABLE, Fatal, show};
use crate::station::Station;
use crate::transport::HttpTransport;

pub(super) fn run(db: &Path) -> Result<(), Fatal> {
    let mut station = Station::from(super::open_whole(db)?);
    let pending = station.status()?.pending;
    let bar = show::bar(Some(pending), "{bar:30} {percent:>3} %  {pos} of {len} changes  {per_sec}, {eta} left  {msg}");
    let mut settled = (0, 0);
    let drained = station.push_with(&mut HttpTransport::new(), &mut |event| match event {
        Event::Acked { changes, .. } => {
            bar.inc(*changes);
            bar.set_message("");
        }
        Event::Settled { resolved, discarded } => {
            settled.0 += resolved;
            settled.1 += discarded;
        }
        Event::Failed { message, .. } => show::message(&bar, message),
        _ => {}
    });
    bar.finish_and_clear();
    if settled != (0, 0) {
        show::line(&show::settled(settled.0, settled.1));
    }
    let rejected = |summary: &Summary| {
        let count = summary.rejected_here + summary.rejected_by_server;
        if count == 0 { String::new() } else { format!(", {count} of them rejected (`tidemark rejects` shows them)") }
    };
    match drained? {
        Drained::Done(summary) => {
            show::line(&format!("pushed {}{}", show::count(summary.changes, "change"), rejected(&summary)));
            Ok(())
        }
        Drained::Unreachable { summary, message } => {
            let pending = station.status()?.pending;
            Err(Fatal {
                code: EXIT_UNREACHABLE,
                message: format!(
                    "{message}. {} pushed{}, {} pending; nothing is lost, run `tidemark push` again later",
                    show::count(summary.changes, "change"),
                    rejected(&summary),
                    pending
                ),
            })
        }
        Drained::Stopped { stop, .. } if stop.kind == StopKind::NotJoined => Err(Fatal::new(stop.message)),
        Drained::Stopped { summary, stop } => {
            let pending = station.status()?.pending;
            Err(Fatal::new(format!(
                "{stop}. {} pushed{}, {pending} pending",
                show::count(summary.changes, "change"),
                rejected(&summary)
            )))
        }
    }
}
