//! Many stations and one server that was away, by virtual time: how soon they are back, and what that costs it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tidemark_client::sync::{Action, Config, Failure, FailureKind, Method, Reply, Request, Transport as _};
use tidemark_core::protocol::{Problem, UnavailableReason};

use crate::common::{FakeServer, World, answer};

/// A batch takes the server so long: it applies 20 a second.
const BATCH_MS: i64 = 50;
/// A batch waits no longer for its turn.
const TURN_MS: i64 = 20_000;
/// Anything else takes so long.
const SMALL_MS: i64 = 5;
/// Nobody who is refused is told to come back sooner.
const SOONEST_MS: i64 = 2_000;

/// The one server of all: what it refuses and when it answers, as a real one decides it (`server/src/http/load.rs`).
#[derive(Default)]
struct Busy {
    up_at_ms: i64,
    /// When the last batch that waits for its turn will have been applied.
    free_at_ms: i64,
    /// How long the last that got its turn, or gave up, had waited.
    waited: VecDeque<(i64, i64)>,
    last_waited_ms: i64,
    /// When the last of those who were refused is to come back.
    told_ms: i64,
    requests: Vec<u32>,
    refusals: u32,
}

impl Busy {
    /// What becomes of a request that comes now, and how long that takes.
    fn take(
        &mut self,
        own: &mut FakeServer,
        station: usize,
        request: &Request,
        now_ms: i64,
    ) -> (Result<Reply, Failure>, i64) {
        if now_ms < self.up_at_ms {
            return (Err(Failure { kind: FailureKind::Unreached, message: "connection refused".into() }), 1);
        }
        self.requests[station] += 1;
        while let Some((at_ms, waited_ms)) = self.waited.front().copied() {
            if at_ms > now_ms {
                break;
            }
            self.last_waited_ms = waited_ms;
            self.waited.pop_front();
        }
        let sheds = self.last_waited_ms >= TURN_MS / 2 && self.free_at_ms > now_ms;
        if sheds {
            return (Ok(self.refuse(now_ms)), SMALL_MS);
        }
        if request.method == Method::Get {
            return (own.send(request), SMALL_MS);
        }
        let wait_ms = (self.free_at_ms - now_ms).max(0);
        self.waited.push_back((now_ms + wait_ms.min(TURN_MS), wait_ms.min(TURN_MS)));
        if wait_ms > TURN_MS {
            return (Ok(self.refuse(now_ms + TURN_MS)), TURN_MS);
        }
        self.free_at_ms = now_ms + wait_ms + BATCH_MS;
        (own.send(request), wait_ms + BATCH_MS)
    }

    fn refuse(&mut self, now_ms: i64) -> Reply {
        self.refusals += 1;
        // Behind those who wait here, and those who were told to come back.
        let queue_ms = (self.told_ms.max(self.free_at_ms) - now_ms).max(0);
        self.told_ms = now_ms + queue_ms + BATCH_MS;
        let after = ((SOONEST_MS + queue_ms) / 1_000).min(300);
        let busy = Problem::unavailable(UnavailableReason::ServerBusy, "busy");
        Reply { retry_after: Some(after.to_string()), ..answer(503, &busy) }
    }
}

/// The fleet's return.
struct Return {
    /// How long after the server each station had everything upstream, in milliseconds, sorted.
    back_ms: Vec<i64>,
    /// Requests that reached the server, of each station, sorted.
    requests: Vec<u32>,
    refusals: u32,
}

fn at<T: Copy>(sorted: &[T], share: f64) -> T {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// How long before its server is back a station writes first: waits are as long as they become by then.
const WRITES_MS: i64 = 120_000;

/// Each of `stations` writes 20 rows while its server is away for `outage_ms`.
fn comes_back(stations: usize, outage_ms: i64) -> Return {
    let first = World::joined();
    let mut worlds: Vec<World> = (0..stations).map(|_| first.copy()).collect();
    let began_ms = worlds[0].clock.0;
    let mut busy = Busy { up_at_ms: began_ms + outage_ms, requests: vec![0; stations], ..Busy::default() };
    // The times at which something happens to a station: it looks at its file, or hears of its request.
    let mut due: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
    let mut heard: Vec<Option<(u64, Result<Reply, Failure>)>> = vec![None; stations];
    for (index, world) in worlds.iter_mut().enumerate() {
        world.engine = tidemark_client::sync::Engine::new(Config::daemon(index as u64));
        world.write(20);
        due.push(Reverse((busy.up_at_ms - WRITES_MS + (index as i64 * 7_919) % 60_000, index)));
    }
    let mut back_ms = Vec::with_capacity(stations);
    while let Some(Reverse((now_ms, index))) = due.pop() {
        let World { store, engine, server, .. } = &mut worlds[index];
        if let Some((id, outcome)) = heard[index].take() {
            match outcome {
                Ok(reply) => engine.on_reply(store, now_ms, id, &reply),
                Err(failure) => engine.on_failure(store, now_ms, id, &failure),
            }
            .unwrap();
        }
        match engine.next(store, now_ms).unwrap() {
            Action::Send(request) => {
                let (outcome, took_ms) = busy.take(server, index, &request, now_ms);
                heard[index] = Some((request.id, outcome));
                due.push(Reverse((now_ms + took_ms, index)));
            }
            Action::WaitUntil(until_ms) => due.push(Reverse((until_ms, index))),
            Action::Idle => back_ms.push(now_ms - busy.up_at_ms),
            Action::UnderWay(_) => unreachable!("nothing is sent early here"),
            Action::Stopped(stop) => panic!("{stop}"),
        }
    }
    worlds.iter_mut().for_each(World::assert_in_sync);
    back_ms.sort_unstable();
    busy.requests.sort_unstable();
    let back = Return { back_ms, requests: busy.requests, refusals: busy.refusals };
    let seconds = |share| at(&back.back_ms, share) as f64 / 1_000.0;
    println!(
        "{stations} stations, server away for {} s: back after p50 {:.1}, p95 {:.1}, max {:.1} s; requests per station: mean {:.2}, p95 {}, max {}; {} refusals",
        outage_ms / 1_000,
        seconds(0.5),
        seconds(0.95),
        seconds(1.0),
        back.requests.iter().sum::<u32>() as f64 / stations as f64,
        at(&back.requests, 0.95),
        at(&back.requests, 1.0),
        back.refusals,
    );
    assert_eq!(back.back_ms.len(), stations);
    back
}

#[test]
fn after_two_minutes_without_a_server_sixty_stations_are_back_within_one() {
    let back = comes_back(60, 120_000);
    assert!(at(&back.back_ms, 1.0) <= 60_000);
    assert!(at(&back.requests, 1.0) <= 4);
}

#[test]
fn after_ten_minutes_without_a_server_two_thousand_stations_come_back_without_a_storm() {
    let back = comes_back(2_000, 600_000);
    // Twenty a second take them 100 s at least.
    assert!(at(&back.back_ms, 1.0) <= 300_000);
    let mean = back.requests.iter().sum::<u32>() as f64 / 2_000.0;
    assert!(mean <= 4.0 && at(&back.requests, 0.95) <= 4);
}
