//! What became of rejects upstream reaches the station, and never holds up its changes.

use crate::common::{Fault, World, answer, changes, problem};
use tidemark_client::RejectState;
use tidemark_client::sync::{Drained, Event, Reply};
use tidemark_core::limits::ASKED_REJECTS_MAX;
use tidemark_core::protocol::{ProblemCode, RejectFate, RejectsReply, SettledReject};

/// A station of whose changes the server rejected so many, and a new process on it.
fn rejected(count: u64) -> World {
    let mut world = World::joined();
    world.server.reject = (1..=count).collect();
    world.write(count);
    assert_eq!(changes(&world.push()), count);
    assert_eq!(world.store.rejects_count().unwrap(), count);
    world.restart();
    world.server.asked.clear();
    world
}

fn settled(seq: u64, fate: RejectFate) -> SettledReject {
    SettledReject { seq, fate }
}

fn state(world: &World, seq: u64) -> RejectState {
    world.store.reject(seq).unwrap().unwrap().state
}

#[test]
fn what_the_operator_settled_is_open_on_the_station_no_more() {
    let mut world = rejected(4);
    world.server.settled =
        vec![settled(1, RejectFate::Replayed), settled(2, RejectFate::Discarded), settled(3, RejectFate::Superseded)];
    world.write(1);
    assert_eq!(changes(&world.push()), 1);
    assert!(world.events.contains(&Event::Settled { resolved: 2, discarded: 1 }), "{:?}", world.events);
    assert_eq!([1, 2, 3, 4].map(|seq| state(&world, seq)), {
        use RejectState::{Discarded, Open, Resolved};
        [Resolved, Discarded, Resolved, Open]
    });
    assert_eq!(world.server.asked, [vec![1, 2, 3, 4]]);

    // Once is enough for now; later, or after the clock was set back, it is asked again about the one that is open.
    world.push();
    assert_eq!(world.server.asked.len(), 1);
    world.clock.0 += 600_000;
    world.push();
    world.clock.0 -= 1;
    world.push();
    assert_eq!(world.server.asked[1..], [vec![4], vec![4]]);
}

#[test]
fn many_are_asked_about_in_portions_and_none_is_no_reason_to_ask() {
    let most = ASKED_REJECTS_MAX as u64;
    let mut world = rejected(2 * most + 1);
    world.server.settled = (1..=2 * most + 1).map(|seq| settled(seq, RejectFate::Replayed)).collect();
    world.push();
    assert_eq!(world.server.asked.iter().map(Vec::len).collect::<Vec<_>>(), [ASKED_REJECTS_MAX, ASKED_REJECTS_MAX, 1]);
    assert_eq!(world.store.rejects_count().unwrap(), 0);
    world.restart();
    world.push();
    assert_eq!(world.server.asked.len(), 3);
}

#[test]
fn an_answer_about_others_or_about_what_was_settled_here_changes_nothing() {
    let mut world = rejected(3);
    world.store.discard_rejects(&[2], 1).unwrap();
    let lies =
        [settled(2, RejectFate::Replayed), settled(7, RejectFate::Discarded), settled(u64::MAX, RejectFate::Replayed)];
    world.server.faults =
        [Fault::Answer(answer(200, &RejectsReply { settled: lies.to_vec(), forgotten: Vec::new() }))].into();
    world.push();
    assert_eq!([1, 2, 3].map(|seq| state(&world, seq)), {
        use RejectState::{Discarded, Open};
        [Open, Discarded, Open]
    });
    assert!(!world.events.iter().any(|event| matches!(event, Event::Settled { .. })));
}

#[test]
fn what_the_server_has_forgotten_is_open_no_more_and_says_so() {
    let mut world = rejected(3);
    world.server.forgotten = vec![2];
    world.write(1);
    world.push();
    assert!(world.events.contains(&Event::Settled { resolved: 0, discarded: 1 }), "{:?}", world.events);
    assert_eq!([1, 2, 3].map(|seq| state(&world, seq)), {
        use RejectState::{Discarded, Open};
        [Open, Discarded, Open]
    });
    let message = world.store.reject(2).unwrap().unwrap().message;
    assert!(message.contains("how is not kept there any more") && message.contains("tidemark verify"), "{message}");
    // Of others, and of what was settled here, it says nothing that counts.
    world.store.discard_rejects(&[3], 1).unwrap();
    let lies = RejectsReply { settled: Vec::new(), forgotten: vec![3, 77, u64::MAX] };
    world.clock.0 += 600_000;
    world.server.faults = [Fault::Answer(answer(200, &lies))].into();
    world.push();
    assert_eq!(state(&world, 1), RejectState::Open);
    assert!(!world.store.reject(3).unwrap().unwrap().message.contains("not kept"));
}

#[test]
fn a_question_that_fails_holds_nothing_up() {
    let words = |status| Reply { status, retry_after: None, body: b"<html>".to_vec() };
    for fault in [
        Fault::LoseRequest,
        Fault::LoseReply,
        Fault::Timeout,
        Fault::Answer(problem(ProblemCode::Unavailable)),
        // A server from before the question, and something between that lets it not pass.
        Fault::Answer(problem(ProblemCode::NotFound)),
        Fault::Answer(problem(ProblemCode::MethodNotAllowed)),
        Fault::Answer(words(404)),
        Fault::Answer(words(502)),
    ] {
        let mut world = rejected(2);
        world.write(3);
        world.server.faults = [Fault::None, fault.clone()].into();
        let drained = world.push();
        assert!(matches!(drained, Drained::Done(_)), "{fault:?}: {drained:?}");
        assert!(world.server.requests.last().unwrap().url.ends_with("/v1/rejects") && world.server.faults.is_empty());
        assert_eq!(world.engine.failures(), 0);
        world.assert_in_sync();
        assert_eq!(world.store.rejects_count().unwrap(), 2);
    }
}

#[test]
fn the_server_is_told_what_became_of_rejects_it_has_no_image_of() {
    let mut world = World::joined();
    let many = ASKED_REJECTS_MAX + 5;
    world
        .store
        .connection()
        .execute_batch(&format!(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {many}) INSERT INTO reading (n) SELECT 'none' FROM n"
        ))
        .unwrap();
    assert_eq!(changes(&world.push()), many as u64);
    let now_ms = world.clock.0;
    world.store.discard_rejects(&[1], now_ms).unwrap();
    world.store.requeue(tidemark_client::Chosen::All, now_ms + 1).unwrap();
    world.restart();
    world.push();
    let told: Vec<u64> = world.server.told.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(
        told,
        (1..=many as u64).collect::<Vec<_>>(),
        "each once, also those that were settled at the same moment"
    );
    assert_eq!(world.server.told[0].1, RejectFate::Discarded);
    assert!(world.server.told[1..].iter().all(|(_, fate)| *fate == RejectFate::Superseded));

    // Those that were sent again are rejected again, and open; another process tells the rest once more, and after a
    // month no more.
    world.clock.0 += 600_000;
    world.push();
    assert_eq!(world.server.told.len(), many, "the same process does not repeat itself");
    world.server.told.clear();
    world.clock.0 += 31 * 86_400_000;
    world.restart();
    world.push();
    assert!(world.server.told.is_empty());
}
