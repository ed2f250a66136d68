//! The contract of what happens at once, run against each store: batches, stations and servers meet, and a panic leaves
//! nothing.

use std::sync::Arc;

use crate::common::station::{Change, day, frame};
use crate::common::stores::{Kind, Store};
use crate::common::{contract, field};
use tidemark_core::batch::Op;
use tidemark_core::protocol::ProblemCode;

contract! {
    one_batch_sent_many_times_at_once_is_applied_once,
    stations_push_at_once,
    two_stations_race_for_one_uuid,
    a_panic_in_the_middle_of_a_batch_leaves_nothing_behind,
}

async fn one_batch_sent_many_times_at_once_is_applied_once(store: &Store) {
    let mut station = store.join("north").await;
    let changes: Vec<Change> = (1..=200).map(|n| station.reading(n, day(n % 20 + 1), &[])).collect();
    let batch = Arc::new(station.cut(&changes));
    let tries = (0..8).map(|_| {
        let (ingest, batch) = (Arc::clone(&store.ingest), Arc::clone(&batch));
        tokio::spawn(async move { ingest.push(batch.station, &crate::common::station::frame(&batch)).await.unwrap() })
    });
    let mut applied = 0;
    for reply in tries.collect::<Vec<_>>() {
        let reply = reply.await.unwrap();
        assert_eq!(reply.tidemark, 200);
        applied += reply.applied;
    }
    assert_eq!(applied, 200);
    let rows: Vec<_> = changes.into_iter().map(|change| change.values).collect();
    store.has(&station, "reading", &rows).await;
}

async fn stations_push_at_once(store: &Store) {
    let mut running = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let mut station = store.join(name).await;
        let ingest = Arc::clone(&store.ingest);
        running.push(tokio::spawn(async move {
            let mut rows = Vec::new();
            for round in 0..5 {
                let new = (0..50).map(|n| station.reading(round * 50 + n + 1, day(round + 1) + n, &[]));
                let mut changes: Vec<Change> = new.collect();
                rows.extend(changes.iter().map(|change| change.values.clone()));
                changes.extend((0..10).map(|n| {
                    let change = station.reading(n + 1, day(1) + n, &[]);
                    Change { op: Op::Update, ..change }
                }));
                let batch = station.cut(&changes);
                ingest.push(station.number, &crate::common::station::frame(&batch)).await.unwrap();
            }
            (station, rows)
        }));
    }
    for station in running {
        let (station, rows) = station.await.unwrap();
        store.has(&station, "reading", &rows).await;
    }
}

async fn two_stations_race_for_one_uuid(store: &Store) {
    let mut stations = [store.join("north").await, store.join("south").await];
    for round in 0..5_u8 {
        let pushes = stations.each_mut().map(|station| {
            let tags = (0..40).map(|n| station.tag(Op::Insert, [round * 40 + n + 1; 16], "x"));
            let batch = station.cut(&tags.collect::<Vec<_>>());
            let ingest = Arc::clone(&store.ingest);
            tokio::spawn(
                async move { ingest.push(batch.station, &crate::common::station::frame(&batch)).await.unwrap() },
            )
        });
        let mut refused = 0;
        for push in pushes {
            let reply = push.await.unwrap();
            assert!(reply.rejected.iter().all(|rejected| rejected.code.as_str() == "owner"), "{:?}", reply.rejected);
            refused += reply.rejected.len();
        }
        assert_eq!(refused, 40, "each uuid has one owner");
    }
    let mut there = 0;
    for station in &stations {
        there += store.digest(station, "tag").await.rows();
    }
    assert_eq!(there, 200);
}

/// Two servers, each with its own pool, before one database.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_apply_everything_once() {
    let store = Store::open(Kind::Timescale, &[field()]).await;
    let other: Arc<dyn tidemark_server::upstream::Upstream> =
        Arc::new(crate::common::stores::open_postgres(store.url.as_deref().unwrap(), &store.schema).await.unwrap());
    let other = crate::common::stores::ingest(&other, &store.schema, &store.clock);
    let servers = [Arc::clone(&store.ingest), other];
    let mut running = Vec::new();
    for name in ["a", "b", "c"] {
        let mut station = store.join(name).await;
        let servers = servers.clone();
        running.push(tokio::spawn(async move {
            let (mut rows, mut applied) = (Vec::new(), 0);
            for round in 0..8_i64 {
                let changes: Vec<Change> =
                    (0..60).map(|n| station.reading(round * 60 + n + 1, day(round + 1) + n, &[])).collect();
                rows.extend(changes.iter().map(|change| change.values.clone()));
                let bytes = Arc::new(crate::common::station::frame(&station.cut(&changes)));
                let number = station.number;
                // The same frame to both, twice each, at once.
                let sends = (0..4).map(|n| {
                    let (server, bytes) = (Arc::clone(&servers[n % 2]), Arc::clone(&bytes));
                    tokio::spawn(async move { server.push(number, &bytes).await.unwrap() })
                });
                for send in sends.collect::<Vec<_>>() {
                    let reply = send.await.unwrap();
                    assert_eq!(reply.tidemark, station.seq);
                    applied += reply.applied;
                }
            }
            (station, rows, applied)
        }));
    }
    for station in running {
        let (station, rows, applied) = station.await.unwrap();
        assert_eq!(applied as usize, rows.len());
        store.has(&station, "reading", &rows).await;
    }
}

async fn a_panic_in_the_middle_of_a_batch_leaves_nothing_behind(store: &Store) {
    let mut station = store.join("north").await;
    let before = station.clone();
    store.pushed(&station.cut(&[station.site(1)])).await;
    let whole = before.peek(&[station.site(1), station.site(2)]);
    let decode = || store.ingest.decode(Arc::clone(&store.schema), &frame(&whole)).unwrap();
    // The rows are written when the prints turn out to be missing.
    let mut broken = decode();
    broken.prints.clear();
    let problem = store.ingest.apply(broken).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::Internal);
    assert!(!problem.detail.contains("range"), "what only the operator may know goes to the log: {}", problem.detail);
    store.has(&station, "site", &[station.site(1).values]).await;
    // No lock is left, and no transaction: for this station and for others, at once.
    let reply = store.ingest.apply(decode()).await.unwrap();
    assert_eq!((reply.tidemark, reply.applied, reply.duplicate), (2, 1, 1));
    let mut south = store.join("south").await;
    store.pushed(&south.cut(&[south.site(1)])).await;
    store.has(&station, "site", &[1, 2].map(|n| station.site(n).values)).await;
}
