//! A large backlog: it is pushed and verified in bounded memory, and arrives whole.
//!
//! `TIDEMARK_TEST_ROWS` sets how many rows the larger backlog has, e.g. 1000000 for a measurement in a release build.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{Running, ServerProcess};
use tidemark_e2e::world::{now, pause};

/// What may vary between two runs: whether two batches met in the server. Two hundred thousand rows in memory would be
/// at least twice as much.
const SLACK_KIB: u64 = 16 << 10;

/// Both backlogs fill batches of this size, however slow the machine is: a station makes them as large as it has found
/// to go through in half a second.
const BATCH_ROWS: &str = "20000";

/// glibc keeps what was freed apart for each thread, so what is resident grows with the threads that have computed,
/// whatever the program holds. One arena for all of them shows what the program holds.
const ONE_ARENA: (&str, &str) = ("MALLOC_ARENA_MAX", "1");

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

/// Waits until a program has ended with this code, and returns its peak, in KiB.
fn peak_of(mut program: Running, code: i32) -> Result<u64> {
    let mut peak = 0;
    while !program.has_ended()? {
        peak = peak.max(peak_kib(program.pid()).unwrap_or(0));
        pause(Duration::from_millis(2));
    }
    program.wait()?.expect_code(code)?;
    Ok(peak)
}

/// What a verb printed of how long it took and how much memory it had, and that memory: the station's and the server's.
fn measure(station: &Station, server: &ServerProcess, args: &[&str], code: i32, rows: u64) -> Result<(u64, u64)> {
    let start = now();
    let here = peak_of(station.start(args)?, code)?;
    let seconds = start.elapsed().as_secs_f64();
    let there = peak_kib(server.process.pid()).context("the server's peak is unknown: this test needs /proc")?;
    println!(
        "{}: {rows} rows in {seconds:.2} s, {:.0} rows/s; peak resident: station {} MiB, server {} MiB",
        args[0],
        rows as f64 / seconds,
        here >> 10,
        there >> 10
    );
    Ok((here, there))
}

/// What the database does with the same rows by itself: one binary COPY into a hypertable of the same form. Printed,
/// not judged.
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

/// A field whose upstream is a database `volume` with TimescaleDB.
fn migrated() -> Result<(PostgresCluster, Field)> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let mut field = Field::shrinkage(Some(cluster.create_database("volume")?))?.with_env(ONE_ARENA.0, ONE_ARENA.1);
    field.serve_args = vec!["--batch-rows-max".to_owned(), BATCH_ROWS.to_owned()];
    field.migrate()?;
    Ok((cluster, field))
}

/// How many rows the smaller and the larger backlog have.
fn backlogs() -> Result<(u64, u64)> {
    let wanted = std::env::var("TIDEMARK_TEST_ROWS").ok().map(|text| text.parse()).transpose()?;
    let large = wanted.unwrap_or(300_000);
    Ok((large / 3, large))
}

#[test]
fn memory_does_not_grow_with_the_backlog() -> Result<()> {
    let (small, large) = backlogs()?;
    let (cluster, field) = migrated()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let admin = cluster.admin("volume")?;
    let (mut peaks, mut there) = (Vec::new(), 0);
    for rows in [small, large] {
        record(&station, rows)?;
        there += rows;
        let push = measure(&station, &server, &["push"], 0, rows)?;
        let clean = measure(&station, &server, &["verify"], 0, there)?;
        // One row in a thousand differs, everywhere.
        admin.batch("UPDATE shrinkage.forecasts SET deviation = 0 WHERE id % 1000 = 0")?;
        let differs = measure(&station, &server, &["verify"], 1, there)?;
        measure(&station, &server, &["verify", "--repair"], 0, there)?;
        peaks.push([push, clean, differs]);
    }
    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == small + large, "{seen:?}");
    copy_of_the_same_rows(&cluster, seen.rows)?;
    // Three and four times the rows: whoever held them in memory would grow by more than that.
    for (what, (before, after)) in
        ["push", "verify", "verify with differences"].iter().zip(peaks[0].iter().zip(peaks[1]))
    {
        ensure!(after.0 < before.0 + SLACK_KIB, "{what}: the station grew from {} to {} KiB", before.0, after.0);
        ensure!(after.1 < before.1 + SLACK_KIB, "{what}: the server grew from {} to {} KiB", before.1, after.1);
    }
    Ok(())
}

#[test]
fn memory_does_not_grow_with_the_bundle() -> Result<()> {
    let (small, large) = backlogs()?;
    let (_cluster, field) = migrated()?;
    let station = {
        let server = field.serve()?;
        field.join_station("one", &server.url())?
    };
    let (bundle, receipt) = (field.folder().join("bundle"), field.folder().join("bundle.receipt"));
    let (bundle_name, receipt_name) = (bundle.to_str().context("text")?, receipt.to_str().context("text")?);
    let import = ["import", bundle_name, "--database", &field.database];
    let mut peaks = Vec::new();
    for rows in [small, large] {
        record(&station, rows)?;
        let exporting = peak_of(station.start(&["export", "--force", bundle_name])?, 0)?;
        let importing = peak_of(Running::start("tidemark-server", &import, field.folder(), &Default::default())?, 0)?;
        let taking = peak_of(station.start(&["import-receipt", receipt_name])?, 0)?;
        println!(
            "{rows} rows in a bundle of {} KiB; peak resident: export {} MiB, import {} MiB, receipt {} MiB",
            std::fs::metadata(&bundle)?.len() >> 10,
            exporting >> 10,
            importing >> 10,
            taking >> 10
        );
        peaks.push([exporting, importing, taking]);
    }
    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == small + large, "{seen:?}");
    for (program, (before, after)) in ["export", "import", "import-receipt"].iter().zip(peaks[0].iter().zip(peaks[1])) {
        ensure!(after < before + SLACK_KIB, "{program} grew from {before} to {after} KiB");
    }
    Ok(())
}

#[test]
fn memory_does_not_grow_with_the_way_back() -> Result<()> {
    let (small, large) = backlogs()?;
    let (_cluster, field) = migrated()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let (mut peaks, mut there) = (Vec::new(), 0);
    for rows in [small, large] {
        record(&station, rows)?;
        there += rows;
        station.run(&["push"])?.success()?;
        let to = format!("sqlite:///{}", field.folder().join(format!("{there}.db")).display());
        let args = ["export", "--to", &to, "--database", &field.database];
        let peak = peak_of(Running::start("tidemark-server", &args, field.folder(), &Default::default())?, 0)?;
        println!("{there} rows written; peak resident: {} MiB", peak >> 10);
        peaks.push(peak);
    }
    // The file's own cache is full with either.
    ensure!(peaks[1] < peaks[0] + SLACK_KIB, "it grew from {} to {} KiB", peaks[0], peaks[1]);
    Ok(())
}
