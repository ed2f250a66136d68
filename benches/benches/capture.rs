//! The cost of capture to a writer: the same inserts into the same table without triggers, with them, and with those a
//! UNIQUE index needs.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rusqlite::Connection;
use tidemark_benches::narrow_schema;
use tidemark_core::{capture, sqlite};

const ROWS: usize = 10_000;

fn database(captured: bool) -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let db = Connection::open(folder.path().join("bench.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = normal").unwrap();
    let schema = narrow_schema();
    let table = &schema.tables()[0];
    db.execute_batch(&sqlite::create_table(&schema, table)).unwrap();
    if captured {
        db.execute_batch(&capture::create_log(&schema)).unwrap();
        db.execute_batch(&capture::create_ousted(&schema)).unwrap();
        for trigger in capture::create_triggers(table, &[], &[]) {
            db.execute_batch(&trigger).unwrap();
        }
    }
    (folder, db)
}

fn insert(db: &mut Connection) {
    let transaction = db.transaction().unwrap();
    {
        let mut statement = transaction
            .prepare("INSERT INTO reading (site_id, measured_at, temperature, humidity, pressure, note) VALUES (?, ?, ?, ?, ?, ?)")
            .unwrap();
        for n in 0..ROWS {
            statement
                .execute((n as i64 % 20, "2026-01-01 00:00:00.000000", n as f64 / 7.0, 60.5, 1013.25, "checked"))
                .unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn capture_cost(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert 10k rows in one transaction");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    for (name, captured) in [("plain", false), ("captured", true)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| database(captured), |(_folder, db)| insert(db), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, capture_cost);
criterion_main!(benches);
