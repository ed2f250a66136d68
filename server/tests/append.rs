//! The contract of append tables, run against each store: rows come in once, and nothing changes them afterwards.

use std::sync::Arc;

use crate::common::NOON_MS;
use crate::common::station::{Change, Station, day, text};
use crate::common::stores::{Kind, POISON, Store, migrate, open_postgres};
use tidemark_core::batch::Op;
use tidemark_core::decision::Cursor;
use tidemark_core::schema::Schema;
use tidemark_core::value::Value;
use tidemark_server::config::ClockWindow;
use tidemark_server::ingest::replay::replay_all;
use tidemark_server::ledger::lineage::Parting;
use tidemark_server::ledger::rejects::{RejectFilter, RejectState};
use tidemark_server::rejoin::{RejoinAsk, RejoinOutcome, ReplacementOutcome};
use tidemark_server::stations::{JoinAsk, NewStation};
use tidemark_server::upstream::Upstream as _;

/// One with a time column and one without, which references an ordinary table.
const TOML: &str = "
name = 'field'
version = 1
[tables.site.columns]
id   = { type = 'integer' }
name = { type = 'text', required = true }
[tables.reading]
time = 'measured_at'
append = true
[tables.reading.columns]
id          = { type = 'integer' }
measured_at = { type = 'timestamp' }
level       = { type = 'real' }
note        = { type = 'text' }
[tables.event]
append = true
[tables.event.columns]
id      = { type = 'integer' }
site_id = { type = 'integer', references = 'site' }
what    = { type = 'text', max_bytes = 20 }
";

fn schema() -> Arc<Schema> {
    Arc::new(Schema::parse(TOML).unwrap())
}

pub(crate) async fn open(kind: Kind) -> Store {
    Store::open(kind, &[schema()]).await
}

tidemark_testkit::contract!(
    [
        memory = crate::common::stores::Kind::Memory,
        embedded = crate::common::stores::Kind::Sqlite,
        plain_postgres = crate::common::stores::Kind::PlainPostgres,
        timescale = crate::common::stores::Kind::Timescale,
    ],
    crate::append::open,
    {
        updates_and_deletes_are_rejected_and_the_rows_stay,
        a_row_that_is_there_is_not_written_again,
        keys_need_not_ascend,
        what_was_delivered_twice_is_there_once,
        a_row_that_was_refused_comes_in_once_when_it_is_replayed,
        many_rows_with_some_refused_come_in_once,
        a_file_that_goes_on_under_another_number_has_every_row_once,
        a_database_of_append_tables_is_as_the_schema_says,
    }
);

fn event(station: &Station, n: i64, what: &str) -> Change {
    station.insert("event", n, &[("what", text(what))])
}

fn reading(station: &Station, n: i64, at: i64, level: f64) -> Change {
    station.reading(n, day(at), &[("level", Value::Real(level))])
}

fn values(changes: &[Change]) -> Vec<Vec<Value>> {
    changes.iter().map(|change| change.values.clone()).collect()
}

async fn updates_and_deletes_are_rejected_and_the_rows_stay(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let rows = [reading(&maker, 1, 1, 0.5), reading(&maker, 2, 9, -0.0)];
    let events = [event(&maker, 1, "filled")];
    let first = [rows[0].clone(), maker.delete_at("reading", 1, day(1)), events[0].clone(), rows[1].clone()];
    assert_eq!(store.pushed(&station.cut(&first)).await, [(2, "append-only")]);
    let changed = [
        Change { op: Op::Update, ..reading(&maker, 1, 1, 7.0) },
        maker.update("event", 1, &[("what", text("emptied"))]),
        maker.delete("event", 1),
        maker.site(1),
        // The row is there nowhere: an update does not bring it in.
        maker.update("event", 2, &[("what", text("never"))]),
        maker.delete_at("reading", 2, day(9)),
        maker.delete("site", 1),
    ];
    let wanted = [5, 6, 7, 9, 10].map(|seq| (seq, "append-only"));
    assert_eq!(store.pushed(&station.cut(&changed)).await, wanted);
    store.has(&station, "reading", &values(&rows)).await;
    store.has(&station, "event", &values(&events)).await;
    let rejects = store.rejects(station.number).await;
    assert_eq!(rejects.len(), 6);
    assert!(rejects.iter().all(|reject| reject.image.is_some() && reject.state == RejectState::Open), "{rejects:?}");
    assert!(rejects[1].message.starts_with("reading: an append table takes inserts only"), "{rejects:?}");
    // Nor does a replay change anything.
    let all = RejectFilter { station: Some(station.number), ..RejectFilter::default() };
    let done = replay_all(store.upstream.as_ref(), &store.schema, &all, None, "anna", NOON_MS).await.unwrap();
    assert_eq!((done.applied, done.still_open.len()), (0, 6));
    store.has(&station, "event", &values(&events)).await;
}

async fn a_row_that_is_there_is_not_written_again(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let rows = [reading(&maker, 1, 1, 0.5), reading(&maker, 2, 2, 1.5)];
    // Within one batch: the same row, and others of its key.
    let batch =
        [rows[0].clone(), rows[1].clone(), rows[0].clone(), reading(&maker, 2, 2, 9.0), reading(&maker, 1, 8, 0.5)];
    let reply = store.push(&station.cut(&batch)).await.unwrap();
    let codes: Vec<_> = reply.rejected.iter().map(|rejected| (rejected.seq, rejected.code.as_str())).collect();
    assert_eq!((reply.applied, codes), (3, vec![(4, "append-only"), (5, "append-only")]));
    store.has(&station, "reading", &values(&rows)).await;
    // And over batches: a negative zero is another value than zero.
    let events = [event(&maker, 7, "a"), event(&maker, 9, "b")];
    assert!(store.pushed(&station.cut(&events)).await.is_empty());
    let again = [rows[1].clone(), events[0].clone(), event(&maker, 9, "c"), reading(&maker, 1, 3, 0.5)];
    assert_eq!(store.pushed(&station.cut(&again)).await, [(10, "append-only"), (11, "append-only")]);
    store.has(&station, "reading", &values(&rows)).await;
    store.has(&station, "event", &values(&events)).await;
}

async fn keys_need_not_ascend(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let mut rows = Vec::new();
    for keys in [vec![50, 10, 40], vec![30, 60, 5], vec![55, 20]] {
        let changes: Vec<Change> = keys.iter().map(|&n| reading(&maker, n, n % 9, n as f64)).collect();
        assert!(store.pushed(&station.cut(&changes)).await.is_empty());
        rows.extend(changes);
    }
    store.has(&station, "reading", &values(&rows)).await;
    // More than are asked for one by one, every second of them there.
    let evens: Vec<Change> = (100..400).filter(|n| n % 2 == 0).map(|n| event(&maker, n, "x")).collect();
    assert!(store.pushed(&station.cut(&evens)).await.is_empty());
    let all: Vec<Change> = (100..400).map(|n| event(&maker, n, "x")).collect();
    assert!(store.pushed(&station.cut(&all)).await.is_empty());
    store.has(&station, "event", &values(&all)).await;
    // Another station's keys are others.
    let mut south = store.join("south").await;
    let own = [event(&south, 100, "x")];
    assert!(store.pushed(&south.cut(&own)).await.is_empty());
    store.has(&south, "event", &values(&own)).await;
}

async fn what_was_delivered_twice_is_there_once(store: &Store) {
    let mut station = store.join("north").await;
    let begin = station.clone();
    let rows: Vec<Change> = (1..=6).map(|n| reading(&begin, n, n, 1.0)).collect();
    let first = station.cut(&rows[..3]);
    let middle = station.clone();
    let (second, whole) = (station.cut(&rows[3..]), begin.peek(&rows));
    for batch in [&first, &first, &whole, &second, &middle.peek(&rows[3..]), &whole, &first] {
        assert!(store.push(batch).await.unwrap().rejected.is_empty());
    }
    store.has(&station, "reading", &values(&rows)).await;
}

async fn a_row_that_was_refused_comes_in_once_when_it_is_replayed(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let poisoned = |n: i64| maker.reading(n, day(1), &[("note", text(POISON))]);
    let rows = [poisoned(1), reading(&maker, 2, 1, 0.5), poisoned(3)];
    let event = maker.insert("event", 1, &[("site_id", maker.id(1)), ("what", text("a"))]);
    let batch = [rows.as_slice(), std::slice::from_ref(&event)].concat();
    let wanted = [(1, "constraint"), (3, "constraint"), (4, "reference")];
    assert_eq!(store.pushed(&station.cut(&batch)).await, wanted);
    assert!(store.pushed(&station.cut(&[maker.site(1)])).await.is_empty());
    store.allow_poison().await;
    // The station sends the first again, before the operator replays what is open.
    assert!(store.pushed(&station.cut(&rows[..1])).await.is_empty());
    let filter = RejectFilter { station: Some(station.number), ..RejectFilter::default() };
    let replay =
        || replay_all(store.upstream.as_ref(), &store.schema, &filter, Some(ClockWindow::DEFAULT), "anna", NOON_MS);
    let done = replay().await.unwrap();
    assert_eq!((done.applied, done.still_open), (2, vec![]));
    assert_eq!(replay().await.unwrap().applied, 0);
    // And again.
    assert!(store.pushed(&station.cut(&rows)).await.is_empty());
    store.has(&station, "reading", &values(&rows)).await;
    store.has(&station, "event", &values(&[event])).await;
}

async fn many_rows_with_some_refused_come_in_once(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    if let Some(url) = &store.url {
        // A rule of the operator's that a row breaks only beside others.
        let sql = "CREATE UNIQUE INDEX one_alarm ON field.event (what) WHERE what LIKE 'alarm%'";
        crate::common::cluster::connect(url).await.batch_execute(sql).await.unwrap();
    }
    let note = |n: i64| if n % 100 == 7 { POISON } else { "calm" };
    let rows: Vec<Change> = (1..=500).map(|n| maker.reading(n, day(n % 20), &[("note", text(note(n)))])).collect();
    let alarms = ["alarm 1", "calm", "alarm 2", "alarm 1", "calm", "alarm 2"];
    let events: Vec<Change> = (1..).zip(alarms).map(|(n, what)| event(&maker, n, what)).collect();
    let mut wanted: Vec<(u64, &str)> = (0..5).map(|n| (n * 100 + 7, "constraint")).collect();
    assert_eq!(store.pushed(&station.cut(&rows)).await, wanted);
    wanted.clear();
    let mut left = events.clone();
    if store.url.is_some() {
        wanted.extend([(504, "constraint"), (506, "constraint")]);
        left = [0, 1, 2, 4].map(|n| events[n].clone()).to_vec();
    }
    assert_eq!(store.pushed(&station.cut(&events)).await, wanted);
    let good: Vec<Change> = (1..).zip(rows).filter(|(n, _)| n % 100 != 7).map(|(_, row)| row).collect();
    store.has(&station, "reading", &values(&good)).await;
    store.has(&station, "event", &values(&left)).await;
    // Rows that are logged twice, beside one that is refused: the first of them are in before the second are looked at.
    let twice = [event(&maker, 11, "calm"), event(&maker, 12, "alarm 1")];
    let mut wanted = Vec::new();
    left.push(twice[0].clone());
    if store.url.is_some() {
        wanted.extend([(508, "constraint"), (510, "constraint")]);
    } else {
        left.push(twice[1].clone());
    }
    assert_eq!(store.pushed(&station.cut(&[twice.clone(), twice].concat())).await, wanted);
    store.has(&station, "event", &values(&left)).await;
    // All once more, with what was refused: the others are known, and what was refused is refused again.
    assert_eq!(store.pushed(&station.cut(&good)).await, []);
    store.has(&station, "reading", &values(&good)).await;
}

async fn a_file_that_goes_on_under_another_number_has_every_row_once(store: &Store) {
    let mut old = store.join("north").await;
    let rows = [event(&old, 1, "a"), event(&old, 2, "b"), event(&old, 3, "c")];
    assert!(store.pushed(&old.cut(&rows)).await.is_empty());
    let hash = |of: &str| *blake3::hash(of.as_bytes()).as_bytes();
    let invitation = NewStation {
        name: "again".to_owned(),
        code_hash: hash("code"),
        code_expires_at_ms: NOON_MS + 1000,
        now_ms: NOON_MS,
    };
    let added = store.upstream.add_replacement(&invitation, "north").await.unwrap();
    assert_eq!(added, ReplacementOutcome::Added);
    let join = JoinAsk { code_hash: hash("code"), uuid: [7; 16], token_hash: hash("token"), now_ms: NOON_MS };
    let ask = RejoinAsk {
        join,
        former: old.number,
        former_name: "north".to_owned(),
        cursor: Cursor { seq: old.seq, chain: old.chain },
        parting: Parting { common: old.seq, next: None },
        must_replace: false,
    };
    let number = match store.upstream.rejoin(&ask).await.unwrap() {
        RejoinOutcome::Rejoined { number, .. } => number,
        other => panic!("{other:?}"),
    };
    let mut new = Station::new(&store.schema, number.get(), [7; 16]);
    // A log that was begun anew has every row as an insert: two that are upstream, one with other values, one that the
    // lost life never had, under the old number's keys; then what is new.
    let mut changes = vec![rows[0].clone(), rows[1].clone(), event(&old, 3, "other"), event(&old, 4, "d")];
    let own = [event(&new, 1, "e"), event(&new, 2, "f")];
    changes.extend(own.clone());
    assert_eq!(store.pushed(&new.cut(&changes)).await, [(3, "append-only")]);
    assert!(store.pushed(&new.cut(&changes[3..])).await.is_empty());
    // The row that the file alone had is its new number's, under the key it has.
    let digest = [store.digest(&old, "event").await, store.digest(&new, "event").await];
    let wanted = [old.digest("event", &values(&rows)), new.digest("event", &values(&changes[3..]))];
    assert_eq!(digest, wanted, "on {:?}", store.kind);
}

async fn a_database_of_append_tables_is_as_the_schema_says(store: &Store) {
    assert_eq!(store.upstream.ready().await.unwrap(), Vec::<String>::new());
    let Some(url) = &store.url else { return };
    let client = crate::common::cluster::connect(url).await;
    let indexes = "SELECT c.relname || ': ' || pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        WHERE c.oid IN ('field.reading'::regclass, 'field.event'::regclass) ORDER BY 1";
    let found: Vec<String> = client.query(indexes, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found.iter().all(|index| !index.contains("UNIQUE")), "{found:?}");
    // A key that somebody adds is seen.
    client.batch_execute("ALTER TABLE field.event ADD PRIMARY KEY (id)").await.unwrap();
    let differs = store.upstream.ready().await.unwrap();
    assert_eq!(differs, ["table event: the primary key is (id), an append table has none"]);
    client.batch_execute("ALTER TABLE field.event DROP CONSTRAINT event_pkey").await.unwrap();
    // What is appended cannot become a table that is not.
    let other = Arc::new(
        Schema::parse(&TOML.replace("version = 1", "version = 2").replacen("append = true\n", "", 1)).unwrap(),
    );
    let mut client = crate::common::cluster::connect(url).await;
    let error = tidemark_migrations::postgres::up(&mut client, &other, &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("table reading was an append table and now is not"), "{error}");
    // It grows as others do.
    let more = "[tables.event]\nappend = true\n[tables.event.columns]\nmore = { type = 'text' }\n";
    let grown = TOML
        .replace("version = 1", "version = 2")
        .replace("[tables.event]\nappend = true\n[tables.event.columns]\n", more);
    let third = format!("{grown}[tables.third]\nappend = true\n[tables.third.columns]\nid = {{ type = 'integer' }}\n");
    let third = Arc::new(Schema::parse(&third).unwrap());
    migrate(url, &third).await;
    assert_eq!(open_postgres(url, &third).await.unwrap().ready().await.unwrap(), Vec::<String>::new());
    tidemark_migrations::postgres::down(&mut client, 0, true).await.unwrap();
}
