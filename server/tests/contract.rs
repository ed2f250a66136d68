//! The contract of an upstream store, run against each of them.

use std::sync::Arc;

use crate::common::station::{Change, Station, day, text};
use crate::common::stores::{Kind, POISON, Store};
use crate::common::{NOON_MS, contract, field};
use tidemark_core::batch::Op;
use tidemark_core::protocol::ProblemCode;
use tidemark_core::schema::Schema;
use tidemark_core::value::Value;
use tidemark_server::stations::{JoinAsk, JoinOutcome, NewStation};

contract! {
    the_next_batch_is_applied_and_a_replay_is_a_duplicate,
    an_overlap_is_applied_from_the_tidemark_on,
    a_gap_and_a_fork_change_nothing,
    changes_of_one_row_coalesce,
    a_row_moves_between_chunks,
    deletes_of_absent_rows_do_nothing,
    an_insert_over_an_existing_row_replaces_it,
    an_update_heals_a_rejected_insert,
    every_verdict_has_its_code,
    verdicts_follow_the_order_of_the_log,
    poison_is_isolated_and_kept,
    extremes_arrive_bit_for_bit,
    changes_rejected_on_the_station_are_kept,
    prints_or_a_cursor_that_cannot_be_written_undo_their_batch,
    tables_are_altered_under_prepared_statements,
    joining_is_idempotent_and_a_code_is_used_once,
}

async fn the_next_batch_is_applied_and_a_replay_is_a_duplicate(store: &Store) {
    let mut station = store.join("north").await;
    let batch = station.cut(&[station.site(1), station.site(2)]);
    let reply = store.push(&batch).await.unwrap();
    assert_eq!((reply.tidemark, reply.applied, reply.duplicate), (2, 2, 0));
    for _ in 0..2 {
        let again = store.push(&batch).await.unwrap();
        assert_eq!((again.tidemark, again.applied, again.duplicate), (2, 0, 2));
        assert_eq!(again.chain, batch.chain_after);
    }
    let next = station.cut(&[station.site(3)]);
    assert!(store.pushed(&next).await.is_empty());
    // Wholly before the tidemark.
    let again = store.push(&batch).await.unwrap();
    assert_eq!((again.tidemark, again.chain), (3, next.chain_after));
    let rows: Vec<_> = (1..=3).map(|n| station.site(n).values).collect();
    store.has(&station, "site", &rows).await;
    let cursor = store.upstream.cursor(station.number).await.unwrap().unwrap();
    assert_eq!((cursor.seq, cursor.chain), (3, station.chain));
}

async fn an_overlap_is_applied_from_the_tidemark_on(store: &Store) {
    let mut station = store.join("north").await;
    let changes: Vec<Change> = (1..=6).map(|n| station.site(n)).collect();
    let fresh = station.clone();
    let first = station.cut(&changes[..3]);
    let missing = station.clone();
    store.pushed(&first).await;
    let whole = fresh.peek(&changes);
    let reply = store.push(&whole).await.unwrap();
    assert_eq!((reply.tidemark, reply.applied, reply.duplicate), (6, 3, 3));
    // The same tail again, cut elsewhere.
    let tail = missing.peek(&changes[3..]);
    assert_eq!(store.push(&tail).await.unwrap().duplicate, 3);
    let rows: Vec<_> = changes.iter().map(|change| change.values.clone()).collect();
    store.has(&station, "site", &rows).await;
}

async fn a_gap_and_a_fork_change_nothing(store: &Store) {
    let mut station = store.join("north").await;
    let begin = station.clone();
    store.pushed(&station.cut(&[station.site(1)])).await;
    let mut ahead = station.clone();
    let _lost = ahead.cut(&[ahead.site(2)]);
    let problem = store.push(&ahead.peek(&[ahead.site(3)])).await.unwrap_err();
    assert_eq!(
        (problem.code, problem.tidemark, problem.chain.as_deref()),
        (ProblemCode::Gap, Some(1), Some(&station.chain))
    );
    // The same seq with another history: wholly, at the end, and from the tidemark on.
    let mut copied = begin.clone();
    let fork = copied.cut(&[copied.site(7)]);
    for batch in [&fork, &copied.peek(&[copied.site(8)]), &begin.peek(&[begin.site(7), begin.site(8)])] {
        let problem = store.push(batch).await.unwrap_err();
        assert_eq!(
            (problem.code, problem.tidemark, problem.chain.as_deref()),
            (ProblemCode::Forked, Some(1), Some(&station.chain))
        );
    }
    store.has(&station, "site", &[station.site(1).values]).await;
}

async fn changes_of_one_row_coalesce(store: &Store) {
    let mut station = store.join("north").await;
    let named = |station: &Station, n: i64, name: &str| station.update("site", n, &[("name", text(name))]);
    let changes = [
        station.site(1),
        named(&station, 1, "a"),
        named(&station, 1, "b"),
        station.site(2),
        station.delete("site", 2),
        station.site(3),
        station.delete("site", 3),
        station.insert("site", 3, &[("name", text("again"))]),
        named(&station, 4, "never inserted"),
    ];
    let batch = station.cut(&changes);
    let reply = store.push(&batch).await.unwrap();
    assert_eq!((reply.applied, reply.rejected.len()), (9, 0));
    let rows = [changes[2].values.clone(), changes[7].values.clone(), changes[8].values.clone()];
    store.has(&station, "site", &rows).await;
    let changes = [station.delete("site", 1), station.site(1), station.delete("site", 3), named(&station, 4, "c")];
    store.pushed(&station.cut(&changes)).await;
    store.has(&station, "site", &[changes[1].values.clone(), changes[3].values.clone()]).await;
}

async fn a_row_moves_between_chunks(store: &Store) {
    let mut station = store.join("north").await;
    store.pushed(&station.cut(&[station.reading(1, day(1), &[]), station.reading(2, day(2), &[])])).await;
    let moved = station.reading(1, day(1) - 90 * 86_400_000_000, &[("count", Value::Integer(5))]);
    store.pushed(&station.cut(&[station.delete_at("reading", 1, day(1)), moved.clone()])).await;
    store.has(&station, "reading", &[moved.values.clone(), station.reading(2, day(2), &[]).values]).await;
    // There and back within one batch.
    let back = station.reading(1, day(1), &[]);
    let changes = [
        station.delete_at("reading", 1, day(1) - 90 * 86_400_000_000),
        station.reading(1, day(9), &[]),
        station.delete_at("reading", 1, day(9)),
        back.clone(),
        station.delete_at("reading", 2, day(2)),
    ];
    store.pushed(&station.cut(&changes)).await;
    store.has(&station, "reading", &[back.values]).await;
}

async fn deletes_of_absent_rows_do_nothing(store: &Store) {
    let mut station = store.join("north").await;
    let uid = [9; 16];
    let changes = [
        station.delete("site", 5),
        station.delete_at("reading", 5, day(3)),
        station.tag(Op::Delete, uid, ""),
        station.delete_at("reading", 6, tidemark_core::timestamp::FIRST_US),
    ];
    assert!(store.pushed(&station.cut(&changes)).await.is_empty());
    // A row that is there at another time stays.
    store.pushed(&station.cut(&[station.reading(5, day(4), &[])])).await;
    store.pushed(&station.cut(&[station.delete_at("reading", 5, day(5))])).await;
    store.has(&station, "reading", &[station.reading(5, day(4), &[]).values]).await;
}

async fn an_insert_over_an_existing_row_replaces_it(store: &Store) {
    let mut station = store.join("north").await;
    store.pushed(&station.cut(&[station.site(1), station.site(2)])).await;
    // INSERT OR REPLACE on a table whose only unique thing is its key logs an insert alone.
    let replaced = station.insert("site", 1, &[("name", text("lake"))]);
    let changes = [station.site(3), replaced.clone(), station.update("site", 2, &[("name", text("sea"))])];
    assert!(store.pushed(&station.cut(&changes)).await.is_empty());
    store.has(&station, "site", &changes.map(|change| change.values)).await;
}

async fn an_update_heals_a_rejected_insert(store: &Store) {
    let mut station = store.join("north").await;
    let bad = station.reading(1, day(1), &[("site_id", station.id(4))]);
    assert_eq!(store.pushed(&station.cut(std::slice::from_ref(&bad))).await, [(1, "reference")]);
    let mut good = station.reading(1, day(1), &[("count", Value::Integer(1))]);
    good.op = Op::Update;
    assert!(store.pushed(&station.cut(&[good.clone()])).await.is_empty());
    store.has(&station, "reading", &[good.values]).await;
    // Within one batch, and by the parent that comes later.
    let changes = [
        station.reading(2, day(1), &[("site_id", station.id(4))]),
        station.site(4),
        Change { op: Op::Update, ..station.reading(2, day(1), &[("site_id", station.id(4))]) },
    ];
    assert_eq!(store.pushed(&station.cut(&changes)).await, [(3, "reference")]);
    let rejects = store.rejects(station.number).await;
    assert_eq!(rejects.iter().map(|reject| reject.seq).collect::<Vec<_>>(), [1, 3]);
}

async fn every_verdict_has_its_code(store: &Store) {
    let mut station = store.join("north").await;
    let south = store.join("south").await;
    let row = |set: &[(&str, Value)]| station.reading(1, day(1), set);
    let far = Value::Integer(station.number.upstream_id(9).unwrap() + (5 << 32));
    let mut no_time = station.reading(1, day(1), &[]);
    no_time.values[2] = Value::Null;
    let mut foreign_key = station.site(1);
    foreign_key.values[0] = south.id(1);
    let mut no_key = station.site(1);
    no_key.values[0] = Value::Null;
    let clock_floor = tidemark_core::timestamp::parse(b"2000-01-01").unwrap();
    let clock_ahead = NOON_MS * 1000 + 7 * 86_400_000_000;
    let cases: Vec<(Change, &str)> = vec![
        (row(&[("site_id", station.id(99))]), "reference"),
        (row(&[("site_id", Value::Integer(12))]), "reference"), // HQ's row 12, which is not there
        (row(&[("tag_uid", Value::Uuid([3; 16]))]), "reference"),
        (station.insert("remark", 1, &[("reading_id", station.id(8))]), "reference"),
        (row(&[("site_id", far)]), "id-range"),
        (row(&[("site_id", Value::Integer(-1))]), "id-range"),
        (foreign_key, "id-range"),
        (Change { op: Op::Delete, values: vec![south.id(1)], ..station.delete("site", 1) }, "id-range"),
        (no_key, "required"),
        (no_time, "required"),
        (station.insert("site", 1, &[]), "required"),
        (row(&[("temperature", Value::Real(60.5))]), "range"),
        (row(&[("temperature", Value::Real(f64::NEG_INFINITY))]), "range"),
        (station.insert("site", 1, &[("name", text(&"x".repeat(101)))]), "length"),
        (row(&[("note", text("a\0b"))]), "nul"),
        (row(&[("extra", Value::Json("{".into()))]), "json"),
        (row(&[("extra", Value::Json(r#""\u0000""#.into()))]), "json"),
        (row(&[("extra", Value::Json(r#""\ud800""#.into()))]), "json"),
        (row(&[("checked_at", Value::Timestamp(i64::MAX))]), "timestamp"),
        (row(&[("checked_at", Value::Timestamp(i64::MIN))]), "timestamp"),
        (station.reading(1, i64::MIN, &[]), "timestamp"),
        (station.delete_at("reading", 1, i64::MAX), "timestamp"),
        (station.reading(1, clock_floor - 1, &[]), "clock"),
        (station.reading(1, 0, &[]), "clock"),
        (station.reading(1, clock_ahead + 1, &[]), "clock"),
        (station.reading(1, tidemark_core::timestamp::LAST_US, &[]), "clock"),
        (row(&[("note", text(POISON))]), "constraint"),
    ];
    let good = [station.reading(100, clock_floor, &[]), station.reading(101, clock_ahead, &[])];
    let mut changes: Vec<Change> = cases.iter().map(|(change, _)| change.clone()).collect();
    changes.extend(good.clone());
    let batch = station.cut(&changes);
    let wanted: Vec<(u64, &str)> = (1..).zip(cases.iter().map(|(_, code)| *code)).collect();
    assert_eq!(store.pushed(&batch).await, wanted);
    store.has(&station, "reading", &good.map(|change| change.values)).await;
    store.has(&station, "site", &[]).await;
    // What a duplicate's reply says is what the first said.
    let first = store.push(&batch).await.unwrap().rejected;
    assert_eq!(first.iter().map(|rejected| (rejected.seq, rejected.code.as_str())).collect::<Vec<_>>(), wanted);
    for reject in store.rejects(station.number).await {
        assert!(reject.image.is_some() && reject.origin == "server" && !reject.message.is_empty(), "{reject:?}");
    }
}

async fn verdicts_follow_the_order_of_the_log(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let child = |n: i64, parent: i64| maker.reading(n, day(1), &[("site_id", maker.id(parent))]);
    let changes = [
        child(1, 1),               // 1: too early
        station.site(1),           // 2
        child(2, 1),               // 3
        station.delete("site", 1), // 4: readings are not asked
        child(3, 1),               // 5: too late
        station.site(1),           // 6
        child(4, 1),               // 7
    ];
    assert_eq!(store.pushed(&station.cut(&changes)).await, [(1, "reference"), (5, "reference")]);
    store.has(&station, "reading", &[child(2, 1).values, child(4, 1).values]).await;
    store.has(&station, "site", &[station.site(1).values]).await;
}

async fn poison_is_isolated_and_kept(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let note = |n: i64, note: &str| maker.reading(n, day(n % 28 + 1) - 30 * 86_400_000_000, &[("note", text(note))]);
    let poisoned = [13, 14, 40];
    let changes: Vec<Change> = (1..=50)
        .map(|n| note(n, if poisoned.contains(&n) { POISON } else { "fine" }))
        .chain([station.site(1)])
        .collect();
    let batch = station.cut(&changes);
    let wanted: Vec<(u64, &str)> = poisoned.iter().map(|&n| (n.unsigned_abs(), "constraint")).collect();
    assert_eq!(store.pushed(&batch).await, wanted);
    let rows: Vec<_> = (1..=50).filter(|n| !poisoned.contains(n)).map(|n| note(n, "fine").values).collect();
    store.has(&station, "reading", &rows).await;
    store.has(&station, "site", &[station.site(1).values]).await;
    let reject = store.rejects(station.number).await.remove(0);
    let image: serde_json::Value = serde_json::from_str(reject.image.as_deref().unwrap()).unwrap();
    assert_eq!((reject.seq, reject.table.as_str(), reject.op.as_str()), (13, "reading", "insert"));
    assert_eq!((reject.at_ms, reject.received_at_ms), (NOON_MS, NOON_MS));
    assert_eq!(image["note"], POISON);
    assert_eq!(image["id"], station.number.upstream_id(13).unwrap());
    assert!(image["level"].is_null() && reject.message.contains("poison"), "{reject:?}");
}

async fn extremes_arrive_bit_for_bit(store: &Store) {
    let mut station = store.join("north").await;
    let megabyte = "рыба🐟".repeat(80_000);
    let reals = [-0.0, 0.0, f64::MIN_POSITIVE / 3.0, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2];
    let integers = [i64::MIN, i64::MAX, 0, -1];
    let texts = ["", " ", "a\nb\t\r\\N\\.", "🐟 'quoted' \"twice\" $1 ?1", "\u{1}\u{7f}", &megabyte];
    let jsons = ["null", "{}", r#"{"b":1, "a":[1.50,"\u0001"],"b":2}"#, "  [ ]", "1e300", "\"🐟\""];
    let bytes: [&[u8]; 4] = [b"", b"\0", b"\0\xff\\x\n", &[0; 100_000]];
    let times = [tidemark_core::timestamp::FIRST_US, tidemark_core::timestamp::LAST_US, -1, 0, 1];
    let mut changes = vec![station.tag(Op::Insert, [0xff; 16], "")];
    let mut add = |set: &[(&str, Value)]| {
        let n = changes.len() as i64;
        changes.push(station.reading(n, day(1) + n, set));
    };
    add(&[]);
    reals.iter().for_each(|&real| add(&[("level", Value::Real(real))]));
    integers.iter().for_each(|&integer| add(&[("count", Value::Integer(integer))]));
    texts.iter().for_each(|note| add(&[("note", text(note))]));
    jsons.iter().for_each(|&json| add(&[("extra", Value::Json(json.to_owned()))]));
    bytes.iter().for_each(|&raw| add(&[("raw", Value::Bytes(raw.to_vec()))]));
    times.iter().for_each(|&us| add(&[("checked_at", Value::Timestamp(us))]));
    [true, false].iter().for_each(|&ok| add(&[("ok", Value::Boolean(ok))]));
    add(&[("tag_uid", Value::Uuid([0xff; 16])), ("temperature", Value::Real(-90.0))]);
    assert!(store.pushed(&station.cut(&changes)).await.is_empty());
    let rows: Vec<_> = changes[1..].iter().map(|change| change.values.clone()).collect();
    store.has(&station, "reading", &rows).await;
    store.has(&station, "tag", &[changes[0].values.clone()]).await;
    // And the same as updates, which take another way.
    let updates: Vec<Change> = changes.iter().map(|change| Change { op: Op::Update, ..change.clone() }).collect();
    assert!(store.pushed(&station.cut(&updates)).await.is_empty());
    store.has(&station, "reading", &rows).await;
}

async fn changes_rejected_on_the_station_are_kept(store: &Store) {
    let mut station = store.join("north").await;
    let long = "x".repeat(5000);
    let changes = [
        station.void(Some("site"), "type", "site.id: text \"x\" does not fit"),
        station.void(Some("site"), "void", ""),
        station.site(1),
        station.void(None, "unknown-table", &format!("a\0{long}")),
        station.void(Some("reading"), "a-later-code", "from a newer station"),
    ];
    let batch = station.cut(&changes);
    let reply = store.push(&batch).await.unwrap();
    assert_eq!((reply.applied, reply.rejected.len()), (1, 0));
    let again = store.push(&batch).await.unwrap();
    assert_eq!((again.duplicate, again.rejected.len()), (5, 0));
    let kept = store.rejects(station.number).await;
    let short: Vec<_> = kept.iter().map(|r| (r.seq, r.table.as_str(), r.op.as_str(), r.code.as_str())).collect();
    let wanted =
        [(1, "site", "void", "type"), (4, "", "void", "unknown-table"), (5, "reading", "void", "a-later-code")];
    assert_eq!(short, wanted);
    assert!(
        kept.iter().all(|reject| reject.origin == "station" && reject.image.is_none() && reject.message.len() < 300)
    );
}

/// These are the only changes of a station that are upstream, with the prints of all of them.
async fn holds(store: &Store, station: &Station, changes: &[Change]) {
    let rows: Vec<_> = changes.iter().map(|change| change.values.clone()).collect();
    store.has(station, "site", &rows).await;
    let history = store.upstream.history(station.number, 0, 100).await.unwrap().unwrap();
    assert_eq!((history.cursor.seq, history.prints.len()), (rows.len() as u64, rows.len()), "on {:?}", store.kind);
    assert_eq!(store.rejects(station.number).await, []);
}

/// A store need not wait for what it sends of them.
async fn prints_or_a_cursor_that_cannot_be_written_undo_their_batch(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let mut done = vec![maker.site(1)];
    assert!(store.pushed(&station.cut(&done)).await.is_empty());
    for table in ["history", "cursor"] {
        store.refuse(table).await;
        let next = done.len() as i64 + 1;
        for count in [1, 60] {
            let changes: Vec<Change> = (next..next + count).map(|n| maker.site(n)).collect();
            let batch = station.peek(&changes);
            for _ in 0..2 {
                let problem = store.push(&batch).await.unwrap_err();
                assert_eq!(problem.code, ProblemCode::Unavailable, "{problem:?}");
                holds(store, &station, &done).await;
            }
        }
        store.relent().await;
        done.push(maker.site(next));
        assert!(store.pushed(&station.cut(&done[done.len() - 1..])).await.is_empty());
        holds(store, &station, &done).await;
    }
}

async fn tables_are_altered_under_prepared_statements(store: &Store) {
    let mut station = store.join("north").await;
    let mut done = Vec::new();
    for n in 1..=4 {
        if n == 3 {
            store.alter_tables().await;
        }
        done.push(station.site(n));
        assert!(store.pushed(&station.cut(&done[done.len() - 1..])).await.is_empty());
        holds(store, &station, &done).await;
    }
}

async fn joining_is_idempotent_and_a_code_is_used_once(store: &Store) {
    let upstream = &store.upstream;
    let invite = |name: &str, code: u8| NewStation {
        name: name.to_owned(),
        code_hash: [code; 32],
        code_expires_at_ms: NOON_MS + 10,
        now_ms: NOON_MS,
    };
    let ask = |code: u8, uuid: u8, token: u8, after_ms: i64| JoinAsk {
        code_hash: [code; 32],
        uuid: [uuid; 16],
        token_hash: [token; 32],
        now_ms: NOON_MS + after_ms,
    };
    for (name, code) in [("a", 1), ("b", 2), ("c", 3)] {
        assert!(upstream.add_station(&invite(name, code)).await.unwrap());
        assert!(upstream.knows_code([code; 32]).await.unwrap());
    }
    assert!(!upstream.add_station(&invite("a", 4)).await.unwrap(), "the name is taken");
    assert_eq!(upstream.join(&ask(9, 1, 1, 0)).await.unwrap(), JoinOutcome::Unknown);
    assert_eq!(upstream.join(&ask(1, 1, 1, 10)).await.unwrap(), JoinOutcome::Expired);
    let joined = upstream.join(&ask(1, 1, 1, 9)).await.unwrap();
    let JoinOutcome::Joined { number, ref name } = joined else { panic!("{joined:?}") };
    assert_eq!((number.get(), name.as_str()), (1, "a"));
    // A lost reply, asked again long after the code's time.
    assert_eq!(upstream.join(&ask(1, 1, 1, 99_999)).await.unwrap(), joined);
    assert_eq!(upstream.join(&ask(1, 2, 1, 9)).await.unwrap(), JoinOutcome::Used);
    assert_eq!(upstream.join(&ask(1, 1, 2, 9)).await.unwrap(), JoinOutcome::Used);
    assert_eq!(upstream.join(&ask(2, 1, 5, 9)).await.unwrap(), JoinOutcome::JoinedAs("a".into()));
    assert!(
        matches!(upstream.join(&ask(2, 2, 2, 9)).await.unwrap(), JoinOutcome::Joined { number, .. } if number.get() == 2)
    );
    assert!(upstream.revoke_station("c", NOON_MS).await.unwrap());
    assert!(!upstream.revoke_station("nobody", NOON_MS).await.unwrap());
    assert_eq!(upstream.join(&ask(3, 3, 3, 9)).await.unwrap(), JoinOutcome::Revoked);
    let by_token = upstream.station_by_token([2; 32]).await.unwrap().unwrap();
    assert_eq!((by_token.name.as_str(), by_token.uuid), ("b", Some([2; 16])));
    assert_eq!(upstream.station_by_token([9; 32]).await.unwrap(), None);
    let cursor = upstream.cursor(number).await.unwrap().unwrap();
    assert_eq!((cursor.seq, cursor.chain), (0, tidemark_core::chain::Chain::start([1; 16])));
    let names: Vec<String> = upstream.stations().await.unwrap().into_iter().map(|s| s.record.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

const NEWER: &str = r#"
name = "field"
version = 2
[tables.extra.columns]
id = { type = "integer" }
site_id = { type = "integer", references = "site" }
"#;

/// The field schema's next version: a table more, columns more in other places.
fn newer() -> Arc<Schema> {
    let toml = crate::common::FIELD_TOML.replace("version = 1", "version = 2").replace(
        "name      = { type = \"text\", required = true, max_bytes = 100 }",
        "depth = { type = \"real\", default = 1.5, min = 0 }\nname = { type = \"text\", required = true, max_bytes = 100 }\ntwin_id = { type = \"integer\", references = \"site\" }",
    );
    let tables = NEWER.split_once("version = 2").unwrap().1;
    Arc::new(Schema::parse(&format!("{toml}{tables}")).unwrap())
}

async fn batches_of_an_older_schema_are_taken(kind: Kind) {
    let (old, new) = (field(), newer());
    let store = Store::open(kind, &[Arc::clone(&old), Arc::clone(&new)]).await;
    let mut station = store.join("north").await;
    let rows = vec![
        station
            .insert("site", 1, &[("name", text("new")), ("depth", Value::Real(2.0)), ("twin_id", Value::Null)])
            .values,
        station.insert("site", 2, &[("name", text("old"))]).values,
    ];
    store
        .pushed(&station.cut(&[station.insert("site", 1, &[("name", text("new")), ("depth", Value::Real(2.0))])]))
        .await;
    let mut before = Station { schema: Arc::clone(&old), ..station.clone() };
    let changes =
        [before.insert("site", 2, &[("name", text("old"))]), before.delete("site", 3), before.reading(1, day(1), &[])];
    let batch = before.cut(&changes);
    assert!(store.pushed(&batch).await.is_empty());
    assert_eq!(store.push(&batch).await.unwrap().duplicate, 3);
    store.has(&station, "site", &rows).await;
    // An overlap is proved by the chain over what travelled, not over what it became.
    let mut overlap = Station { seq: 1, chain: batch.chain_before, ..before.clone() };
    let mut longer = changes.to_vec();
    longer.push(before.delete("site", 2));
    let reply = store.push(&overlap.cut(&longer)).await.unwrap();
    assert_eq!((reply.applied, reply.duplicate), (1, 3));
    store.has(&station, "site", &rows[..1]).await;

    let unknown =
        Arc::new(Schema::parse(&crate::common::FIELD_TOML.replace("max_bytes = 100", "max_bytes = 101")).unwrap());
    let stranger = Station { schema: unknown, ..overlap.clone() };
    let problem = store.push(&stranger.peek(&[stranger.site(1)])).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::UnknownSchema);
}

#[tokio::test]
async fn older_schema_into_memory() {
    batches_of_an_older_schema_are_taken(Kind::Memory).await;
}

#[tokio::test]
async fn older_schema_into_embedded() {
    batches_of_an_older_schema_are_taken(Kind::Sqlite).await;
}

#[tokio::test]
async fn older_schema_into_plain_postgres() {
    batches_of_an_older_schema_are_taken(Kind::PlainPostgres).await;
}

#[tokio::test]
async fn older_schema_into_timescale() {
    batches_of_an_older_schema_are_taken(Kind::Timescale).await;
}

#[tokio::test]
async fn rows_lie_in_the_chunks_of_their_weeks() {
    let store = Store::open(Kind::Timescale, &[field()]).await;
    let mut station = store.join("north").await;
    // Day 1 of the Unix era was a Thursday, and so is every chunk's first day.
    let changes: Vec<Change> = (0..35).map(|n| station.reading(n + 1, day(1) - n * 86_400_000_000, &[])).collect();
    let stray = station.reading(90, day(1) + 400 * 86_400_000_000, &[]);
    assert_eq!(store.pushed(&station.cut(&[changes, vec![stray]].concat())).await, [(36, "clock")]);
    let client = crate::common::cluster::connect(store.url.as_deref().unwrap()).await;
    let sql = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_schema = 'field'";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 6);
}

/// A COPY of many buffers that the database stops at its first row: what it said is heard, and acted on.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_that_fails_at_its_first_row_is_taken_all_the_same() {
    let store = Store::open(Kind::Timescale, &[field()]).await;
    let mut station = store.join("north").await;
    let long = "x".repeat(200);
    let maker = station.clone();
    let row = |n: i64, note: &str| maker.reading(n, day(1) + n, &[("note", text(note))]);
    let first: Vec<Change> = (1..=15_000).map(|n| row(n, &long)).collect();
    assert!(store.pushed(&station.cut(&first)).await.is_empty());
    // Every key is there already: the COPY fails, the upsert does it.
    let again: Vec<Change> = (1..=15_000).map(|n| row(n, &long[1..])).collect();
    assert!(store.pushed(&station.cut(&again)).await.is_empty());
    let rows: Vec<_> = again.iter().map(|change| change.values.clone()).collect();
    store.has(&station, "reading", &rows).await;
    // The first row is refused for good, the others are not.
    let poisoned: Vec<Change> = (20_001..=35_000).map(|n| row(n, if n == 20_001 { POISON } else { &long })).collect();
    assert_eq!(store.pushed(&station.cut(&poisoned)).await, [(30_001, "constraint")]);
    let rows: Vec<_> = again.iter().chain(&poisoned[1..]).map(|change| change.values.clone()).collect();
    store.has(&station, "reading", &rows).await;
}
