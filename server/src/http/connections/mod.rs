//! The connections there are: who holds them, which of them is idle, and which is closed when a bound is reached.
//!
//! A connection is *unknown* until a request with a valid token comes over it, then it is that token's. Whoever comes
//! when a bound is reached is let in, and the longest idle connection of those that the bound is about is closed: so
//! idle peers, however many, keep nobody out. One that is busy with a request is closed only when it is unknown, none
//! is idle and it has been busy for a while, as with a body that trickles; else the newcomer is.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::address::Address;
use super::closings::{Bound, Closings};
use super::proxies::Proxies;
use crate::bounds::HttpLimits;
use crate::live::Live;
use crate::metrics::Metrics;

/// The time that a request of somebody unknown has for itself, whoever else comes.
pub(super) const UNDISTURBED: Duration = Duration::from_secs(1);

type Id = u64;

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    /// Unknown: all from one address count together.
    Address(Address),
    /// The hash of a valid token.
    Token([u8; 32]),
    /// A proxy that is believed: all kinds of people ask over it, so no bound but that of all is about it. What
    /// bounds those people is in [`super::forwarded`].
    Proxy,
}

impl Holder {
    const fn is_known(self) -> bool {
        !matches!(self, Self::Address(_))
    }
}

/// All connections of an endpoint, and their bounds.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Live<HttpLimits>,
    held: Mutex<Held>,
    closings: Closings,
    proxies: Proxies,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Held {
    last: Id,
    entries: HashMap<Id, Entry>,
    unknown: Line,
    known: Line,
    holders: HashMap<Holder, Line>,
}

/// A connection, as the others see it.
#[derive(Debug, Clone)]
struct Entry {
    holder: Holder,
    is_busy: bool,
    /// Since when it has been busy, or idle.
    since: Instant,
    signal: Arc<Signal>,
}

/// Some connections, those first that have been idle, or busy, for longest.
#[derive(Debug, Default)]
struct Line {
    idle: BTreeSet<(Instant, Id)>,
    busy: BTreeSet<(Instant, Id)>,
}

impl Line {
    fn len(&self) -> usize {
        self.idle.len() + self.busy.len()
    }

    fn part(&mut self, entry: &Entry) -> &mut BTreeSet<(Instant, Id)> {
        if entry.is_busy { &mut self.busy } else { &mut self.idle }
    }
}

/// What a connection is told by the others.
#[derive(Debug, Default)]
struct Signal {
    close: Notify,
    /// It is busy, and is to be closed all the same.
    also_busy: AtomicBool,
}

impl Held {
    fn insert(&mut self, id: Id, entry: Entry) {
        let at = (entry.since, id);
        let all = if entry.holder.is_known() { &mut self.known } else { &mut self.unknown };
        all.part(&entry).insert(at);
        self.holders.entry(entry.holder).or_default().part(&entry).insert(at);
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, id: Id) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let at = (entry.since, id);
        let all = if entry.holder.is_known() { &mut self.known } else { &mut self.unknown };
        all.part(&entry).remove(&at);
        if let Some(line) = self.holders.get_mut(&entry.holder) {
            line.part(&entry).remove(&at);
            if line.len() == 0 {
                self.holders.remove(&entry.holder);
            }
        }
        Some(entry)
    }

    fn count_of(&self, holder: Holder) -> usize {
        self.holders.get(&holder).map_or(0, Line::len)
    }

    /// Closes the connection of a line that is the first to go, if one may.
    fn close_first(&mut self, line: impl Fn(&Self) -> Option<&Line>) -> bool {
        let Some(line) = line(self) else { return false };
        let first = match (line.idle.first(), line.busy.first()) {
            (Some((_, id)), _) => *id,
            (None, Some((since, id))) if since.elapsed() >= UNDISTURBED => *id,
            _ => return false,
        };
        if self.entries.get(&first).is_some_and(|entry| entry.is_busy && entry.holder.is_known()) {
            return false;
        }
        if let Some(entry) = self.remove(first) {
            entry.signal.also_busy.store(entry.is_busy, Ordering::Relaxed);
            entry.signal.close.notify_one();
        }
        true
    }
}

impl Connections {
    pub(super) fn new(limits: impl Into<Live<HttpLimits>>, metrics: Arc<Metrics>, proxies: Proxies) -> Arc<Self> {
        let (held, closings) = (Mutex::default(), Closings::default());
        Arc::new(Self { limits: limits.into(), held, closings, metrics, proxies })
    }

    /// Tells how many there are.
    fn count(&self, held: &Held) {
        self.metrics.requests.connections(held.known.len(), held.unknown.len());
    }

    /// Tells that one was closed for a bound.
    fn closed(&self, bound: Bound, peer: &dyn Display) {
        self.metrics.requests.closed(bound.name());
        self.closings.tell(bound, peer);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in; `None` when there is no room for it and nobody who could make some.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Seat>> {
        let address = Address::of(peer);
        let is_of_proxy = self.proxies.has(peer);
        let holder = if is_of_proxy { Holder::Proxy } else { Holder::Address(address) };
        let limits = self.limits.get();
        let (own, unknown, all) =
            (limits.address_connections_max, limits.unknown_connections_max, limits.connections_max);
        let mut held = self.held();
        let mut reached = Vec::new();
        let mut has_room = true;
        if !is_of_proxy && held.count_of(holder) >= own {
            reached.push(Bound::Address(own));
            has_room &= held.close_first(|held| held.holders.get(&holder));
        }
        if has_room && !is_of_proxy && held.unknown.len() >= unknown {
            reached.push(Bound::Unknown(unknown));
            has_room &= held.close_first(|held| Some(&held.unknown));
        }
        if has_room && held.entries.len() >= all {
            reached.push(Bound::All(all));
            has_room &= held.close_first(|held| Some(&held.unknown)) || held.close_first(|held| Some(&held.known));
        }
        let seat = has_room.then(|| {
            held.last += 1;
            let (id, signal) = (held.last, Arc::<Signal>::default());
            let entry = Entry { holder, is_busy: false, since: Instant::now(), signal: Arc::clone(&signal) };
            held.insert(id, entry);
            self.metrics.requests.accepted();
            Arc::new(Seat {
                connections: Arc::clone(self),
                id,
                address,
                is_of_proxy,
                running: AtomicUsize::new(0),
                signal,
            })
        });
        self.count(&held);
        drop(held);
        for bound in reached {
            self.closed(bound, &address);
        }
        seat
    }

    /// Closes the longest idle connection, an unknown one if there is one, because the system gives no further one.
    pub(super) fn make_room(&self) -> bool {
        let closed = {
            let mut held = self.held();
            held.close_first(|held| Some(&held.unknown)) || held.close_first(|held| Some(&held.known))
        };
        self.closed(Bound::Descriptors, &"");
        closed
    }

    #[cfg(test)]
    fn counts(&self) -> (usize, usize, usize) {
        let held = self.held();
        (held.entries.len(), held.unknown.len(), held.known.len())
    }
}

/// A connection, as it sees itself: it counts until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Arc<Connections>,
    id: Id,
    address: Address,
    is_of_proxy: bool,
    /// How many requests run over it: one, but for HTTP/2.
    running: AtomicUsize,
    signal: Arc<Signal>,
}

/// A request came over TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encrypted;

/// The connection's token has as many connections as it may, all of them busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Seat {
    /// From where it comes.
    pub(super) const fn address(&self) -> Address {
        self.address
    }

    /// Whether it is of a proxy that is believed: what the proxy says of who asks counts.
    pub(super) const fn is_of_proxy(&self) -> bool {
        self.is_of_proxy
    }

    /// From where a request comes over it: a proxy that is believed says it in a header.
    pub(super) fn address_of(&self, headers: &HeaderMap) -> Address {
        let client = self.is_of_proxy.then(|| self.connections.proxies.client(headers)).flatten();
        client.map_or(self.address, Address::of)
    }

    /// A request comes over it; its answer is on its way when this is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        let mut held = self.connections.held();
        if self.running.fetch_add(1, Ordering::Relaxed) == 0 {
            self.set_busy(&mut held, true);
        }
        Busy(Arc::clone(self))
    }

    /// Whether one does.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    fn set_busy(&self, held: &mut Held, is_busy: bool) {
        if let Some(entry) = held.remove(self.id) {
            held.insert(self.id, Entry { is_busy, since: Instant::now(), ..entry });
        }
    }

    /// A valid token came over it, that of the station or reader `who`.
    ///
    /// # Errors
    /// When the token has as many connections as it may and none of them is idle.
    pub(super) fn belongs_to(&self, token_hash: [u8; 32], who: &dyn Display) -> Result<(), NoRoom> {
        let (holder, max) = (Holder::Token(token_hash), self.connections.limits.get().station_connections_max);
        let mut held = self.connections.held();
        if self.is_of_proxy {
            return Ok(());
        }
        // One that is to be closed does not count any more.
        if held.entries.get(&self.id).is_none_or(|entry| entry.holder == holder) {
            return Ok(());
        }
        let is_full = held.count_of(holder) >= max;
        let has_room = !is_full || held.close_first(|held| held.holders.get(&holder));
        if has_room && let Some(entry) = held.remove(self.id) {
            held.insert(self.id, Entry { holder, ..entry });
        }
        self.connections.count(&held);
        drop(held);
        if is_full {
            self.connections.closed(Bound::Token(max), who);
        }
        if has_room { Ok(()) } else { Err(NoRoom) }
    }

    /// Ends when it is to be closed, for another one that comes.
    pub(super) async fn is_to_close(&self) -> Close {
        self.signal.close.notified().await;
        if self.signal.also_busy.load(Ordering::Relaxed) { Close::AtOnce } else { Close::WhenIdle }
    }
}

/// How a connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// After the request that has come meanwhile, if one has; what was answered before is not waited for.
    WhenIdle,
    /// After the request that runs, and when all is sent that was answered.
    WhenSent,
    /// Whatever it does.
    AtOnce,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut held = self.connections.held();
        held.remove(self.id);
        self.connections.count(&held);
    }
}

/// A connection is busy with a request until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut held = self.0.connections.held();
        if self.0.running.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.set_busy(&mut held, false);
        }
    }
}

#[cfg(test)]
mod tests;
