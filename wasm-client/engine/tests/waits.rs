//! When the engine waits, for how long, and what ends a wait.

use tidemark_client::sync::{
    Action, Config, Drained, Engine, Event, Failure, FailureKind, Reply, Transport as _, Trouble, Words,
};
use tidemark_core::protocol::{Problem, ProblemCode, UnavailableReason};

use crate::common::{Fault, World, answer, changes};

/// A refusal as a server makes it.
fn refusal(problem: &Problem) -> Reply {
    Reply { retry_after: Some("20".into()), ..answer(problem.status, problem) }
}

#[test]
fn retry_after_is_obeyed_whatever_the_refusal() {
    let unavailable = |reason| Problem::unavailable(reason, "because");
    for refused in [
        refusal(&Problem::new(ProblemCode::Unavailable, "because")),
        refusal(&unavailable(UnavailableReason::DatabaseFull)),
        refusal(&unavailable(UnavailableReason::ServerBusy)),
        refusal(&Problem::new(ProblemCode::TooManyRequests, "because")),
        // By something in between, without a word of ours.
        Reply { status: 429, retry_after: Some("20".into()), body: b"slow down".to_vec() },
        Reply { status: 503, retry_after: Some("20".into()), body: b"maintenance".to_vec() },
    ] {
        let mut world = World::joined();
        world.write(1);
        world.server.faults.push_back(Fault::Answer(refused.clone()));
        let began = world.clock.0;
        assert_eq!(changes(&world.push()), 1);
        assert!((20_000..23_000).contains(&(world.clock.0 - began)), "{refused:?}: {}", world.clock.0 - began);
        assert_eq!(world.server.requests.len(), 2, "{refused:?}: a batch this small is sent again as it is");
        world.assert_in_sync();
    }
}

#[test]
fn an_engine_says_what_it_waits_for_and_the_file_keeps_it_in_the_programs_words() {
    let mut world = World::joined();
    world.write(1);
    let words = Words { trouble: |why| format!("{:?}", reason_of(why)), ..Words::FACTS };
    world.engine = Engine::new(Config { words, ..Config::interactive(1) });
    let full = Problem::unavailable(UnavailableReason::DatabaseFull, "no room");
    world.server.faults.push_back(Fault::Answer(refusal(&full)));
    let now_ms = world.clock.0;
    let Action::Send(request) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    let reply = world.server.send(&request).unwrap();
    let heard = world.engine.on_reply(&mut world.store, now_ms, request.id, &reply).unwrap();
    let Event::Failed { why, .. } = heard else { panic!("{heard:?}") };
    assert_eq!(reason_of(&why), Some(UnavailableReason::DatabaseFull));
    assert_eq!(world.store.status().unwrap().last_error.as_deref(), Some("Some(DatabaseFull)"));
}

/// The longest of so many waits, in milliseconds, when this is all that is heard.
fn longest_wait_ms(reply: &Reply) -> i64 {
    let mut world = World::joined();
    world.write(1);
    world.engine = Engine::new(Config::daemon(1));
    let mut longest = 0;
    for _ in 0..40 {
        let now_ms = world.clock.0;
        let Action::Send(request) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
        let heard = world.engine.on_reply(&mut world.store, now_ms, request.id, reply).unwrap();
        let Event::Failed { retry_at_ms, .. } = heard else { panic!("{heard:?}") };
        longest = longest.max(retry_at_ms - now_ms);
        world.clock.0 = retry_at_ms;
    }
    longest
}

#[test]
fn a_server_that_is_away_behind_a_proxy_is_asked_again_as_soon_as_one_that_is_away() {
    let said = |status| Reply { status, body: b"<h1>Gateway".to_vec(), ..Reply::default() };
    for status in [502, 504] {
        let longest = longest_wait_ms(&said(status));
        assert!((15_000..=30_000).contains(&longest), "{status}: {longest}");
        // Unless it says when.
        let told = longest_wait_ms(&Reply { retry_after: Some("40".into()), ..said(status) });
        assert!(told >= 100_000, "{status}: {told}");
    }
    for status in [500, 503] {
        let longest = longest_wait_ms(&said(status));
        assert!(longest >= 100_000, "{status}: {longest}");
    }
}

fn reason_of(why: &Trouble) -> Option<UnavailableReason> {
    match why {
        Trouble::Unwell(unwell) => unwell.reason,
        _ => None,
    }
}

#[test]
fn failures_in_a_row_wait_longer_within_bounds_and_end_in_giving_up() {
    let mut world = World::joined();
    world.write(1);
    world.server.always = Some(Fault::LoseRequest);
    let began = world.clock.0;
    let Drained::Unreachable { why, .. } = world.push() else { panic!() };
    assert_eq!(why.to_string(), "the connection was lost");
    assert_eq!(world.server.requests.len(), 4);
    // 0.25 + 0.5 + 1 s at most between four attempts.
    assert!(world.clock.0 - began <= 1_750);
    let status = world.store.status().unwrap();
    assert_eq!((status.pending, status.last_error.as_deref()), (1, Some("the connection was lost")));
    // A success clears the error.
    world.server.always = None;
    world.push();
    assert_eq!(world.store.status().unwrap().last_error, None);
}

#[test]
fn a_timeout_makes_the_next_batch_smaller() {
    let mut world = World::joined();
    world.write(4_000);
    // Between the two the server is asked where it stands.
    world.server.faults.extend([Fault::Timeout, Fault::None, Fault::Timeout]);
    assert_eq!(changes(&world.push()), 4_000);
    assert_eq!(world.server.batches[0], 1_000);
}

#[test]
fn a_reply_that_comes_too_late_is_ignored() {
    let mut world = World::joined();
    world.write(3);
    let now_ms = world.clock.0;
    let Action::Send(first) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    let Action::WaitUntil(deadline_ms) = world.engine.next(&mut world.store, now_ms + 1).unwrap() else { panic!() };
    assert!(matches!(world.engine.next(&mut world.store, deadline_ms).unwrap(), Action::WaitUntil(_)));
    let late = world.server.send(&first).unwrap();
    assert_eq!(world.engine.on_reply(&mut world.store, deadline_ms, first.id, &late).unwrap(), Event::Ignored);
    world.clock.0 = deadline_ms;
    assert_eq!(changes(&world.push()), 3);
    world.assert_in_sync();
}

#[test]
fn a_clock_that_is_set_back_does_not_stall_the_engine() {
    let mut world = World::joined();
    world.write(3);
    let now_ms = world.clock.0;
    let Action::Send(request) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    let failure = Failure { kind: FailureKind::Broken, message: "down".into() };
    world.engine.on_failure(&mut world.store, now_ms, request.id, &failure).unwrap();
    let a_year_ago = now_ms - 365 * 86_400_000;
    assert!(matches!(world.engine.next(&mut world.store, a_year_ago).unwrap(), Action::Send(_)));
    // Nor with a request in flight: it is given up.
    let two_years_ago = a_year_ago - 365 * 86_400_000;
    let Action::WaitUntil(until_ms) = world.engine.next(&mut world.store, two_years_ago).unwrap() else { panic!() };
    assert!(until_ms - two_years_ago < 1_000);
}

#[test]
fn hints_end_and_stretch_waits() {
    let mut world = World::joined();
    world.write(3);
    let now_ms = world.clock.0;
    let failure = Failure { kind: FailureKind::Broken, message: "down".into() };
    world.engine.offline();
    let Action::Send(request) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    world.engine.on_failure(&mut world.store, now_ms, request.id, &failure).unwrap();
    let Action::WaitUntil(until_ms) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    assert!(until_ms - now_ms >= 60_000, "offline: tried rarely");
    world.engine.online();
    assert!(matches!(world.engine.next(&mut world.store, now_ms).unwrap(), Action::Send(_)));
}
