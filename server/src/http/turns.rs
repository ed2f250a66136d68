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
//! is not behind one with half a million, whoever came first. One station has one turn at a time; its next request
//! waits without holding anything.
//!
//! No table takes more than half of the slots, so that one on which everybody waits leaves the others theirs. A table
//! whose lock was waited for in vain is tried by one request at a time until one goes through; the others that need it
//! are refused at once instead of waiting.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_core::ids::StationNumber;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a request costs beside its bytes, in bytes: a transaction of its own.
const BASE_COST: u64 = 16 << 10;
/// Nobody who came later goes before somebody who lacks nothing but room for so long.
const OVERTAKEN_MAX: Duration = Duration::from_secs(2);

/// A wish for a turn.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// Whose turn.
    pub station: StationNumber,
    /// What it costs the server, in bytes of its request.
    pub cost: u64,
    /// The memory that it takes, in bytes.
    pub bytes: usize,
    /// The tables that it writes, by index.
    pub tables: Arc<[usize]>,
}

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// The others took all the time that it could wait.
    Busy,
    /// Somebody holds a lock on a table that it needs.
    Locked,
}

/// A queue, and the turns that are taken.
#[derive(Debug)]
pub(super) struct Turns {
    slots: usize,
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots_taken: usize,
    bytes_taken: usize,
    /// Stations that have a turn.
    at_work: HashSet<StationNumber>,
    tables: HashMap<usize, Taken>,
    /// The virtual time of the one that went last.
    virtual_time: u64,
    /// Virtual times that stations have used up, beyond that.
    used: HashMap<StationNumber, u64>,
    waiting: Vec<Waiting>,
    next_id: u64,
    /// How long the last one waited, or gave up after.
    waited: Duration,
}

/// A table.
#[derive(Debug, Default, Clone, Copy)]
struct Taken {
    /// Turns that write it.
    turns: usize,
    /// Its lock was waited for in vain.
    locked: bool,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    want: Want,
    /// Its virtual time.
    starts: u64,
    since: Instant,
    go: oneshot::Sender<Result<Turn, NoTurn>>,
}

/// A turn; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    want: Want,
    has_slot: bool,
}

/// Takes a request out of the queue whose client is gone.
struct Leaving<'t> {
    turns: &'t Turns,
    id: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        if let Some(at) = state.waiting.iter().position(|waiting| waiting.id == self.id) {
            let left = state.waiting.swap_remove(at);
            state.refund(&left.want);
        }
    }
}

impl Turns {
    /// So many turns at once, which together take so much memory, in bytes.
    pub(super) fn new(slots: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { slots, bytes_max, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn until then.
    ///
    /// # Errors
    /// When there is none in time, or none to be had soon.
    pub(super) async fn turn(self: &Arc<Self>, want: Want, until: Instant) -> Result<Turn, NoTurn> {
        let (go, going) = oneshot::channel();
        let since = Instant::now();
        let id = {
            let mut state = self.state();
            if state.is_tried_by_another(&want) {
                return Err(NoTurn::Locked);
            }
            let id = state.next_id;
            state.next_id += 1;
            // More than there is goes alone.
            let want = Want { bytes: want.bytes.min(self.bytes_max), ..want };
            let used = state.used.get(&want.station).copied().unwrap_or(0);
            let starts = used.max(state.virtual_time);
            state.used.insert(want.station, starts + want.cost + BASE_COST);
            state.waiting.push(Waiting { id, want, starts, since, go });
            id
        };
        let _leaving = Leaving { turns: self, id };
        self.call_next();
        let answer = tokio::time::timeout_at(until, going).await;
        self.state().waited = since.elapsed();
        match answer {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => Err(NoTurn::Busy),
        }
    }

    /// Whether somebody who came now would wait in vain: every slot is taken, and the last one waited for at least half
    /// as long as one may.
    pub(super) fn is_late(&self, timeout: Duration) -> bool {
        let state = self.state();
        state.slots_taken >= self.slots && state.waited >= (timeout / 2).max(Duration::from_millis(1))
    }

    /// A lock on one of these tables was waited for in vain; or they were written.
    fn note(&self, tables: &[usize], locked: bool) {
        let refused: Vec<Waiting> = {
            let mut state = self.state();
            for &table in tables {
                state.tables.entry(table).or_default().locked = locked;
            }
            state.tables.retain(|_, taken| taken.locked || taken.turns > 0);
            if !locked {
                return;
            }
            let waiting = std::mem::take(&mut state.waiting);
            let needs = |waiting: &Waiting| waiting.want.tables.iter().any(|table| tables.contains(table));
            let (refused, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(needs);
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
            let Some(at) = state.next(self.slots, self.bytes_max) else { return };
            let Waiting { want, starts, go, .. } = state.waiting.swap_remove(at);
            state.virtual_time = state.virtual_time.max(starts);
            state.take(&want);
            drop(state);
            let turn = Turn { turns: Arc::clone(self), want, has_slot: true };
            // One whose client has just gone ends here, and the next one is called by its end.
            drop(go.send(Ok(turn)));
        }
    }
}

impl State {
    /// The one that goes next.
    fn next(&self, slots: usize, bytes_max: usize) -> Option<usize> {
        if self.slots_taken >= slots {
            return None;
        }
        let mut order: Vec<usize> = (0..self.waiting.len()).collect();
        order.sort_unstable_by_key(|&at| (self.waiting[at].starts, self.waiting[at].id));
        for at in order {
            let waiting = &self.waiting[at];
            if self.at_work.contains(&waiting.want.station) || !self.tables_are_free(&waiting.want, slots) {
                continue;
            }
            if self.bytes_taken + waiting.want.bytes <= bytes_max {
                return Some(at);
            }
            if waiting.since.elapsed() >= OVERTAKEN_MAX {
                return None;
            }
        }
        None
    }

    fn tables_are_free(&self, want: &Want, slots: usize) -> bool {
        want.tables.iter().all(|table| match self.tables.get(table) {
            None => true,
            Some(taken) if taken.locked => taken.turns == 0,
            Some(taken) => taken.turns < slots.div_ceil(2),
        })
    }

    /// A table that it needs is locked, and somebody else is finding out whether it still is.
    fn is_tried_by_another(&self, want: &Want) -> bool {
        want.tables.iter().filter_map(|table| self.tables.get(table)).any(|taken| taken.locked && taken.turns > 0)
    }

    /// It got nothing for what it was to cost.
    fn refund(&mut self, want: &Want) {
        if let Some(used) = self.used.get_mut(&want.station) {
            *used = used.saturating_sub(want.cost + BASE_COST);
        }
    }

    fn take(&mut self, want: &Want) {
        self.slots_taken += 1;
        self.bytes_taken += want.bytes;
        self.at_work.insert(want.station);
        for &table in &*want.tables {
            self.tables.entry(table).or_default().turns += 1;
        }
    }

    fn give_back(&mut self, want: &Want) {
        self.bytes_taken -= want.bytes;
        self.at_work.remove(&want.station);
        for table in &*want.tables {
            if let Some(taken) = self.tables.get_mut(table) {
                taken.turns -= 1;
            }
        }
        self.tables.retain(|_, taken| taken.locked || taken.turns > 0);
        // Nobody is ahead of anybody any more.
        if self.at_work.is_empty() && self.waiting.is_empty() {
            self.virtual_time = 0;
            self.used.clear();
        } else if self.used.len() > 1024 {
            let now = self.virtual_time;
            self.used.retain(|_, used| *used > now);
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
        self.turns.note(&self.want.tables, false);
    }

    /// It waited in vain for a lock on one of its tables.
    pub(super) fn was_locked(&self) {
        self.turns.note(&self.want.tables, true);
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
        self.turns.state().give_back(&self.want);
        self.turns.call_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(station: u32, cost: u64, tables: &[usize]) -> Want {
        Want { station: StationNumber::new(station).unwrap(), cost, bytes: 1, tables: tables.into() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    /// Lets everybody ask in this order for the one slot that is taken, and returns in which order they get it.
    async fn order(turns: &Arc<Turns>, wants: &[Want]) -> Vec<u32> {
        let first = turns.turn(want(1_000, 0, &[]), soon()).await.unwrap();
        let (told, mut going) = tokio::sync::mpsc::unbounded_channel();
        for want in wants {
            let (turns, want, told) = (Arc::clone(turns), want.clone(), told.clone());
            tokio::spawn(async move {
                let number = want.station.get();
                let _turn = turns.turn(want, soon()).await.unwrap();
                told.send(number).unwrap();
            });
            tokio::task::yield_now().await;
        }
        drop((first, told));
        let mut order = Vec::new();
        while let Some(number) = going.recv().await {
            order.push(number);
        }
        order
    }

    #[tokio::test]
    async fn a_small_request_is_not_behind_those_of_a_station_that_sends_much() {
        let turns = Turns::new(1, usize::MAX);
        let mut wants = vec![want(1, 8 << 20, &[]), want(2, 8 << 20, &[])];
        // One after the other, for a station has one turn at a time anyway.
        wants.extend([want(1, 8 << 20, &[]), want(2, 8 << 20, &[])]);
        wants.extend((3..8).map(|station| want(station, 1_000, &[])));
        let order = order(&turns, &wants).await;
        let place = |n| order.iter().position(|&station| station == n).unwrap();
        let last_of_large = order.iter().rposition(|&station| station <= 2).unwrap();
        assert_eq!(last_of_large, 8, "{order:?}");
        assert!((3..8).all(|station| place(station) <= 6), "{order:?}");
    }

    #[tokio::test]
    async fn a_station_has_one_turn_at_a_time_and_those_who_left_cost_nothing() {
        let turns = Turns::new(4, usize::MAX);
        let first = turns.turn(want(1, 1, &[]), soon()).await.unwrap();
        for _ in 0..50 {
            let until = Instant::now() + Duration::from_millis(1);
            assert_eq!(turns.turn(want(1, 1 << 30, &[]), until).await.unwrap_err(), NoTurn::Busy);
        }
        let _other = turns.turn(want(2, 1, &[]), soon()).await.unwrap();
        assert!(turns.state().used[&StationNumber::new(1).unwrap()] < 1 << 20);
        drop(first);
        let _second = turns.turn(want(1, 1, &[]), soon()).await.unwrap();
    }

    #[tokio::test]
    async fn a_table_takes_half_of_the_slots_and_a_locked_one_is_tried_by_one() {
        let turns = Turns::new(4, usize::MAX);
        let brief = || Instant::now() + Duration::from_millis(5);
        let first = turns.turn(want(1, 1, &[7]), soon()).await.unwrap();
        let second = turns.turn(want(2, 1, &[7, 8]), soon()).await.unwrap();
        assert_eq!(turns.turn(want(3, 1, &[7]), brief()).await.unwrap_err(), NoTurn::Busy);
        drop(turns.turn(want(3, 1, &[8]), soon()).await.unwrap());
        // It turns out to be locked: who waits for it is told so, and so is who comes, while one tries.
        let waiting = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.turn(want(4, 1, &[7]), soon()).await.map(drop) })
        };
        while turns.state().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        turns.note(&[7], true);
        assert_eq!(waiting.await.unwrap(), Err(NoTurn::Locked));
        assert_eq!(turns.turn(want(4, 1, &[7]), soon()).await.unwrap_err(), NoTurn::Locked);
        drop((first, second));
        let trying = turns.turn(want(4, 1, &[7]), soon()).await.unwrap();
        assert_eq!(turns.turn(want(5, 1, &[7]), soon()).await.unwrap_err(), NoTurn::Locked);
        drop(turns.turn(want(5, 1, &[8]), soon()).await.unwrap());
        turns.note(&[7], false);
        let _also = turns.turn(want(5, 1, &[7]), soon()).await.unwrap();
        drop(trying);
    }

    #[tokio::test]
    async fn what_has_no_room_waits_and_what_is_too_large_for_all_of_it_goes_alone() {
        let turns = Turns::new(4, 100);
        let of = |station, bytes| Want { bytes, ..want(station, 1, &[]) };
        let brief = || Instant::now() + Duration::from_millis(5);
        let mut first = turns.turn(of(1, 60), soon()).await.unwrap();
        assert_eq!(turns.turn(of(2, 50), brief()).await.unwrap_err(), NoTurn::Busy);
        let small = turns.turn(of(3, 40), soon()).await.unwrap();
        first.leave_slot();
        assert_eq!(turns.turn(of(2, 50), brief()).await.unwrap_err(), NoTurn::Busy, "its memory is still taken");
        drop((first, small));
        let mut all = turns.turn(of(2, 5_000), soon()).await.unwrap();
        assert_eq!(turns.turn(of(1, 1), brief()).await.unwrap_err(), NoTurn::Busy);
        all.set_bytes(10);
        drop(turns.turn(of(1, 1), soon()).await.unwrap());
    }
}
