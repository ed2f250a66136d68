//! The line of those who wait for a turn, and the turns that are taken: who goes next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tidemark_core::ids::StationNumber;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a request costs beside its bytes, in bytes: a transaction of its own.
pub(super) const BASE_COST: u64 = 16 << 10;
/// Nobody who came later goes before somebody who lacks nothing but room for so long, unless it takes little.
pub(super) const OVERTAKEN_MAX: Duration = Duration::from_secs(2);

/// A wish for a turn.
#[derive(Debug, Clone)]
pub(in crate::http) struct Want {
    /// Whose turn.
    pub(in crate::http) station: StationNumber,
    /// What it costs the server, in bytes of its request.
    pub(in crate::http) cost: u64,
    /// The memory that it takes, in bytes.
    pub(in crate::http) bytes: usize,
    /// The tables that it writes, by index.
    pub(in crate::http) tables: Arc<[usize]>,
}

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum NoTurn {
    /// The others took all the time that it could wait.
    Busy,
    /// Somebody holds a lock on a table that it needs.
    Locked,
}

/// Who waits, and what is taken. `T` is what somebody gets whose turn it is.
#[derive(Debug)]
pub(super) struct State<T> {
    pub(super) slots_taken: usize,
    pub(super) bytes_taken: usize,
    /// The turns that are taken, by number.
    pub(super) taken: BTreeMap<u64, Taken>,
    /// Tables whose lock was waited for in vain.
    pub(super) locked: BTreeSet<usize>,
    /// When a table was written last, of those that somebody has a turn for.
    pub(super) written: HashMap<usize, Instant>,
    /// The virtual time of the one that went last.
    pub(super) virtual_time: u64,
    /// Virtual times that stations have used up, beyond that.
    pub(super) used: HashMap<StationNumber, u64>,
    pub(super) waiting: Vec<Waiting<T>>,
    pub(super) next_id: u64,
    /// How long the last one waited for a slot, or gave up after.
    pub(super) waited: Duration,
}

/// A turn that is taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) station: StationNumber,
    pub(super) tables: Arc<[usize]>,
}

impl Taken {
    pub(super) fn needs_any_of(&self, tables: &BTreeSet<usize>) -> bool {
        self.tables.iter().any(|table| tables.contains(table))
    }

    /// It needs some tables, and none that `others` are not.
    pub(super) fn is_within(&self, others: &[usize]) -> bool {
        !self.tables.is_empty() && self.tables.iter().all(|table| others.contains(table))
    }
}

#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) id: u64,
    pub(super) want: Want,
    /// Its virtual time.
    pub(super) starts: u64,
    pub(super) since: Instant,
    /// Every slot was taken when it came.
    pub(super) for_slot: bool,
    pub(super) go: oneshot::Sender<Result<T, NoTurn>>,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            slots_taken: 0,
            bytes_taken: 0,
            taken: BTreeMap::new(),
            locked: BTreeSet::new(),
            written: HashMap::new(),
            virtual_time: 0,
            used: HashMap::new(),
            waiting: Vec::new(),
            next_id: 0,
            waited: Duration::ZERO,
        }
    }
}

impl<T> State<T> {
    /// The one that goes next, where one station has so many turns at once.
    pub(super) fn next(&self, slots: usize, bytes_max: usize, each: usize) -> Option<usize> {
        if self.slots_taken >= slots {
            return None;
        }
        let mut order: Vec<usize> = (0..self.waiting.len()).collect();
        order.sort_unstable_by_key(|&at| (self.waiting[at].starts, self.waiting[at].id));
        // Room is kept for one that waits for much of it; the small ones do not take it away.
        let mut kept_for_another = false;
        // Many wait for the same tables: whether these are free is looked up once.
        let mut taken: Option<&[usize]> = None;
        for at in order {
            let Waiting { want, since, .. } = &self.waiting[at];
            if taken == Some(&*want.tables) || self.turns_of(want.station) >= each {
                continue;
            }
            if !self.tables_are_free(want, slots) {
                taken = Some(&want.tables);
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

    /// The turns that a station has taken.
    pub(super) fn turns_of(&self, station: StationNumber) -> usize {
        self.taken.values().filter(|taken| taken.station == station).count()
    }

    pub(super) fn tables_are_free(&self, want: &Want, slots: usize) -> bool {
        if want.tables.iter().any(|table| self.locked.contains(table)) && self.is_tried_by_another(want) {
            return false;
        }
        let like = self.taken.values().filter(|taken| taken.is_within(&want.tables)).count();
        let with = |table: &usize| self.taken.values().filter(|taken| taken.tables.contains(table)).count();
        like < slots.div_ceil(2) && want.tables.iter().all(|table| with(table) < (slots * 3).div_ceil(4))
    }

    /// A table that it needs may be locked, and somebody else, who does not need more than it, is finding out.
    pub(super) fn is_tried_by_another(&self, want: &Want) -> bool {
        let locked: BTreeSet<usize> = want.tables.iter().filter(|table| self.locked.contains(table)).copied().collect();
        let needs_less = |taken: &Taken| {
            want.tables.len() < taken.tables.len() && want.tables.iter().all(|table| taken.tables.contains(table))
        };
        self.taken.values().any(|taken| taken.needs_any_of(&locked) && !needs_less(taken))
    }

    /// It got nothing for what it was to cost.
    pub(super) fn refund(&mut self, want: &Want) {
        if let Some(used) = self.used.get_mut(&want.station) {
            *used = used.saturating_sub(want.cost + BASE_COST);
        }
    }

    pub(super) fn take(&mut self, id: u64, want: &Want) {
        self.slots_taken += 1;
        self.bytes_taken += want.bytes;
        self.taken.insert(id, Taken { station: want.station, tables: Arc::clone(&want.tables) });
    }

    pub(super) fn give_back(&mut self, id: u64, want: &Want) {
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
