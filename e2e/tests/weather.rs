//! The weather example, run as a user runs it, into TimescaleDB: every row and column of the CSV is upstream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_e2e::compare::{Upstream, assert_log_drained, assert_upstream_equals};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::process::program;

/// The measurements, in the order of the CSV; `wind_dir` is an integer upstream.
const MEASURED: [&str; 9] =
    ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"];
const WEEK_US: i64 = 7 * 86_400_000_000;

/// One row of the CSV: New York's year, month, day and hour; then the measurements.
#[derive(Debug, PartialEq)]
struct Reading {
    local: [i32; 4],
    measured: [Option<f64>; 9],
}

/// By site and UTC hour.
type Readings = BTreeMap<(String, String), Reading>;

#[test]
fn a_year_of_weather_lands_in_hypertables_cell_by_cell() -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/weather");
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let database = cluster.create_database("weather")?;
    let work = tempfile::tempdir()?;
    run_example(&example, &["--database", &database, "--work", &work.path().to_string_lossy()])?;

    let expected = read_csv(&example.join("nyc-weather-2013.csv"))?;
    ensure!(expected.len() == 26_115, "{} readings in the CSV", expected.len());
    let client = cluster.connect("weather")?;
    let upstream = read_upstream(&client)?;
    let cells = compare(&expected, &upstream)?;

    let windows: BTreeSet<i64> = expected
        .keys()
        .map(|(_, hour)| Ok(tidemark_core::timestamp::parse(hour.as_bytes())?.div_euclid(WEEK_US)))
        .collect::<Result<_>>()?;
    let chunks: i64 = client.value(
        "SELECT count(*) FROM timescaledb_information.chunks
         WHERE hypertable_schema = 'weather' AND hypertable_name = 'reading'",
    )?;
    ensure!(chunks == windows.len() as i64, "{chunks} chunks for {} weeks with readings", windows.len());
    println!("{} readings, {cells} cells equal the CSV; {chunks} chunks for {} weeks", expected.len(), windows.len());

    // And the stations' own tables, with sites and keys.
    let schema = tidemark_core::schema::Schema::parse(&std::fs::read_to_string(example.join("weather.toml"))?)?;
    let mut stations = Vec::new();
    for code in ["EWR", "JFK", "LGA"] {
        let file = work.path().join(code).join("tidemark.db");
        assert_log_drained(&file)?;
        let number: i32 = client.value(&format!("SELECT station FROM weather.site WHERE code = '{code}'"))?;
        stations.push((u32::try_from(number)?, file));
    }
    let stations: Vec<_> = stations.iter().map(|(number, file)| (*number, file.as_path())).collect();
    let seen = assert_upstream_equals(&Upstream::open(&database)?, &schema, &stations)?;
    ensure!(seen.rows == 26_118, "{seen:?}");
    Ok(())
}

#[test]
fn the_example_runs_into_the_embedded_upstream() -> Result<()> {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/weather");
    run_example(&example, &[])
}

/// Runs the script with the programs of this build.
fn run_example(example: &Path, args: &[&str]) -> Result<()> {
    let bin = program("tidemark")?;
    program("tidemark-server")?;
    let mut command = Command::new("bash");
    command.arg(example.join("run")).args(args).env_remove("TIDEMARK_DATABASE_URL").env_remove("TIDEMARK_DB");
    let output = command.env("TIDEMARK_BIN", bin.parent().context("a program has a folder")?).output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}{err}");
    ensure!(output.status.success(), "examples/weather/run: {}", output.status);
    ensure!(!out.contains("Ebb") && !err.contains("Ebb"), "a piece of the password was printed");
    ensure!(out.matches(": ok").count() == 3, "three stations are ok");
    Ok(())
}

fn read_csv(file: &Path) -> Result<Readings> {
    let mut readings = Readings::new();
    let mut reader = csv::Reader::from_path(file)?;
    let headers = reader.headers()?.clone();
    let at = |name: &str| headers.iter().position(|header| header == name).with_context(|| name.to_owned());
    for record in reader.records() {
        let record = record?;
        let mut measured = [None; 9];
        for (value, name) in measured.iter_mut().zip(MEASURED) {
            let text = &record[at(name)?];
            *value = if text == "NA" { None } else { Some(text.parse()?) };
        }
        let mut local = [0; 4];
        for (value, name) in local.iter_mut().zip(["year", "month", "day", "hour"]) {
            *value = record[at(name)?].parse()?;
        }
        let key = (record[at("origin")?].to_owned(), record[at("time_hour")?].to_owned());
        let double = readings.insert(key, Reading { local, measured });
        ensure!(double.is_none(), "the CSV has an hour twice");
    }
    Ok(readings)
}

/// The CSV again, from the database alone: site by join, New York's time by the database's own calendar.
fn read_upstream(client: &PgClient) -> Result<Readings> {
    let measured = MEASURED.map(|name| format!("r.{name}::float8")).join(", ");
    let local = ["year", "month", "day", "hour"]
        .map(|part| format!("extract({part} FROM r.measured_at AT TIME ZONE 'America/New_York')::int"))
        .join(", ");
    let rows = client.query(
        &format!(
            "SELECT s.code, to_char(r.measured_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), {local}, {measured}
             FROM weather.reading r JOIN weather.site s ON s.id = r.site_id AND s.station = r.station"
        ),
        &[],
    )?;
    let mut readings = Readings::new();
    for row in rows {
        let mut reading = Reading { local: [0; 4], measured: [None; 9] };
        for (at, value) in reading.local.iter_mut().enumerate() {
            *value = row.try_get(2 + at)?;
        }
        for (at, value) in reading.measured.iter_mut().enumerate() {
            *value = row.try_get(6 + at)?;
        }
        let double = readings.insert((row.try_get(0)?, row.try_get(1)?), reading);
        ensure!(double.is_none(), "upstream has an hour twice");
    }
    Ok(readings)
}

/// Compares bit for bit and returns how many cells there were.
fn compare(expected: &Readings, upstream: &Readings) -> Result<usize> {
    ensure!(expected.len() == upstream.len(), "{} readings, {} upstream", expected.len(), upstream.len());
    for (key, reading) in expected {
        let there = upstream.get(key).with_context(|| format!("{key:?} is missing upstream"))?;
        let bits = |reading: &Reading| reading.measured.map(|value| value.map(f64::to_bits));
        if reading.local != there.local || bits(reading) != bits(there) {
            bail!("{key:?}: {reading:?} in the CSV, {there:?} upstream");
        }
    }
    // Site and time, four parts of local time, nine measurements.
    Ok(expected.len() * 15)
}
