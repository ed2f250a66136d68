//! What is done by the command line, in the audit.

use crate::clock::{Clock as _, SystemClock};
use crate::fleet::acts::COMMAND_LINE;
use crate::ledger::operators::NewAct;
use crate::upstream::Upstream;

/// Notes an act that is done and is about no one station.
pub(super) async fn note(upstream: &dyn Upstream, act: &'static str, detail: &str) -> anyhow::Result<()> {
    let (operator, detail) = (COMMAND_LINE.to_owned(), detail.to_owned());
    let act = NewAct { at_ms: SystemClock.now_ms(), operator, act, station: None, detail };
    Ok(upstream.note_act(&act).await?)
}
