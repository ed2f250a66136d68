//! The last request of a page that is being closed.

use crate::common::{World, changes, problem};
use tidemark_client::sync::{Action, Event, Reply, Transport as _};
use tidemark_core::protocol::ProblemCode;

#[test]
fn a_farewell_is_short_and_durable_and_changes_nothing_else() {
    let mut world = World::joined();
    // What compresses badly, after what compresses well: the first try is too long.
    let numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 8000)";
    world
        .store
        .execute(
            &format!(
                "INSERT INTO reading (n, raw) {numbers} SELECT n, CASE WHEN n > 100 THEN randomblob(40) END FROM n"
            ),
            [],
        )
        .unwrap();
    let now_ms = world.clock.0;
    // A batch is in flight, and its reply will never be read.
    let Action::Send(in_flight) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    let farewell = world.engine.farewell(&mut world.store, now_ms, 10_000).unwrap().expect("changes are pending");
    assert!(farewell.body.len() <= 10_000 && farewell.body.len() > 5_000, "{}", farewell.body.len());
    assert_eq!((&farewell.url, &farewell.token), (&in_flight.url, &in_flight.token));
    let reply = world.server.send(&farewell).unwrap();
    let sent = u64::from(world.server.batches[0]);
    assert!(world.store.meta().unwrap().sent_seq >= sent);
    // Its reply is nobody's, and the one in flight is still awaited.
    let ignored = world.engine.on_reply(&mut world.store, now_ms, farewell.id, &reply).unwrap();
    assert_eq!((ignored, world.store.meta().unwrap().tidemark.seq), (Event::Ignored, 0));
    assert!(matches!(world.engine.next(&mut world.store, now_ms).unwrap(), Action::WaitUntil(_)));
    // Whoever comes next sends all of it, and the server takes it once.
    world.restart();
    assert_eq!(changes(&world.push()), 8_000);
    world.assert_in_sync();
}

#[test]
fn a_farewell_notes_what_it_sends() {
    let mut world = World::joined();
    world.write(10);
    world.engine.farewell(&mut world.store, 0, 60_000).unwrap().unwrap();
    assert_eq!(world.store.meta().unwrap().sent_seq, 10);
}

#[test]
fn no_farewell_when_there_is_nothing_to_say_or_nobody_to_hear_it() {
    let mut world = World::new();
    world.write(1);
    assert!(world.engine.farewell(&mut world.store, 0, 60_000).unwrap().is_none(), "has not joined");
    let mut world = World::joined();
    assert!(world.engine.farewell(&mut world.store, 0, 60_000).unwrap().is_none(), "nothing is pending");
    world.store.execute("INSERT INTO reading (raw) VALUES (randomblob(100000))", []).unwrap();
    assert!(world.engine.farewell(&mut world.store, 0, 60_000).unwrap().is_none(), "one change alone is longer");
    let ask = |world: &mut World, reply| {
        let now_ms = world.clock.0;
        let Action::Send(request) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
        world.engine.on_reply(&mut world.store, now_ms, request.id, &reply).unwrap();
        world.engine.farewell(&mut world.store, now_ms, 200_000).unwrap().is_some()
    };
    assert!(ask(&mut world, Reply { status: 502, ..Reply::default() }), "a wait of our own");
    world.engine.online();
    assert!(
        !ask(&mut world, Reply { status: 503, retry_after: Some("60".into()), ..Reply::default() }),
        "asked to wait"
    );
    world.engine.online();
    assert!(!ask(&mut world, problem(ProblemCode::Revoked)), "stopped");
}
