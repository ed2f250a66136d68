//! The engine against a server that loses, repeats, refuses and lies.

use std::cell::RefCell;

use crate::common::{Fault, World, answer, changes, problem};
use tidemark_client::sync::{Action, Config, Drained, Engine, Event, Reply, StopKind, Transport as _};
use tidemark_client::{Error, Origin, State, Store};
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{Problem, ProblemCode, PushReply, RejectedChange};
use tidemark_core::reject::RejectCode;

#[track_caller]
fn stopped(drained: Drained) -> (StopKind, String) {
    match drained {
        Drained::Stopped { stop, .. } => (stop.kind(), stop.to_string()),
        other => panic!("not stopped: {other:?}"),
    }
}

#[track_caller]
fn unreachable(drained: Drained) -> String {
    match drained {
        Drained::Unreachable { why, .. } => why.to_string(),
        other => panic!("not unreachable: {other:?}"),
    }
}

#[test]
fn everything_is_pushed_once_and_trimmed() {
    let mut world = World::joined();
    world.write(12_345);
    assert_eq!(changes(&world.push()), 12_345);
    world.assert_in_sync();
    assert_eq!(world.server.batches, [5_000, 5_000, 2_345], "the second was cut before the first went through");
    world.write(1);
    assert_eq!(changes(&world.push()), 1);
    world.assert_in_sync();
    assert_eq!(changes(&world.push()), 0);
    assert_eq!(world.server.requests.len(), 5, "a push of nothing asks, too");
}

#[test]
fn a_station_that_has_not_joined_sends_nothing() {
    let mut world = World::new();
    world.write(1);
    let (kind, message) = stopped(world.push());
    assert_eq!(kind, StopKind::NotJoined);
    assert!(message.contains("this station has not joined a server"), "{message}");
    assert!(world.server.requests.is_empty());
}

#[test]
fn a_lost_request_and_a_lost_ack_are_both_repaired_by_sending_again() {
    for fault in [Fault::LoseRequest, Fault::LoseReply, Fault::Timeout] {
        let mut world = World::joined();
        world.write(300);
        world.server.faults.push_back(fault.clone());
        assert_eq!(changes(&world.push()), 300, "{fault:?}");
        world.assert_in_sync();
    }
}

#[test]
fn after_a_lost_ack_a_new_process_cuts_the_same_chain() {
    let mut world = World::joined();
    world.write(300);
    world.server.faults.extend(vec![Fault::LoseReply; 4]);
    unreachable(world.push());
    assert_eq!(world.server.cursor.seq, 300);
    assert_eq!(world.store.status().unwrap().pending, 300);
    world.restart();
    // More was written since: the batch overlaps what is applied.
    world.write(5);
    assert_eq!(changes(&world.push()), 305);
    world.assert_in_sync();
}

#[test]
fn an_acknowledgement_beyond_the_batch_is_trimmed_batch_by_batch_with_the_rejects_of_each() {
    let mut world = World::joined();
    world.write(900);
    world.server.reject = vec![7, 450, 899];
    world.server.faults.extend(vec![Fault::LoseReply; 4]);
    unreachable(world.push());
    // The next process sends smaller batches than the one that was applied.
    world.server.limits = FrameLimits { rows_max: 200, ..FrameLimits::DEFAULT };
    world.restart();
    assert_eq!(changes(&world.push()), 900);
    world.assert_in_sync();
    let mut rejected = Vec::new();
    world
        .store
        .rejects::<tidemark_client::Error>(0, 10, |reject| {
            rejected.push(reject.change.seq);
            Ok(())
        })
        .unwrap();
    assert_eq!(rejected, [7, 450, 899]);
}

#[test]
fn a_power_cut_cannot_lose_what_was_sent() {
    let mut world = World::joined();
    world.write(10);
    world.server.faults.extend(vec![Fault::LoseRequest; 4]);
    unreachable(world.push());
    assert_eq!(world.store.meta().unwrap().sent_seq, 10);
    let synchronous: i64 = world.store.connection().query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 2, "FULL: the commit of sent_seq is on disk before the batch leaves");
}

#[test]
fn two_processes_pushing_at_once_do_no_harm() {
    let mut world = World::joined();
    world.write(100);
    let now_ms = world.clock.0;
    let mut other = Store::open(world.path()).unwrap();
    let mut other_engine = Engine::new(Config::interactive(3));
    let Action::Send(first) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    let first_reply = world.server.send(&first).unwrap();
    world.write(50);
    let Action::Send(second) = other_engine.next(&mut other, now_ms).unwrap() else { panic!() };
    let second_reply = world.server.send(&second).unwrap();
    // The later process hears first, and trims past the batch of the earlier one.
    let event = other_engine.on_reply(&mut other, now_ms, second.id, &second_reply).unwrap();
    assert!(matches!(event, Event::Acked { tidemark: 150, changes: 150, .. }), "{event:?}");
    let event = world.engine.on_reply(&mut world.store, now_ms, first.id, &first_reply).unwrap();
    assert_eq!(event, Event::Ignored);
    world.assert_in_sync();
    world.write(1);
    assert_eq!(changes(&world.push()), 1);
    world.assert_in_sync();
}

#[test]
fn the_slower_of_two_processes_hears_first() {
    let mut world = World::joined();
    world.write(100);
    let now_ms = world.clock.0;
    let mut other = Store::open(world.path()).unwrap();
    let mut other_engine = Engine::new(Config::interactive(3));
    let Action::Send(first) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    world.write(50);
    let Action::Send(second) = other_engine.next(&mut other, now_ms).unwrap() else { panic!() };
    let second_reply = world.server.send(&second).unwrap();
    // Its batch lies wholly before the server's tidemark by now: a duplicate, acknowledged beyond its end.
    let first_reply = world.server.send(&first).unwrap();
    let event = world.engine.on_reply(&mut world.store, now_ms, first.id, &first_reply).unwrap();
    assert!(matches!(event, Event::Acked { tidemark: 100, .. }), "{event:?}");
    assert_eq!(other_engine.on_reply(&mut other, now_ms, second.id, &second_reply).unwrap(), Event::Ignored);
    assert_eq!(changes(&world.push()), 50);
    world.assert_in_sync();
}

#[test]
fn the_slower_process_is_acknowledged_after_the_faster_has_trimmed_past_it() {
    let mut world = World::joined();
    world.write(100);
    let now_ms = world.clock.0;
    let mut other = Store::open(world.path()).unwrap();
    let mut other_engine = Engine::new(Config::interactive(3));
    let Action::Send(first) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    world.write(50);
    let Action::Send(second) = other_engine.next(&mut other, now_ms).unwrap() else { panic!() };
    let second_reply = world.server.send(&second).unwrap();
    other_engine.on_reply(&mut other, now_ms, second.id, &second_reply).unwrap();
    // The server stands at 150, the log is empty, and nothing is wrong with that.
    let first_reply = world.server.send(&first).unwrap();
    assert_eq!(world.engine.on_reply(&mut world.store, now_ms, first.id, &first_reply).unwrap(), Event::Ignored);
    assert_eq!(world.store.status().unwrap().state, State::InSync);
    world.assert_in_sync();
}

#[track_caller]
fn assert_forked(mut world: World, says: &str) -> World {
    let before = world.store.status().unwrap();
    let (kind, message) = stopped(world.push());
    assert_eq!(kind, StopKind::Forked);
    assert!(message.starts_with("forked: ") && message.contains(says), "{message}");
    let after = world.store.status().unwrap();
    assert_eq!((after.state, after.pending), (State::Forked, before.pending), "nothing is trimmed");
    // The state stays with the file; and pushing again asks before it sends.
    world.restart();
    world.server.requests.clear();
    assert_eq!(stopped(world.push()).0, StopKind::Forked);
    assert!(world.server.requests.iter().all(|request| request.url.ends_with("/v1/station")));
    world
}

#[test]
fn a_server_put_back_to_an_older_state_is_a_fork_and_heals_when_it_is_right_again() {
    let mut world = World::joined();
    world.write(10);
    world.push();
    let newer = world.server.cursor;
    let applied = world.server.applied.clone();
    world.server.cursor = Cursor { seq: 0, chain: Chain::start(crate::common::UUID) };
    world.server.applied.clear();
    world.write(5);
    let mut world = assert_forked(world, "it has lost changes");
    world.server.cursor = newer;
    world.server.applied = applied;
    assert_eq!(changes(&world.push()), 5);
    assert!(world.events.contains(&Event::Agreed));
    world.assert_in_sync();
    assert_eq!(world.store.status().unwrap().state, State::InSync);
}

#[test]
fn a_file_put_back_to_an_older_copy_is_a_fork() {
    let mut world = World::joined();
    world.write(5);
    let copy = world.folder.path().join("copy.db");
    world.store.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    world.write(5);
    world.push();
    drop(std::mem::replace(&mut world.store, Store::open(&copy).unwrap()));
    std::fs::rename(&copy, world.path()).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", world.path().display()));
    }
    world.restart();
    let mut world = assert_forked(world, "this file only 5");
    // Written to since, as many changes as before, but others.
    world.write(7);
    assert_forked(world, "another history");
}

#[test]
fn a_copy_of_the_file_that_is_written_to_is_a_fork() {
    let mut world = World::joined();
    world.write(5);
    let twin = world.folder.path().join("twin.db");
    world.store.execute("VACUUM INTO ?1", [twin.to_str().unwrap()]).unwrap();
    world.write(5);
    world.push();
    world.store = Store::open(&twin).unwrap();
    world.store.execute("INSERT INTO site (name) VALUES ('elsewhere')", []).unwrap();
    world.write(9);
    let (kind, message) = stopped(world.push());
    assert_eq!(kind, StopKind::Forked);
    assert!(message.contains("at change 10 the server has another history"), "{message}");
    assert_eq!(world.store.status().unwrap().pending, 15);
}

#[test]
fn an_acknowledgement_with_a_foreign_chain_trims_nothing() {
    let mut world = World::joined();
    world.write(10);
    for (tidemark, says) in
        [(10, "another history"), (4, "another history"), (11, "this file only 10"), (u64::MAX, "only 10")]
    {
        let lie = PushReply {
            tidemark,
            chain: Chain([1; 32]),
            applied: 10,
            duplicate: 0,
            rejected: Vec::new(),
            limits: FrameLimits::DEFAULT,
        };
        world.restart();
        world.store.execute("UPDATE tidemark_station SET forked = NULL, last_error = NULL", []).unwrap();
        world.server.faults.push_back(Fault::Answer(answer(200, &lie)));
        let (kind, message) = stopped(world.push());
        assert_eq!(kind, StopKind::Forked);
        assert!(message.contains(says), "{message}");
        assert_eq!(world.store.status().unwrap().pending, 10);
    }
}

#[test]
fn success_without_progress_is_not_asked_in_a_loop() {
    let mut world = World::joined();
    world.write(10);
    let stuck = PushReply {
        tidemark: 0,
        chain: Chain::start(crate::common::UUID),
        applied: 0,
        duplicate: 0,
        rejected: Vec::new(),
        limits: FrameLimits::DEFAULT,
    };
    world.server.always = Some(Fault::Answer(answer(200, &stuck)));
    assert!(unreachable(world.push()).contains("did not move"));
    assert_eq!(world.server.requests.len(), 4);
}

#[test]
fn a_gap_or_fork_that_contradicts_itself_is_sent_again() {
    for code in [ProblemCode::Gap, ProblemCode::Forked] {
        let mut world = World::joined();
        world.write(10);
        let start = Cursor { seq: 0, chain: Chain::start(crate::common::UUID) };
        let says = Problem::new(code, "somebody damaged the frame").at(start);
        world.server.faults.push_back(Fault::Answer(answer(409, &says)));
        // And without a word where it stands, the server is asked.
        world.server.faults.push_back(Fault::Answer(problem(code)));
        assert_eq!(changes(&world.push()), 10);
        world.assert_in_sync();
        assert_eq!(world.events.iter().filter(|event| **event == Event::Agreed).count(), 1);
    }
}

#[test]
fn a_batch_that_is_too_large_is_halved_until_it_fits() {
    let mut world = World::joined();
    world.write(3_000);
    world.server.faults.extend([
        Fault::Answer(problem(ProblemCode::TooLarge)),
        Fault::Answer(Reply { status: 413, ..Reply::default() }),
    ]);
    assert_eq!(changes(&world.push()), 3_000);
    assert_eq!(world.server.batches[0], 750);
    world.assert_in_sync();
}

#[test]
fn the_servers_limits_are_learnt_and_kept() {
    let mut world = World::joined();
    world.write(1_000);
    world.server.limits = FrameLimits { rows_max: 300, ..FrameLimits::DEFAULT };
    assert_eq!(changes(&world.push()), 1_000);
    assert!(world.server.batches.iter().all(|&count| count <= 300), "{:?}", world.server.batches);
    world.restart();
    world.write(301);
    world.server.requests.clear();
    world.push();
    assert_eq!(world.server.requests.len(), 2, "no batch was refused: the limit is in the file");
}

#[test]
fn bytes_and_cells_of_the_servers_limits_are_kept() {
    for limits in [
        FrameLimits { frame_bytes_max: 4_000, ..FrameLimits::DEFAULT },
        FrameLimits { body_bytes_max: 4_000, ..FrameLimits::DEFAULT },
        FrameLimits { cells_max: 80, ..FrameLimits::DEFAULT },
    ] {
        let mut world = World::joined();
        world.server.limits = limits;
        world.write(200);
        assert_eq!(changes(&world.push()), 200, "{limits:?}");
        world.assert_in_sync();
    }
}

#[test]
fn a_single_change_over_the_servers_limit_is_reported_and_not_looped_on() {
    let mut world = World::joined();
    world.write(3);
    // Bytes that do not compress.
    world.store.execute("INSERT INTO reading (raw) VALUES (randomblob(100000))", []).unwrap();
    world.write(3);
    world.server.limits = FrameLimits { frame_bytes_max: 50_000, ..FrameLimits::DEFAULT };
    let (kind, message) = stopped(world.push());
    assert_eq!(kind, StopKind::TooLarge);
    assert!(message.starts_with("change 4 alone is more than the server takes"), "{message}");
    assert_eq!(world.server.cursor.seq, 3, "those before it are upstream");
    assert!(world.server.requests.len() < 8, "{}", world.server.requests.len());
    // The operator raises the limit.
    world.server.limits = FrameLimits::DEFAULT;
    world.store.execute("UPDATE tidemark_station SET limits = NULL", []).unwrap();
    world.restart();
    assert_eq!(changes(&world.push()), 4);
    world.assert_in_sync();
}

#[test]
fn refusals_that_asking_again_does_not_solve_stop_with_what_to_do() {
    for (code, kind, is_final, says) in [
        (ProblemCode::Revoked, StopKind::Revoked, true, "nothing is lost, the changes stay in the log"),
        (ProblemCode::Unauthorized, StopKind::Unauthorized, false, "does not know this station's token"),
        (ProblemCode::WrongStation, StopKind::WrongStation, false, "another station"),
        (ProblemCode::UnknownSchema, StopKind::Schema, false, "give the server this station's schema"),
        (ProblemCode::IncompatibleSchema, StopKind::Schema, false, "give the server this station's schema"),
        (ProblemCode::NotFound, StopKind::Refused, false, "server's URL"),
    ] {
        let mut world = World::joined();
        world.write(2);
        world.server.faults.push_back(Fault::Answer(problem(code)));
        match world.push() {
            Drained::Stopped { stop, .. } => {
                assert_eq!((stop.kind(), stop.is_final()), (kind, is_final));
                assert!(stop.to_string().contains(says) && stop.to_string().starts_with("because"), "{stop}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.server.requests.len(), 1);
        let status = world.store.status().unwrap();
        assert_eq!(status.pending, 2);
        assert!(status.last_error.unwrap().contains(says));
        // When the server is put right, pushing goes on.
        assert_eq!(changes(&world.push()), 2);
    }
}

#[test]
fn damaged_frames_are_sent_again_but_not_for_ever() {
    let mut world = World::joined();
    world.write(2);
    world.server.faults.extend(vec![Fault::Answer(problem(ProblemCode::BadFrame)); 3]);
    assert_eq!(changes(&world.push()), 2);
    world.write(2);
    world.server.always = Some(Fault::Answer(problem(ProblemCode::BadFrame)));
    world.server.requests.clear();
    let (kind, message) = stopped(world.push());
    assert_eq!((kind, world.server.requests.len()), (StopKind::Refused, 4));
    assert!(message.contains("4 times in a row: because"), "{message}");
}

#[test]
fn replies_of_nobody_of_ours_are_never_trusted() {
    let reply = |status, body: &str| Reply { status, retry_after: None, body: body.as_bytes().to_vec() };
    for garbage in [
        reply(200, ""),
        reply(200, "<html>Welcome to the harbour's WLAN</html>"),
        reply(200, "{}"),
        reply(200, r#"{"tidemark":-1,"chain":"00","applied":0,"duplicate":0,"rejected":[],"limits":{}}"#),
        reply(200, &"[".repeat(100_000)),
        reply(204, ""),
        reply(401, "<html>proxy wants a password</html>"),
        reply(403, "{\"code\":\"revoked\"}"),
        // A problem whose status is not the one it came with.
        reply(500, r#"{"type":"x","status":403,"detail":"d","code":"revoked"}"#),
        reply(418, "short and stout"),
        reply(502, "bad gateway"),
        Reply { status: 200, retry_after: None, body: vec![b' '; tidemark_core::limits::MESSAGE_BYTES_MAX + 1] },
    ] {
        let mut world = World::joined();
        world.write(3);
        world.server.faults.push_back(Fault::Answer(garbage.clone()));
        assert_eq!(changes(&world.push()), 3, "status {}", garbage.status);
        world.assert_in_sync();
        assert!(
            matches!(&world.events[0], Event::Failed { why, .. } if why.to_string().len() < 400 && !why.to_string().contains('\n'))
        );
    }
    // A redirect is not followed with the token in hand.
    let mut world = World::joined();
    world.write(3);
    world.server.faults.push_back(Fault::Answer(reply(302, "")));
    assert_eq!(stopped(world.push()).0, StopKind::Refused);
}

#[test]
fn rejects_beyond_the_batch_or_unbounded_do_no_harm() {
    let mut world = World::joined();
    world.write(4);
    // Serve the batch, but report rejects it does not have.
    let Action::Send(request) = world.engine.next(&mut world.store, world.clock.0).unwrap() else { panic!() };
    let reply = world.server.send(&request).unwrap();
    let mut done: PushReply = serde_json::from_slice(&reply.body).unwrap();
    let reject = |seq, message: &str| RejectedChange { seq, code: RejectCode::Clock, message: message.into() };
    done.rejected = vec![
        reject(0, ""),
        reject(2, &format!("\u{1b}[2J{}", "x".repeat(100_000))),
        reject(2, "again"),
        reject(5, ""),
        reject(u64::MAX, ""),
    ];
    world.engine.on_reply(&mut world.store, world.clock.0, request.id, &answer(200, &done)).unwrap();
    let kept = RefCell::new(Vec::new());
    world
        .store
        .rejects::<tidemark_client::Error>(0, 10, |reject| {
            kept.borrow_mut().push(reject);
            Ok(())
        })
        .unwrap();
    let kept = kept.into_inner();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].change.seq, kept[0].code.as_str(), kept[0].origin.as_str()),
        (2, "clock", Origin::Server.as_str())
    );
    assert!(kept[0].message.len() < 1100 && !kept[0].message.contains('\u{1b}'));
    assert_eq!(kept[0].change.table, "reading");
}

#[test]
fn secrets_are_not_in_debug_output() {
    let mut world = World::joined();
    world.write(1);
    let Action::Send(request) = world.engine.next(&mut world.store, world.clock.0).unwrap() else { panic!() };
    let token = request.token.as_ref().unwrap().to_hex();
    let request = tidemark_client::sync::Request { body: Vec::new(), ..request };
    assert!(token.starts_with("0505") && !format!("{request:?}").contains("0505"));
    let meta = format!("{:?}", world.store.meta().unwrap());
    assert!(!meta.contains("0505") && !meta.contains("5, 5, 5"), "{meta}");
}

#[test]
fn a_limit_that_was_raised_lets_the_change_through_that_it_held() {
    let tiny = FrameLimits { frame_bytes_max: 200, ..FrameLimits::DEFAULT };
    let mut world = World::joined_with(tiny);
    world.write(3);
    let (kind, message) = stopped(world.push());
    assert_eq!(kind, StopKind::TooLarge);
    assert!(message.contains("change 1 alone"), "{message}");
    // What this station remembers of the limits is not what counts: neither for an engine that goes on, nor for a new one.
    world.server.limits = FrameLimits::DEFAULT;
    let mut other = World::joined_with(tiny);
    other.write(3);
    other.server.limits = FrameLimits::DEFAULT;
    for mut world in [world, other] {
        assert_eq!(changes(&world.push()), 3);
        world.assert_in_sync();
    }
}

#[test]
fn a_full_disk_is_waited_for_and_the_server_is_not_asked_in_a_loop() {
    let mut world = World::joined();
    world.write(200);
    let room = |world: &World, pages: u32| {
        let pragma = format!("PRAGMA max_page_count = {pages}");
        world.store.connection().query_row(&pragma, [], |row| row.get::<_, i64>(0)).unwrap();
    };
    world.server.reject = (1..=200).collect();
    let now_ms = world.clock.0;
    let Action::Send(request) = world.engine.next(&mut world.store, now_ms).unwrap() else { panic!() };
    let reply = world.server.send(&request).unwrap();
    // The rejects need room that is not there.
    room(&world, 1);
    let error = world.engine.on_reply(&mut world.store, now_ms, request.id, &reply).unwrap_err();
    assert!(matches!(error, Error::Full { .. }) && error.can_retry(), "{error}");
    let waits = world.engine.next(&mut world.store, now_ms).unwrap();
    assert!(matches!(waits, Action::WaitUntil(at_ms) if at_ms > now_ms), "{waits:?}");
    room(&world, 1 << 30);
    assert_eq!(changes(&world.push()), 200);
    world.assert_in_sync();
    assert_eq!(world.store.rejects_count().unwrap(), 200);
}
