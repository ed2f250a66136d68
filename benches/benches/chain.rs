//! The chain over changes: what both sides hash, the station when it cuts a batch and the server when it checks one.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_benches::{narrow_batch, narrow_schema};
use tidemark_core::chain::Chain;

const ROWS: usize = 10_000;

fn chain(criterion: &mut Criterion) {
    let schema = narrow_schema();
    let batch = narrow_batch(&schema, ROWS);
    let mut group = criterion.benchmark_group("chain");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("of a batch, with the print after each change", |bencher| {
        bencher.iter(|| black_box(&batch).prints(&schema));
    });
    group.bench_function("one link after the other, 64 bytes each", |bencher| {
        let change = [0x5a; 64];
        bencher.iter(|| (0..ROWS).fold(Chain::start([1; 16]), |chain, _| chain.then(black_box(&change))));
    });
    group.finish();
}

criterion_group!(benches, chain);
criterion_main!(benches);
