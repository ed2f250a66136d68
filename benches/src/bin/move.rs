//! The move of the shrinkage system beside the way it is done by hand, on the same PostgreSQL with TimescaleDB, in one
//! run.
//!
//! `scripts/compare-move [ROWS [--multi]]`, default 1,050,000 rows asked of the generator, which leaves a million over
//! the 18 tables. From `tidemark attach` to all rows upstream, beside 18 CSV files, `pandas.read_csv` and `to_sql`;
//! with `--multi` also beside `to_sql` with method="multi", which is slower with this driver. It fails when a cell
//! differs between the file and PostgreSQL, when `tidemark verify` finds a difference, or when the ratio is below 10.
#![allow(clippy::disallowed_methods)] // measures real time

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{Running, python_script};

/// The promise.
const RATIO_MIN: f64 = 10.0;

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let multi = args.iter().any(|arg| arg == "--multi");
    args.retain(|arg| arg != "--multi");
    let rows = args.first().map_or("1050000", String::as_str);
    let python = std::env::var_os("TIDEMARK_PANDAS_PYTHON").map(PathBuf::from);
    let python = python.context("TIDEMARK_PANDAS_PYTHON is not set; start scripts/compare-move")?;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("tidemark")?))?;
    field.migrate()?;
    let server = field.serve()?;

    let station = field.folder_of("plant")?;
    let file = station.file.to_str().context("the path is text")?;
    let made = Command::new(&python)
        .arg(python_script("shrinkage_system.py"))
        .args(["make", file, "--rows", rows])
        .env("PYTHONUTF8", "1")
        .status()?;
    ensure!(made.success(), "the generator failed");
    let original = field.folder().join("original.db");
    std::fs::copy(&station.file, &original)?;
    println!("the system's file: {} MiB", std::fs::metadata(&original)?.len() >> 20);

    let begin = Instant::now();
    finished(station.start(&["attach"])?)?;
    let attached = begin.elapsed().as_secs_f64();
    field.join(&station, &server.url())?;
    let joined = begin.elapsed().as_secs_f64();
    finished(station.start(&["push"])?)?;
    let ours = begin.elapsed().as_secs_f64();
    println!(
        "tidemark: attach {attached:.1} s, join {:.1} s, push {:.1} s; in all {ours:.1} s",
        joined - attached,
        ours - joined
    );

    let mut theirs = Vec::new();
    let ways = [
        ("plain", "to_sql as it comes", None),
        ("multi", "to_sql with method=\"multi\", chunksize=1000", Some("--multi")),
    ];
    for (name, what, how) in ways.into_iter().take(1 + usize::from(multi)) {
        let other = Field::shrinkage(Some(cluster.create_database(name)?))?;
        other.migrate()?;
        let folder = other.folder().join("csv");
        std::fs::create_dir(&folder)?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/pandas_way.py");
        let output = Command::new(&python)
            .args([script.as_ref(), original.as_os_str(), other.database.as_ref(), folder.as_os_str()])
            .args(how)
            .env("PYTHONUTF8", "1")
            .output()?;
        ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout)?;
        let seconds = |step: &str| told[step].as_f64().context("the script told no seconds");
        println!(
            "pandas, {what}: 18 CSV files {:.1} s, read_csv {:.1} s, to_sql {:.1} s; in all {:.1} s",
            seconds("csv")?,
            seconds("read")?,
            seconds("to_sql")?,
            seconds("all")?
        );
        theirs.push((seconds("all")?, told["rows"].as_u64().context("the script told no rows")?));
    }

    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows > 0 && theirs.iter().all(|&(_, rows)| rows == seen.rows), "{seen:?} is not {theirs:?}");
    let verified = Instant::now();
    finished(station.start(&["verify"])?)?;
    println!("tidemark verify: equal, {:.1} s", verified.elapsed().as_secs_f64());
    // Beside the better of their ways.
    let ratio = theirs.iter().map(|&(seconds, _)| seconds).fold(f64::INFINITY, f64::min) / ours;
    println!("{} rows of 18 tables: {:.0} rows/s; {ratio:.1} times as fast", seen.rows, seen.rows as f64 / ours);
    ensure!(ratio >= RATIO_MIN, "the ratio is {ratio:.1}, promised is {RATIO_MIN}");
    Ok(())
}

/// Waits as long as it takes.
fn finished(mut program: Running) -> Result<()> {
    while !program.has_ended()? {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    program.wait()?.success().map(|_| ())
}
