//! Word of a write makes a loop look sooner; nothing depends on it.

use tidemark_client::Store;
use tidemark_client::sync::daemon::{Daemon, Step};
use tidemark_client::sync::{Config, Event, Transport as _};

use crate::common::{Fault, World};

const MINUTE_MS: i64 = 60_000;

/// Another program's connection.
fn other(world: &World) -> Store {
    Store::open(world.path()).unwrap()
}

fn insert(other: &Store) {
    other.insert("reading", &[("n", 1.into())]).unwrap();
}

/// A loop that has nothing to push.
fn idle() -> (World, Daemon) {
    let mut world = World::joined();
    let mut daemon = Daemon::start(Config::daemon(1), &world.store).unwrap();
    let Step::Idle(until_ms) = next(&mut world, &mut daemon) else { panic!() };
    assert_eq!(until_ms, world.clock.0 + MINUTE_MS);
    (world, daemon)
}

fn next(world: &mut World, daemon: &mut Daemon) -> Step {
    daemon.next(&mut world.store, world.clock.0, &mut |_| ()).unwrap()
}

/// Sends, and hears.
fn exchange(world: &mut World, daemon: &mut Daemon, step: Step) -> Event {
    let Step::Send(request) = step else { panic!("{step:?}") };
    let outcome = world.server.send(&request);
    daemon.hear(&mut world.store, world.clock.0, request.id, &outcome, &mut |_| ()).unwrap().unwrap()
}

#[test]
fn word_of_a_write_that_shows_nothing_leads_to_a_few_looks_and_ends_in_waiting() {
    let (mut world, mut daemon) = idle();
    let (began_ms, idle_ms) = (world.clock.0, world.clock.0 + MINUTE_MS);
    world.clock.0 += 10_000;
    daemon.written(world.clock.0);
    let mut looks = Vec::new();
    loop {
        let Step::Idle(until_ms) = next(&mut world, &mut daemon) else { panic!() };
        assert!(until_ms > world.clock.0);
        if until_ms == idle_ms {
            break;
        }
        looks.push(until_ms - began_ms - 10_000);
        world.clock.0 = until_ms;
    }
    assert!(looks.len() < 12 && looks[0] == 1 && (40..100).contains(looks.last().unwrap()), "{looks:?}");
    // The clock is set back: the word is of a time to come, and nobody waits for that.
    world.clock.0 -= 5_000;
    assert!(matches!(next(&mut world, &mut daemon), Step::Idle(until_ms) if until_ms == idle_ms));
}

#[test]
fn a_commit_that_shows_only_after_its_word_is_met_by_one_of_these_looks() {
    let (mut world, mut daemon) = idle();
    let writer = other(&world);
    writer.execute("BEGIN IMMEDIATE", []).unwrap();
    insert(&writer);
    let told_ms = world.clock.0;
    daemon.written(told_ms);
    for _ in 0..4 {
        let Step::Idle(until_ms) = next(&mut world, &mut daemon) else { panic!() };
        world.clock.0 = until_ms;
    }
    assert!(world.clock.0 - told_ms < 20, "it looks again soon after the word, and not only when it would have anyway");
    writer.execute("COMMIT", []).unwrap();
    let sent = next(&mut world, &mut daemon);
    assert!(matches!(exchange(&mut world, &mut daemon, sent), Event::Acked { tidemark: 1, .. }));
}

#[test]
fn commits_during_a_push_are_the_next_batch_and_no_word_is_needed_for_them() {
    let (mut world, mut daemon) = idle();
    let writer = other(&world);
    insert(&writer);
    let sent = next(&mut world, &mut daemon);
    for _ in 0..20 {
        insert(&writer);
        daemon.written(world.clock.0);
        assert!(matches!(next(&mut world, &mut daemon), Step::Wait(_)), "one request is in flight");
    }
    exchange(&mut world, &mut daemon, sent);
    let sent = next(&mut world, &mut daemon);
    assert!(matches!(exchange(&mut world, &mut daemon, sent), Event::Acked { tidemark: 21, changes: 20, .. }));
    assert_eq!(world.server.batches.len(), 2);
}

#[test]
fn no_wait_after_a_failure_ends_with_word_of_a_write() {
    let (mut world, mut daemon) = idle();
    let writer = other(&world);
    insert(&writer);
    world.server.faults.push_back(Fault::LoseRequest);
    let sent = next(&mut world, &mut daemon);
    let Event::Failed { retry_at_ms, .. } = exchange(&mut world, &mut daemon, sent) else { panic!() };
    while world.clock.0 < retry_at_ms - 1 {
        insert(&writer);
        daemon.written(world.clock.0);
        let Step::Wait(until_ms) = next(&mut world, &mut daemon) else { panic!() };
        assert_eq!(until_ms, retry_at_ms);
        world.clock.0 = (world.clock.0 + 50).min(retry_at_ms - 1);
    }
    assert_eq!(world.server.requests.len(), 1);
    world.clock.0 = retry_at_ms;
    assert!(matches!(next(&mut world, &mut daemon), Step::Send(_)));
}
