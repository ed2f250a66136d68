//! The batch that is cut while another is in flight, and the acknowledgement that waits for it to go first.

use crate::common::{Fault, World, answer, changes, schema};
use tidemark_client::backup::{back_up, restore};
use tidemark_client::sync::{
    Action, Beside, Config, Engine, Event, Failure, FailureKind, Outcome, Patience, Request, Transport, drain,
};
use tidemark_client::{Error, Store};
use tidemark_core::batch::Batch;
use tidemark_core::frame;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::PushReply;
use tidemark_core::value::ValueRef;

const LIMITS: FrameLimits = FrameLimits { rows_max: 100, ..FrameLimits::DEFAULT };

/// A station with so many changes, of which the first batch of 100 is in flight and the second was cut ahead.
fn looked_ahead(rows: u64) -> (World, Request) {
    let mut world = World::joined_with(LIMITS);
    world.write(rows);
    let first = send(&mut world);
    let now_ms = world.clock.0;
    world.engine.look_ahead(&mut world.store, now_ms).unwrap();
    (world, first)
}

/// The same with 250 changes, and a copy of the file from when it had 150.
fn copied_and_looked_ahead() -> (World, Request, std::path::PathBuf) {
    let mut world = World::joined_with(LIMITS);
    world.write(150);
    let first = send(&mut world);
    let copy = world.folder.path().join("copy.db");
    back_up(world.path(), &copy).unwrap();
    world.write(100);
    let now_ms = world.clock.0;
    world.engine.look_ahead(&mut world.store, now_ms).unwrap();
    (world, first, copy)
}

#[track_caller]
fn send(world: &mut World) -> Request {
    match world.engine.next(&mut world.store, world.clock.0).unwrap() {
        Action::Send(request) => request,
        other => panic!("nothing to send: {other:?}"),
    }
}

#[track_caller]
fn answered(world: &mut World, request: &Request) -> Event {
    let reply = world.server.send(request).unwrap();
    world.engine.on_reply(&mut world.store, world.clock.0, request.id, &reply).unwrap()
}

fn batch(request: &Request) -> Batch {
    frame::decode(&request.body, &schema(), &LIMITS).unwrap()
}

fn tidemark(world: &World) -> u64 {
    world.store.meta().unwrap().tidemark.seq
}

#[test]
fn it_is_the_batch_that_would_be_cut_then_and_goes_before_the_acknowledgement() {
    let (mut world, first) = looked_ahead(250);
    assert_eq!(world.store.meta().unwrap().sent_seq, 200, "noted before it can be sent");
    let event = answered(&mut world, &first);
    assert_eq!(event, Event::Acked { tidemark: 100, changes: 100, rejected_here: 0, rejected_by_server: 0 });
    assert_eq!(tidemark(&world), 0, "not yet");
    world.clock.0 += 5_000;
    let second = send(&mut world);
    assert_eq!(tidemark(&world), 0, "not yet");
    // By now it is.
    let now_ms = world.clock.0;
    world.engine.look_ahead(&mut world.store, now_ms).unwrap();
    assert_eq!(tidemark(&world), 100);
    let mut other = Engine::new(Config::interactive(9));
    let mut store = Store::open(world.path()).unwrap();
    let Action::Send(in_turn) = other.next(&mut store, now_ms).unwrap() else { panic!() };
    assert_eq!(second.body, in_turn.body, "to the byte, and its clock is that of its sending");
    assert_eq!(batch(&second).sent_at_ms, now_ms);
    answered(&mut world, &second);
    assert_eq!(changes(&world.push()), 50);
    world.assert_in_sync();
    assert_eq!(world.server.batches, [100, 100, 50]);
}

#[test]
fn a_process_that_ends_before_it_acknowledged_sends_once_more_and_nothing_twice() {
    let (mut world, first) = looked_ahead(250);
    answered(&mut world, &first);
    let second = send(&mut world);
    world.server.send(&second).unwrap();
    world.restart();
    assert_eq!(tidemark(&world), 0);
    world.push();
    world.assert_in_sync();
}

#[test]
fn a_file_that_was_put_back_to_an_older_copy_sends_its_own_changes() {
    let (mut world, first, copy) = copied_and_looked_ahead();
    restore(&copy, world.path(), world.folder.path().join("kept.db")).unwrap();
    world.store.execute("INSERT INTO reading (note) SELECT 'another' FROM reading LIMIT 80", []).unwrap();
    answered(&mut world, &first);
    let second = batch(&send(&mut world));
    let note = schema().table("reading").unwrap().column_index("note").unwrap();
    let others = second.groups[0].columns[note..=note].iter();
    let others = others.flat_map(|notes| (0..notes.len()).map(|row| notes.get(row)));
    assert_eq!((second.first_seq, others.filter(|note| *note == ValueRef::Text("another")).count()), (101, 50));
}

#[test]
fn what_another_process_pushed_meanwhile_is_not_sent_again() {
    let (mut world, first) = looked_ahead(250);
    let reply = world.server.send(&first).unwrap();
    let (mut other, mut engine) = (Store::open(world.path()).unwrap(), Engine::new(Config::interactive(9)));
    let patience = Patience { failures: 4, wait_ms: 60_000 };
    drain(&mut other, &mut engine, &mut world.server, &mut world.clock, patience, &mut |_| ()).unwrap();
    let sent = world.server.batches.len();
    let now_ms = world.clock.0;
    world.engine.on_reply(&mut world.store, now_ms, first.id, &reply).unwrap();
    assert!(matches!(world.engine.next(&mut world.store, now_ms).unwrap(), Action::Idle));
    assert_eq!(world.server.batches.len(), sent);
    world.assert_in_sync();
}

#[test]
fn a_batch_that_failed_goes_first_again() {
    let (mut world, first) = looked_ahead(250);
    let failure = Failure { kind: FailureKind::Broken, message: "the connection was lost".into() };
    world.engine.on_failure(&mut world.store, world.clock.0, first.id, &failure).unwrap();
    let Action::WaitUntil(at_ms) = world.engine.next(&mut world.store, world.clock.0).unwrap() else { panic!() };
    world.clock.0 = at_ms;
    // It is small: no question goes before it.
    assert_eq!(batch(&send(&mut world)).first_seq, 1);
}

#[test]
fn a_server_that_takes_less_by_now_gets_less() {
    let (mut world, first) = looked_ahead(250);
    let reply = world.server.send(&first).unwrap();
    let mut told: PushReply = serde_json::from_slice(&reply.body).unwrap();
    told.limits.rows_max = 30;
    let now_ms = world.clock.0;
    world.engine.on_reply(&mut world.store, now_ms, first.id, &answer(200, &told)).unwrap();
    assert_eq!(batch(&send(&mut world)).span().count, 30);
    assert_eq!(tidemark(&world), 100, "nothing was ready to go first");
}

#[test]
fn an_acknowledgement_that_finds_the_file_locked_is_made_later() {
    for unlocked_first in [true, false] {
        let (mut world, first) = looked_ahead(250);
        answered(&mut world, &first);
        let second = send(&mut world);
        let lock = rusqlite::Connection::open(world.path()).unwrap();
        world.store.connection().busy_timeout(std::time::Duration::ZERO).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        let now_ms = world.clock.0;
        let locked = world.engine.look_ahead(&mut world.store, now_ms).unwrap_err();
        assert!(matches!(locked, Error::Locked { .. }), "{locked}");
        let reply = world.server.send(&second).unwrap();
        if unlocked_first {
            lock.execute_batch("ROLLBACK").unwrap();
        }
        let event = world.engine.on_reply(&mut world.store, now_ms, second.id, &reply);
        if unlocked_first {
            assert!(matches!(event, Ok(Event::Acked { tidemark: 200, .. })), "{event:?}");
        } else {
            assert!(matches!(event, Err(Error::Locked { .. })), "{event:?}");
            lock.execute_batch("ROLLBACK").unwrap();
        }
        world.push();
        world.assert_in_sync();
    }
}

/// While the first request is under way, a program writes.
struct Written<'a> {
    world: &'a mut crate::common::FakeServer,
    path: std::path::PathBuf,
    rows: u32,
    two_at_once: bool,
    under_way: Vec<Request>,
    most: usize,
}

impl Transport for Written<'_> {
    fn send(&mut self, request: &Request) -> Outcome {
        self.world.send(request)
    }

    fn beside(&mut self) -> Option<&mut dyn Beside> {
        Some(self)
    }
}

impl Beside for Written<'_> {
    fn begin(&mut self, request: Request) {
        let program = Store::open(&self.path).unwrap();
        for _ in 0..std::mem::take(&mut self.rows) {
            program.execute("INSERT INTO reading (n) VALUES (1)", []).unwrap();
        }
        self.under_way.push(request);
    }

    fn has_room(&mut self, beside: u64) -> bool {
        assert_eq!(self.under_way.iter().map(|request| request.id).collect::<Vec<_>>(), [beside]);
        self.two_at_once
    }

    fn finish(&mut self, id: u64) -> Outcome {
        self.most = self.most.max(self.under_way.len());
        // In the order in which they were sent, as a server sees to it.
        let request = self.under_way.remove(0);
        assert_eq!(request.id, id);
        self.world.send(&request)
    }
}

#[test]
fn a_push_that_ends_while_programs_write_has_acknowledged_all_it_sent() {
    for two_at_once in [false, true] {
        let mut world = World::joined_with(LIMITS);
        world.write(150);
        let path = world.path();
        let World { store, engine, server, clock, .. } = &mut world;
        let mut transport = Written { world: server, path, rows: 200, two_at_once, under_way: Vec::new(), most: 0 };
        let patience = Patience { failures: 4, wait_ms: 60_000 };
        let drained = drain(store, engine, &mut transport, clock, patience, &mut |_| ()).unwrap();
        assert_eq!(changes(&drained), 200, "the batches that reach the goal");
        assert_eq!(transport.most, if two_at_once { 2 } else { 1 });
        assert_eq!(world.store.meta().unwrap().tidemark.seq, 200);
    }
}

#[test]
fn nothing_is_cut_ahead_of_a_batch_that_held_everything() {
    let (world, _) = looked_ahead(100);
    assert_eq!(world.store.meta().unwrap().sent_seq, 100);
    let mut world = World::joined_with(LIMITS);
    world.write(250);
    world.server.faults.extend([Fault::LoseRequest, Fault::LoseReply, Fault::Timeout, Fault::None, Fault::LoseReply]);
    world.push();
    world.assert_in_sync();
}

/// With the second batch of 100 under way, too.
fn sent_early(rows: u64) -> (World, Request, Request) {
    let (mut world, first) = looked_ahead(rows);
    let now_ms = world.clock.0;
    let early = world.engine.early(&mut world.store, now_ms).unwrap().expect("a batch to send early");
    (world, first, early)
}

#[track_caller]
fn under_way(world: &mut World) -> u64 {
    match world.engine.next(&mut world.store, world.clock.0).unwrap() {
        Action::UnderWay(id) => id,
        other => panic!("nothing is under way: {other:?}"),
    }
}

#[test]
fn a_batch_that_was_sent_early_is_heard_after_the_one_before_it() {
    let (mut world, first, early) = sent_early(350);
    assert_eq!((first.after, early.after, batch(&early).first_seq), (None, Some(100), 101));
    let now_ms = world.clock.0;
    assert!(world.engine.early(&mut world.store, now_ms).unwrap().is_none(), "two are enough");
    answered(&mut world, &first);
    assert_eq!(under_way(&mut world), early.id);
    world.engine.look_ahead(&mut world.store, now_ms).unwrap();
    assert_eq!(tidemark(&world), 100);
    let third = world.engine.early(&mut world.store, now_ms).unwrap().unwrap();
    assert_eq!((third.after, batch(&third).first_seq), (Some(200), 201));
    answered(&mut world, &early);
    assert_eq!(under_way(&mut world), third.id);
    answered(&mut world, &third);
    assert_eq!(changes(&world.push()), 50);
    world.assert_in_sync();
    assert_eq!(world.server.batches, [100, 100, 100, 50]);
}

#[test]
fn when_a_batch_fails_the_one_sent_early_is_not_heard_and_no_other_is_sent_early_for_a_while() {
    let lost = Failure { kind: FailureKind::Broken, message: "the connection was lost".into() };
    for arrived in [false, true] {
        let (mut world, first, early) = sent_early(350);
        if arrived {
            world.server.send(&first).unwrap();
        }
        let outcome = world.server.send(&early).unwrap();
        assert_eq!(outcome.status == 200, arrived, "the server takes it only with the one before it");
        world.engine.on_failure(&mut world.store, world.clock.0, first.id, &lost).unwrap();
        let event = world.engine.on_reply(&mut world.store, world.clock.0, early.id, &outcome).unwrap();
        assert_eq!((event, tidemark(&world)), (Event::Ignored, 0));
        let Action::WaitUntil(at_ms) = world.engine.next(&mut world.store, world.clock.0).unwrap() else { panic!() };
        world.clock.0 = at_ms;
        let again = send(&mut world);
        assert_eq!(batch(&again).first_seq, 1);
        world.engine.look_ahead(&mut world.store, at_ms).unwrap();
        assert!(world.engine.early(&mut world.store, at_ms).unwrap().is_none());
        answered(&mut world, &again);
        world.push();
        world.assert_in_sync();
    }
}

#[test]
fn one_that_overtook_the_batch_before_it_goes_again_at_once() {
    let (mut world, first, early) = sent_early(250);
    let overtook = world.server.send(&early).unwrap();
    assert_ne!(overtook.status, 200);
    answered(&mut world, &first);
    assert_eq!(under_way(&mut world), early.id);
    let event = world.engine.on_reply(&mut world.store, world.clock.0, early.id, &overtook).unwrap();
    assert_eq!(event, Event::Ignored);
    assert_eq!(batch(&send(&mut world)).first_seq, 101);
}

#[test]
fn a_file_put_back_to_an_older_copy_does_not_hear_what_was_sent_early() {
    let (mut world, first, copy) = copied_and_looked_ahead();
    let now_ms = world.clock.0;
    let early = world.engine.early(&mut world.store, now_ms).unwrap().unwrap();
    restore(&copy, world.path(), world.folder.path().join("kept.db")).unwrap();
    answered(&mut world, &first);
    let taken = world.server.send(&early).unwrap();
    // What it has of its own goes now, and the server says that it knows another history.
    assert_eq!(batch(&send(&mut world)).span().count, 50);
    let event = world.engine.on_reply(&mut world.store, now_ms, early.id, &taken).unwrap();
    assert_eq!((event, tidemark(&world)), (Event::Ignored, 100));
}

/// Two lanes, as a station's program has them: the outcome of a request that nobody waits for makes room.
#[derive(Default)]
struct Lanes {
    carried: Vec<(Request, Option<Outcome>)>,
}

impl Beside for Lanes {
    fn begin(&mut self, request: Request) {
        assert!(self.carried.len() < 2);
        self.carried.push((request, None));
    }

    fn has_room(&mut self, beside: u64) -> bool {
        self.carried.retain(|(request, outcome)| request.id == beside || outcome.is_none());
        self.carried.len() < 2
    }

    fn finish(&mut self, id: u64) -> Outcome {
        let at = self.carried.iter().position(|(request, _)| request.id == id).expect("a request that is carried");
        self.carried.remove(at).1.expect("it is done")
    }
}

impl Lanes {
    /// The server answers all that it was sent.
    fn answer(&mut self, world: &mut World) {
        for (request, outcome) in &mut self.carried {
            outcome.get_or_insert_with(|| world.server.send(request));
        }
    }
}

#[test]
fn what_was_sent_early_is_still_heard_after_a_question_that_came_between() {
    let mut world = World::joined_with(LIMITS);
    world.engine = Engine::new(Config::interactive(3).in_contact(1));
    world.write(350);
    let mut lanes = Lanes::default();
    let mut contacts = 0;
    for _ in 0..40 {
        let now_ms = world.clock.0;
        let id = match world.engine.next(&mut world.store, now_ms).unwrap() {
            Action::Send(request) => {
                contacts += usize::from(request.url.ends_with("/contact"));
                lanes.begin(request.clone());
                request.id
            }
            Action::UnderWay(id) => id,
            Action::Idle if world.store.status().unwrap().pending == 0 => break,
            other => panic!("{other:?}"),
        };
        // All that is under way is answered before anything else is done.
        lanes.answer(&mut world);
        world.engine.work_beside(&mut world.store, now_ms, id, &mut lanes).unwrap();
        lanes.answer(&mut world);
        world.clock.0 += 120_000;
        let now_ms = world.clock.0;
        let reply = lanes.finish(id).unwrap();
        world.engine.on_reply(&mut world.store, now_ms, id, &reply).unwrap();
    }
    assert!(contacts > 1, "{contacts}");
    assert_eq!(world.server.batches, [100, 100, 100, 50], "each batch once");
    world.assert_in_sync();
}
