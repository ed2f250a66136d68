//! What can happen, and when it does.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidemark_client::sync::{Failure, Reply, Request};

use crate::clock::EPOCH_MS;
use crate::faults::Fault;

/// Names an exchange of a process: who, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Exchange {
    pub(super) station: usize,
    pub(super) slot: usize,
    pub(super) life: u64,
    pub(super) number: u64,
    /// The request's id for the engine.
    pub(super) id: u64,
    /// Whether it carries a batch.
    pub(super) batch: bool,
}

/// A request on its way.
pub(super) struct Message {
    pub(super) exchange: Exchange,
    pub(super) request: Request,
    /// Only so many bytes of the body arrive.
    pub(super) cut: Option<usize>,
    /// A copy, whose reply nobody waits for.
    pub(super) copy: bool,
    /// Which history of the station the frame is of.
    pub(super) branch: usize,
}

pub(super) enum Event {
    /// A program writes.
    Write { station: usize },
    /// A process looks at its file.
    Tick { station: usize, slot: usize, life: u64, tick: u64 },
    /// A process hears that its file was written.
    Word { station: usize, slot: usize, life: u64 },
    /// A request reaches a server.
    Arrive(Box<Message>),
    /// A reply reaches the process, or the news that none will.
    Outcome { exchange: Exchange, outcome: Result<Reply, Failure>, late: bool },
    /// A process starts.
    Start { station: usize, slot: usize },
    /// A fault strikes.
    Strike(Fault),
    /// A fault that lasts is over.
    Relent(Fault, usize),
    /// All faults stop.
    Heal,
}

pub(super) struct Due {
    pub(super) at_ms: i64,
    pub(super) order: u64,
    pub(super) event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}

/// Virtual time, and what is due in it. What is due at the same time happens in the order in which it was put in.
pub(super) struct Queue {
    pub(super) now_ms: i64,
    order: u64,
    due: BinaryHeap<Reverse<Due>>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self { now_ms: EPOCH_MS, order: 0, due: BinaryHeap::new() }
    }

    /// Puts an event in, so many milliseconds from now.
    pub(super) fn push(&mut self, after_ms: i64, event: Event) {
        self.order += 1;
        self.due.push(Reverse(Due { at_ms: self.now_ms + after_ms, order: self.order, event }));
    }

    /// Takes the next event; time goes on to it.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let Reverse(due) = self.due.pop()?;
        self.now_ms = due.at_ms;
        Some(due.event)
    }
}
