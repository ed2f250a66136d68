//! The contract of rejects: states, parents and children, replay, discard; against each store.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::station::{Change, Station, day, text};
use crate::common::stores::{Kind, POISON, Store};
use crate::common::{NOON_MS, contract, field};
use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use tidemark_core::batch::Op;
use tidemark_core::value::Value;
use tidemark_server::config::ClockWindow;
use tidemark_server::ingest::replay::{ReplayOutcome, replay_all};
use tidemark_server::ledger::rejects::{Reject, RejectFilter, RejectState};

contract! {
    children_of_a_rejected_row_are_rejected_as_such_over_batches_and_generations,
    a_family_is_replayed_together_and_in_order,
    a_correction_supersedes_and_an_older_image_never_overwrites,
    a_replay_that_fails_again_says_todays_reason,
    a_wrong_clock_is_released_by_the_operator,
    discarded_rejects_stay_and_are_not_replayed,
    what_cannot_be_replayed_says_so,
    an_image_comes_back_to_the_bit,
    poison_with_consequences_is_judged_as_one_by_one,
    filters_find_what_they_name,
}

/// What an operator asks for: all of a station's.
fn all(station: &Station) -> RejectFilter {
    RejectFilter { station: Some(station.number), ..RejectFilter::default() }
}

fn one(station: &Station, seq: u64) -> RejectFilter {
    RejectFilter { seqs: Some(vec![seq]), ..all(station) }
}

async fn replay(store: &Store, filter: &RejectFilter, window: Option<ClockWindow>) -> ReplayOutcome {
    replay_all(store.upstream.as_ref(), &store.schema, filter, window, "anna", NOON_MS + 5000).await.unwrap()
}

async fn replayed(store: &Store, filter: &RejectFilter) -> (u64, u64, Vec<(u64, String)>) {
    let done = replay(store, filter, Some(ClockWindow::DEFAULT)).await;
    let open = done.still_open.into_iter().map(|open| (open.seq, open.code)).collect();
    (done.applied, done.superseded, open)
}

/// Seq, code and state of a station's rejects.
async fn states(store: &Store, station: &Station) -> Vec<(u64, String, &'static str)> {
    let rejects = store.rejects(station.number).await;
    for reject in &rejects {
        assert_eq!(reject.state == RejectState::Open, reject.resolved_at_ms.is_none(), "{reject:?}");
    }
    rejects.into_iter().map(|reject| (reject.seq, reject.code, reject.state.as_str())).collect()
}

fn open(seq: u64, code: &str) -> (u64, String, &'static str) {
    (seq, code.to_owned(), "open")
}

/// A site without a name: the schema refuses it.
fn nameless(station: &Station, n: i64) -> Change {
    station.insert("site", n, &[])
}

fn tag_at(station: &Station, uid: u8, site: i64) -> Change {
    let mut change = station.tag(Op::Insert, [uid; 16], "t");
    change.values[2] = station.id(site);
    change
}

async fn children_of_a_rejected_row_are_rejected_as_such_over_batches_and_generations(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let with_tag = |n: i64, uid: u8| maker.reading(n, day(1), &[("tag_uid", Value::Uuid([uid; 16]))]);
    let first = [nameless(&maker, 1), tag_at(&maker, 7, 1), maker.site(2)];
    assert_eq!(store.pushed(&station.cut(&first)).await, [(1, "required"), (2, "parent")]);
    // Grandchild, and a child whose parent nobody ever wrote.
    let second = [with_tag(1, 7), with_tag(2, 8), tag_at(&maker, 9, 2)];
    assert_eq!(store.pushed(&station.cut(&second)).await, [(4, "parent"), (5, "reference")]);
    let rejects = store.rejects(station.number).await;
    let parents: Vec<Option<u64>> = rejects.iter().map(|reject| reject.parent).collect();
    assert_eq!(parents, [None, Some(1), Some(2), None]);
    let site = station.number.upstream_id(1).unwrap();
    assert_eq!(rejects[0].key.as_deref(), Some(site.to_string().as_str()));
    assert!(rejects[1].message.contains(&format!("row {site} of site")), "{}", rejects[1].message);
    assert!(rejects[1].message.contains("change 1") && rejects[1].message.contains("required"), "{rejects:?}");
    // A row that was rejected and then deleted is no parent any more; one that was healed neither.
    let third = [maker.delete("site", 1), tag_at(&maker, 7, 1)];
    assert_eq!(store.pushed(&station.cut(&third)).await, [(8, "reference")]);
    let fourth = [nameless(&maker, 3), maker.site(3), tag_at(&maker, 4, 3)];
    assert_eq!(store.pushed(&station.cut(&fourth)).await, [(9, "required")]);
    assert!(store.pushed(&station.cut(&[tag_at(&maker, 5, 3)])).await.is_empty());
}

async fn a_family_is_replayed_together_and_in_order(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let poisoned = maker.reading(1, day(1), &[("note", text(POISON))]);
    let remark = |n: i64, reading: i64| maker.insert("remark", n, &[("reading_id", maker.id(reading))]);
    // A correction that is itself refused: two images of one row, both open.
    let corrected =
        Change { op: Op::Update, ..maker.reading(1, day(1), &[("note", text(POISON)), ("ok", Value::Boolean(true))]) };
    assert_eq!(store.pushed(&station.cut(&[poisoned])).await, [(1, "constraint")]);
    assert_eq!(store.pushed(&station.cut(&[remark(1, 1), remark(2, 1)])).await, [(2, "parent"), (3, "parent")]);
    assert_eq!(store.pushed(&station.cut(std::slice::from_ref(&corrected))).await, [(4, "constraint")]);
    let update =
        Change { op: Op::Update, ..maker.insert("remark", 1, &[("reading_id", maker.id(1)), ("body", text("b"))]) };
    assert_eq!(store.pushed(&station.cut(std::slice::from_ref(&update))).await, [(5, "parent")]);
    let before = store.upstream.cursor(station.number).await.unwrap();
    // The reason is still there: nothing changes but what is said.
    assert_eq!(replayed(store, &one(&station, 1)).await.0, 0);
    store.allow_poison().await;
    // The update alone would leave its older image behind as superseded; with the family comes the child, which hangs
    // on either.
    let (applied, superseded, left) = replayed(store, &one(&station, 1)).await;
    assert_eq!((applied, superseded, left), (4, 0, vec![]));
    let wanted = [(1, "replayed"), (2, "replayed"), (3, "replayed"), (4, "open"), (5, "replayed")];
    let now: Vec<_> = states(store, &station).await.into_iter().map(|(seq, _, state)| (seq, state)).collect();
    assert_eq!(now, wanted);
    assert_eq!(replayed(store, &all(&station)).await, (1, 0, vec![]));
    store.has(&station, "reading", &[corrected.values]).await;
    store.has(&station, "remark", &[update.values, remark(2, 1).values]).await;
    assert_eq!(store.upstream.cursor(station.number).await.unwrap(), before, "a replay moves no cursor");
    assert_eq!(replayed(store, &all(&station)).await, (0, 0, vec![]), "a second replay does nothing");
    // The log goes on.
    assert!(store.pushed(&station.cut(&[remark(3, 1)])).await.is_empty());
}

async fn a_correction_supersedes_and_an_older_image_never_overwrites(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let note = |n: i64, op: Op, note: &str| Change { op, ..maker.reading(n, day(1), &[("note", text(note))]) };
    let first = [note(1, Op::Insert, POISON), note(2, Op::Insert, POISON), note(3, Op::Insert, POISON)];
    store.pushed(&station.cut(&first)).await;
    store.pushed(&station.cut(&[note(1, Op::Update, "healed")])).await;
    // Within one batch too, and by a delete.
    let wanted = [(5, "constraint")];
    let second = [note(4, Op::Insert, POISON), maker.delete_at("reading", 2, day(1))];
    assert_eq!(store.pushed(&station.cut(&second)).await, wanted);
    let third = [nameless(&maker, 1), maker.site(1), nameless(&maker, 2)];
    assert_eq!(store.pushed(&station.cut(&third)).await, [(7, "required"), (9, "required")]);
    let wanted = [
        (1, "constraint".to_owned(), "superseded"),
        (2, "constraint".to_owned(), "superseded"),
        open(3, "constraint"),
        open(5, "constraint"),
        (7, "required".to_owned(), "superseded"),
        open(9, "required"),
    ];
    assert_eq!(states(store, &station).await, wanted);
    store.allow_poison().await;
    let (applied, _, left) = replayed(store, &all(&station)).await;
    assert_eq!((applied, left), (2, vec![(9, "required".to_owned())]));
    let rows =
        [note(1, Op::Update, "healed").values, note(3, Op::Insert, POISON).values, note(4, Op::Insert, POISON).values];
    store.has(&station, "reading", &rows).await;
    // A newer image replayed alone makes the older one old.
    let mut station = store.join("south").await;
    let site = |n: i64| Change {
        op: Op::Update,
        ..station.insert("site", n, &[("parent_id", station.id(9)), ("name", text("b"))])
    };
    let older = station.insert("site", 1, &[("parent_id", station.id(9)), ("name", text("a"))]);
    let newer = site(1);
    let parent = station.site(9);
    assert_eq!(store.pushed(&station.cut(&[older])).await, [(1, "reference")]);
    assert_eq!(store.pushed(&station.cut(std::slice::from_ref(&newer))).await, [(2, "reference")]);
    store.pushed(&station.cut(std::slice::from_ref(&parent))).await;
    assert_eq!(replayed(store, &one(&station, 2)).await, (1, 0, vec![]));
    assert_eq!(
        states(store, &station).await,
        [(1, "reference".to_owned(), "superseded"), (2, "reference".to_owned(), "replayed")]
    );
    store.has(&station, "site", &[newer.values, parent.values]).await;
}

async fn a_replay_that_fails_again_says_todays_reason(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    store.pushed(&station.cut(&[maker.reading(1, day(1), &[("site_id", maker.id(1))])])).await;
    store.pushed(&station.cut(&[nameless(&maker, 1)])).await;
    // The parent has a reject of its own by now.
    assert_eq!(replayed(store, &one(&station, 1)).await, (0, 0, vec![(1, "parent".to_owned())]));
    let rejects = store.rejects(station.number).await;
    assert_eq!((rejects[0].code.as_str(), rejects[0].parent), ("parent", Some(2)));
    assert!(rejects[0].message.contains("change 2"), "{rejects:?}");
}

async fn a_wrong_clock_is_released_by_the_operator(store: &Store) {
    let mut station = store.join("north").await;
    let stray = station.reading(1, day(1) + 400 * 86_400_000_000, &[]);
    let maker = station.clone();
    let remark = maker.insert("remark", 1, &[("reading_id", maker.id(1))]);
    assert_eq!(store.pushed(&station.cut(&[stray.clone(), remark.clone()])).await, [(1, "clock"), (2, "parent")]);
    let clock = RejectFilter { code: Some("clock".to_owned()), ..all(&station) };
    assert_eq!(replayed(store, &clock).await, (0, 0, vec![(1, "clock".to_owned()), (2, "parent".to_owned())]));
    let done = replay(store, &clock, None).await;
    assert_eq!((done.applied, done.still_open.len()), (2, 0));
    store.has(&station, "reading", &[stray.values]).await;
    store.has(&station, "remark", &[remark.values]).await;
    // What the check of times alone refused is all that is let through.
    let batch = station.cut(&[station.reading(2, i64::MAX, &[])]);
    assert_eq!(store.pushed(&batch).await, [(3, "timestamp")]);
    assert_eq!(replay(store, &all(&station), None).await.still_open[0].code, "timestamp");
}

async fn discarded_rejects_stay_and_are_not_replayed(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    store.pushed(&station.cut(&[maker.reading(1, day(1), &[("site_id", maker.id(1))]), nameless(&maker, 2)])).await;
    assert_eq!(store.upstream.close(station.number, &[1, 77], RejectState::Discarded, NOON_MS + 9).await.unwrap(), [1]);
    assert!(store.upstream.close(station.number, &[1], RejectState::Discarded, NOON_MS + 10).await.unwrap().is_empty());
    store.pushed(&station.cut(&[maker.site(1)])).await;
    assert_eq!(replayed(store, &all(&station)).await, (0, 0, vec![(2, "required".to_owned())]));
    assert_eq!(states(store, &station).await, [(1, "reference".to_owned(), "discarded"), open(2, "required")]);
    assert_eq!(store.rejects(station.number).await[0].resolved_at_ms, Some(NOON_MS + 9));
    store.has(&station, "reading", &[]).await;
    let summary = store.upstream.stations().await.unwrap().remove(0);
    assert_eq!(summary.rejects, 1, "only open ones are counted");
}

async fn what_cannot_be_replayed_says_so(store: &Store) {
    let mut station = store.join("north").await;
    let batch = station.cut(&[station.void(Some("site"), "type", "site.id: text \"x\" does not fit")]);
    store.pushed(&batch).await;
    let done = replay(store, &all(&station), None).await;
    assert_eq!((done.applied, done.still_open.len()), (0, 1));
    assert!(done.still_open[0].message.contains("on the station") && done.still_open[0].code == "type", "{done:?}");
    assert_eq!(states(store, &station).await, [open(1, "type")]);
    let nobody = RejectFilter { station: tidemark_core::ids::StationNumber::new(77).ok(), ..RejectFilter::default() };
    assert_eq!(replayed(store, &nobody).await, (0, 0, vec![]));
}

async fn an_image_comes_back_to_the_bit(store: &Store) {
    let mut station = store.join("north").await;
    let uid = [0xff; 16];
    let sets: Vec<Vec<(&str, Value)>> = vec![
        vec![
            ("level", Value::Real(-0.0)),
            ("count", Value::Integer(i64::MIN)),
            ("note", text("рыба\u{1}\n\"x\"\\u0000")),
        ],
        vec![("level", Value::Real(5e-324)), ("count", Value::Integer(i64::MAX)), ("ok", Value::Boolean(false))],
        vec![("level", Value::Real(0.1 + 0.2)), ("extra", Value::Json("{\"b\": 1.50,\"b\":2 }".into()))],
        vec![("level", Value::Real(f64::MAX)), ("raw", Value::Bytes(vec![0, 255, 92, 120]))],
        vec![("level", Value::Real(f64::NEG_INFINITY)), ("raw", Value::Bytes(vec![]))],
        vec![("level", Value::Real(1e23)), ("checked_at", Value::Timestamp(tidemark_core::timestamp::FIRST_US))],
        vec![("level", Value::Real(9_007_199_254_740_993.0)), ("checked_at", Value::Timestamp(-1))],
    ];
    let rows: Vec<Change> = (1..)
        .zip(&sets)
        .map(|(n, set)| {
            let set = [set.as_slice(), &[("tag_uid", Value::Uuid(uid))]].concat();
            station.reading(n, day(1) + n, &set)
        })
        .collect();
    let wanted: Vec<(u64, &str)> = (1..=rows.len() as u64).map(|seq| (seq, "reference")).collect();
    assert_eq!(store.pushed(&station.cut(&rows)).await, wanted);
    let tag = station.tag(Op::Insert, uid, "t");
    store.pushed(&station.cut(&[tag])).await;
    assert_eq!(replayed(store, &all(&station)).await, (rows.len() as u64, 0, vec![]));
    store.has(&station, "reading", &rows.iter().map(|row| row.values.clone()).collect::<Vec<_>>()).await;
}

/// The database refuses rows that other changes of the batch hang on: earlier images of the row, children, deletes.
async fn poison_with_consequences_is_judged_as_one_by_one(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let note = |n: i64, op: Op, note: &str| Change { op, ..maker.reading(n, day(1), &[("note", text(note))]) };
    let remark = |n: i64, reading: i64| maker.insert("remark", n, &[("reading_id", maker.id(reading))]);
    let changes = [
        note(1, Op::Insert, "fine"),
        note(1, Op::Update, POISON), // 2: the insert stays
        note(2, Op::Insert, POISON), // 3
        remark(1, 2),                // 4: its child
        note(3, Op::Insert, "fine"),
        remark(2, 3),
        note(4, Op::Insert, POISON), // 7
        note(4, Op::Update, POISON), // 8
        remark(3, 1),
        note(5, Op::Insert, "fine"),
    ];
    let batch = station.cut(&changes);
    let reply = store.push(&batch).await.unwrap();
    let codes: Vec<(u64, &str)> =
        reply.rejected.iter().map(|rejected| (rejected.seq, rejected.code.as_str())).collect();
    assert_eq!(codes, [(2, "constraint"), (3, "constraint"), (4, "parent"), (7, "constraint"), (8, "constraint")]);
    assert_eq!(reply.applied, 5);
    let rows = [1, 3, 5].map(|n| note(n, Op::Insert, "fine").values);
    store.has(&station, "reading", &rows).await;
    store.has(&station, "remark", &[remark(2, 3).values, remark(3, 1).values]).await;
}

async fn filters_find_what_they_name(store: &Store) {
    let (mut north, mut south) = (store.join("north").await, store.join("south").await);
    store.pushed(&north.cut(&[nameless(&north, 1), tag_at(&north, 1, 1), tag_at(&north, 2, 8)])).await;
    store.pushed(&south.cut(&[nameless(&south, 1)])).await;
    let seqs = async |filter: &RejectFilter| -> Vec<(u32, u64)> {
        let heads = store.upstream.reject_heads(filter).await.unwrap();
        let mut listed: Vec<Reject> = store.upstream.list_rejects(filter).await.unwrap();
        listed.sort_by_key(|reject| (reject.station, reject.seq));
        assert!(
            heads
                .iter()
                .map(|head| (head.station, head.seq))
                .eq(listed.iter().map(|reject| (reject.station, reject.seq)))
        );
        for (head, reject) in heads.iter().zip(&listed) {
            assert_eq!(head.image_bytes, reject.image.as_ref().map(|image| image.len() as u64));
        }
        heads.iter().map(|head| (head.station.get(), head.seq)).collect()
    };
    let any = RejectFilter::default();
    assert_eq!(seqs(&any).await, [(1, 1), (1, 2), (1, 3), (2, 1)]);
    assert_eq!(seqs(&all(&south)).await, [(2, 1)]);
    assert_eq!(seqs(&RejectFilter { table: Some("tag".into()), ..any.clone() }).await, [(1, 2), (1, 3)]);
    assert_eq!(seqs(&RejectFilter { code: Some("parent".into()), ..any.clone() }).await, [(1, 2)]);
    assert_eq!(seqs(&RejectFilter { children_of: Some(vec![1]), ..any.clone() }).await, [(1, 2)]);
    assert_eq!(seqs(&RejectFilter { children_of: Some(vec![2]), ..any.clone() }).await, []);
    assert_eq!(seqs(&RejectFilter { state: Some(RejectState::Discarded), ..any.clone() }).await, []);
    assert_eq!(store.upstream.list_rejects(&RejectFilter { limit: Some(2), ..any }).await.unwrap().len(), 2);
}

/// Replays and pushes of one station at once: the cursor's lock puts them in a row, and no older image wins.
#[tokio::test(flavor = "multi_thread")]
async fn replays_and_pushes_at_once_leave_the_newest_image() {
    for kind in [Kind::Sqlite, Kind::Timescale] {
        let store = Arc::new(Store::open(kind, &[field()]).await);
        let mut station = store.join("north").await;
        let maker = station.clone();
        let reading = |n: i64, body: &str| maker.reading(n, day(1), &[("site_id", maker.id(1)), ("note", text(body))]);
        let old: Vec<Change> = (1..=40).map(|n| reading(n, "old")).collect();
        assert_eq!(store.pushed(&station.cut(&old)).await.len(), 40);
        store.pushed(&station.cut(&[maker.site(1)])).await;
        let newer: Vec<Change> = (1..=40).map(|n| Change { op: Op::Update, ..reading(n, "new") }).collect();
        let filter = all(&station);
        let operator = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { replay(&store, &filter, None).await })
        };
        for change in &newer {
            assert!(store.pushed(&station.cut(std::slice::from_ref(change))).await.is_empty());
        }
        operator.await.unwrap();
        store.has(&station, "reading", &newer.iter().map(|change| change.values.clone()).collect::<Vec<_>>()).await;
        assert!(states(&store, &station).await.iter().all(|(.., state)| *state != "open"));
    }
}

/// A second unique value, a CHECK and a trigger of the operator's: each is isolated, in the order of the log, whatever
/// way finds it.
#[tokio::test(flavor = "multi_thread")]
async fn constraints_of_the_operator_are_isolated_in_the_order_of_the_log() {
    for kind in [Kind::Timescale, Kind::PlainPostgres] {
        for trigger in [false, true] {
            let store = Store::open(kind, &[field()]).await;
            let client = crate::common::cluster::connect(store.url.as_deref().unwrap()).await;
            client
                .batch_execute("CREATE UNIQUE INDEX one_count ON field.reading (count, measured_at); ALTER TABLE field.tag ALTER label SET NOT NULL")
                .await
                .unwrap();
            if trigger {
                // Refuses by itself, and keeps what the catalogue says from being the whole truth.
                let sql = "CREATE FUNCTION field.odd() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN IF NEW.level = 13 THEN RAISE EXCEPTION 'unlucky'; END IF; RETURN NEW; END $$;
                    CREATE TRIGGER odd BEFORE INSERT OR UPDATE ON field.reading FOR EACH ROW EXECUTE FUNCTION field.odd()";
                client.batch_execute(sql).await.unwrap();
            }
            let mut station = store.join("north").await;
            let maker = station.clone();
            let reading = |n: i64, count: i64, level: f64, op: Op| {
                let set = [("count", Value::Integer(count)), ("level", Value::Real(level))];
                Change { op, ..maker.reading(n, day(1), &set) }
            };
            let unlucky = if trigger { 13.0 } else { 1.0 };
            let mut tag = maker.tag(Op::Insert, [1; 16], "t");
            tag.values[1] = Value::Null;
            let first = [
                reading(1, 10, 1.0, Op::Insert),
                reading(2, 10, 1.0, Op::Insert), // 2: the count of 1
                reading(3, 11, 1.0, Op::Insert),
                reading(4, 12, unlucky, Op::Insert), // 4, with the trigger
                tag,                                 // 5
                reading(6, 14, 1.0, Op::Insert),
            ];
            let mut wanted = vec![(2, "constraint"), (5, "constraint")];
            if trigger {
                wanted.insert(1, (4, "constraint"));
            }
            assert_eq!(store.pushed(&station.cut(&first)).await, wanted, "{kind:?}");
            // 3 takes the count of 1, which 1 still has; then 1 lets go of it, and 6 may have it.
            let second = [
                reading(3, 10, 1.0, Op::Update), // 7
                reading(1, 20, 1.0, Op::Update),
                reading(6, 10, 1.0, Op::Update),
                reading(7, 30, 1.0, Op::Insert),
            ];
            let codes = store.pushed(&station.cut(&second)).await;
            assert_eq!(codes, [(7, "constraint")], "{kind:?} {trigger}");
            let mut rows = vec![
                reading(1, 20, 1.0, Op::Update).values,
                reading(3, 11, 1.0, Op::Insert).values,
                reading(6, 10, 1.0, Op::Update).values,
                reading(7, 30, 1.0, Op::Insert).values,
            ];
            if !trigger {
                rows.push(reading(4, 12, 1.0, Op::Insert).values);
            }
            store.has(&station, "reading", &rows).await;
            let rejects = store.rejects(station.number).await;
            assert!(rejects[0].message.contains("one_count") && rejects[0].message.contains("23505"), "{rejects:?}");
        }
    }
}

/// A reading as its unique values see it: count and level.
type Held = (i64, i64);

/// Whether an image may not stand beside those of other rows.
fn collides(rows: &BTreeMap<i64, Held>, n: i64, (count, level): Held) -> bool {
    rows.iter().any(|(other, (held, at))| {
        *other != n && ((*held == count && *at > 0 && level > 0) || held + at == count + level)
    })
}

/// Rows after changes (an image, or `None` for a delete), and the places of those that are refused in this order.
fn in_turn<'c>(
    mut rows: BTreeMap<i64, Held>,
    changes: impl Iterator<Item = &'c (i64, Option<Held>)>,
) -> (BTreeMap<i64, Held>, Vec<usize>) {
    let mut refused = Vec::new();
    for (place, (n, image)) in changes.enumerate() {
        match *image {
            None => drop(rows.remove(n)),
            Some(image) if collides(&rows, *n, image) => refused.push(place),
            Some(image) => drop(rows.insert(*n, image)),
        }
    }
    (rows, refused)
}

/// Batches of readings that come, change their unique values and go. A batch whose net effect can be written as sets
/// (new rows, changed rows, deletes, each by identity) is; of any other, PostgreSQL refuses exactly those that find
/// their value taken when their turn comes.
#[tokio::test(flavor = "multi_thread")]
async fn unique_values_that_change_hands_are_judged_in_the_order_of_the_log() {
    const ROWS: i64 = 12;
    for kind in [Kind::Timescale, Kind::PlainPostgres] {
        let store = Store::open(kind, &[field()]).await;
        let client = crate::common::cluster::connect(store.url.as_deref().unwrap()).await;
        let sql = "CREATE UNIQUE INDEX one_count ON field.reading (count, measured_at) WHERE level > 0;
            CREATE UNIQUE INDEX one_sum ON field.reading ((count + level), measured_at)";
        client.batch_execute(sql).await.unwrap();
        let mut station = store.join("north").await;
        let mut draw = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut rows: BTreeMap<i64, Held> = BTreeMap::new();
        let (mut refusals, mut of_updates) = (0, 0);
        for _ in 0..200 {
            let with_deletes = draw.random_bool(0.3);
            let mut turns: Vec<i64> = (1..=ROWS).collect();
            turns.sort_by_cached_key(|_| draw.random::<u64>());
            turns.truncate(8);
            let drawn: Vec<(i64, Option<Held>)> = turns
                .into_iter()
                .map(|n| match rows.get(&n) {
                    Some(_) if with_deletes && draw.random_bool(0.3) => (n, None),
                    // Many rows are written as they are.
                    Some(held) if draw.random_bool(0.5) => (n, Some(*held)),
                    _ => (n, Some((draw.random_range(0..ROWS * 2), draw.random_range(0..2)))),
                })
                .collect();
            let changes: Vec<Change> = drawn
                .iter()
                .map(|(n, image)| {
                    let Some((count, level)) = *image else { return station.delete_at("reading", *n, day(1)) };
                    let set = [("count", Value::Integer(count)), ("level", Value::Real(level as f64))];
                    let op = if rows.contains_key(n) { Op::Update } else { Op::Insert };
                    Change { op, ..station.reading(*n, day(1), &set) }
                })
                .collect();
            let mut as_sets = drawn.clone();
            as_sets.sort_by_key(|(n, image)| (image.is_none(), rows.contains_key(n), *n));
            let (mut after, mut refused) = in_turn(rows.clone(), as_sets.iter());
            if !refused.is_empty() {
                (after, refused) = in_turn(rows.clone(), drawn.iter());
            }
            let first = station.seq + 1;
            let wanted: Vec<(u64, &str)> = refused.iter().map(|place| (first + *place as u64, "constraint")).collect();
            assert_eq!(store.pushed(&station.cut(&changes)).await, wanted, "{kind:?} {rows:?} {drawn:?}");
            refusals += refused.len();
            of_updates += refused.iter().filter(|place| rows.contains_key(&drawn[**place].0)).count();
            rows = after;
        }
        assert!(refusals > 100 && of_updates > 50, "{refusals} refusals, {of_updates} of them updates");
        let upstream = client.query("SELECT count, level::int8 FROM field.reading ORDER BY id", &[]).await.unwrap();
        let upstream: Vec<Held> = upstream.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(upstream, rows.into_values().collect::<Vec<_>>(), "{kind:?}");
    }
}
