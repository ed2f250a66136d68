//! The fate of rejects: the server is asked about those that are open here, since its operator may have replayed or
//! discarded them, and told of those that were settled here. No change waits for the answer.

use tidemark_core::limits::ASKED_REJECTS_MAX;
use tidemark_core::protocol::{ProblemCode, RejectsReply, RejectsRequest, path};

use super::{Ask, Came, Conversation, Heard, Joined, Turn};
use crate::error::Result;
use crate::repair::RejectsQuestion;
use crate::sync::reply::{Read, read};
use crate::sync::stop::stop_of;
use crate::sync::{Event, Request};

/// How often the server is asked.
const ASK_MS: i64 = 600_000;
/// A new process tells the server of rejects that were settled here since so long: it does not know what the one before
/// it told.
const TELL_MS: i64 = 30 * 86_400_000;

/// The conversation, which goes in portions.
#[derive(Debug)]
pub(in crate::sync) struct Rejects {
    /// When the server was last asked about all open rejects.
    asked_ms: Option<i64>,
    /// Of a round of asking: the seq up to which it was asked.
    after: u64,
    /// The server was told of rejects that were settled here up to this time and seq.
    told: Option<(i64, i64)>,
}

impl Rejects {
    /// The server was not asked yet.
    pub(in crate::sync) const fn new() -> Self {
        Self { asked_ms: None, after: 0, told: None }
    }

    /// The server need not be asked again for a while.
    const fn rest(&mut self, now_ms: i64) {
        self.asked_ms = Some(now_ms);
        self.after = 0;
    }
}

impl Conversation for Rejects {
    type Asked = RejectsQuestion;

    fn ask(&mut self, turn: &mut Turn<'_>, joined: &Joined<'_>) -> Result<Ask<RejectsQuestion>> {
        let now_ms = turn.now_ms;
        if self.asked_ms.is_some_and(|at_ms| (at_ms..at_ms.saturating_add(ASK_MS)).contains(&now_ms)) {
            return Ok(Ask::Nothing);
        }
        let told = self.told.unwrap_or((now_ms.saturating_sub(TELL_MS), 0));
        let question = turn.store.rejects_to_ask(self.after, told, ASKED_REJECTS_MAX)?;
        if question.words.open.is_empty() && question.words.settled.is_empty() {
            self.rest(now_ms);
            return Ok(Ask::Nothing);
        }
        let request = Request::json(&joined.server, path::REJECTS, Some(joined.token), &question.words);
        Ok(Ask::Send(request, question))
    }

    fn hear(&mut self, turn: &mut Turn<'_>, question: &RejectsQuestion, came: &Came<'_>) -> Result<Heard> {
        let stop = match came.outcome.map(read::<RejectsReply>) {
            Ok(Read::Done(done)) => return self.on_rejects(turn, question, &done),
            // An older server does not know the question.
            Ok(Read::Problem(problem))
                if !matches!(problem.code, ProblemCode::NotFound | ProblemCode::MethodNotAllowed) =>
            {
                stop_of(&problem)
            }
            Ok(_) | Err(_) => None,
        };
        // Not worth a wait: the changes need not care what becomes of the question.
        self.rest(turn.now_ms);
        Ok(stop.map_or(Heard::On(Event::Ignored), Heard::Stopped))
    }
}

impl Rejects {
    fn on_rejects(&mut self, turn: &mut Turn<'_>, question: &RejectsQuestion, reply: &RejectsReply) -> Result<Heard> {
        let RejectsRequest { open, settled } = &question.words;
        let (resolved, discarded) = turn.store.rejects_settled_upstream(open, reply, turn.now_ms)?;
        self.told = question.told.or(self.told);
        if let Some(&last) = open.last() {
            self.after = last;
        }
        if open.len().max(settled.len()) < ASKED_REJECTS_MAX {
            self.rest(turn.now_ms);
        }
        Ok(Heard::On(if resolved + discarded > 0 { Event::Settled { resolved, discarded } } else { Event::Ignored }))
    }
}
