//! Pushes of one station in the order of its log.
//!
//! A station that has more to send does not wait for the reply to a batch before it sends the next one: while the
//! server applies the first, it decodes the second, which is then held here until the first is dealt with. The head of
//! such a push says which change it follows. It waits for pushes of the same station that follow an earlier change or
//! say nothing, never for a later one, so no two wait for each other; a push that says nothing waits for none. It is
//! not decoded before they are, so that it never holds the memory that they need, or much memory for little.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark_core::ids::StationNumber;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The pushes that are under way.
#[derive(Debug, Default)]
pub(super) struct Order {
    stations: Mutex<HashMap<StationNumber, Pushes>>,
}

/// The pushes of one station.
#[derive(Debug, Default)]
struct Pushes {
    /// Each by its number.
    under_way: HashMap<u64, Push>,
    next_id: u64,
    /// The last change that one of them found or made durable.
    durable: u64,
    moved: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
struct Push {
    /// The change that it says it follows.
    after: Option<u64>,
    is_decoded: bool,
}

/// What a push waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// That those before it are decoded, or gone.
    Decoded,
    /// That the change it follows is durable, or those before it are gone.
    Durable,
}

/// A push that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay<'o> {
    order: &'o Order,
    station: StationNumber,
    id: u64,
    after: Option<u64>,
}

impl Order {
    /// A push of a station begins, which follows this change where it says so.
    pub(super) fn begin(&self, station: StationNumber, after: Option<u64>) -> UnderWay<'_> {
        let mut stations = self.stations();
        let pushes = stations.entry(station).or_default();
        let id = pushes.next_id;
        pushes.next_id += 1;
        pushes.under_way.insert(id, Push { after, is_decoded: false });
        UnderWay { order: self, station, id, after }
    }

    fn stations(&self) -> MutexGuard<'_, HashMap<StationNumber, Pushes>> {
        self.stations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// Waits for those before it; `false` when the time was over first.
    pub(super) async fn turn(&self, until: Until, ends: Instant) -> bool {
        while let Some(moved) = self.waits_for(until) {
            let notified = moved.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            // It may have moved before that.
            if self.waits_for(until).is_some() && tokio::time::timeout_at(ends, notified).await.is_err() {
                return false;
            }
        }
        true
    }

    /// It is decoded.
    pub(super) fn is_decoded(&self) {
        if let Some(pushes) = self.order.stations().get_mut(&self.station) {
            pushes.under_way.insert(self.id, Push { after: self.after, is_decoded: true });
            pushes.moved.notify_waiters();
        }
    }

    /// Everything up to this change is durable.
    pub(super) fn reached(&self, seq: u64) {
        if let Some(pushes) = self.order.stations().get_mut(&self.station) {
            pushes.durable = pushes.durable.max(seq);
            pushes.moved.notify_waiters();
        }
    }

    /// What tells that it may go; `None` when it may.
    fn waits_for(&self, until: Until) -> Option<Arc<Notify>> {
        let after = self.after?;
        let stations = self.order.stations();
        let pushes = stations.get(&self.station)?;
        let goes_before = |(id, other): (&u64, &Push)| {
            *id != self.id && other.after < Some(after) && !(until == Until::Decoded && other.is_decoded)
        };
        let waits = pushes.durable < after && pushes.under_way.iter().any(goes_before);
        waits.then(|| Arc::clone(&pushes.moved))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut stations = self.order.stations();
        let Some(pushes) = stations.get_mut(&self.station) else { return };
        pushes.under_way.remove(&self.id);
        pushes.moved.notify_waiters();
        if pushes.under_way.is_empty() {
            stations.remove(&self.station);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn station(number: u32) -> StationNumber {
        StationNumber::new(number).unwrap()
    }

    fn much_later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    /// Whether it may go now.
    fn may_go(push: &UnderWay<'_>) -> bool {
        push.turn(Until::Durable, much_later()).now_or_never().is_some()
    }

    #[tokio::test]
    async fn a_push_waits_for_what_it_follows_and_for_nothing_else() {
        let order = Order::default();
        let first = order.begin(station(7), None);
        let (second, third) = (order.begin(station(7), Some(100)), order.begin(station(7), Some(200)));
        let other = order.begin(station(8), Some(100));
        assert!(may_go(&first) && may_go(&other));
        assert!(!may_go(&second) && !may_go(&third));
        first.reached(100);
        assert!(may_go(&second) && !may_go(&third));
        // The second fails: nothing is left that the third could wait for.
        drop((first, second));
        assert!(may_go(&third));
    }

    #[tokio::test]
    async fn it_goes_the_moment_the_other_is_done_or_gone_or_the_time_is_over() {
        for fails in [false, true] {
            let order = Order::default();
            let first = order.begin(station(7), None);
            let second = order.begin(station(7), Some(100));
            let mut waiting = pin!(second.turn(Until::Durable, much_later()));
            assert!(waiting.as_mut().now_or_never().is_none());
            if fails {
                drop(first)
            } else {
                first.reached(100)
            }
            assert!(waiting.as_mut().now_or_never().is_some(), "{fails}");
        }
        let order = Order::default();
        let _first = order.begin(station(7), None);
        assert!(!order.begin(station(7), Some(100)).turn(Until::Durable, Instant::now()).await);
    }

    #[tokio::test]
    async fn nothing_is_decoded_before_what_it_follows() {
        let order = Order::default();
        let first = order.begin(station(7), None);
        let second = order.begin(station(7), Some(100));
        let mut waiting = pin!(second.turn(Until::Decoded, much_later()));
        assert!(waiting.as_mut().now_or_never().is_none());
        first.is_decoded();
        assert_eq!(waiting.as_mut().now_or_never(), Some(true));
        assert!(!may_go(&second), "it is not durable yet");
    }

    #[test]
    fn nothing_is_kept_of_pushes_that_ended() {
        let order = Order::default();
        drop((order.begin(station(7), None), order.begin(station(7), Some(1))));
        assert!(order.stations().is_empty());
    }
}
