//! Requests that are sent to PostgreSQL without waiting for their answers: what fails among them undoes the whole
//! batch, and how seldom a small batch waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidemark_core::batch::Batch;
use tidemark_core::protocol::{Problem, ProblemCode, PushReply};
use tidemark_server::ingest::Ingest;
use tidemark_server::upstream::Upstream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::common::cluster::{Cluster, connect};
use crate::common::field;
use crate::common::station::{Change, Station, day, frame, text};
use crate::common::stores::{Kind, Store, ingest, on_postgres, open_postgres};

async fn store() -> Store {
    on_postgres(Cluster::plain(), &field(), |upstream| upstream).await
}

async fn run(store: &Store, sql: &str) {
    connect(store.url.as_deref().unwrap()).await.batch_execute(sql).await.unwrap();
}

/// A trigger on a table of the ledger, which does something when it is written.
async fn trigger(store: &Store, table: &str, does: &str) {
    let sql = format!(
        "CREATE FUNCTION public.odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NEW; END $$;
         CREATE TRIGGER odd BEFORE INSERT OR UPDATE ON tidemark.{table} FOR EACH ROW EXECUTE FUNCTION public.odd()"
    );
    run(store, &sql).await;
}

/// So many of a station's sites, its history's batches and its tidemark are upstream.
#[track_caller]
fn holds<'a>(store: &'a Store, station: &'a Station, rows: i64, batches: i64) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let client = connect(store.url.as_deref().unwrap()).await;
        let number = station.number.get().cast_signed();
        let sql = "SELECT (SELECT count(*) FROM field.site WHERE station = $1),
                (SELECT count(*) FROM tidemark.history WHERE station = $1),
                (SELECT seq FROM tidemark.cursor WHERE station = $1),
                (SELECT count(*) FROM tidemark.rejects WHERE station = $1)";
        let row = client.query_one(sql, &[&number]).await.unwrap();
        let there: [i64; 4] = [0, 1, 2, 3].map(|at| row.get(at));
        assert_eq!(there, [rows, batches, rows, 0], "{caller}: rows, batches, tidemark, rejects");
    }
}

async fn push_until_taken(store: &Store, batch: &Batch) -> PushReply {
    let mut said: Vec<Problem> = Vec::new();
    for _ in 0..20 {
        match store.push(batch).await {
            Ok(reply) => return reply,
            Err(problem) => said.push(problem),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not taken: {said:?}");
}

/// Sites that a station inserts.
fn sites(station: &Station, first: i64, count: i64) -> Vec<Change> {
    (first..first + count).map(|n| station.site(n)).collect()
}

async fn a_lost_write_undoes_its_batch(table: &str) {
    let store = store().await;
    let mut station = store.join("north").await;
    store.pushed(&station.cut(&sites(&station, 1, 1))).await;
    trigger(&store, table, "RAISE EXCEPTION 'not today'").await;
    for count in [1, 60] {
        let batch = station.peek(&sites(&station, 2, count));
        for _ in 0..2 {
            let problem = store.push(&batch).await.unwrap_err();
            assert_eq!(problem.code, ProblemCode::Unavailable, "{problem:?}");
            holds(&store, &station, 1, 1).await;
        }
    }
    run(&store, "DROP FUNCTION public.odd CASCADE").await;
    let batch = station.cut(&sites(&station, 2, 1));
    let reply = push_until_taken(&store, &batch).await;
    assert_eq!((reply.tidemark, reply.applied), (2, 1));
    holds(&store, &station, 2, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_that_cannot_be_kept_undo_their_batch_though_nobody_waited_for_them() {
    a_lost_write_undoes_its_batch("history").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_move_undoes_its_batch_though_nobody_waited_for_it() {
    a_lost_write_undoes_its_batch("cursor").await;
}

/// A row of few and one of many are refused by the database, or there already: the others are written all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_isolated_among_few_rows_and_among_many() {
    for kind in [Kind::PlainPostgres, Kind::Timescale] {
        let store = Store::of_field(kind).await;
        let mut station = store.join("north").await;
        let mut rows = Vec::new();
        for (round, count) in [(0, 4), (1, 60)] {
            let first = 1 + round * 100;
            let mut changes: Vec<Change> = (first..first + count)
                .map(|n| station.reading(n, day(round + 1) + n, &[("note", text("fine"))]))
                .collect();
            changes[2] = station.reading(first + 2, day(round + 1) + first + 2, &[("note", text("poison"))]);
            let seq = station.seq + 3;
            assert_eq!(store.pushed(&station.cut(&changes)).await, [(seq, "constraint")], "{kind:?} {count}");
            changes.remove(2);
            rows.extend(changes.into_iter().map(|change| change.values));
            store.has(&station, "reading", &rows).await;
            assert_eq!(store.rejects(station.number).await.len() as i64, round + 1);
        }
        // Somebody has put rows of the station there: these are written over.
        let mut all = Vec::new();
        for (round, count) in [(0, 4), (1, 60)] {
            let changes = sites(&station, 1 + round * 100, count);
            let number = station.number.get();
            let there = (i64::from(number) << 32) + 3 + round * 100;
            run(&store, &format!("INSERT INTO field.site (id, name, station) VALUES ({there}, 'by hand', {number})"))
                .await;
            assert!(store.pushed(&station.cut(&changes)).await.is_empty(), "{kind:?} {count}");
            all.extend(changes.into_iter().map(|change| change.values));
            store.has(&station, "site", &all).await;
        }
    }
}

/// Rows that nobody waited for are refused: what was written before them in other tables is undone with them,
/// and the others are written all the same.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_sent_and_not_waited_for_are_isolated_with_those_of_other_tables() {
    for kind in [Kind::PlainPostgres, Kind::Timescale] {
        let store = Store::of_field(kind).await;
        let mut station = store.join("north").await;
        store.pushed(&station.cut(&sites(&station, 1, 1))).await;
        let (mut kept_sites, mut kept) = (vec![station.site(1).values], Vec::new());
        for (round, count) in [(1, 4), (2, 60)] {
            let first = round * 100;
            let new_sites = sites(&station, first, count);
            let mut readings: Vec<Change> =
                (first..first + count).map(|n| station.reading(n, day(round) + n, &[("note", text("fine"))])).collect();
            readings[1] = station.reading(first + 1, day(round) + first + 1, &[("note", text("poison"))]);
            let seq = station.seq + count as u64 + 2;
            let batch = station.cut(&[new_sites.clone(), readings.clone()].concat());
            assert_eq!(store.pushed(&batch).await, [(seq, "constraint")], "{kind:?} {count}");
            readings.remove(1);
            kept_sites.extend(new_sites.into_iter().map(|change| change.values));
            kept.extend(readings.into_iter().map(|change| change.values));
            store.has(&station, "site", &kept_sites).await;
            store.has(&station, "reading", &kept).await;
        }
    }
}

/// A trigger of somebody's leaves settings in the session: the next transaction has its own all the same.
#[tokio::test(flavor = "multi_thread")]
async fn every_transaction_makes_its_own_settings() {
    let store = store().await;
    let mut station = store.join("north").await;
    let sql = "CREATE TABLE public.seen (settings text);
        CREATE FUNCTION public.leaves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.seen SELECT string_agg(current_setting(name), ' ' ORDER BY at)
                FROM unnest(ARRAY['synchronous_commit', 'idle_in_transaction_session_timeout', 'TimeZone', 'jit',
                    'statement_timeout', 'lock_timeout']) WITH ORDINALITY AS n (name, at);
            SET synchronous_commit = off; SET TIME ZONE 'Asia/Tokyo'; SET jit = on; SET statement_timeout = 0;
            SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
            RETURN NEW;
        END $$;
        CREATE TRIGGER leaves AFTER INSERT ON field.site FOR EACH ROW EXECUTE FUNCTION public.leaves()";
    run(&store, sql).await;
    for n in 1..=4 {
        store.pushed(&station.cut(&sites(&station, n, 1))).await;
    }
    let client = connect(store.url.as_deref().unwrap()).await;
    let seen = client.query("SELECT settings, count(*) FROM public.seen GROUP BY settings", &[]).await.unwrap();
    let seen: Vec<(String, i64)> = seen.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(seen, [("on 1min UTC off 2min 10s".to_owned(), 4)]);
}

/// Connections have prepared their statements when tables change under them.
#[tokio::test(flavor = "multi_thread")]
async fn statements_of_an_old_schema_are_prepared_anew_and_the_push_goes_through() {
    let store = store().await;
    let mut stations = Vec::new();
    for name in ["a", "b", "c", "d"] {
        stations.push(store.join(name).await);
    }
    let mut done = 0;
    for sql in [
        "SELECT 1",
        "ALTER TABLE field.site ADD COLUMN depth bigint",
        // What is asked of it has another type from now on: PostgreSQL refuses the statement that asked before.
        "ALTER TABLE tidemark.line ALTER COLUMN former TYPE bigint",
        "ALTER TABLE field.site DROP COLUMN depth; ALTER TABLE tidemark.line ALTER COLUMN former TYPE integer",
    ] {
        run(&store, sql).await;
        for _ in 0..3 {
            let pushes: Vec<_> = stations
                .iter_mut()
                .map(|station| {
                    let batch = station.cut(&[station.site(done + 1)]);
                    let ingest = Arc::clone(&store.ingest);
                    tokio::spawn(async move { ingest.push(batch.station, &frame(&batch)).await })
                })
                .collect();
            done += 1;
            for push in pushes {
                let reply = push.await.unwrap().unwrap_or_else(|problem| panic!("after {sql}: {problem:?}"));
                assert_eq!((reply.tidemark.cast_signed(), reply.applied), (done, 1), "after {sql}");
            }
        }
    }
    for station in &stations {
        holds(&store, station, done, done).await;
    }
}

/// Ends the connection that waits so, once there is one.
async fn end_who_waits(store: &Store, wait_event: &str) {
    let client = connect(store.url.as_deref().unwrap()).await;
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = $1";
    for _ in 0..200 {
        if client.query_one(sql, &[&wait_event]).await.unwrap().get::<_, i64>(0) > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody waits for a lock of {wait_event}");
}

/// The connection ends when all was sent, the COMMIT as well, and nothing of it was answered; and when the beginning
/// was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_between_the_requests_and_their_answers_leaves_nothing() {
    let store = store().await;
    let mut station = store.join("north").await;
    store.pushed(&station.cut(&sites(&station, 1, 1))).await;
    let holder = connect(store.url.as_deref().unwrap()).await;
    holder.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
    for (round, table) in ["history", "cursor"].into_iter().enumerate() {
        trigger(&store, table, "PERFORM pg_advisory_xact_lock(7)").await;
        let rows = 1 + round as i64;
        let batch = station.cut(&sites(&station, rows + 1, 1));
        let (pushed, ()) = tokio::join!(store.push(&batch), end_who_waits(&store, "advisory"));
        assert_eq!(pushed.unwrap_err().code, ProblemCode::Unavailable);
        holds(&store, &station, rows, rows).await;
        run(&store, "DROP FUNCTION public.odd CASCADE").await;
        assert_eq!(push_until_taken(&store, &batch).await.tidemark.cast_signed(), rows + 1);
        holds(&store, &station, rows + 1, rows + 1).await;
    }
    let batch = station.cut(&sites(&station, 4, 1));
    let locked = format!("BEGIN; SELECT FROM tidemark.cursor WHERE station = {} FOR UPDATE", station.number);
    holder.batch_execute(&locked).await.unwrap();
    let (pushed, ()) = tokio::join!(store.push(&batch), end_who_waits(&store, "transactionid"));
    assert_eq!(pushed.unwrap_err().code, ProblemCode::Unavailable);
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(push_until_taken(&store, &batch).await.applied, 1);
    holds(&store, &station, 4, 4).await;
}

/// How long a client that asks nothing more is taken to wait for an answer.
const QUIET: Duration = Duration::from_millis(150);

/// A way to the database that keeps every answer back until the client waits for it, and counts how often that is.
#[derive(Default)]
struct Waits {
    is_counting: AtomicBool,
    count: AtomicUsize,
}

impl Waits {
    /// Listens, for connections to this port; where.
    async fn before(self: &Arc<Self>, port: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let waits = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let waits = Arc::clone(&waits);
                tokio::spawn(async move {
                    let database = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    waits.carry(client, database).await
                });
            }
        });
        here
    }

    async fn carry(&self, mut client: TcpStream, mut database: TcpStream) -> std::io::Result<()> {
        let (mut question, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let (mut held, mut has_asked, mut waits_from) = (Vec::new(), false, Instant::now());
        loop {
            tokio::select! {
                read = client.read(&mut question) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    database.write_all(&question[..read]).await?;
                    let quiet = if self.is_counting.load(Ordering::Relaxed) { QUIET } else { Duration::ZERO };
                    (has_asked, waits_from) = (true, Instant::now() + quiet);
                }
                read = database.read(&mut answer) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    held.extend_from_slice(&answer[..read]);
                }
                () = tokio::time::sleep_until(waits_from), if !held.is_empty() => {
                    self.count.fetch_add(has_asked.into(), Ordering::Relaxed);
                    has_asked = false;
                    client.write_all(&std::mem::take(&mut held)).await?;
                }
            }
        }
    }

    /// How often a batch waits.
    async fn of(&self, ingest: &Ingest, batch: &Batch) -> usize {
        self.count.store(0, Ordering::Relaxed);
        self.is_counting.store(true, Ordering::Relaxed);
        let reply = ingest.push(batch.station, &frame(batch)).await.unwrap();
        self.is_counting.store(false, Ordering::Relaxed);
        assert!(reply.rejected.is_empty(), "{reply:?}");
        self.count.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_batch_waits_for_the_database_twice_and_once_more_for_what_it_refers_to() {
    let store = store().await;
    let mut station = store.join("north").await;
    let url = store.url.as_deref().unwrap();
    let port = url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1;
    let waits = Arc::new(Waits::default());
    let here = waits.before(port.parse().unwrap()).await;
    let through = url.replace(&format!(":{port}/"), &format!(":{here}/"));
    let upstream: Arc<dyn Upstream> = Arc::new(open_postgres(&through, &store.schema).await.unwrap());
    let ingest = ingest(&upstream, &store.schema, &store.clock);
    // The least of three rounds behind the first one, in which statements are prepared: a machine that is busy
    // elsewhere may take a while between two questions, and then it looks like waiting.
    let mut least = [usize::MAX; 4];
    for round in 0..4 {
        let name = text(&format!("round {round}"));
        let site = [("site_id", station.id(1))];
        let many = (1..=60).map(|n| station.reading(round * 100 + 10 + n, day(round + 1) + n, &[])).collect();
        let batches: [Vec<Change>; 4] = [
            vec![station.site(1 + round)],
            vec![station.update("site", 1 + round, &[("name", name)])],
            vec![station.reading(round * 100 + 1, day(round + 1), &site)],
            many,
        ];
        for (least, changes) in least.iter_mut().zip(batches) {
            let counted = waits.of(&ingest, &station.cut(&changes)).await;
            if round > 0 {
                *least = counted.min(*least);
            }
        }
    }
    // How many rows an update found is waited for; a COPY is asked for, and then given its rows.
    assert_eq!(least, [2, 3, 3, 3], "an insert, an update, an insert that refers to a row, a COPY");
}
