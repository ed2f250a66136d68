//! The cost of what is counted, measured and logged for each request: a station asks for the schema, which needs no
//! database, with a line in the log for each request and without.
//!
//! `cargo run --release -p tidemark-benches --bin access [-- ROUNDS]`, default 20 rounds of 1,500 requests, so that
//! every request has its line. It prints the medians.
#![allow(clippy::disallowed_methods)] // measures real time

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::shrinkage;
use tidemark_core::value::hex;
use tidemark_server::clock::{Clock as _, SystemClock};
use tidemark_server::config::{ClockWindow, HttpLimits};
use tidemark_server::http::Endpoint;
use tidemark_server::ingest::Ingest;
use tidemark_server::stations::{JoinAsk, NewStation, secret_hash};
use tidemark_server::stores::sqlite::SqliteUpstream;
use tidemark_server::upstream::Upstream;

/// Fewer than a station's burst of lines.
const REQUESTS: u32 = 1_500;
const TOKEN: [u8; 32] = [7; 32];

/// The microseconds of one request of a round, on an endpoint of its own.
async fn round(upstream: &Arc<dyn Upstream>) -> Result<f64> {
    let (schema, clock) = (Arc::new(shrinkage()), Arc::new(SystemClock));
    let ingest = Ingest::new(Arc::clone(upstream), schema, ClockWindow::DEFAULT, FrameLimits::DEFAULT, clock);
    let endpoint = Endpoint::new(Arc::new(ingest), HttpLimits::default());
    let token = format!("Bearer {}", hex(&TOKEN));
    let began = Instant::now();
    for _ in 0..REQUESTS {
        let body = Empty::<Bytes>::new().map_err(|never: Infallible| match never {}).boxed();
        let request = Request::get("/v1/schema").header("authorization", token.as_str()).body(body)?;
        ensure!(endpoint.answer(request).await.status() == 200);
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(20), |rounds| rounds.parse())?;
    let folder = tempfile::tempdir()?;
    let upstream: Arc<dyn Upstream> =
        Arc::new(SqliteUpstream::open(&folder.path().join("bench.db"), Arc::new(shrinkage()))?);
    let now_ms = SystemClock.now_ms();
    let code_hash = secret_hash(&[1; 32]);
    let invited = NewStation { name: "bench".to_owned(), code_hash, code_expires_at_ms: now_ms + 60_000, now_ms };
    ensure!(upstream.add_station(&invited).await?);
    let ask = JoinAsk { code_hash, uuid: [1; 16], token_hash: secret_hash(&TOKEN), now_ms };
    upstream.join(&ask).await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        without.push(round(&upstream).await?);
        let lines = tracing_subscriber::fmt().with_writer(std::io::sink).with_ansi(false).finish();
        let _logging = tracing::subscriber::set_default(lines);
        with.push(round(&upstream).await?);
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (without, with) = (median(&mut without), median(&mut with));
    println!(
        "a request without its line {without:.2} µs, with it {with:.2} µs: the line costs {:.2} µs",
        with - without
    );
    Ok(())
}
