//! The contract of surveys, run against each store: every store gives the same rows to the same questions, whatever
//! stands in the database.

use std::sync::Arc;

use crate::common::cluster::connect;
use crate::common::station::{Station, day, text};
use crate::common::stores::{Kind, Store};
use crate::common::{contract, field};
use tidemark_core::batch::Op;
use tidemark_core::digest::{CellHash, RowDigest, RowHash};
use tidemark_core::identity::{Identity, Key};
use tidemark_core::schema::Schema;
use tidemark_core::survey::{Answer, Ask, FoundRow, ListedRow, Question, Range};
use tidemark_core::timestamp::{FIRST_US, LAST_US, month_of, month_start_us};
use tidemark_core::value::Value;
use tidemark_server::survey::Survey;

contract! {
    digests_of_ranges_add_up_and_are_the_stations_own,
    rows_are_listed_in_order_within_their_ranges,
    rows_are_found_by_identity_with_their_cells,
    the_cursor_is_of_the_rows_snapshot,
    an_older_schema_sees_its_own_columns,
}

fn ask(table: &str, question: Question) -> Ask {
    Ask { table: table.to_owned(), question }
}

fn integer(time_us: i64, station: &Station, local: i64) -> Identity {
    Identity { time_us, key: Key::Integer(station.number.upstream_id(local).unwrap()) }
}

fn range(from: Option<Identity>, to: Option<Identity>) -> Range {
    Range { from, to }
}

fn hash(table: &str, row: &[Value]) -> RowHash {
    RowHash::of(&mut Vec::new(), table, row.iter().map(Value::as_ref))
}

async fn answers(store: &Store, station: &Station, asks: Vec<Ask>) -> Vec<Answer> {
    let (_, survey) =
        store.upstream.survey(station.number, Survey::new(Arc::clone(&store.schema), asks)).await.unwrap();
    survey.answers()
}

/// Readings of two stations over three months, and the first one's rows.
async fn season(store: &Store) -> (Station, Vec<(Identity, Vec<Value>)>) {
    let mut stations = [store.join("north").await, store.join("south").await];
    let mut rows = Vec::new();
    for station in &mut stations {
        let mut changes = vec![station.site(1)];
        rows.clear();
        for n in 1..=40 {
            let time = day(1) - 62 * 86_400_000_000 + n / 2 * 4 * 86_400_000_000;
            let set = [("count", Value::Integer(n)), ("note", text("н")), ("level", Value::Real(-0.0))];
            let reading = station.reading(n, time, &set);
            rows.push((integer(time, station, n), reading.values.clone()));
            changes.push(reading);
        }
        let batch = station.cut(&changes);
        assert_eq!(store.pushed(&batch).await, []);
    }
    let [north, south] = stations;
    // The last one's rows were kept: both wrote the same but for their block.
    drop(north);
    (south, rows)
}

async fn digests_of_ranges_add_up_and_are_the_stations_own(store: &Store) {
    let (station, rows) = season(store).await;
    let month = |n| Some(Identity { time_us: month_start_us(n), key: Key::Integer(i64::MIN) });
    let first = month_of(rows[0].0.time_us);
    let ranges: Vec<Range> = [range(None, month(first))]
        .into_iter()
        .chain((first..first + 4).map(|n| range(month(n), month(n + 1))))
        .chain([range(month(first + 4), None)])
        .collect();
    let asks =
        vec![ask("reading", Question::Digests(ranges.clone())), ask("reading", Question::Digests(vec![Range::ALL]))];
    let answers = answers(store, &station, asks).await;
    let [Answer::Digests(months), Answer::Digests(all)] = &answers[..] else { panic!("{answers:?}") };
    let mut joined = RowDigest::default();
    for (range, digest) in ranges.iter().zip(months) {
        let inside = rows.iter().filter(|(identity, _)| range.contains(identity)).map(|(_, row)| row.clone());
        assert_eq!(*digest, station.digest("reading", &inside.collect::<Vec<_>>()), "{range:?} on {:?}", store.kind);
        joined.join(digest);
    }
    assert!(months.iter().filter(|digest| digest.rows() > 0).count() >= 3);
    assert_eq!((joined, joined.rows()), (all[0], 40));
    // Ends of the order.
    let last = Identity { time_us: i64::MAX, key: Key::Integer(i64::MAX) };
    let extremes =
        vec![range(None, Some(Identity { time_us: i64::MIN, key: Key::Integer(0) })), range(Some(last), None)];
    let answers = self::answers(store, &station, vec![ask("reading", Question::Digests(extremes))]).await;
    assert_eq!(answers, [Answer::Digests(vec![RowDigest::default(); 2])]);
}

async fn rows_are_listed_in_order_within_their_ranges(store: &Store) {
    let (station, mut rows) = season(store).await;
    rows.sort_by_key(|(identity, _)| *identity);
    // Two rows share each time: a range may end between them.
    let (a, b, c, d) = (rows[3].0, rows[8].0, rows[20].0, rows[30].0);
    let ranges = vec![range(Some(a), Some(b)), range(Some(c), Some(d))];
    let wanted = rows.iter().filter(|(identity, _)| Range::find(&ranges, identity).is_some());
    let wanted: Vec<ListedRow> = wanted.map(|(id, row)| ListedRow { id: *id, hash: hash("reading", row) }).collect();
    assert_eq!(wanted.len(), 15);
    let answers = answers(store, &station, vec![ask("reading", Question::Rows(ranges))]).await;
    assert_eq!(answers, [Answer::Rows { rows: wanted, more: false }], "{:?}", store.kind);
}

async fn rows_are_found_by_identity_with_their_cells(store: &Store) {
    let (mut station, rows) = season(store).await;
    let tag = [7; 16];
    let batch = station.cut(&[station.tag(Op::Insert, tag, "blue")]);
    assert_eq!(store.pushed(&batch).await, []);
    let elsewhere = Identity { time_us: rows[5].0.time_us + 1, ..rows[5].0 };
    let asked = vec![rows[5].0, elsewhere, rows[30].0];
    let found =
        |table: &str, id: &Identity, row: &[Value]| FoundRow { id: *id, hash: hash(table, row), cells: Vec::new() };
    let asks = vec![
        ask("reading", Question::Find { rows: asked, cells: false }),
        ask("tag", Question::Find { rows: vec![Identity { time_us: 0, key: Key::Uuid(tag) }], cells: true }),
    ];
    let mut answers = answers(store, &station, asks).await;
    let Some(Answer::Found(tags)) = answers.pop() else { panic!("{answers:?}") };
    let Some(Answer::Found(mut readings)) = answers.pop() else { panic!("{answers:?}") };
    readings.sort_by_key(|row| row.id);
    assert_eq!(readings, [5, 30].map(|n| found("reading", &rows[n].0, &rows[n].1)), "{:?}", store.kind);
    let cells: Vec<(CellHash, &str)> = tags[0].cells.iter().map(|cell| (cell.hash, cell.shown.as_str())).collect();
    let print = |value: &Value| CellHash::of(&mut Vec::new(), value.as_ref());
    let wanted = [
        (print(&Value::Uuid(tag)), "07070707-0707-0707-0707-070707070707"),
        (print(&text("blue")), "\"blue\""),
        (print(&Value::Null), "NULL"),
    ];
    assert_eq!(cells, wanted);
    // Another station's row is none of this one's.
    let other = store.join("east").await;
    let asks =
        vec![ask("tag", Question::Find { rows: vec![Identity { time_us: 0, key: Key::Uuid(tag) }], cells: false })];
    assert_eq!(self::answers(store, &other, asks).await, [Answer::Found(Vec::new())]);
}

async fn the_cursor_is_of_the_rows_snapshot(store: &Store) {
    let mut station = store.join("north").await;
    let writer = {
        let (mut station, ingest) = (station.clone(), Arc::clone(&store.ingest));
        tokio::spawn(async move {
            for n in 1..=60 {
                let batch = station.cut(&[station.site(n)]);
                ingest.push(batch.station, &crate::common::station::frame(&batch)).await.unwrap();
            }
        })
    };
    let mut seen = Vec::new();
    while seen.last() != Some(&60) {
        let survey = Survey::whole(Arc::clone(&store.schema));
        let (cursor, survey) = store.upstream.survey(station.number, survey).await.unwrap();
        // Every change inserted one row.
        assert_eq!(survey.digests()[0].rows(), cursor.seq, "{:?}", store.kind);
        seen.push(cursor.seq);
    }
    writer.await.unwrap();
    let sites: Vec<_> = (1..=60).map(|n| station.site(n)).collect();
    let (cursor, _) = store.upstream.survey(station.number, Survey::whole(Arc::clone(&store.schema))).await.unwrap();
    assert_eq!(cursor.chain, station.cut(&sites).chain_after);
}

async fn an_older_schema_sees_its_own_columns(store: &Store) {
    let (station, rows) = season(store).await;
    let older = "name = 'field'\nversion = 1\n[tables.reading]\ntime = 'measured_at'\n[tables.reading.columns]\nid = { type = 'integer' }\n\
                 measured_at = { type = 'timestamp' }\ncount = { type = 'integer' }";
    let older = Arc::new(Schema::parse(older).unwrap());
    let (_, survey) = store.upstream.survey(station.number, Survey::whole(older)).await.unwrap();
    let rows: Vec<Vec<Value>> = rows.iter().map(|(_, row)| [0, 2, 5].map(|at| row[at].clone()).to_vec()).collect();
    assert_eq!(survey.digests(), [station.digest("reading", &rows)], "{:?}", store.kind);
}

/// What somebody wrote into PostgreSQL by hand: times beyond all that can be said.
#[tokio::test(flavor = "multi_thread")]
async fn times_without_end_are_read_on_postgres() {
    // TimescaleDB itself refuses −infinity.
    for (kind, wanted) in [(Kind::PlainPostgres, vec![-2, -4, -3, -1]), (Kind::Timescale, vec![-4, -3, -1])] {
        let store = Store::open(kind, &[field()]).await;
        let (station, _) = season(&store).await;
        let by_hand = connect(store.url.as_ref().unwrap()).await;
        let number = station.number.get();
        for (key, time) in
            [(-1, "infinity"), (-2, "-infinity"), (-3, "200000-12-31 23:59:59.999999"), (-4, "0044-03-15 BC")]
        {
            let sql =
                format!("INSERT INTO field.reading (id, measured_at, station) VALUES ({key}, '{time}', {number})");
            if wanted.contains(&key) {
                by_hand.batch_execute(&sql).await.unwrap();
            }
        }
        let at = |time_us| Some(Identity { time_us, key: Key::Integer(i64::MIN) });
        let ranges = vec![range(None, at(FIRST_US)), range(at(LAST_US + 1), None)];
        let asks = vec![ask("reading", Question::Rows(ranges)), ask("reading", Question::Digests(vec![Range::ALL]))];
        let answers = answers(&store, &station, asks).await;
        let [Answer::Rows { rows, more: false }, Answer::Digests(all)] = &answers[..] else { panic!("{answers:?}") };
        let keys: Vec<Key> = rows.iter().map(|row| row.id.key).collect();
        assert_eq!(keys, wanted.iter().copied().map(Key::Integer).collect::<Vec<_>>(), "{kind:?}");
        assert_eq!(all[0].rows(), 40 + wanted.len() as u64);
        // They are found again by what they are called.
        let asked = rows.iter().map(|row| row.id).collect();
        let found =
            self::answers(&store, &station, vec![ask("reading", Question::Find { rows: asked, cells: true })]).await;
        let [Answer::Found(found)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(found.len(), wanted.len(), "{kind:?}");
    }
}

/// What somebody wrote into the embedded store by hand: cells of other types show as other values, and stop nothing.
#[tokio::test(flavor = "multi_thread")]
async fn cells_of_another_type_are_read_on_the_embedded_store() {
    let store = Store::open(Kind::Sqlite, &[field()]).await;
    let (station, rows) = season(&store).await;
    let by_hand = store.embedded();
    for (set, row) in [
        ("level = 'high'", 1),
        ("ok = 2", 2),
        ("tag_uid = 'none'", 3),
        ("checked_at = 'soon'", 4),
        ("level = x'00'", 5),
        ("measured_at = 'never'", 6),
    ] {
        let Key::Integer(key) = rows[row].0.key else { panic!() };
        assert_eq!(by_hand.execute(&format!("UPDATE reading SET {set} WHERE id = {key}"), []).unwrap(), 1, "{set}");
    }
    let answers = answers(&store, &station, vec![ask("reading", Question::Rows(vec![Range::ALL]))]).await;
    let [Answer::Rows { rows: there, more: false }] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(there.len(), 40);
    let same = rows.iter().filter(|(id, row)| there.contains(&ListedRow { id: *id, hash: hash("reading", row) }));
    assert_eq!(same.count(), 34);
    assert_eq!(there[0].id, Identity { time_us: i64::MIN, key: rows[6].0.key });
}
