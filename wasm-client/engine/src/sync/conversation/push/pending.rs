//! Batches that are pending with a push: the one on its way, the one that was cut ahead of its time, and the
//! acknowledgement that waits.

use tidemark_core::decision::{Cursor, Span};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::RejectedChange;
use tidemark_core::reject::Rejection;

use crate::outbox::Cut;
use crate::store::Store;
use crate::sync::conversation::Early;

/// A batch on its way.
#[derive(Debug)]
pub(in crate::sync) struct Sent {
    pub(super) base: Cursor,
    pub(super) span: Span,
    pub(super) rejected: Vec<(u64, Rejection)>,
    pub(super) largest_ids: Vec<(String, i64)>,
    pub(super) capped: bool,
    pub(super) frame_bytes: usize,
    /// It was sent before the one before it was acknowledged.
    pub(super) early: bool,
}

impl Sent {
    pub(super) fn of(cut: &Cut, store: &Store, frame_bytes: usize) -> Self {
        let span = cut.batch.span();
        Self {
            base: cut.base,
            span,
            rejected: cut.rejected.clone(),
            largest_ids: cut.batch.largest_ids(store.schema_of(span.first_seq)),
            capped: cut.capped,
            frame_bytes,
            early: false,
        }
    }

    pub(super) const fn last(&self) -> Cursor {
        Cursor { seq: self.span.last_seq(), chain: self.span.chain_after }
    }
}

/// Proof that this build can do two things at once. A browser's cannot make one, and need not carry the code.
#[cfg(not(target_arch = "wasm32"))]
pub(super) type AtOnce = ();
#[cfg(not(target_arch = "wasm32"))]
pub(super) const AT_ONCE: Option<AtOnce> = Some(());
#[cfg(target_arch = "wasm32")]
pub(super) type AtOnce = std::convert::Infallible;
#[cfg(target_arch = "wasm32")]
pub(super) const AT_ONCE: Option<AtOnce> = None;

/// A batch that was cut before its time.
#[derive(Debug)]
pub(super) struct Ahead {
    pub(super) _at_once: AtOnce,
    pub(super) station: StationNumber,
    pub(super) sent: Sent,
    /// Empty once it was sent early.
    pub(super) frame: Vec<u8>,
    pub(super) early: Option<Early>,
}

/// What goes next.
#[derive(Debug)]
pub(super) enum Next {
    /// These bytes.
    Frame(Vec<u8>),
    /// Nothing: it went before its turn.
    UnderWay(Early),
}

/// An [`Ack`] that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) _at_once: AtOnce,
    pub(super) base: Cursor,
    pub(super) upto: Cursor,
    pub(super) largest_ids: Vec<(String, i64)>,
    pub(super) rejected_here: Vec<(u64, Rejection)>,
    pub(super) rejected_by_server: Vec<RejectedChange>,
    pub(super) limits: FrameLimits,
    pub(super) now_ms: i64,
}
