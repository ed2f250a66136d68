//! A large backlog: it is pushed in bounded memory, and arrives whole.
//!
//! `TIDEMARK_TEST_ROWS` sets how many rows the larger backlog has, e.g. 1000000 for a measurement in a release build.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::Running;
use tidemark_e2e::world::{now, pause};

/// What may vary between two pushes.
const SLACK_KIB: u64 = 24 << 10;

/// The most memory a process has had resident so far, in KiB, as Linux counts it.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Records forecasts as one program would, many to a commit.
fn record(station: &Station, rows: u64) -> Result<()> {
    let sql = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO forecasts (forecast_value, actual_value, deviation, forecast_date)
        SELECT n / 7.0, iif(n % 3 = 0, NULL, n * 1e-3), -n, strftime('%Y-%m-%d %H:%M:%f000', 1736409600 + n * 13, 'unixepoch') FROM n";
    let rows = i64::try_from(rows)?;
    Ok(station.open()?.execute(sql, [rows]).map(|_| ())?)
}

/// Pushes and returns the station's peak, in KiB.
fn push(station: &Station) -> Result<u64> {
    let mut push: Running = station.start(&["push"])?;
    let mut peak = 0;
    while !push.has_ended()? {
        peak = peak.max(peak_kib(push.pid()).unwrap_or(0));
        pause(Duration::from_millis(2));
    }
    push.wait()?.success()?;
    Ok(peak)
}

/// What the database does with the same rows by itself: one binary COPY into a hypertable of the same form. Printed, not judged.
fn copy_of_the_same_rows(cluster: &PostgresCluster, expected: u64) -> Result<()> {
    let admin = cluster.admin("volume")?;
    let file = cluster.folder().join("forecasts.copy");
    admin.batch(&format!("COPY (SELECT * FROM shrinkage.forecasts) TO '{}' (FORMAT binary)", file.display()))?;
    admin.batch(
        "CREATE TABLE shrinkage.copied (LIKE shrinkage.forecasts INCLUDING ALL);
         SELECT create_hypertable('shrinkage.copied', 'forecast_date', chunk_time_interval => INTERVAL '7 days',
             create_default_indexes => false)",
    )?;
    let start = now();
    let rows = admin.execute(&format!("COPY shrinkage.copied FROM '{}' (FORMAT binary)", file.display()), &[])?;
    ensure!(rows == expected, "{rows} rows copied");
    println!("COPY of the same {rows} rows: {:.0} rows/s", rows as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

#[test]
fn memory_does_not_grow_with_the_backlog() -> Result<()> {
    let wanted = std::env::var("TIDEMARK_TEST_ROWS").ok().map(|text| text.parse()).transpose()?;
    let large: u64 = wanted.unwrap_or(300_000);
    let small = large / 3;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("volume")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let mut peaks = Vec::new();
    for rows in [small, large] {
        record(&station, rows)?;
        let start = now();
        let here = push(&station)?;
        let seconds = start.elapsed().as_secs_f64();
        let there = peak_kib(server.process.pid()).context("the server's peak is unknown: this test needs /proc")?;
        println!(
            "{rows} rows in {seconds:.2} s, {:.0} rows/s; peak resident: station {} MiB, server {} MiB",
            rows as f64 / seconds,
            here >> 10,
            there >> 10
        );
        peaks.push((here, there));
    }
    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == small + large, "{seen:?}");
    copy_of_the_same_rows(&cluster, seen.rows)?;
    // Three times the backlog: whoever held it in memory would grow by more than that.
    let (before, after) = (peaks[0], peaks[1]);
    ensure!(after.0 < before.0 + SLACK_KIB, "the station grew from {} to {} KiB", before.0, after.0);
    ensure!(after.1 < before.1 + SLACK_KIB, "the server grew from {} to {} KiB", before.1, after.1);
    Ok(())
}
