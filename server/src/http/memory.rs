//! The memory that bodies take while they come.
//!
//! A body takes memory as it comes, not as it claims. When there is no more, the station that holds the most of it
//! gives way to one that holds less: its largest unfinished body is cut, and it sends it again. So nobody keeps others
//! out by sending much, or slowly.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_core::ids::StationNumber;
use tokio::sync::Notify;

use super::address::Address;

/// How long a body waits for the memory of another that was cut.
const CUT_TIME: Duration = Duration::from_secs(2);

/// Whose body it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    /// A station's.
    Station(StationNumber),
    /// Somebody's who is not known, at this address.
    Unknown(Option<Address>),
}

/// Why there is no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoMemory {
    /// Others hold it.
    Taken,
    /// The same station is sending as many bodies as one may.
    TooMany,
}

/// The memory of all bodies.
#[derive(Debug)]
pub(super) struct Memory {
    bytes_max: AtomicUsize,
    bodies_max: AtomicUsize,
    state: Mutex<State>,
    /// Some was given back.
    given_back: Notify,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    bodies: HashMap<u64, Body>,
    next_id: u64,
}

#[derive(Debug)]
struct Body {
    holder: Holder,
    bytes: usize,
    /// Its client is still sending.
    comes: bool,
    cut: Arc<Notify>,
}

/// The memory of one body, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Arc<Memory>,
    id: u64,
    holder: Holder,
    bytes: usize,
    cut: Arc<Notify>,
}

impl Memory {
    /// So many bytes, and so many bodies of one station at once.
    pub(super) fn new(bytes_max: usize, bodies_max: usize) -> Arc<Self> {
        let (bytes_max, bodies_max) = (bytes_max.into(), bodies_max.into());
        Arc::new(Self { bytes_max, bodies_max, state: Mutex::default(), given_back: Notify::new() })
    }

    /// From now on so many bytes, and so many bodies of one station at once.
    pub(super) fn set(&self, bytes_max: usize, bodies_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.bodies_max.store(bodies_max, Ordering::Relaxed);
        self.given_back.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A body that claims to be so long begins. It takes nothing yet.
    ///
    /// # Errors
    /// When all of it would find no room now.
    pub(super) fn begin(self: &Arc<Self>, holder: Holder, claimed: usize) -> Result<Share, NoMemory> {
        let mut state = self.state();
        if let Holder::Station(_) = holder
            && state.bodies.values().filter(|body| body.holder == holder).count()
                >= self.bodies_max.load(Ordering::Relaxed)
        {
            return Err(NoMemory::TooMany);
        }
        if state.taken + claimed > self.bytes_max.load(Ordering::Relaxed)
            && state.who_gives_way(holder, claimed).is_none()
        {
            return Err(NoMemory::Taken);
        }
        let (id, cut) = (state.next_id, Arc::new(Notify::new()));
        state.next_id += 1;
        state.bodies.insert(id, Body { holder, bytes: 0, comes: true, cut: Arc::clone(&cut) });
        Ok(Share { memory: Arc::clone(self), id, holder, bytes: 0, cut })
    }
}

impl State {
    /// The body that is cut for somebody who needs so many bytes more: the largest that still comes, of whoever holds
    /// the most and would hold more than they.
    fn who_gives_way(&self, holder: Holder, bytes: usize) -> Option<u64> {
        let mut held: HashMap<Holder, usize> = HashMap::new();
        for body in self.bodies.values() {
            *held.entry(body.holder).or_default() += body.bytes;
        }
        let own = held.get(&holder).copied().unwrap_or(0) + bytes;
        let comes = self.bodies.iter().filter(|(_, body)| body.comes && body.holder != holder && body.bytes > 0);
        let (id, body) = comes.max_by_key(|(_, body)| (held[&body.holder], body.bytes))?;
        (held[&body.holder] > own).then_some(*id)
    }
}

impl Share {
    /// Takes memory for the body to be so long, in bytes. May wait for another's that is cut.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let gives_up = tokio::time::Instant::now() + CUT_TIME;
        loop {
            let memory = Arc::clone(&self.memory);
            let given_back = memory.given_back.notified();
            if self.try_grow(bytes)? {
                return Ok(());
            }
            if tokio::time::timeout_at(gives_up, given_back).await.is_err() {
                return Err(NoMemory::Taken);
            }
        }
    }

    /// Whether the body may be so long; `false` while another is being cut for it.
    fn try_grow(&mut self, bytes: usize) -> Result<bool, NoMemory> {
        let more = bytes.saturating_sub(self.bytes);
        let mut state = self.memory.state();
        if state.taken + more <= self.memory.bytes_max.load(Ordering::Relaxed) {
            state.taken += more;
            if let Some(body) = state.bodies.get_mut(&self.id) {
                body.bytes += more;
            }
            self.bytes += more;
            return Ok(true);
        }
        let victim = state.who_gives_way(self.holder, more).ok_or(NoMemory::Taken)?;
        if let Some(body) = state.bodies.get_mut(&victim) {
            body.comes = false;
            body.cut.notify_one();
        }
        Ok(false)
    }

    /// Ends when this body is to give way.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// All of it has come: it gives way to nobody any more.
    pub(super) fn is_whole(&self) {
        if let Some(body) = self.memory.state().bodies.get_mut(&self.id) {
            body.comes = false;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        state.taken -= self.bytes;
        state.bodies.remove(&self.id);
        drop(state);
        self.memory.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(number: u32) -> Holder {
        Holder::Station(StationNumber::new(number).unwrap())
    }

    #[tokio::test]
    async fn who_holds_the_most_gives_way_to_who_holds_less() {
        let memory = Memory::new(100, 2);
        let mut first = memory.begin(station(1), 90).unwrap();
        first.grow(50).await.unwrap();
        let mut second = memory.begin(station(1), 10).unwrap();
        second.grow(40).await.unwrap();
        assert_eq!(memory.begin(station(1), 1).unwrap_err(), NoMemory::TooMany);
        assert_eq!(memory.begin(station(2), 95).unwrap_err(), NoMemory::Taken, "it would hold more than the first");
        let mut small = memory.begin(station(2), 30).unwrap();
        small.grow(10).await.unwrap();
        let giving_way = tokio::spawn(async move {
            first.cut().await;
            drop(first);
        });
        small.grow(30).await.unwrap();
        giving_way.await.unwrap();
        assert_eq!(memory.state().taken, 70);
        // What is whole stays.
        second.is_whole();
        assert_eq!(small.grow(80).await.unwrap_err(), NoMemory::Taken);
        drop((second, small));
        assert_eq!(memory.state().taken, 0);
    }

    #[tokio::test]
    async fn what_a_body_claims_takes_nothing() {
        let memory = Memory::new(100, 9);
        let _claims: Vec<Share> = (1..9).map(|number| memory.begin(station(number), 100).unwrap()).collect();
        let mut other = memory.begin(Holder::Unknown(None), 100).unwrap();
        other.grow(100).await.unwrap();
    }
}
