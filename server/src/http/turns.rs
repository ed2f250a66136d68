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
//! Requests for the same tables take half of the slots at most, and all of a table three quarters, so that one on which
//! everybody waits leaves the others theirs. Which of a request's tables was locked the database does not say: those
//! that nobody else has written meanwhile may be. They are tried by one request at a time until one goes through; the
//! others that need them are refused at once instead of waiting, but for those that need less than the one that tries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// The turns that are taken, by number.
    taken: BTreeMap<u64, Taken>,
    /// Tables whose lock was waited for in vain.
    locked: BTreeSet<usize>,
    /// When a table was written last, of those that somebody has a turn for.
    written: HashMap<usize, Instant>,
    /// The virtual time of the one that went last.
    virtual_time: u64,
    /// Virtual times that stations have used up, beyond that.
    used: HashMap<StationNumber, u64>,
    waiting: Vec<Waiting>,
    next_id: u64,
    /// How long the last one waited for a slot, or gave up after.
    waited: Duration,
}

/// A turn that is taken.
#[derive(Debug)]
struct Taken {
    station: StationNumber,
    tables: Arc<[usize]>,
}

impl Taken {
    fn needs_any_of(&self, tables: &BTreeSet<usize>) -> bool {
        self.tables.iter().any(|table| tables.contains(table))
    }

    /// It needs some tables, and none that `others` are not.
    fn is_within(&self, others: &[usize]) -> bool {
        !self.tables.is_empty() && self.tables.iter().all(|table| others.contains(table))
    }
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    want: Want,
    /// Its virtual time.
    starts: u64,
    since: Instant,
    /// Every slot was taken when it came.
    for_slot: bool,
    go: oneshot::Sender<Result<Turn, NoTurn>>,
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
            let for_slot = state.slots_taken >= self.slots;
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
        state.slots_taken >= self.slots && state.waited >= (timeout / 2).max(Duration::from_millis(1))
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
        let refused: Vec<Waiting> = {
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
            let Some(at) = state.next(self.slots, self.bytes_max) else { return };
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

impl State {
    /// The one that goes next.
    fn next(&self, slots: usize, bytes_max: usize) -> Option<usize> {
        if self.slots_taken >= slots {
            return None;
        }
        let mut order: Vec<usize> = (0..self.waiting.len()).collect();
        order.sort_unstable_by_key(|&at| (self.waiting[at].starts, self.waiting[at].id));
        // Room is kept for one that waits for much of it; the small ones do not take it away.
        let mut kept_for_another = false;
        for at in order {
            let Waiting { want, since, .. } = &self.waiting[at];
            if self.has_turn(want.station) || !self.tables_are_free(want, slots) {
                continue;
            }
            let is_small = want.bytes <= bytes_max / 64;
            if self.bytes_taken + want.bytes <= bytes_max && (is_small || !kept_for_another) {
                return Some(at);
            }
            kept_for_another |= since.elapsed() >= OVERTAKEN_MAX;
        }
        None
    }

    fn has_turn(&self, station: StationNumber) -> bool {
        self.taken.values().any(|taken| taken.station == station)
    }

    fn tables_are_free(&self, want: &Want, slots: usize) -> bool {
        if want.tables.iter().any(|table| self.locked.contains(table)) && self.is_tried_by_another(want) {
            return false;
        }
        let like = self.taken.values().filter(|taken| taken.is_within(&want.tables)).count();
        let with = |table: &usize| self.taken.values().filter(|taken| taken.tables.contains(table)).count();
        like < slots.div_ceil(2) && want.tables.iter().all(|table| with(table) < (slots * 3).div_ceil(4))
    }

    /// A table that it needs may be locked, and somebody else, who does not need more than it, is finding out.
    fn is_tried_by_another(&self, want: &Want) -> bool {
        let locked: BTreeSet<usize> = want.tables.iter().filter(|table| self.locked.contains(table)).copied().collect();
        let needs_less = |taken: &Taken| {
            want.tables.len() < taken.tables.len() && want.tables.iter().all(|table| taken.tables.contains(table))
        };
        self.taken.values().any(|taken| taken.needs_any_of(&locked) && !needs_less(taken))
    }

    /// It got nothing for what it was to cost.
    fn refund(&mut self, want: &Want) {
        if let Some(used) = self.used.get_mut(&want.station) {
            *used = used.saturating_sub(want.cost + BASE_COST);
        }
    }

    fn take(&mut self, id: u64, want: &Want) {
        self.slots_taken += 1;
        self.bytes_taken += want.bytes;
        self.taken.insert(id, Taken { station: want.station, tables: Arc::clone(&want.tables) });
    }

    fn give_back(&mut self, id: u64, want: &Want) {
        self.bytes_taken -= want.bytes;
        self.taken.remove(&id);
        let taken = &self.taken;
        self.written.retain(|table, _| taken.values().any(|taken| taken.tables.contains(table)));
        // Nobody is ahead of anybody any more.
        if self.taken.is_empty() && self.waiting.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn want(station: u32, cost: u64, tables: &[usize]) -> Want {
        Want { station: StationNumber::new(station).unwrap(), cost, bytes: 1, tables: tables.into() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn brief() -> Instant {
        Instant::now() + Duration::from_millis(5)
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
    async fn those_who_write_the_same_take_half_of_the_slots_and_a_locked_table_is_tried_by_one() {
        let turns = Turns::new(4, usize::MAX);
        let first = turns.turn(want(1, 1, &[7]), soon()).await.unwrap();
        let second = turns.turn(want(2, 1, &[7]), soon()).await.unwrap();
        assert_eq!(turns.turn(want(3, 1, &[7]), brief()).await.unwrap_err(), NoTurn::Busy);
        assert_eq!(turns.turn(want(3, 1, &[7, 8]), brief()).await.unwrap_err(), NoTurn::Busy);
        drop(turns.turn(want(3, 1, &[8]), soon()).await.unwrap());
        // It turns out to be locked: who waits for it is told so, and so is who comes, while one tries.
        let waiting = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.turn(want(4, 1, &[7]), soon()).await.map(drop) })
        };
        while turns.state().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        first.was_locked();
        assert_eq!(waiting.await.unwrap(), Err(NoTurn::Locked));
        assert_eq!(turns.turn(want(4, 1, &[7]), soon()).await.unwrap_err(), NoTurn::Locked);
        drop((first, second));
        let trying = turns.turn(want(4, 1, &[7]), soon()).await.unwrap();
        assert_eq!(turns.turn(want(5, 1, &[7, 8]), soon()).await.unwrap_err(), NoTurn::Locked);
        drop(turns.turn(want(5, 1, &[8]), soon()).await.unwrap());
        trying.went_through();
        let _also = turns.turn(want(5, 1, &[7]), soon()).await.unwrap();
    }

    #[tokio::test]
    async fn a_locked_table_does_not_take_with_it_those_that_are_written_beside_it() {
        let turns = Turns::new(8, usize::MAX);
        let mut both = Vec::new();
        for station in 1..=4 {
            both.push(turns.turn(want(station, 1, &[7, 8]), soon()).await.unwrap());
        }
        assert_eq!(turns.turn(want(5, 1, &[7, 8]), brief()).await.unwrap_err(), NoTurn::Busy);
        let mut one = Vec::new();
        for station in 11..=12 {
            one.push(turns.turn(want(station, 1, &[7]), soon()).await.unwrap());
        }
        assert_eq!(turns.turn(want(13, 1, &[7]), brief()).await.unwrap_err(), NoTurn::Busy, "three quarters need it");
        let through = turns.turn(want(20, 1, &[8]), soon()).await.unwrap();
        through.went_through();
        drop(through);
        // It was the seventh: the eighth was written meanwhile.
        both[0].was_locked();
        assert_eq!(turns.state().locked, BTreeSet::from([7]));
        assert_eq!(turns.turn(want(13, 1, &[7]), soon()).await.unwrap_err(), NoTurn::Locked);
        drop(turns.turn(want(20, 1, &[8]), soon()).await.unwrap());
        drop((both, one));
        // Of both nobody knows: who needs less than the one that tries finds out, too.
        let trying = turns.turn(want(1, 1, &[7, 8]), soon()).await.unwrap();
        trying.was_locked();
        assert_eq!(turns.state().locked, BTreeSet::from([7, 8]));
        let less = turns.turn(want(20, 1, &[8]), soon()).await.unwrap();
        assert_eq!(turns.turn(want(21, 1, &[8]), soon()).await.unwrap_err(), NoTurn::Locked, "one of them");
        less.went_through();
        drop(turns.turn(want(21, 1, &[8]), soon()).await.unwrap());
    }

    #[tokio::test]
    async fn small_ones_pass_one_that_waits_for_much_room_and_none_waits_behind_one_that_left() {
        let turns = Turns::new(4, 6_400);
        let of = |station, bytes| Want { bytes, ..want(station, 1, &[]) };
        let first = turns.turn(of(1, 4_000), soon()).await.unwrap();
        let large = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.turn(of(2, 5_000), soon()).await.map(drop) })
        };
        while turns.state().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        for waiting in &mut turns.state().waiting {
            waiting.since -= OVERTAKEN_MAX;
        }
        drop(turns.turn(of(3, 100), soon()).await.unwrap());
        let behind = {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move { turns.turn(of(4, 2_000), soon()).await.map(drop) })
        };
        while turns.state().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.turn(of(5, 2_000), brief()).await.unwrap_err(), NoTurn::Busy, "the room is kept");
        large.abort();
        assert_eq!(behind.await.unwrap(), Ok(()));
        drop(first);
    }

    #[tokio::test]
    async fn what_has_no_room_waits_and_what_is_too_large_for_all_of_it_goes_alone() {
        let turns = Turns::new(4, 100);
        let of = |station, bytes| Want { bytes, ..want(station, 1, &[]) };
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
