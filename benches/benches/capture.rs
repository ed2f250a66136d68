//! The cost of capture to a writer: the same inserts into the same table without triggers and with them, in one
//! transaction and a transaction for each row, into a narrow table with a time column, the same without, and the
//! widest of the shrinkage schema. Criterion shows how long they take; before it, the ratio of the CPU that the
//! writer's thread spends is printed, the median of pairs measured in turn.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use rusqlite::Connection;
use rusqlite::types::Value;
use rustix::time::{ClockId, clock_gettime};
use tidemark_benches::{Bench, make_file, median};

const ROWS: usize = 10_000;
/// Rows with a transaction for each.
const FEW: usize = 1_000;
const PAIRS: usize = 11;

/// The ways to write: all rows in one transaction, or one in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bulk,
    RowByRow,
}

impl Way {
    const fn rows(self) -> usize {
        if matches!(self, Self::Bulk) { ROWS } else { FEW }
    }
}

fn database(bench: &Bench, captured: bool) -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let db = make_file(&folder.path().join("bench.db"), bench, captured).unwrap();
    (folder, db)
}

fn insert(db: &mut Connection, bench: &Bench, way: Way) {
    let row = bench.row();
    let statement = bench.insert();
    match way {
        Way::Bulk => {
            let transaction = db.transaction().unwrap();
            write(&transaction, &statement, &row, ROWS);
            transaction.commit().unwrap();
        }
        Way::RowByRow => write(db, &statement, &row, FEW),
    }
}

fn write(db: &Connection, statement: &str, row: &[Value], rows: usize) {
    let mut statement = db.prepare(statement).unwrap();
    for _ in 0..rows {
        statement.execute(rusqlite::params_from_iter(row)).unwrap();
    }
}

/// The CPU this thread has spent, in seconds.
fn spent() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn measured(bench: &Bench, way: Way, captured: bool) -> f64 {
    let (_folder, mut db) = database(bench, captured);
    let began = spent();
    insert(&mut db, bench, way);
    (spent() - began) * 1e6 / way.rows() as f64
}

fn print_ratios() {
    println!("CPU of a writer's thread per row, medians of {PAIRS} pairs:");
    for bench in Bench::all() {
        for way in [Way::Bulk, Way::RowByRow] {
            let (mut plain, mut captured, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..PAIRS {
                let pair = (measured(&bench, way, false), measured(&bench, way, true));
                plain.push(pair.0);
                captured.push(pair.1);
                ratios.push(pair.1 / pair.0);
            }
            println!(
                "{}, {way:?}: plain {:.2} µs, captured {:.2} µs, ratio {:.2}",
                bench.name,
                median(&mut plain),
                median(&mut captured),
                median(&mut ratios)
            );
        }
    }
}

fn capture_cost(criterion: &mut Criterion) {
    for bench in Bench::all() {
        let mut group = criterion.benchmark_group(format!("insert 10k rows in one transaction, {}", bench.name));
        group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
        for (name, captured) in [("plain", false), ("captured", true)] {
            group.bench_function(name, |bencher| {
                bencher.iter_batched_ref(
                    || database(&bench, captured),
                    |(_folder, db)| insert(db, &bench, Way::Bulk),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, capture_cost);

fn main() {
    print_ratios();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
