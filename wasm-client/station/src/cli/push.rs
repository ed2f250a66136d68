//! `tidemark push`

use std::path::Path;

use serde_json::{Value as Json, json};
use tidemark_client::sync::{Drained, Event, StopKind, Summary, Trouble};
use tidemark_core::protocol::ProblemCode;

use super::fatal::{EXIT_UNREACHABLE, Fatal};
use super::trust::TrustArgs;
use super::{show, words};
use crate::bell::Bell;
use crate::courier::Courier;

pub(super) fn run(db: &Path, as_json: bool, trust: &TrustArgs) -> Result<(), Fatal> {
    let mut station = trust.station(super::file::open_whole(db)?)?;
    let pending = station.status()?.pending;
    let bar =
        show::bar(Some(pending), "{bar:30} {percent:>3} %  pushed {pos}, in all {len}  {rate}, {eta} left  {msg}");
    let mut courier = Courier::start(station.transport()?, Bell::default());
    let mut settled = (0, 0);
    let drained = station.push_with(&mut courier, &mut |event| match event {
        Event::Acked { changes, .. } => {
            bar.inc(*changes);
            bar.set_message("");
        }
        Event::Settled { resolved, discarded } => {
            settled.0 += resolved;
            settled.1 += discarded;
        }
        Event::Failed { why, .. } => show::message(&bar, &words::trouble(why)),
        _ => {}
    });
    bar.finish_and_clear();
    let drained = drained?;
    if as_json {
        show::json(&json_of(&drained, settled, station.status()?.pending));
    } else if settled != (0, 0) {
        show::line(&show::settled(settled.0, settled.1));
    }
    let rejected = |summary: &Summary| {
        let count = summary.rejected_here + summary.rejected_by_server;
        if count == 0 { String::new() } else { format!(", {count} of them rejected (`tidemark rejects` shows them)") }
    };
    match drained {
        Drained::Done(_) if as_json => Ok(()),
        Drained::Done(summary) => {
            show::line(&format!("pushed {}{}", show::count(summary.changes, "change"), rejected(&summary)));
            Ok(())
        }
        Drained::Unreachable { summary, why } => {
            let pending = station.status()?.pending;
            Err(Fatal {
                code: EXIT_UNREACHABLE,
                message: format!(
                    "{}. {} pushed{}, {} pending; nothing is lost, run `tidemark push` again later",
                    words::trouble(&why),
                    show::count(summary.changes, "change"),
                    rejected(&summary),
                    pending
                ),
            })
        }
        Drained::Stopped { stop, .. } if stop.kind() == StopKind::NotJoined => Err(Fatal::new(words::stop(&stop))),
        Drained::Stopped { summary, stop } => {
            let pending = station.status()?.pending;
            Err(Fatal::new(format!(
                "{}. {} pushed{}, {pending} pending",
                words::stop(&stop),
                show::count(summary.changes, "change"),
                rejected(&summary)
            )))
        }
    }
}

/// For what the server waits itself, as the protocol has it.
fn reason(why: &Trouble) -> Option<Json> {
    let Trouble::Unwell(unwell) = why else { return None };
    if unwell.code == ProblemCode::TooManyRequests {
        return Some(json!(unwell.code));
    }
    unwell.reason.map(|reason| json!(reason))
}

/// The outcome of a push, whatever it is.
fn json_of(drained: &Drained, (resolved, discarded): (u64, u64), pending: u64) -> Json {
    let (outcome, summary, message, reason) = match drained {
        Drained::Done(summary) => ("done", summary, None, None),
        Drained::Unreachable { summary, why } => ("unreachable", summary, Some(words::trouble(why)), reason(why)),
        Drained::Stopped { summary, stop } => ("stopped", summary, Some(words::stop(stop)), None),
    };
    json!({
        "outcome": outcome,
        "message": message,
        "reason": reason,
        "changes": summary.changes,
        "rejected": summary.rejected_here + summary.rejected_by_server,
        "requests": summary.requests,
        "settled": { "resolved": resolved, "discarded": discarded },
        "pending": pending,
    })
}
