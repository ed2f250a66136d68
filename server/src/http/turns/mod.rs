//! Turns: which of the waiting stations goes next, and when it has to come again.
//!
//! ```text
//! want ─▶ waiting ─▶ Turn (a slot, room for its bytes, its tables) ─▶ dropped: the next one goes
//!             │
//!             └─▶ Busy: the time was over    Locked: a table that it needs is locked in the database
//! ```
//!
//! Stations share by bytes (start-time fair queueing; Goyal, Vin and Cheng 1996): each has a virtual time that its
//! requests move on by what they cost, and the station that is furthest behind goes next. So a station with twenty rows
//! is not behind one with half a million, whoever came first. One station has as many turns at a time as
//! [`Turns::each`] says, one unless told otherwise; its next request waits without a turn.
//!
//! Requests for the same tables take half of the slots at most, and all of a table three quarters, so that one on which
//! everybody waits leaves the others theirs. Which of a request's tables was locked the database does not say: those
//! that nobody else has written meanwhile may be. They are tried by one request at a time until one goes through; the
//! others that need them are refused at once instead of waiting, but for those that need less than the one that tries.

mod line;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::line::{BASE_COST, State, Waiting};
pub(super) use self::line::{NoTurn, Want};

/// A queue, and the turns that are taken.
#[derive(Debug)]
pub(super) struct Turns {
    slots: AtomicUsize,
    bytes_max: AtomicUsize,
    /// So many turns one station has at once.
    each: usize,
    state: Mutex<State<Turn>>,
}

/// A turn; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    id: u64,
    want: Want,
    began: Instant,
    has_slot: bool,
}

/// Takes a request out of the queue whose client is gone.
struct Leaving<'t> {
    turns: &'t Arc<Turns>,
    id: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        let Some(at) = state.waiting.iter().position(|waiting| waiting.id == self.id) else { return };
        let left = state.waiting.swap_remove(at);
        state.refund(&left.want);
        if left.for_slot {
            state.waited = left.since.elapsed();
        }
        drop(state);
        // Somebody may have waited behind it.
        self.turns.call_next();
    }
}

impl Turns {
    /// So many turns at once, which together take so much memory, in bytes.
    pub(super) fn new(slots: usize, bytes_max: usize) -> Arc<Self> {
        Self::each(1, slots, bytes_max)
    }

    /// The same with so many turns at once for one station.
    pub(super) fn each(each: usize, slots: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { slots: slots.into(), bytes_max: bytes_max.into(), each, state: Mutex::default() })
    }

    /// From now on so many turns at once, which together take so much memory, in bytes.
    pub(super) fn set(self: &Arc<Self>, slots: usize, bytes_max: usize) {
        self.slots.store(slots, Ordering::Relaxed);
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.call_next();
    }

    fn slots(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State<Turn>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn until then.
    ///
    /// # Errors
    /// When there is none in time, or none to be had soon.
    pub(super) async fn turn(self: &Arc<Self>, want: Want, until: Instant) -> Result<Turn, NoTurn> {
        let (go, going) = oneshot::channel();
        let id = {
            let mut state = self.state();
            if state.is_tried_by_another(&want) {
                return Err(NoTurn::Locked);
            }
            let id = state.next_id;
            state.next_id += 1;
            // More than there is goes alone.
            let want = Want { bytes: want.bytes.min(self.bytes_max()), ..want };
            let used = state.used.get(&want.station).copied().unwrap_or(0);
            let starts = used.max(state.virtual_time);
            state.used.insert(want.station, starts + want.cost + BASE_COST);
            let for_slot = state.slots_taken >= self.slots();
            state.waiting.push(Waiting { id, want, starts, since: Instant::now(), for_slot, go });
            id
        };
        let _leaving = Leaving { turns: self, id };
        self.call_next();
        match tokio::time::timeout_at(until, going).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => Err(NoTurn::Busy),
        }
    }

    /// Whether somebody who came now would wait in vain: every slot is taken, and the last one waited for at least half
    /// as long as one may.
    pub(super) fn is_late(&self, timeout: Duration) -> bool {
        let state = self.state();
        state.slots_taken >= self.slots() && state.waited >= (timeout / 2).max(Duration::from_millis(1))
    }

    /// These tables were written: they are not locked.
    fn were_written(self: &Arc<Self>, tables: &[usize]) {
        let mut state = self.state();
        let now = Instant::now();
        for table in tables {
            state.locked.remove(table);
            state.written.insert(*table, now);
        }
        drop(state);
        self.call_next();
    }

    /// A lock on one of these tables was waited for in vain by a turn that began then: on none that was written since.
    fn were_locked(&self, tables: &[usize], began: Instant) {
        let refused: Vec<Waiting<Turn>> = {
            let mut state = self.state();
            let written_since = |table: &&usize| state.written.get(table).is_some_and(|&written| written > began);
            let locked: Vec<usize> = tables.iter().filter(|table| !written_since(table)).copied().collect();
            state.locked.extend(locked);
            let waiting = std::mem::take(&mut state.waiting);
            let (refused, others): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|waiting| state.is_tried_by_another(&waiting.want));
            state.waiting = others;
            refused.iter().for_each(|waiting| state.refund(&waiting.want));
            refused
        };
        for waiting in refused {
            let _ = waiting.go.send(Err(NoTurn::Locked));
        }
    }

    /// Gives turns to whoever can have one.
    fn call_next(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            let Some(at) = state.next(self.slots(), self.bytes_max(), self.each) else { return };
            let Waiting { id, want, starts, since, for_slot, go } = state.waiting.swap_remove(at);
            state.virtual_time = state.virtual_time.max(starts);
            state.waited = if for_slot { since.elapsed() } else { Duration::ZERO };
            state.take(id, &want);
            drop(state);
            let turn = Turn { turns: Arc::clone(self), id, want, began: Instant::now(), has_slot: true };
            // One whose client has just gone ends here, and the next one is called by its end.
            drop(go.send(Ok(turn)));
        }
    }
}

impl Turn {
    /// Another may go, while the memory and the station are still taken.
    pub(super) fn leave_slot(&mut self) {
        if std::mem::take(&mut self.has_slot) {
            self.turns.state().slots_taken -= 1;
            self.turns.call_next();
        }
    }

    /// What it was for is done: its tables are not locked.
    pub(super) fn went_through(&self) {
        self.turns.were_written(&self.want.tables);
    }

    /// It waited in vain for a lock on one of its tables.
    pub(super) fn was_locked(&self) {
        self.turns.were_locked(&self.want.tables, self.began);
    }

    /// It takes as much memory as this, as is known now.
    pub(super) fn set_bytes(&mut self, bytes: usize) {
        let mut state = self.turns.state();
        state.bytes_taken = state.bytes_taken - self.want.bytes + bytes;
        self.want.bytes = bytes;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave_slot();
        self.turns.state().give_back(self.id, &self.want);
        self.turns.call_next();
    }
}
