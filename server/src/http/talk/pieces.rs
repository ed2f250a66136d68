//! Answers over HTTP/2, given away in pieces, so that what a peer does not take stays ours to see.
//!
//! Over HTTP/2 a peer says for each stream how much it takes, and may take nothing although it reads. hyper would keep
//! an answer for it for ever. So an answer is given away as its peer has room for it, and it is noted when that was.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::http::connections::Busy;

/// Most bytes that are given away at once.
pub(super) const PIECE_BYTES: usize = 16 << 10;

/// The answers under way over one connection: when its peer last took a piece of each.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<(u64, HashMap<u64, Instant>)>);

impl Answers {
    fn held(&self) -> MutexGuard<'_, (u64, HashMap<u64, Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the peer last took something of the answer that it has neglected for longest.
    pub(super) fn neglected_since(&self) -> Option<Instant> {
        self.held().1.values().min().copied()
    }
}

/// The body of an answer. Its connection is busy until all of it is given away.
pub(super) struct Pieces {
    rest: Bytes,
    id: u64,
    answers: Arc<Answers>,
    _busy: Busy,
}

impl Pieces {
    pub(super) fn new(body: Bytes, answers: &Arc<Answers>, busy: Busy) -> Self {
        let mut held = answers.held();
        held.0 += 1;
        let id = held.0;
        held.1.insert(id, Instant::now());
        drop(held);
        Self { rest: body, id, answers: Arc::clone(answers), _busy: busy }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(bytes);
        let id = self.id;
        self.answers.held().1.insert(id, Instant::now());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.answers.held().1.remove(&self.id);
    }
}
