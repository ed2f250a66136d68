//! What follows when station and server hold different histories, whichever question found it out.

use tidemark_core::decision::Cursor;

use super::{Heard, Turn};
use crate::error::Result;
use crate::outbox::Agreement;
use crate::sync::{Event, Stop, StopKind};

/// Keeps the fork in the file, so that no process sends from it until that is settled.
pub(super) fn forked(turn: &mut Turn<'_>, base: Cursor, server: Cursor, found: Agreement) -> Result<Heard> {
    let name = turn.store.meta()?.membership.map_or_else(String::new, |membership| membership.name);
    let Some(message) = found.fork_message(&name, base, server) else { return Ok(Heard::On(Event::Ignored)) };
    turn.link.ask_station = false;
    turn.store.note_forked(turn.now_ms, &message)?;
    Ok(Heard::Stopped(Stop::new(StopKind::Forked, message)))
}
