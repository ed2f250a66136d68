//! A station says how it fares: with what it does, and also with nothing to push. No change waits for it.

use tidemark_client::Store;
use tidemark_client::sync::daemon::{Daemon, Step};
use tidemark_client::sync::{Config, Event, Reply, Transport as _, say_contact};
use tidemark_core::limits::CONTACT_EVERY_MS;
use tidemark_core::protocol::{ContactRequest, ProblemCode};

use crate::common::{Fault, World, problem};

const MINUTE_MS: i64 = 60_000;

/// Drives the steps of `tidemark run` for so long, with nobody who commits but this process.
fn run(world: &mut World, daemon: &mut Daemon, for_ms: i64) {
    let end_ms = world.clock.0 + for_ms;
    for _ in 0..10_000 {
        let now_ms = world.clock.0;
        match daemon.next(&mut world.store, now_ms, &mut |_| ()).unwrap() {
            Step::Send(request) => {
                let outcome = world.server.send(&request);
                let event = daemon.hear(&mut world.store, now_ms, request.id, &outcome, &mut |_| ()).unwrap();
                world.events.extend(event);
            }
            Step::Wait(until_ms) | Step::Idle(until_ms) | Step::Rest(until_ms, _) => {
                assert!(until_ms > now_ms, "a loop that does not wait");
                if until_ms > end_ms {
                    world.clock.0 = end_ms;
                    return;
                }
                world.clock.0 = until_ms;
            }
            Step::UnderWay(_) => unreachable!("nothing is sent early here"),
            Step::Ended(stop) => panic!("{stop}"),
        }
    }
    panic!("it never waits");
}

/// Another program writes: the daemon looks when somebody else has committed.
fn write(world: &World, count: u64) {
    let mut other = Store::open(world.path()).unwrap();
    let inserted = other.transaction(|tx| {
        let mut insert = tx.prepare("INSERT INTO reading (n, note) VALUES (?1, 'a note')").unwrap();
        (0..count).for_each(|n| assert_eq!(insert.execute([n as i64]).unwrap(), 1));
        Ok::<_, tidemark_client::Error>(())
    });
    inserted.unwrap();
}

fn daemon(world: &World) -> Daemon {
    Daemon::start(Config::daemon(1).in_contact(CONTACT_EVERY_MS), &world.store).unwrap()
}

fn pending(contacts: &[ContactRequest]) -> Vec<u64> {
    contacts.iter().map(|contact| contact.pending.unwrap()).collect()
}

#[test]
fn an_idle_station_is_in_contact_at_least_every_ten_minutes() {
    let mut world = World::joined();
    let mut daemon = daemon(&world);
    daemon.note_free_disk(Some(7 << 30));
    let began_ms = world.clock.0;
    run(&mut world, &mut daemon, 60 * MINUTE_MS);
    let times: Vec<i64> = world.server.contacts.iter().map(|contact| contact.now_ms.unwrap() - began_ms).collect();
    assert_eq!((times.len(), times[0]), (7, 0), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 10 * MINUTE_MS), "{times:?}");
    let last = world.server.contacts.last().unwrap();
    assert_eq!(
        last,
        &ContactRequest {
            now_ms: last.now_ms,
            pending: Some(0),
            oldest_ms: None,
            free_disk_bytes: Some(7 << 30),
            client_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            schema_version: Some(1),
        }
    );
    assert!(world.events.iter().all(|event| *event == Event::Ignored), "{:?}", world.events);
}

#[test]
fn a_station_that_pushes_now_and_then_says_no_more_than_that() {
    let mut world = World::joined();
    let mut daemon = daemon(&world);
    for _ in 0..50 {
        write(&world, 1);
        run(&mut world, &mut daemon, 1_000);
    }
    assert_eq!(world.server.batches.len(), 50);
    assert_eq!(pending(&world.server.contacts), [0], "each push is a contact by itself");
}

#[test]
fn what_is_lost_is_said_again_and_holds_up_nothing() {
    let mut world = World::joined();
    let mut daemon = daemon(&world);
    world.server.faults = [Fault::LoseRequest, Fault::LoseReply, Fault::Timeout].into();
    run(&mut world, &mut daemon, 0);
    write(&world, 3);
    world.server.faults.clear();
    run(&mut world, &mut daemon, 0);
    assert_eq!(world.server.cursor.seq, 3, "no wait after a report that was lost");
    world.server.faults = [Fault::LoseReply].into();
    run(&mut world, &mut daemon, 2 * MINUTE_MS);
    assert_eq!(pending(&world.server.contacts), [0, 0], "one was heard and its answer lost, so it is said again");
    for code in [ProblemCode::Unavailable, ProblemCode::TooManyRequests, ProblemCode::BadRequest] {
        let before = world.server.contacts.len();
        world.server.faults = [Fault::Answer(problem(code))].into();
        run(&mut world, &mut daemon, 12 * MINUTE_MS);
        assert!(world.server.contacts.len() > before, "{code:?}");
    }
    world.server.faults = [Fault::Answer(Reply { status: 200, retry_after: None, body: b"<html>".to_vec() })].into();
    run(&mut world, &mut daemon, 12 * MINUTE_MS);
    assert!(world.events.iter().all(|event| !matches!(event, Event::Failed { .. } | Event::Stopped(_))));
    assert_eq!(world.store.status().unwrap().last_error, None, "nobody is told of it");
}

#[test]
fn a_server_that_does_not_know_the_question_is_asked_seldom() {
    let mut world = World::joined();
    world.server.knows_contact = false;
    let mut daemon = daemon(&world);
    write(&world, 2);
    run(&mut world, &mut daemon, 30 * MINUTE_MS);
    let asked = world.server.requests.iter().filter(|request| request.url.ends_with("/v1/contact")).count();
    assert_eq!((world.server.cursor.seq, asked), (2, 4));
    assert_eq!(world.store.status().unwrap().last_error, None);
}

#[test]
fn a_push_says_it_once_and_what_is_left() {
    let mut world = World::joined();
    world.write(2);
    world.push();
    assert_eq!(world.server.contacts, [], "a push by itself says nothing");
    world.write(4);
    world.engine.note_free_disk(None);
    say_contact(&mut world.store, &mut world.engine, &mut world.server, &mut world.clock).unwrap();
    let said = &world.server.contacts[0];
    assert_eq!((said.pending, said.free_disk_bytes, world.server.contacts.len()), (Some(4), None, 1));
    assert_eq!(said.oldest_ms, world.store.status().unwrap().oldest_pending_ms);
    assert!(said.oldest_ms.is_some());
}

#[test]
fn a_long_backlog_is_told_while_it_is_pushed() {
    let mut world = World::joined();
    let mut daemon = daemon(&world);
    run(&mut world, &mut daemon, 0);
    world.server.contacts.clear();
    world.server.limits.rows_max = 10;
    write(&world, 400);
    // Each request takes ten seconds.
    for _ in 0..1_000 {
        let now_ms = world.clock.0;
        let Step::Send(request) = daemon.next(&mut world.store, now_ms, &mut |_| ()).unwrap() else { break };
        let outcome = world.server.send(&request);
        world.clock.0 += 10_000;
        let now_ms = world.clock.0;
        daemon.hear(&mut world.store, now_ms, request.id, &outcome, &mut |_| ()).unwrap();
    }
    let told = pending(&world.server.contacts);
    assert!(told.len() >= 3 && told.is_sorted_by(|a, b| a > b), "{told:?}");
    assert_eq!(told.last(), Some(&0), "and at the end that nothing is left: {told:?}");
}

#[test]
fn a_station_whose_token_ended_stops_as_when_it_pushes() {
    let mut world = World::joined();
    let mut daemon = daemon(&world);
    world.server.always = Some(Fault::Answer(problem(ProblemCode::Revoked)));
    let Step::Send(request) = daemon.next(&mut world.store, world.clock.0, &mut |_| ()).unwrap() else {
        panic!("it says nothing")
    };
    let outcome = world.server.send(&request);
    let event = daemon.hear(&mut world.store, world.clock.0, request.id, &outcome, &mut |_| ()).unwrap();
    assert!(matches!(event, Some(Event::Stopped(_))), "{event:?}");
}
