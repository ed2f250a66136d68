//! A server that takes nothing for a while, by virtual time: what is sent meanwhile, and how often.

use tidemark_client::sync::{Action, Config, Engine, Failure, FailureKind, Method, Reply, Request, Transport as _};
use tidemark_core::protocol::ProblemCode;

use crate::common::{Fault, World, problem};

const OUTAGE_MS: i64 = 600_000;

/// What is not served in an outage.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outage {
    /// Everything is answered with 503 and `Retry-After: 2`.
    Refuses,
    /// Batches are; where a station stands is answered.
    RefusesBatches,
    /// Nothing is answered.
    Away,
    /// Something in between answers.
    Portal,
    /// A proxy says that nobody is there.
    AwayBehindProxy,
}

impl Outage {
    const ALL: [Self; 5] = [Self::Refuses, Self::RefusesBatches, Self::Away, Self::Portal, Self::AwayBehindProxy];

    /// Whether no server of ours is met.
    const fn is_away(self) -> bool {
        matches!(self, Self::Away | Self::AwayBehindProxy)
    }

    fn answer(self, request: &Request) -> Option<Result<Reply, Failure>> {
        let busy = || Reply { retry_after: Some("2".into()), ..problem(ProblemCode::Unavailable) };
        match self {
            Self::Refuses => Some(Ok(busy())),
            Self::RefusesBatches if request.method == Method::Get => None,
            Self::RefusesBatches => Some(Ok(busy())),
            Self::Away => Some(Err(Failure { kind: FailureKind::Unreached, message: "connection refused".into() })),
            Self::Portal => Some(Ok(Reply { status: 200, body: b"<html>Welcome".to_vec(), ..Reply::default() })),
            Self::AwayBehindProxy => Some(Ok(Reply { status: 502, ..Reply::default() })),
        }
    }
}

/// A thousand rows that do not compress.
fn write_noise(world: &mut World) {
    let rows = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000) SELECT n, randomblob(20) FROM n";
    world.store.execute(&format!("INSERT INTO reading (n, raw) {rows}"), []).unwrap();
}

/// Pushes as a daemon does until everything is upstream; returns the requests made while the outage lasted, and when.
fn through(world: &mut World, outage: Outage, seed: u64) -> Vec<(i64, Request)> {
    let began = world.clock.0;
    world.engine = Engine::new(Config::daemon(seed));
    world.engine.resume(&world.store).unwrap();
    let mut during = Vec::new();
    loop {
        let now_ms = world.clock.0;
        match world.engine.next(&mut world.store, now_ms).unwrap() {
            Action::Send(request) => {
                let answer = (now_ms - began < OUTAGE_MS).then(|| outage.answer(&request)).flatten();
                if now_ms - began < OUTAGE_MS {
                    during.push((now_ms - began, request.clone()));
                }
                let answer = answer.unwrap_or_else(|| world.server.send(&request));
                world.clock.0 += 10;
                match answer {
                    Ok(reply) => world.engine.on_reply(&mut world.store, world.clock.0, request.id, &reply),
                    Err(failure) => world.engine.on_failure(&mut world.store, world.clock.0, request.id, &failure),
                }
                .unwrap();
            }
            Action::WaitUntil(at_ms) => world.clock.0 = at_ms,
            Action::Idle => return during,
            Action::UnderWay(_) => unreachable!("nothing is sent early here"),
            Action::Stopped(stop) => panic!("{stop}"),
        }
    }
}

#[test]
fn an_outage_of_ten_minutes_costs_three_frames_at_most() {
    for outage in Outage::ALL {
        for seed in 0..40 {
            let mut world = World::joined();
            write_noise(&mut world);
            let during = through(&mut world, outage, seed);
            let frame = during[0].1.body.len();
            assert!(frame > 10_000, "{frame}");
            let sent: usize = during.iter().map(|(_, request)| request.body.len()).sum();
            assert!(sent <= 3 * frame, "{outage:?}, seed {seed}: {sent} bytes, a frame has {frame}");
            // Waits of up to 5 minutes, drawn: a dozen tries, each with its question at most. Where nobody is there
            // they are of up to 30 s, and cost nothing.
            let (requests_max, waited_max_ms) = if outage.is_away() { (100, 31_000) } else { (60, 301_000) };
            assert!(during.len() <= requests_max, "{outage:?}, seed {seed}: {} requests", during.len());
            world.assert_in_sync();
            let waited_ms = world.clock.0 - 1_800_000_000_000 - OUTAGE_MS;
            assert!(waited_ms <= waited_max_ms, "{outage:?}, seed {seed}: goes on {waited_ms} ms after the outage");
        }
    }
}

#[test]
fn no_batch_is_sent_after_a_refusal_before_the_server_has_said_where_it_stands() {
    for outage in Outage::ALL {
        let mut world = World::joined();
        write_noise(&mut world);
        let during = through(&mut world, outage, 1);
        let methods: Vec<Method> = during.iter().map(|(_, request)| request.method).collect();
        assert_eq!(methods[0], Method::Post, "{outage:?}");
        for pair in during.windows(2) {
            let asks = pair.iter().any(|(_, request)| request.method == Method::Get);
            assert!(asks || pair[1].1.body.len() <= 1024, "{outage:?}: {methods:?}");
        }
        let batches = methods.iter().filter(|&&method| method == Method::Post).count();
        assert_eq!(batches > 1, outage == Outage::RefusesBatches, "{outage:?}: {methods:?}");
    }
}

#[test]
fn a_batch_that_is_small_goes_without_a_question() {
    for outage in [Outage::Refuses, Outage::Away] {
        let mut world = World::joined();
        world.write(20);
        let during = through(&mut world, outage, 1);
        assert!(during.len() > 2 && during.iter().all(|(_, request)| request.method == Method::Post), "{outage:?}");
        world.assert_in_sync();
    }
    // Unless it has grown meanwhile.
    let mut world = World::joined();
    world.write(20);
    world.server.faults.push_back(Fault::LoseRequest);
    let now_ms = world.clock.0;
    let Action::Send(small) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    let failure = world.server.send(&small).unwrap_err();
    world.engine.on_failure(&mut world.store, now_ms, small.id, &failure).unwrap();
    write_noise(&mut world);
    world.server.requests.clear();
    world.push();
    let methods: Vec<Method> = world.server.requests.iter().map(|request| request.method).collect();
    assert_eq!(methods, [Method::Get, Method::Post]);
    world.assert_in_sync();
}

#[test]
fn no_wait_is_shorter_than_the_server_asked_for() {
    let mut world = World::joined();
    world.write(100);
    let during = through(&mut world, Outage::Refuses, 3);
    let waits: Vec<i64> = during.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(waits.iter().all(|&wait| wait >= 2_000), "{waits:?}");
    assert!(waits.iter().any(|&wait| wait > 60_000), "they grow nevertheless: {waits:?}");
}

#[test]
fn a_new_process_that_finds_a_failure_in_the_file_asks_first_too() {
    let mut world = World::joined();
    world.write(100);
    world.server.always = Some(Fault::LoseRequest);
    world.push();
    world.server.always = None;
    world.restart();
    world.server.requests.clear();
    world.push();
    let methods: Vec<Method> = world.server.requests.iter().map(|request| request.method).collect();
    assert_eq!(methods, [Method::Get, Method::Post]);
    world.assert_in_sync();
}

#[test]
fn smaller_batches_grow_again_once_they_go_through() {
    let mut world = World::joined();
    world.write(40_000);
    through(&mut world, Outage::RefusesBatches, 5);
    world.assert_in_sync();
    let batches = &world.server.batches;
    assert!(batches[0] < 2_000, "{batches:?}");
    assert!(batches.iter().any(|&rows| rows > 5_000), "{batches:?}");
}

#[test]
fn limits_told_before_the_first_batch_of_a_process_hold_for_it() {
    let mut world = World::joined();
    world.write(200);
    world.server.always = Some(Fault::LoseRequest);
    world.push();
    world.server.always = None;
    world.server.limits.rows_max = 50;
    world.restart();
    world.server.requests.clear();
    world.push();
    world.assert_in_sync();
    assert_eq!(world.server.batches, [50; 4]);
    assert_eq!(world.server.requests.len(), 5, "none was refused");
}
