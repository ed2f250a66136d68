//! Failures that repeat themselves, on a real PostgreSQL: a batch that fails in the same way twice is worked on in
//! pieces, down to the change that is at fault, and the rest goes on. A database that is away is waited for instead.

use std::sync::Arc;
use std::time::Duration;

use crate::common::cluster::{Cluster, connect};
use crate::common::station::{Change, Station, day, text};
use crate::common::stores::{Kind, Store, on_postgres};
use crate::common::{NOON_MS, field};
use tidemark_core::batch::Batch;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{Problem, ProblemCode, PushReply};
use tidemark_core::timestamp::DAY_US;
use tidemark_core::value::Value;
use tidemark_server::clock::Clock;
use tidemark_server::config::ClockWindow;
use tidemark_server::ingest::Ingest;
use tidemark_server::ingest::replay::replay_all;
use tidemark_server::ledger::rejects::RejectFilter;

/// The note of rows that an operator's trigger is about.
const ODD: &str = "odd";

/// A trigger of the operator's on readings, which does something over rows with the note [`ODD`].
async fn trigger(store: &Store, does: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION public.odd() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF NEW.note = '{ODD}' THEN {does}; END IF; RETURN NEW; END $$;
         DROP TRIGGER IF EXISTS odd ON field.reading;
         CREATE TRIGGER odd BEFORE INSERT OR UPDATE ON field.reading FOR EACH ROW EXECUTE FUNCTION public.odd()"
    );
    connect(store.url.as_deref().unwrap()).await.batch_execute(&sql).await.unwrap();
}

async fn drop_trigger(store: &Store) {
    connect(store.url.as_deref().unwrap()).await.batch_execute("DROP TRIGGER odd ON field.reading").await.unwrap();
}

async fn store() -> Store {
    on_postgres(Cluster::timescale(), &field(), |upstream| upstream).await
}

/// Sends the same batch until it is taken, as a client does; the problems until then.
async fn push_until_taken(store: &Store, batch: &Batch, tries_max: usize) -> (PushReply, Vec<Problem>) {
    let mut problems = Vec::new();
    loop {
        match store.push(batch).await {
            Ok(reply) => return (reply, problems),
            Err(problem) => problems.push(problem),
        }
        // The database ends what failed in its own time.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(problems.len() < tries_max, "not taken after {tries_max} tries: {problems:?}");
    }
}

fn odd(station: &Station, n: i64) -> Change {
    station.reading(n, day(n), &[("note", text(ODD))])
}

fn plain(station: &Station, n: i64) -> Change {
    station.reading(n, day(n), &[])
}

/// Rows 3 and 7 of ten are odd, in an order that needs every one of them: the trigger refuses them, and nothing else.
async fn only_the_odd_rows_are_rejected(store: &Store, sql_state: &str, tries_max: usize) {
    let mut station = store.join("north").await;
    let mut changes = vec![station.site(1)];
    changes.extend((1..=10).map(|n| if n == 3 || n == 7 { odd(&station, n) } else { plain(&station, n) }));
    let (reply, problems) = push_until_taken(store, &station.cut(&changes), tries_max).await;
    assert!(problems.iter().all(|problem| problem.code == ProblemCode::Unavailable), "{problems:?}");
    assert!(problems[0].detail.contains(sql_state), "{problems:?}");
    let rejected: Vec<u64> = reply.rejected.iter().map(|rejected| rejected.seq).collect();
    assert_eq!((reply.tidemark, rejected), (11, vec![4, 8]));
    let kept = store.rejects(station.number).await;
    for (rejected, kept) in reply.rejected.iter().zip(&kept) {
        assert_eq!((rejected.seq, rejected.code.as_str()), (kept.seq, kept.code.as_str()));
        assert!(kept.code == "constraint" && kept.message.contains(sql_state), "{kept:?}");
        assert!(kept.image.as_ref().is_some_and(|image| image.contains(ODD)), "{kept:?}");
    }
    let rows: Vec<_> = [1, 2, 4, 5, 6, 8, 9, 10].map(|n| plain(&station, n).values).into();
    store.has(&station, "reading", &rows).await;
    store.has(&station, "site", &[station.site(1).values]).await;
    // The next batches find no trouble left over, and the rejects can be replayed when the cause is gone.
    drop_trigger(store).await;
    assert!(store.pushed(&station.cut(&[plain(&station, 11), plain(&station, 12)])).await.is_empty());
    let all = RejectFilter::default();
    let done =
        replay_all(store.upstream.as_ref(), &store.schema, &all, Some(ClockWindow::DEFAULT), "anna", NOON_MS).await;
    assert_eq!(done.unwrap().applied, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_decompressed_tuples_rejects_the_change_it_is_about() {
    let store = store().await;
    trigger(&store, "RAISE EXCEPTION 'tuple decompression limit exceeded by operation' USING ERRCODE = '53400'").await;
    only_the_odd_rows_are_rejected(&store, "SQLSTATE 53400", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_takes_longer_than_a_statement_may_rejects_the_change_it_is_about() {
    let short = Duration::from_millis(400);
    let store = on_postgres(Cluster::timescale(), &field(), |upstream| upstream.with_statement_timeout(short)).await;
    trigger(&store, "PERFORM pg_sleep(30)").await;
    only_the_odd_rows_are_rejected(&store, "SQLSTATE 57014", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_names_a_missing_column_rejects_the_change_it_is_about() {
    let store = store().await;
    trigger(&store, "NEW.depth := 1").await;
    only_the_odd_rows_are_rejected(&store, "SQLSTATE 42703", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_writes_where_the_server_may_not_rejects_the_change_it_is_about() {
    let store = store().await;
    trigger(
        &store,
        "PERFORM set_config('role', 'pg_monitor', true); INSERT INTO tidemark.schema SELECT * FROM tidemark.schema",
    )
    .await;
    only_the_odd_rows_are_rejected(&store, "SQLSTATE 42501", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_divides_by_zero_rejects_the_change_it_is_about_at_once() {
    let store = store().await;
    trigger(&store, "NEW.level := 1 / 0").await;
    let mut station = store.join("north").await;
    let batch = station.cut(&[plain(&station, 1), odd(&station, 2), plain(&station, 3)]);
    assert_eq!(store.pushed(&batch).await, [(2, "constraint")]);
    store.has(&station, "reading", &[1, 3].map(|n| plain(&station, n).values)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_is_checked_at_the_end_rejects_the_change_it_is_about() {
    let store = store().await;
    let sql = format!(
        "CREATE FUNCTION public.late() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.name = '{ODD}' THEN RAISE EXCEPTION 'too late'; END IF; RETURN NEW; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON field.site DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.late()"
    );
    connect(store.url.as_deref().unwrap()).await.batch_execute(&sql).await.unwrap();
    let mut station = store.join("north").await;
    let batch = station.cut(&[station.site(1), station.insert("site", 2, &[("name", text(ODD))]), station.site(3)]);
    let (reply, _) = push_until_taken(&store, &batch, 2).await;
    let rejected: Vec<(u64, &str)> =
        reply.rejected.iter().map(|rejected| (rejected.seq, rejected.message.as_str())).collect();
    assert_eq!(rejected, [(2, "too late (SQLSTATE P0001)")]);
    store.has(&station, "site", &[station.site(1).values, station.site(3).values]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_time_for_one_piece_a_request_gets_through_all_the_same() {
    let store = store().await;
    trigger(&store, "RAISE EXCEPTION 'no more' USING ERRCODE = '53400'").await;
    let clock: Arc<dyn Clock> = Arc::<crate::common::TestClock>::clone(&store.clock);
    let (upstream, schema) = (Arc::clone(&store.upstream), Arc::clone(&store.schema));
    let ingest = Ingest::new(upstream, schema, ClockWindow::DEFAULT, FrameLimits::DEFAULT, clock)
        .with_request_time(Duration::ZERO);
    let store = store.with_ingest(Arc::new(ingest));
    only_the_odd_rows_are_rejected(&store, "SQLSTATE 53400", 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_anothers_lock_rejects_no_change() {
    let short = Duration::from_millis(400);
    let store = on_postgres(Cluster::timescale(), &field(), |upstream| upstream.with_statement_timeout(short)).await;
    let mut station = store.join("north").await;
    store.pushed(&station.cut(&[station.site(1)])).await;
    let batch = station.cut(&[station.update("site", 1, &[("name", text("lake"))])]);
    let mut holder = connect(store.url.as_deref().unwrap()).await;
    for held in ["SELECT FROM field.site FOR UPDATE", "SELECT FROM tidemark.cursor FOR UPDATE"] {
        let transaction = holder.transaction().await.unwrap();
        transaction.batch_execute(held).await.unwrap();
        for _ in 0..6 {
            assert_eq!(store.push(&batch).await.unwrap_err().code, ProblemCode::Unavailable);
        }
        transaction.rollback().await.unwrap();
    }
    assert!(store.pushed(&batch).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_the_database_refuses_is_rejected_alone() {
    let store = store().await;
    let sql = "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF OLD.name = 'kept' THEN RAISE EXCEPTION 'kept'; END IF; RETURN OLD; END $$;
        CREATE TRIGGER keep BEFORE DELETE ON field.site FOR EACH ROW EXECUTE FUNCTION public.keep()";
    connect(store.url.as_deref().unwrap()).await.batch_execute(sql).await.unwrap();
    let mut station = store.join("north").await;
    let kept = station.insert("site", 1, &[("name", text("kept"))]);
    store.pushed(&station.cut(&[kept.clone(), station.site(2)])).await;
    let batch = station.cut(&[station.delete("site", 1), station.delete("site", 2), station.site(3)]);
    let pushed = tokio::time::timeout(Duration::from_secs(60), store.pushed(&batch)).await;
    assert_eq!(pushed.expect("it comes to an end"), [(3, "constraint")]);
    store.has(&station, "site", &[kept.values, station.site(3).values]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_over_40_years_go_through_a_small_lock_table_in_pieces() {
    let cluster = Cluster::short_of_locks();
    let store = on_postgres(&cluster, &field(), |upstream| upstream).await;
    let clock: Arc<dyn Clock> = Arc::<crate::common::TestClock>::clone(&store.clock);
    let window = ClockWindow { floor_us: 0, ..ClockWindow::DEFAULT };
    // As a server without the cap would, so that the database is what finds it too much.
    let ingest =
        Ingest::new(Arc::clone(&store.upstream), Arc::clone(&store.schema), window, FrameLimits::DEFAULT, clock)
            .with_chunks_max(u32::MAX);
    let store = store.with_ingest(Arc::new(ingest));
    let mut station = store.join("north").await;
    let changes: Vec<Change> = (0..520).map(|n| station.reading(n + 1, day(1) - n * 28 * DAY_US, &[])).collect();
    let batch = station.cut(&changes);
    let first = store.push(&batch).await.unwrap_err();
    assert!(first.code == ProblemCode::Unavailable && first.detail.contains("SQLSTATE 53200"), "{first:?}");
    let (reply, _) = push_until_taken(&store, &batch, 8).await;
    assert_eq!((reply.tidemark, reply.rejected), (520, Vec::new()));
    let rows: Vec<Vec<Value>> = changes.into_iter().map(|change| change.values).collect();
    store.has(&station, "reading", &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_many_chunks_is_cut_into_transactions_that_touch_few() {
    let store = store().await;
    let clock: Arc<dyn Clock> = Arc::<crate::common::TestClock>::clone(&store.clock);
    let (upstream, schema) = (Arc::clone(&store.upstream), Arc::clone(&store.schema));
    let ingest = Ingest::new(upstream, schema, ClockWindow::DEFAULT, FrameLimits::DEFAULT, clock).with_chunks_max(8);
    let store = store.with_ingest(Arc::new(ingest));
    let mut station = store.join("north").await;
    // A reject in the first transaction, and one in the last, both told.
    let mut changes = vec![station.reading(900, day(1), &[("site_id", station.id(9))])];
    changes.extend((1..=40).map(|n| station.reading(n, day(1) - n * 7 * DAY_US, &[])));
    changes.push(station.reading(901, day(1) - 280 * DAY_US, &[("site_id", station.id(9))]));
    let begin = station.clone();
    let batch = station.cut(&changes);
    assert_eq!(store.pushed(&batch).await, [(1, "reference"), (42, "reference")]);
    let client = connect(store.url.as_deref().unwrap()).await;
    let transactions: i64 = client.query_one("SELECT count(*) FROM tidemark.history", &[]).await.unwrap().get(0);
    assert!((5..=7).contains(&transactions), "{transactions}");
    let rows: Vec<Vec<Value>> = changes[1..41].iter().map(|change| change.values.clone()).collect();
    store.has(&station, "reading", &rows).await;
    // Told again, and with more behind it.
    let again = store.push(&batch).await.unwrap();
    assert_eq!((again.applied, again.duplicate, again.rejected.len()), (0, 42, 2));
    let longer: Vec<Change> = changes.into_iter().chain([station.site(1)]).collect();
    let longer = store.push(&begin.peek(&longer)).await.unwrap();
    assert_eq!((longer.applied, longer.duplicate, longer.rejected.len()), (1, 42, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_never_rejects_a_change() {
    let store = store().await;
    let mut station = store.join("north").await;
    let batch = station.cut(&[odd(&station, 1)]);
    for state in ["08006", "57P01", "57P02", "57P03", "40001", "40P01", "25006", "53100", "53300"] {
        trigger(&store, &format!("RAISE EXCEPTION 'away' USING ERRCODE = '{state}'")).await;
        for _ in 0..6 {
            let problem = store.push(&batch).await.unwrap_err();
            assert_eq!(problem.code, ProblemCode::Unavailable, "{state}: {problem:?}");
        }
        assert!(store.rejects(station.number).await.is_empty(), "{state}");
    }
    drop_trigger(&store).await;
    assert!(store.pushed(&batch).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_as_the_schema_wants_it_rejects_no_change() {
    let store = store().await;
    let mut station = store.join("north").await;
    let batch = station.cut(&[plain(&station, 1), plain(&station, 2)]);
    let client = connect(store.url.as_deref().unwrap()).await;
    // Somebody works on the table: every write fails with 42703, and it is no change's fault.
    client.batch_execute("ALTER TABLE field.reading RENAME COLUMN level TO depth").await.unwrap();
    for _ in 0..6 {
        assert_eq!(store.push(&batch).await.unwrap_err().code, ProblemCode::Unavailable);
    }
    client.batch_execute("ALTER TABLE field.reading RENAME COLUMN depth TO level").await.unwrap();
    assert!(store.pushed(&batch).await.is_empty());
    assert!(store.rejects(station.number).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_rights_rejects_no_change() {
    let store = store().await;
    let mut station = store.join("north").await;
    let url = store.url.clone().unwrap();
    let client = connect(&url).await;
    let role = format!("limited_{}", std::process::id());
    let grants = format!(
        "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD '{}'; GRANT USAGE ON SCHEMA field, tidemark TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidemark TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA field TO {role}",
        crate::common::cluster::PASSWORD
    );
    client.batch_execute(&grants).await.unwrap();
    let limited = url.replace("//tester:", &format!("//{role}:"));
    let upstream: Arc<dyn tidemark_server::upstream::Upstream> =
        Arc::new(crate::common::stores::open_postgres(&limited, &store.schema).await.unwrap());
    let ingest = crate::common::stores::ingest(&upstream, &store.schema, &store.clock);
    let store = store.with_ingest(ingest);
    let batch = station.cut(&[plain(&station, 1), plain(&station, 2)]);
    for _ in 0..6 {
        assert_eq!(store.push(&batch).await.unwrap_err().code, ProblemCode::Unavailable);
    }
    assert!(store.rejects(station.number).await.is_empty());
    let grant = format!("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA field TO {role}");
    client.batch_execute(&grant).await.unwrap();
    assert!(store.pushed(&batch).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_not_stopped_by_one_row_that_a_trigger_fails_over() {
    let store = Store::open(Kind::Timescale, &[field()]).await;
    let mut station = store.join("north").await;
    let poison = |n: i64| station.reading(n, day(n), &[("note", text(crate::common::stores::POISON))]);
    let changes = [poison(1), poison(2), poison(3)];
    assert_eq!(store.pushed(&station.cut(&changes)).await.len(), 3);
    store.allow_poison().await;
    trigger(&store, "NULL").await;
    let sql = "CREATE OR REPLACE FUNCTION public.odd() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.id % 4294967296 = 2 THEN NEW.depth := 1; END IF; RETURN NEW; END $$";
    connect(store.url.as_deref().unwrap()).await.batch_execute(sql).await.unwrap();
    let all = RejectFilter::default();
    let done = replay_all(store.upstream.as_ref(), &store.schema, &all, None, "anna", NOON_MS).await.unwrap();
    assert_eq!((done.applied, done.still_open.len(), done.still_open[0].seq), (2, 1, 2));
    assert!(done.still_open[0].message.contains("42703"), "{:?}", done.still_open);
}
