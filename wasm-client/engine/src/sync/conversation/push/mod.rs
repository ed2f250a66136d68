//! Pushing: the next changes go to the server as a frame, and its tidemark, checked against the station's own chain,
//! trims them from the log.

mod ahead;
mod farewell;
mod pending;

use tidemark_core::decision::Cursor;
use tidemark_core::frame::{FrameError, HEADER_BYTES};
use tidemark_core::limits::FrameLimits;
use tidemark_core::planted::{Bug, planted};
use tidemark_core::protocol::{Problem, ProblemCode, PushReply};

pub(in crate::sync) use self::farewell::farewell;
pub(in crate::sync) use self::pending::Sent;
use self::pending::{Ahead, Held, Next};
use super::fork::forked;
use super::problem::{failed, is_elsewhere, on_other, on_problem};
use super::{Ask, Came, Conversation, Heard, Joined, Link, Turn};
use crate::ack::{Ack, Acked, acknowledge};
use crate::error::Result;
use crate::outbox::{Agreement, compare, cut, encode};
use crate::sync::reply::{Read, read};
use crate::sync::stop::stop_of;
use crate::sync::{Event, Excess, Reply, Request, Stop, Trouble};

/// The conversation.
#[derive(Debug)]
pub(in crate::sync) struct Push {
    /// A server cursor beyond the last batch that was compared with the log and agreed; it need not be compared again.
    agreed: Option<Cursor>,
    /// The batch after the one in flight.
    ahead: Option<Ahead>,
    /// An acknowledgement that waits: its changes are upstream, and not yet acknowledged here because the next batch
    /// went first.
    held: Option<Held>,
}

impl Conversation for Push {
    type Asked = Sent;

    fn ask(&mut self, turn: &mut Turn<'_>, joined: &Joined<'_>) -> Result<Ask<Sent>> {
        let send = |sent, frame| Ok(Ask::Send(Request::frame(&joined.server, joined.token, frame), sent));
        match self.take_ahead(turn.now_ms) {
            Some((sent, Next::Frame(frame))) => return send(sent, frame),
            Some((sent, Next::UnderWay(early))) => return Ok(Ask::UnderWay(early, sent)),
            None => {}
        }
        loop {
            let pace = turn.link.pace(joined.meta.limits);
            let Some(cut) = cut(turn.store, &pace.caps(), turn.now_ms)? else { return Ok(Ask::Nothing) };
            let station = cut.batch.station;
            if joined.number != station {
                return Ok(Ask::Again);
            }
            let span = cut.batch.span();
            let frame = match encode(&cut.batch, pace.limits()) {
                Ok(frame) => frame,
                Err(FrameError::TooLarge { what, have, max }) => {
                    if pace.was_too_much(span.count) {
                        continue;
                    }
                    // The limits may be those of long ago: the operator was asked to raise them.
                    if !std::mem::replace(&mut turn.link.limits_asked, true) {
                        turn.link.ask_station = true;
                        return Ok(Ask::Again);
                    }
                    let excess = Excess::Limit { what, have, max };
                    return Ok(Ask::Stop(Stop::TooLarge { seq: span.first_seq, excess }));
                }
                Err(error) => return Err(error.into()),
            };
            if turn.link.outage.probes_before(span.count, frame.len()) {
                return Ok(Ask::Again);
            }
            let sent = Sent::of(&cut, turn.store, frame.len());
            drop(cut);
            // Everything up to here must survive a power cut before a server sees it, or the file would seem rewound
            // afterwards. The commit is synchronous, and its fsync covers all that other programs committed to the WAL
            // before it. Only while the file still is the station it was cut for.
            let unsent = span.last_seq() > joined.meta.sent_seq && !planted(Bug::SentNotDurable);
            if unsent && !turn.store.note_sent(station, span.last_seq())? {
                return Ok(Ask::Again);
            }
            debug_assert!(frame.len() >= HEADER_BYTES);
            return send(sent, frame);
        }
    }

    fn hear(&mut self, turn: &mut Turn<'_>, sent: &Sent, came: &Came<'_>) -> Result<Heard> {
        let heard = self.judge(turn, sent, came)?;
        let under_way = sent.early || self.ahead.as_ref().is_some_and(|ahead| ahead.early.is_some());
        if under_way && !matches!(heard, Heard::Well(_)) {
            turn.link.rest_early();
        }
        Ok(heard)
    }
}

impl Push {
    /// Nothing was sent yet.
    pub(in crate::sync) const fn new() -> Self {
        Self { agreed: None, ahead: None, held: None }
    }

    /// Draws the conclusion from the answer.
    fn judge(&mut self, turn: &mut Turn<'_>, sent: &Sent, came: &Came<'_>) -> Result<Heard> {
        let reply = match came.outcome {
            Ok(reply) => reply,
            Err(failure) => {
                turn.link.unanswered(sent.span.count, sent.frame_bytes, failure.kind);
                return Ok(Heard::Failed { why: Trouble::NoAnswer(failure.clone()), retry_after_ms: None });
            }
        };
        match read::<PushReply>(reply) {
            Read::Done(done) => self.on_pushed(turn, came.took_ms, sent, &done),
            Read::Problem(problem) => refused(turn, reply, sent, &problem),
            Read::Other(foreign) if reply.status == 413 => Ok(too_large(turn.link, sent, None, foreign.to_string())),
            Read::Other(foreign) => {
                if !is_elsewhere(reply) {
                    turn.link.refused(sent.span.count, sent.frame_bytes);
                }
                Ok(on_other(reply, foreign))
            }
        }
    }

    fn on_pushed(&mut self, turn: &mut Turn<'_>, took_ms: i64, sent: &Sent, reply: &PushReply) -> Result<Heard> {
        let server = Cursor { seq: reply.tidemark, chain: reply.chain };
        let last = sent.last();
        let agreement = if server.seq == last.seq {
            if server.chain == last.chain { Agreement::Same } else { Agreement::Differs(last.chain) }
        } else if self.agreed == Some(server) && server.seq > last.seq {
            Agreement::Same
        } else {
            compare(turn.store, sent.base, server)?
        };
        match agreement {
            Agreement::Same => {}
            Agreement::Moved => return Ok(Heard::On(Event::Ignored)),
            other => return forked(turn, sent.base, server, other),
        }
        if server.seq <= sent.base.seq {
            return Ok(Heard::Failed { why: Trouble::NotMoved, retry_after_ms: None });
        }
        // A tidemark beyond the batch is trimmed batch by batch: each duplicate reports the rejects of its own range.
        if server.seq > last.seq {
            self.agreed = Some(server);
        }
        let whole = server.seq >= last.seq && !planted(Bug::AckBeyondBatch);
        let upto = if whole { last } else { server };
        let ack = Ack {
            base: sent.base,
            upto,
            largest_ids: if upto.seq == last.seq { &sent.largest_ids } else { &[] },
            rejected_here: &sent.rejected,
            rejected_by_server: &reply.rejected,
            limits: reply.limits,
            now_ms: turn.now_ms,
        };
        let acked = if whole && self.hold(&ack) { ack.moves() } else { acknowledge(turn.store, &ack)? };
        turn.link.went_through();
        if let Some(pace) = &mut turn.link.pace {
            pace.set_limits(reply.limits);
            pace.went_through(sent.span.count, sent.frame_bytes, sent.capped, took_ms);
        }
        Ok(Heard::Well(match acked {
            Acked::Stale => Event::Ignored,
            Acked::Moved { changes, rejected_here, rejected_by_server } => {
                Event::Acked { tidemark: upto.seq, changes, rejected_here, rejected_by_server }
            }
        }))
    }
}

/// A problem of ours in place of an acknowledgement.
fn refused(turn: &mut Turn<'_>, reply: &Reply, sent: &Sent, problem: &Problem) -> Result<Heard> {
    if let Some(stop) = stop_of(problem) {
        return Ok(Heard::Stopped(stop));
    }
    if planted(Bug::SkipOnError) {
        let (base, upto, limits, now_ms) = (sent.base, sent.last(), FrameLimits::DEFAULT, turn.now_ms);
        let (largest_ids, rejected_here, rejected_by_server) = (&[], &[], &[]);
        acknowledge(turn.store, &Ack { base, upto, largest_ids, rejected_here, rejected_by_server, limits, now_ms })?;
    }
    let again = || Heard::Failed { why: Trouble::NotTaken(problem.detail.clone()), retry_after_ms: None };
    Ok(match problem.code {
        // It overtook the one before it, which is acknowledged by now: where the server stood then says nothing.
        ProblemCode::Gap if sent.early && !planted(Bug::OvertakingIsLoss) => Heard::On(Event::Ignored),
        ProblemCode::Gap | ProblemCode::Forked => {
            let (Some(seq), Some(chain)) = (problem.tidemark, problem.chain.as_deref().copied()) else {
                // It does not say where it stands: ask.
                turn.link.ask_station = true;
                return Ok(again());
            };
            let server = Cursor { seq, chain };
            match compare(turn.store, sent.base, server)? {
                Agreement::Moved => Heard::On(Event::Ignored),
                // Its own words say that the histories agree: the batch was damaged on its way, or somebody was faster.
                // Send again.
                Agreement::Same => again(),
                other => forked(turn, sent.base, server, other)?,
            }
        }
        ProblemCode::TooLarge => too_large(turn.link, sent, problem.limits.as_deref().copied(), problem.detail.clone()),
        ProblemCode::Timeout => {
            turn.link.was_slow(sent.span.count, sent.frame_bytes);
            failed(reply, Trouble::NotTaken(problem.detail.clone()))
        }
        ProblemCode::BadFrame | ProblemCode::BadRequest => on_problem(turn.link, reply, problem),
        _ => {
            turn.link.refused(sent.span.count, sent.frame_bytes);
            on_problem(turn.link, reply, problem)
        }
    })
}

/// The server takes less at once, or not even one change.
fn too_large(link: &mut Link, sent: &Sent, limits: Option<FrameLimits>, told: String) -> Heard {
    let Some(pace) = &mut link.pace else { return Heard::On(Event::Ignored) };
    if let Some(limits) = limits {
        pace.set_limits(limits);
    }
    if pace.was_too_much(sent.span.count) {
        return Heard::On(Event::Smaller { rows: pace.caps().rows });
    }
    Heard::Stopped(Stop::TooLarge { seq: sent.span.first_seq, excess: Excess::Told(told) })
}
