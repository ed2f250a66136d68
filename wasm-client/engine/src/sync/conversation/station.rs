//! Where do you stand? The server says its tidemark and chain, which are compared with the log, and its limits.

use tidemark_core::decision::Cursor;
use tidemark_core::protocol::StationReply;

use super::fork::forked;
use super::problem::{on_other, on_problem};
use super::{Ask, Came, Conversation, Heard, Joined, Turn};
use crate::error::Result;
use crate::outbox::{Agreement, compare};
use crate::sync::reply::{Read, read};
use crate::sync::{Event, Request, Stop, Trouble};

/// The conversation; it keeps nothing.
#[derive(Debug)]
pub(in crate::sync) struct WhereItStands;

/// The tidemark when the server was asked.
#[derive(Debug)]
pub(in crate::sync) struct Asked {
    base: Cursor,
}

impl Conversation for WhereItStands {
    type Asked = Asked;

    fn ask(&mut self, _: &mut Turn<'_>, joined: &Joined<'_>) -> Result<Ask<Asked>> {
        let request = Request::get(&joined.server, "/v1/station", joined.token);
        Ok(Ask::Send(request, Asked { base: joined.meta.tidemark }))
    }

    fn hear(&mut self, turn: &mut Turn<'_>, asked: &Asked, came: &Came<'_>) -> Result<Heard> {
        let reply = match came.outcome {
            Ok(reply) => reply,
            Err(failure) => return Ok(Heard::Failed { why: Trouble::NoAnswer(failure.clone()), retry_after_ms: None }),
        };
        match read::<StationReply>(reply) {
            Read::Done(done) => on_station(turn, asked.base, &done),
            Read::Problem(problem) => Ok(on_problem(turn.link, reply, &problem)),
            Read::Other(foreign) => Ok(on_other(reply, foreign)),
        }
    }
}

fn on_station(turn: &mut Turn<'_>, base: Cursor, reply: &StationReply) -> Result<Heard> {
    let server = Cursor { seq: reply.tidemark, chain: reply.chain };
    let ours = turn.store.meta()?.membership.map(|membership| membership.number);
    if ours != Some(reply.station) {
        return Ok(Heard::Stopped(Stop::OtherNumber(reply.station)));
    }
    match compare(turn.store, base, server)? {
        Agreement::Same => {}
        Agreement::Moved => return Ok(Heard::On(Event::Ignored)),
        other => return forked(turn, base, server, other),
    }
    let link = &mut *turn.link;
    link.ask_station = false;
    link.outage.answered();
    link.pace(Some(reply.limits)).set_limits(reply.limits);
    turn.store.note_agreed(turn.now_ms)?;
    // A server that answers questions and takes no batch is waited for longer each time.
    Ok(if turn.link.outage.is_over() { Heard::Well(Event::Agreed) } else { Heard::On(Event::Agreed) })
}
