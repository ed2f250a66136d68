//! The decision on a batch: the next one, one that is there already, one that overlaps what is there.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidemark_benches::{narrow_batch, narrow_schema};
use tidemark_core::decision::{Cursor, decide};

const ROWS: usize = 1_000;

fn decision(criterion: &mut Criterion) {
    let schema = narrow_schema();
    let batch = narrow_batch(&schema, ROWS);
    let span = batch.span();
    let mut group = criterion.benchmark_group("decision");
    let at = |seq| Cursor { seq, chain: if seq == 0 { span.chain_before } else { batch.chain_at(&schema, seq) } };
    for (name, cursor) in [
        ("the next batch", at(0)),
        ("a repeated batch", at(ROWS as u64)),
        ("an overlap of 500 of 1,000", at(ROWS as u64 / 2)),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| decide(black_box(&cursor), black_box(&span), |seq| batch.chain_at(&schema, seq)));
        });
    }
    group.finish();
}

criterion_group!(benches, decision);
criterion_main!(benches);
