//! What is noted of a request while it is answered, for its line in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use hyper::Request;
use tidemark_core::protocol::PushReply;

/// The changes of a push and what became of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pushed {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Applied, dealt with before, rejected; none when the batch was not acknowledged.
    pub(super) verdicts: Option<(u32, u32, usize)>,
}

/// What is noted of a request while it is answered; it goes with the request.
#[derive(Debug, Default)]
pub(super) struct Noted {
    received: AtomicU64,
    pushed: OnceLock<Pushed>,
}

/// The notes of a request.
pub(super) fn noted<B>(request: &Request<B>) -> Arc<Noted> {
    request.extensions().get::<Arc<Noted>>().cloned().unwrap_or_default()
}

impl Noted {
    /// So many bytes of its body were read.
    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes that were read.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The changes of a push.
    pub(super) fn changes(&self) -> Option<Pushed> {
        self.pushed.get().copied()
    }

    /// It was a push of these changes.
    pub(super) fn pushed(&self, (first, last): (u64, u64), reply: Option<&PushReply>) {
        let verdicts = reply.map(|reply| (reply.applied, reply.duplicate, reply.rejected.len()));
        let _ = self.pushed.set(Pushed { first, last, verdicts });
    }
}
