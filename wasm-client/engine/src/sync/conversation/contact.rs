//! How the station fares: it says so to the server's operators with what it does, and at least every ten minutes also
//! with nothing to push, so that idle does not look like dead. No change waits for it, and an answer that is lost, or
//! a server that does not know the question, changes nothing.

use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::{ContactReply, ContactRequest, ProblemCode, path};

use super::{Ask, Came, Conversation, Heard, Joined, Turn};
use crate::error::Result;
use crate::sync::reply::{Read, read};
use crate::sync::stop::stop_of;
use crate::sync::{Event, Request};

/// While changes are pushed for long it is said so often how many are left, in milliseconds.
const BUSY_MS: i64 = 60_000;
/// What was not heard is said again after so long, in milliseconds.
const AGAIN_MS: i64 = 60_000;
/// The question may take so long, in milliseconds: it is small, and something else may wait behind it.
const TIME_MS: u64 = 10_000;

/// The conversation.
#[derive(Debug)]
pub(in crate::sync) struct Contact {
    /// How often it is said that there is nothing to do; `None`: only when it is asked for.
    every_ms: Option<i64>,
    /// When it was last said, how many changes were pending then, and after how long it is due again, in milliseconds.
    said: Option<Said>,
    /// Since when changes are being pushed without its having been said.
    busy_since_ms: Option<i64>,
    /// Free room on the disk of the file, in bytes, as the shell knows it.
    pub(in crate::sync) free_disk_bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    at_ms: i64,
    pending: u64,
    rest_ms: i64,
}

/// What was said, for when the answer comes.
#[derive(Debug)]
pub(in crate::sync) struct Asked {
    pending: u64,
}

impl Contact {
    /// Nothing was said yet.
    pub(in crate::sync) const fn new(every_ms: Option<u64>) -> Self {
        let every_ms = match every_ms {
            Some(ms) => Some(ms.cast_signed()),
            None => None,
        };
        Self { every_ms, said: None, busy_since_ms: None, free_disk_bytes: None }
    }

    /// Whether it is time, with nothing to push.
    pub(in crate::sync) fn is_due_idle(&mut self, now_ms: i64) -> bool {
        self.busy_since_ms = None;
        let Some(every_ms) = self.every_ms else { return false };
        match self.said {
            None => true,
            Some(_) if planted(Bug::IdleIsSilent) => false,
            // Of what was pending then nothing is any more.
            Some(said) if said.pending > 0 => true,
            Some(said) => !(said.at_ms..said.at_ms.saturating_add(said.rest_ms.min(every_ms))).contains(&now_ms),
        }
    }

    /// Whether it is time, with changes to push.
    pub(in crate::sync) fn is_due_busy(&mut self, now_ms: i64) -> bool {
        if self.every_ms.is_none() {
            return false;
        }
        let since_ms = *self.busy_since_ms.get_or_insert(now_ms);
        let since_ms = self.said.map_or(since_ms, |said| said.at_ms.max(since_ms));
        if since_ms > now_ms {
            // The clock was set back.
            self.busy_since_ms = Some(now_ms);
            self.said = None;
        }
        now_ms.saturating_sub(since_ms) >= BUSY_MS
    }

    const fn rest(&mut self, now_ms: i64, pending: u64, rest_ms: i64) {
        self.said = Some(Said { at_ms: now_ms, pending, rest_ms });
    }
}

impl Conversation for Contact {
    type Asked = Asked;

    fn ask(&mut self, turn: &mut Turn<'_>, joined: &Joined<'_>) -> Result<Ask<Asked>> {
        let (pending, oldest_ms) = turn.store.backlog()?;
        let words = ContactRequest {
            now_ms: Some(turn.now_ms),
            pending: Some(pending),
            oldest_ms,
            free_disk_bytes: self.free_disk_bytes,
            client_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            schema_version: Some(turn.store.schema().version()),
        };
        let request = Request::json(&joined.server, path::CONTACT, Some(joined.token), &words).within_ms(TIME_MS);
        Ok(Ask::Send(request, Asked { pending }))
    }

    fn hear(&mut self, turn: &mut Turn<'_>, asked: &Asked, came: &Came<'_>) -> Result<Heard> {
        let (rest_ms, stop) = match came.outcome.map(read::<ContactReply>) {
            Ok(Read::Done(_)) => (i64::MAX, None),
            Ok(Read::Problem(problem)) => match problem.code {
                // An older server does not know the question; it may be a newer one by the next time.
                ProblemCode::NotFound | ProblemCode::MethodNotAllowed => (i64::MAX, None),
                ProblemCode::Unauthorized | ProblemCode::Revoked => (AGAIN_MS, stop_of(&problem)),
                _ => (AGAIN_MS, None),
            },
            Ok(_) | Err(_) => (AGAIN_MS, None),
        };
        // What was not heard is not said again at once, whatever is pending.
        let pending = if rest_ms == i64::MAX { asked.pending } else { 0 };
        self.rest(turn.now_ms, pending, rest_ms);
        Ok(stop.map_or(Heard::On(Event::Ignored), Heard::Stopped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_station_says_so_at_first_and_then_every_so_often() {
        let mut contact = Contact::new(Some(600_000));
        assert!(contact.is_due_idle(5));
        contact.rest(5, 0, i64::MAX);
        assert!(!contact.is_due_idle(6) && !contact.is_due_idle(600_004));
        assert!(contact.is_due_idle(600_005));
        assert!(contact.is_due_idle(4), "the clock was set back");
        contact.rest(700_000, 0, AGAIN_MS);
        assert!(!contact.is_due_idle(759_999) && contact.is_due_idle(760_000), "what was not heard is said again soon");
        contact.rest(800_000, 3, i64::MAX);
        assert!(contact.is_due_idle(800_001), "what was pending is not any more");
        let mut quiet = Contact::new(None);
        assert!(!quiet.is_due_idle(0) && !quiet.is_due_busy(i64::MAX));
    }

    #[test]
    fn a_station_that_pushes_for_long_says_so_every_minute() {
        let mut contact = Contact::new(Some(600_000));
        assert!(!contact.is_due_busy(0) && !contact.is_due_busy(BUSY_MS - 1));
        assert!(contact.is_due_busy(BUSY_MS));
        contact.rest(BUSY_MS, 900, i64::MAX);
        assert!(!contact.is_due_busy(2 * BUSY_MS - 1) && contact.is_due_busy(2 * BUSY_MS));
        assert!(!contact.is_due_busy(10) && contact.is_due_busy(10 + BUSY_MS), "the clock was set back");
        contact.rest(3 * BUSY_MS, 0, i64::MAX);
        assert!(!contact.is_due_idle(3 * BUSY_MS + 1), "idle");
        assert!(!contact.is_due_busy(9 * BUSY_MS), "what comes after a rest is not old at once");
    }
}
