//! The requests that come over a proxy which is believed: all kinds of people ask over its connections, so they are
//! bounded by the address that the proxy tells of each, as connections are by the one that they come from.
//!
//! A request is a stranger's until its token is known, then it is that token's. Of strangers one address has as many
//! requests at once as it may have connections, and all of them together as many as there may be connections without a
//! token. For one more the oldest gives way, once it had a moment for itself: so requests that trickle, however many,
//! keep nobody out. A token has as many as a station may have connections.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::address::Address;
use super::connections::{NoRoom, UNDISTURBED};
use crate::bounds::HttpLimits;

type Id = u64;

/// Whose a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// Unknown: all from one address count together.
    Stranger(Address),
    /// The hash of a valid token.
    Token([u8; 32]),
}

/// A request that runs.
#[derive(Debug)]
struct Running {
    since: Instant,
    gives_way: Arc<Notify>,
}

/// All of them. Those of a party are in the order in which they came.
#[derive(Debug, Default)]
struct Held {
    last: Id,
    parties: HashMap<Party, BTreeMap<Id, Running>>,
    /// Of strangers, whose each is.
    strangers: BTreeMap<Id, Party>,
}

impl Held {
    fn count_of(&self, party: Party) -> usize {
        self.parties.get(&party).map_or(0, BTreeMap::len)
    }

    fn insert(&mut self, id: Id, party: Party, running: Running) {
        if let Party::Stranger(_) = party {
            self.strangers.insert(id, party);
        }
        self.parties.entry(party).or_default().insert(id, running);
    }

    fn remove(&mut self, id: Id, party: Party) -> Option<Running> {
        self.strangers.remove(&id);
        let all = self.parties.get_mut(&party)?;
        let running = all.remove(&id);
        if all.is_empty() {
            self.parties.remove(&party);
        }
        running
    }

    /// Has the oldest of a party give way, or of all strangers; `false` when it has just begun.
    fn make_room(&mut self, of: Option<Party>, now: Instant) -> bool {
        let oldest = match of {
            Some(party) => self.parties.get(&party).and_then(|all| all.keys().next()).map(|id| (*id, party)),
            None => self.strangers.first_key_value().map(|(id, party)| (*id, *party)),
        };
        let Some((id, party)) = oldest else { return false };
        let has_just_begun = |running: &Running| now < running.since + UNDISTURBED;
        if self.parties.get(&party).and_then(|all| all.get(&id)).is_none_or(has_just_begun) {
            return false;
        }
        if let Some(running) = self.remove(id, party) {
            running.gives_way.notify_one();
        }
        true
    }
}

/// The requests over proxies, of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Forwarded(Mutex<Held>);

/// The leave of one request to run; it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Leave {
    forwarded: Arc<Forwarded>,
    id: Id,
    party: Mutex<Party>,
    gives_way: Arc<Notify>,
}

impl Forwarded {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request of this party run.
    ///
    /// # Errors
    /// When as many run as may, and none of them gives way.
    pub(super) fn enter(
        self: &Arc<Self>,
        party: Party,
        limits: &HttpLimits,
        now: Instant,
    ) -> Result<Arc<Leave>, NoRoom> {
        let mut held = self.held();
        match party {
            Party::Token(_) if held.count_of(party) >= limits.station_connections_max => return Err(NoRoom),
            Party::Token(_) => {}
            Party::Stranger(_) => {
                let is_full = held.count_of(party) >= limits.address_connections_max;
                if is_full && !held.make_room(Some(party), now) {
                    return Err(NoRoom);
                }
                let is_full = held.strangers.len() >= limits.unknown_connections_max;
                if is_full && !held.make_room(None, now) {
                    return Err(NoRoom);
                }
            }
        }
        held.last += 1;
        let (id, gives_way) = (held.last, Arc::<Notify>::default());
        held.insert(id, party, Running { since: now, gives_way: Arc::clone(&gives_way) });
        drop(held);
        Ok(Arc::new(Leave { forwarded: Arc::clone(self), id, party: Mutex::new(party), gives_way }))
    }
}

impl Leave {
    /// A valid token came with it.
    ///
    /// # Errors
    /// When the token has as many requests as it may.
    pub(super) fn belongs_to(&self, token_hash: [u8; 32], limits: &HttpLimits) -> Result<(), NoRoom> {
        let (to, mut held) = (Party::Token(token_hash), self.forwarded.held());
        let mut party = self.party.lock().unwrap_or_else(PoisonError::into_inner);
        if *party == to {
            return Ok(());
        }
        if held.count_of(to) >= limits.station_connections_max {
            return Err(NoRoom);
        }
        // One that was to give way does not count any more.
        if let Some(running) = held.remove(self.id, *party) {
            held.insert(self.id, to, running);
            *party = to;
        }
        Ok(())
    }

    /// Ends when it is to give way to another.
    pub(super) async fn gives_way(&self) {
        self.gives_way.notified().await;
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let party = *self.party.lock().unwrap_or_else(PoisonError::into_inner);
        self.forwarded.held().remove(self.id, party);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn limits() -> HttpLimits {
        HttpLimits {
            address_connections_max: 2,
            unknown_connections_max: 3,
            station_connections_max: 2,
            ..HttpLimits::default()
        }
    }

    fn of(last: u8) -> Party {
        Party::Stranger(Address::of([192, 0, 2, last].into()))
    }

    fn is_told(leave: &Leave) -> bool {
        leave.gives_way().now_or_never().is_some()
    }

    #[test]
    fn one_address_has_so_many_at_once_and_the_oldest_gives_way_to_one_more() {
        let (forwarded, limits, start) = (Arc::<Forwarded>::default(), limits(), Instant::now());
        let first = forwarded.enter(of(1), &limits, start).unwrap();
        let second = forwarded.enter(of(1), &limits, start + UNDISTURBED / 2).unwrap();
        assert_eq!(
            forwarded.enter(of(1), &limits, start + UNDISTURBED / 2).err(),
            Some(NoRoom),
            "both have just begun"
        );
        let other = forwarded.enter(of(2), &limits, start + UNDISTURBED / 2).unwrap();
        let third = forwarded.enter(of(1), &limits, start + UNDISTURBED).unwrap();
        assert!(is_told(&first) && !is_told(&second) && !is_told(&third) && !is_told(&other));
        // The one that gave way counts no more, also when it ends late.
        drop(first);
        assert_eq!(forwarded.held().strangers.len(), 3);
        // Of all strangers the oldest.
        let last = forwarded.enter(of(3), &limits, start + UNDISTURBED * 2).unwrap();
        assert!(is_told(&second) && !is_told(&other) && !is_told(&third));
        drop((second, other, third, last));
        assert!(forwarded.held().parties.is_empty() && forwarded.held().strangers.is_empty());
    }

    #[test]
    fn a_token_has_its_own_and_strangers_take_none_of_them() {
        let (forwarded, limits, start) = (Arc::<Forwarded>::default(), limits(), Instant::now());
        let token = Party::Token([7; 32]);
        let known = forwarded.enter(token, &limits, start).unwrap();
        let found = forwarded.enter(of(1), &limits, start).unwrap();
        found.belongs_to([7; 32], &limits).unwrap();
        found.belongs_to([7; 32], &limits).unwrap();
        let later = start + UNDISTURBED * 9;
        assert_eq!(forwarded.enter(token, &limits, later).err(), Some(NoRoom), "a known one gives way to nobody");
        let third = forwarded.enter(of(1), &limits, later).unwrap();
        assert_eq!(third.belongs_to([7; 32], &limits), Err(NoRoom));
        third.belongs_to([8; 32], &limits).unwrap();
        assert_eq!(forwarded.held().strangers.len(), 0);
        assert_eq!(forwarded.held().count_of(token), 2);
        drop((known, found, third));
        assert!(forwarded.held().parties.is_empty());
    }
}
