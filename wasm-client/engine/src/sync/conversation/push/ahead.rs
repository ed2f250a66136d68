//! Station and server at work at the same time: while a batch is in flight, the one before it is acknowledged here, and
//! the one after it is cut and, by whoever can have two requests under way, sent.
//!
//! ```text
//! server    apply N     · decode N + 1             apply N + 1 · decode N + 2
//! station   ack N − 1, cut N + 1, send N + 1       ack N, cut N + 2, send N + 2
//! ```
//!
//! A batch that was sent early is heard only once the one before it is acknowledged. When that one failed, or the file
//! says something else by now, the outcome of the early one is not heard: the server took it only if it had the one
//! before, and says so when the same changes come again.
//!
//! The batch that was cut ahead is sent only if it still is what would be cut then: it begins where the changes that
//! are upstream end, and the file still says that these changes were about to be sent. A file that was put back to an
//! older copy says so no more; one that says so has the changes, and no others in their place, since the log is only
//! appended to.
//!
//! A process that ends before it has acknowledged a batch leaves the file as if the reply had been lost: the batch is
//! sent once more, and the server, which has it, says so.

use tidemark_core::frame::{self, FrameHeader};
use tidemark_core::ids::StationNumber;

use super::Push;
use super::pending::{AT_ONCE, Ahead, Held, Next, Sent};
use crate::ack::{Ack, acknowledge};
use crate::error::Result;
use crate::meta::Meta;
use crate::outbox::{Snapshot, encode};
use crate::store::Store;
use crate::sync::Request;
use crate::sync::conversation::{Early, Joined, Link, Turn};

impl Push {
    /// Cuts the batch after the one in flight, which was sent as station `number`, if more was waiting when that was
    /// cut.
    pub(in crate::sync) fn look_ahead(
        &mut self,
        turn: &mut Turn<'_>,
        sent: &Sent,
        number: StationNumber,
    ) -> Result<()> {
        let Some(_at_once) = AT_ONCE else { return Ok(()) };
        let ready = sent.capped && self.ahead.is_none();
        let Some(pace) = turn.link.pace.as_ref().filter(|_| ready) else { return Ok(()) };
        let cut = {
            let snapshot = Snapshot::take(turn.store)?;
            if snapshot.tidemark != sent.base {
                return Ok(());
            }
            snapshot.cut(sent.last(), snapshot.last_seq, &pace.caps(), turn.now_ms)?
        };
        // Whatever stands in the way is told when its time comes.
        let Some(cut) = cut.filter(|cut| cut.batch.station == number) else { return Ok(()) };
        let Ok(frame) = encode(&cut.batch, pace.limits()) else { return Ok(()) };
        let sent = Sent::of(&cut, turn.store, frame.len());
        if turn.store.note_sent(number, sent.span.last_seq())? {
            self.ahead = Some(Ahead { _at_once, station: number, sent, frame, early: None });
        }
        Ok(())
    }

    /// Acknowledges what is upstream and was left for later.
    pub(in crate::sync) fn settle(&mut self, store: &mut Store) -> Result<()> {
        let Some(held) = &self.held else { return Ok(()) };
        let ack = Ack {
            base: held.base,
            upto: held.upto,
            largest_ids: &held.largest_ids,
            rejected_here: &held.rejected_here,
            rejected_by_server: &held.rejected_by_server,
            limits: held.limits,
            now_ms: held.now_ms,
        };
        // Where another process was faster, that is as good.
        acknowledge(store, &ack)?;
        self.held = None;
        Ok(())
    }

    /// Leaves an acknowledgement for later, if the next batch is ready to go first.
    pub(super) fn hold(&mut self, ack: &Ack<'_>) -> bool {
        let ready = self.held.is_none() && self.ahead.as_ref().is_some_and(|ahead| ahead.sent.base == ack.upto);
        let at_once = AT_ONCE.filter(|_| ready);
        if let Some(_at_once) = at_once {
            self.held = Some(Held {
                _at_once,
                base: ack.base,
                upto: ack.upto,
                largest_ids: ack.largest_ids.to_vec(),
                rejected_here: ack.rejected_here.to_vec(),
                rejected_by_server: ack.rejected_by_server.to_vec(),
                limits: ack.limits,
                now_ms: ack.now_ms,
            });
        }
        at_once.is_some()
    }

    /// Drops the batch that was cut ahead unless it is the next one now. Returns whether something must be acknowledged
    /// here before anything is asked.
    pub(in crate::sync) fn check_ahead(&mut self, link: &Link, meta: &Meta) -> bool {
        let is_next = self.ahead.as_ref().is_some_and(|ahead| self.is_next(ahead, link, meta));
        if !is_next {
            self.ahead = None;
        }
        !is_next && self.held.is_some()
    }

    fn is_next(&self, Ahead { station, sent, frame, early, .. }: &Ahead, link: &Link, meta: &Meta) -> bool {
        let number = meta.membership.as_ref().map(|membership| membership.number);
        let upstream = match &self.held {
            Some(held) if held.base == meta.tidemark => held.upto,
            _ => meta.tidemark,
        };
        let follows = number == Some(*station) && upstream == sent.base && meta.sent_seq >= sent.span.last_seq();
        let fits =
            early.is_some() || link.pace.as_ref().is_some_and(|pace| FrameHeader::parse(frame, pace.limits()).is_ok());
        follows && fits && !link.ask_station && !link.outage.probes() && link.outage.is_over()
    }

    /// Whether a batch was cut ahead that is not under way yet.
    pub(in crate::sync) fn has_unsent_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| ahead.early.is_none())
    }

    /// Drops the batch that was cut ahead.
    pub(in crate::sync) fn drop_ahead(&mut self) {
        self.ahead = None;
    }

    /// The batch that was cut ahead, if there is one: it was checked to be the next.
    pub(super) fn take_ahead(&mut self, now_ms: i64) -> Option<(Sent, Next)> {
        let Ahead { mut sent, mut frame, early, .. } = self.ahead.take()?;
        sent.early = early.is_some();
        let next = early.map_or_else(
            || {
                frame::restamp(&mut frame, now_ms);
                Next::Frame(frame)
            },
            Next::UnderWay,
        );
        Some((sent, next))
    }

    /// The last change of the batch in flight, if the one that was cut ahead may be sent beside it.
    pub(in crate::sync) fn goes_early_after(&self, link: &Link, joined: &Joined<'_>, in_flight: &Sent) -> Option<u64> {
        let ahead = self.ahead.as_ref()?;
        let follows = ahead.early.is_none()
            && ahead.station == joined.number
            && ahead.sent.base == in_flight.last()
            && joined.meta.sent_seq >= ahead.sent.span.last_seq();
        (follows && link.takes_early()).then(|| in_flight.span.last_seq())
    }

    /// The batch that was cut ahead as a request of this number, which follows change `after`.
    pub(in crate::sync) fn early(&mut self, joined: &Joined<'_>, after: u64, id: u64, now_ms: i64) -> Option<Request> {
        let ahead = self.ahead.as_mut()?;
        let mut frame = std::mem::take(&mut ahead.frame);
        frame::restamp(&mut frame, now_ms);
        let request = Request::frame(&joined.server, joined.token, frame).numbered(id);
        ahead.early = Some(Early { id, timeout_ms: request.timeout_ms });
        // It waits for the one in flight, which was given its time when it was sent.
        let timeout_ms = 2 * request.timeout_ms;
        Some(Request { after: Some(after), ..request }.within_ms(timeout_ms))
    }
}
