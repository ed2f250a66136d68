//! What the server works out of a batch before it writes: changes resolved, checked, asked about, planned.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_benches::{narrow_batch, narrow_schema};
use tidemark_server::ingest::check::{TimeRange, check};
use tidemark_server::ingest::plan::plan;
use tidemark_server::ingest::questions::questions;
use tidemark_server::ingest::resolve::Change;
use tidemark_server::ledger::lineage::Lineage;
use tidemark_server::upstream::facts::Facts;

const ROWS: usize = 10_000;

fn planning(criterion: &mut Criterion) {
    let schema = narrow_schema();
    let batch = narrow_batch(&schema, ROWS);
    let (lineage, groups) = (Lineage::new(batch.station), &batch.groups);
    let resolve = || -> Vec<Change> { batch.changes().map(|change| Change::of(&schema, groups, &change)).collect() };
    let changes = resolve();
    let refused = check(&schema, &lineage, groups, &changes, TimeRange::ANY);
    let asked = questions(&schema, &lineage, groups, &changes, &refused);
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("resolve", |bencher| bencher.iter(resolve));
    group.bench_function("check", |bencher| {
        bencher.iter(|| check(&schema, &lineage, groups, black_box(&changes), TimeRange::ANY));
    });
    group.bench_function("questions", |bencher| {
        bencher.iter(|| questions(&schema, &lineage, groups, black_box(&changes), &refused));
    });
    group.bench_function("plan", |bencher| {
        bencher
            .iter(|| plan(&schema, &lineage, groups, black_box(&changes), &refused, &asked, Facts::default()).applied);
    });
    group.finish();
}

criterion_group!(benches, planning);
criterion_main!(benches);
