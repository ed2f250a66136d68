//! Cutting batches out of real logs, and the transaction of an acknowledgement.

use crate::common::{Fault, World, changes};
use tidemark_client::ack::{Ack, Acked, acknowledge};
use tidemark_client::outbox::{Caps, cut};
use tidemark_client::rusqlite::Connection;
use tidemark_client::rusqlite::types::Value;
use tidemark_client::sync::{Action, Drained, StopKind};
use tidemark_client::{Error, Reject, State};
use tidemark_core::batch::Op;
use tidemark_core::chain::Chain;
use tidemark_core::decision::Cursor;
use tidemark_core::limits::FrameLimits;

const WIDE: Caps = Caps { rows: 1_000_000, body_bytes: 1 << 30, cells: 1 << 30 };

fn rejects(world: &World) -> Vec<Reject> {
    let mut kept = Vec::new();
    world
        .store
        .rejects::<Error>(0, 1000, |reject| {
            kept.push(reject);
            Ok(())
        })
        .unwrap();
    kept
}

/// Cuts and acknowledges until nothing is left; returns the sizes of the batches and the last chain.
fn cut_all(world: &mut World, caps: &Caps) -> (Vec<u32>, Chain) {
    let mut sizes = Vec::new();
    let mut at = world.store.meta().unwrap().tidemark;
    while let Some(cut) = cut(&mut world.store, caps, 0).unwrap() {
        let span = cut.batch.span();
        assert_eq!(cut.base, at);
        at = Cursor { seq: span.last_seq(), chain: span.chain_after };
        let ack = Ack {
            base: cut.base,
            upto: at,
            largest_ids: &[],
            rejected_here: &cut.rejected,
            rejected_by_server: &[],
            limits: FrameLimits::DEFAULT,
            now_ms: 1,
        };
        assert!(matches!(acknowledge(&mut world.store, &ack).unwrap(), Acked::Moved { .. }));
        sizes.push(span.count);
    }
    (sizes, at.chain)
}

fn copy(world: &World) -> World {
    let copied = World::joined();
    drop(copied.store);
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", copied.folder.path().join("field.db").display()));
    }
    world.store.execute("VACUUM INTO ?1", [copied.folder.path().join("field.db").to_str().unwrap()]).unwrap();
    let store = tidemark_client::Store::open(copied.folder.path().join("field.db")).unwrap();
    World {
        store,
        folder: copied.folder,
        engine: copied.engine,
        server: copied.server,
        clock: copied.clock,
        events: copied.events,
    }
}

#[test]
fn caps_hold_and_do_not_change_the_chain() {
    let world = World::joined();
    for n in 0..80_usize {
        let note = "x".repeat(n * 37 % 900);
        world.store.insert("reading", &[("n", Value::Integer(n as i64)), ("note", note.into())]).unwrap();
        if n % 10 == 0 {
            world.store.execute("UPDATE reading SET n = 'not a number' WHERE id = ?1", [n as i64 + 1]).unwrap();
        }
    }
    let (_, whole) = cut_all(&mut copy(&world), &WIDE);
    for caps in [
        Caps { rows: 1, ..WIDE },
        Caps { rows: 7, ..WIDE },
        Caps { body_bytes: 8_000, ..WIDE },
        Caps { body_bytes: 0, ..WIDE },
        Caps { cells: 20, ..WIDE },
    ] {
        let mut world = copy(&world);
        let first = cut(&mut world.store, &caps, 0).unwrap().unwrap();
        assert!(first.capped);
        let (sizes, chain) = cut_all(&mut world, &caps);
        assert_eq!(chain, whole, "{caps:?}");
        assert_eq!(sizes.iter().sum::<u32>(), 88);
        assert!(sizes.iter().all(|&size| size <= caps.rows && size as usize * 2 <= caps.cells), "{sizes:?}");
        if caps.body_bytes == 8_000 {
            // 40 kB of text in batches of less than 6 kB, which leaves room for messages.
            assert!(sizes.len() > 6, "{sizes:?}");
        }
        assert_eq!(rejects(&world).len(), 8);
    }
}

#[test]
fn seq_goes_on_after_everything_is_trimmed_and_the_file_was_closed() {
    let mut world = World::joined();
    world.write(5);
    assert_eq!(changes(&world.push()), 5);
    world.restart();
    world.write(2);
    assert_eq!(world.store.log(10).unwrap().iter().map(|change| change.seq).collect::<Vec<_>>(), [6, 7]);
    assert_eq!(changes(&world.push()), 2);
    world.assert_in_sync();
}

#[test]
fn a_bad_row_becomes_a_reject_with_its_image_and_the_rest_goes_on() {
    let mut world = World::joined();
    // As any program writes: without our API, without types.
    let other = Connection::open(world.path()).unwrap();
    let time = "2026-01-01 00:00:00";
    let insert = |column: &str, value: &str| {
        let time = if column == "at" { String::new() } else { format!(", '{time}'") };
        let at = if column == "at" { "" } else { ", at" };
        other.execute(&format!("INSERT INTO reading ({column}{at}) VALUES ({value}{time})"), []).unwrap();
    };
    insert("n", "1");
    insert("n", "'many'");
    insert("note", "'a' || char(0) || 'b'");
    insert("note", "CAST(x'ff' AS TEXT)");
    insert("extra", "'{'");
    insert("extra", "'\"\\u0000\"'");
    insert("at", "'infinity'");
    insert("at", "'9999-12-31 23:59:59-01:00'");
    insert("at", "NULL");
    insert("raw", "'text'");
    other.execute("INSERT INTO reading (id, at) VALUES (0, ?1)", [time]).unwrap();
    other.execute("INSERT INTO tidemark_log (at, tbl, op, c0) VALUES (0, 'nosuch', 'I', 1)", []).unwrap();
    other.execute("INSERT INTO tidemark_log (at, tbl, op, c0) VALUES ('x', x'00', 7, 1)", []).unwrap();
    insert("n", "2");
    assert_eq!(changes(&world.push()), 14);
    world.assert_in_sync();
    let kept = rejects(&world);
    let codes: Vec<(u64, &str)> = kept.iter().map(|reject| (reject.change.seq, reject.code.as_str())).collect();
    assert_eq!(
        codes,
        [
            (2, "type"),
            (3, "nul"),
            (4, "utf8"),
            (5, "json"),
            (6, "json"),
            (7, "timestamp"),
            (8, "timestamp"),
            (9, "required"),
            (10, "type"),
            (11, "id-range"),
            (12, "unknown-table"),
            (13, "unknown-table"),
        ]
    );
    assert!(kept.iter().all(|reject| reject.origin == "station"));
    let image =
        |n: usize, column: &str| kept[n].change.values.iter().find(|(name, _)| name == column).unwrap().1.clone();
    assert_eq!(image(0, "n"), Value::Text("many".into()));
    assert_eq!(image(0, "at"), Value::Text(time.into()));
    assert_eq!(image(1, "note"), Value::Text("a\0b".into()));
    assert_eq!(image(2, "note"), Value::Blob(vec![0xff]));
    assert_eq!(image(7, "at"), Value::Null);
    // Upstream holds the good rows, and markers for the others.
    let voids = world.server.applied.values().filter(|(_, op)| *op == Op::Void).count();
    assert_eq!(voids, 12);
    // Repaired in the table, the row travels.
    other.execute("UPDATE reading SET n = 3 WHERE n = 'many'", []).unwrap();
    assert_eq!(changes(&world.push()), 1);
    assert_eq!(world.server.applied[&15].1, Op::Update);
    assert_eq!(rejects(&world).len(), 12);
}

#[test]
fn an_edited_log_is_a_state_and_sends_nothing() {
    for (edit, says) in [
        ("DELETE FROM tidemark_log WHERE seq = 5", "after change 4 comes 6, not 5"),
        ("DELETE FROM tidemark_log WHERE seq = 4", "after change 3 comes 5, not 4"),
        ("DELETE FROM tidemark_log WHERE seq > 6", "changes 7 to 8 are missing at its end"),
        ("DELETE FROM tidemark_log", "changes 4 to 8 are missing at its end"),
        ("DELETE FROM tidemark_log; DELETE FROM sqlite_sequence", "its numbering restarted"),
        ("INSERT INTO tidemark_log (seq, at, tbl, op) VALUES (2, 0, 'site', 'I')", "change 2 stands in it"),
        ("INSERT INTO tidemark_log (seq, at, tbl, op) VALUES (-2, 0, 'site', 'I')", "change -2 stands in it"),
    ] {
        let mut world = World::joined();
        world.write(3);
        world.push();
        world.write(5);
        world.store.connection().execute_batch(edit).unwrap();
        world.server.requests.clear();
        let error = cut(&mut world.store, &WIDE, 0).unwrap_err();
        assert!(matches!(&error, Error::LogTampered { detail, .. } if detail.contains(says)), "{edit}: {error}");
        let stopped = world.engine.next(&mut world.store, world.clock.0).unwrap();
        assert!(matches!(&stopped, Action::Stopped(stop) if stop.kind() == StopKind::Tampered), "{stopped:?}");
        assert!(world.server.requests.is_empty());
        // Every process says so until the file is put right; each asks the server first, whose word cannot mend a log.
        for _ in 0..2 {
            let Drained::Stopped { stop, .. } = world.push() else { panic!("{edit}") };
            assert!(
                stop.kind() == StopKind::Tampered && stop.to_string().contains("was tampered with"),
                "{edit}: {stop}"
            );
            assert_eq!(world.store.status().unwrap().state, State::Forked);
            assert!(world.server.batches.len() == 1, "{edit}: nothing but the first batch was ever sent");
        }
    }
}

#[test]
fn a_log_whose_sent_end_was_cut_off_is_noticed() {
    let mut world = World::joined();
    world.write(3);
    world.server.always = Some(Fault::LoseRequest);
    assert!(matches!(world.push(), Drained::Unreachable { .. }));
    let cut_off =
        "DELETE FROM tidemark_log WHERE seq > 1; UPDATE sqlite_sequence SET seq = 1 WHERE name = 'tidemark_log'";
    world.store.connection().execute_batch(cut_off).unwrap();
    // Its numbers would be given again, to other changes.
    world.write(1);
    world.server.always = None;
    let Drained::Stopped { stop, .. } = world.push() else { panic!("sent") };
    assert!(stop.kind() == StopKind::Tampered && stop.to_string().contains("changes up to 3 were sent"), "{stop}");
    assert!(world.server.applied.is_empty());
}

#[test]
fn an_acknowledgement_is_all_or_nothing() {
    let mut world = World::joined();
    world.write(3);
    world.store.execute("INSERT INTO reading (n) VALUES ('bad')", []).unwrap();
    let cut = cut(&mut world.store, &WIDE, 0).unwrap().unwrap();
    let ack = Ack {
        base: cut.base,
        upto: Cursor { seq: 4, chain: cut.batch.chain_after },
        largest_ids: &[],
        rejected_here: &cut.rejected,
        rejected_by_server: &[],
        limits: FrameLimits::DEFAULT,
        now_ms: 1,
    };
    // The last statement of the transaction fails.
    world
        .store
        .connection()
        .execute_batch("CREATE TRIGGER stuck BEFORE DELETE ON tidemark_log BEGIN SELECT RAISE(FAIL, 'stuck'); END")
        .unwrap();
    acknowledge(&mut world.store, &ack).unwrap_err();
    assert_eq!(world.store.status().unwrap().pending, 4);
    assert_eq!(rejects(&world), []);
    world.store.connection().execute_batch("DROP TRIGGER stuck").unwrap();
    let moved = Acked::Moved { changes: 4, rejected_here: 1, rejected_by_server: 0 };
    assert_eq!(acknowledge(&mut world.store, &ack).unwrap(), moved);
    assert_eq!(rejects(&world).len(), 1);
    assert_eq!(acknowledge(&mut world.store, &ack).unwrap(), Acked::Stale);
}

#[test]
fn digests_equal_those_of_the_upstream_values_and_leave_out_what_cannot_travel() {
    let mut world = World::joined();
    world.store.execute("INSERT INTO site (name) VALUES ('a'), ('b')", []).unwrap();
    world.write(2);
    let before = world.store.digests().unwrap();
    assert_eq!((before[0].digest.rows(), before[1].digest.rows(), before[1].excluded), (2, 2, 0));
    world.store.execute("INSERT INTO reading (n) VALUES ('bad')", []).unwrap();
    let after = world.store.digests().unwrap();
    assert_eq!((after[1].digest, after[1].excluded), (before[1].digest, 1));
    world.store.execute("UPDATE site SET name = 'c' WHERE id = 2", []).unwrap();
    assert_ne!(world.store.digests().unwrap()[0].digest, before[0].digest);
}
