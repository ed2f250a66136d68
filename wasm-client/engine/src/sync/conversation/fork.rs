//! The consequence when station and server hold different histories, whichever question found it out.

use tidemark_core::decision::Cursor;

use super::{Heard, Turn};
use crate::error::Result;
use crate::halt::Halt;
use crate::outbox::Agreement;
use crate::sync::Event;

/// Nothing may be sent from the file until that is settled.
pub(super) fn forked(turn: &Turn<'_>, base: Cursor, server: Cursor, found: Agreement) -> Result<Heard> {
    let name = turn.store.meta()?.membership.map_or_else(String::new, |membership| membership.name);
    let fork = found.fork(name, base, server);
    Ok(fork.map_or(Heard::On(Event::Ignored), |fork| Heard::Halted(Halt::Forked(fork))))
}
