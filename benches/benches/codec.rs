//! Rows per second through the codec: converting and chaining (what a station does to cut a batch), encoding, decoding.
#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidemark_benches::{narrow_batch, narrow_schema};
use tidemark_core::frame::{Compression, decode, encode};
use tidemark_core::limits::FrameLimits;

const ROWS: usize = 10_000;

fn codec(criterion: &mut Criterion) {
    let schema = narrow_schema();
    let batch = narrow_batch(&schema, ROWS);
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("cut", |bencher| bencher.iter(|| narrow_batch(&schema, black_box(ROWS))));
    for (name, compression) in
        [("none", Compression::None), ("zstd", Compression::Zstd), ("deflate", Compression::Deflate)]
    {
        let Ok(frame) = encode(&batch, compression) else { continue };
        println!("{name}: {:.1} bytes a row", frame.len() as f64 / ROWS as f64);
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| encode(black_box(&batch), compression))
        });
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| decode(black_box(&frame), &schema, &FrameLimits::DEFAULT))
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
