//! Programs that know nothing of Tidemark: Python's own sqlite3 module, and SQLAlchemy 2 with reflected tables.

use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use tidemark_e2e::compare::{Cell, Upstream, station_rows};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{python, python_script};

/// Runs a script of this folder on a station's file and returns what it printed.
fn run_script(name: &str, station: &Station) -> Result<String> {
    let output = Command::new(python()?).arg(python_script(name)).arg(&station.file).env("PYTHONUTF8", "1").output()?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!("{name}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    print!("{text}");
    Ok(text)
}

/// A program writes, commits, writes again after a push; upstream follows each time.
fn everything_it_writes_arrives(script: &str) -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("python")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.init_station("python")?;
    // Before the station has joined, and once more after it has pushed.
    run_script(script, &station)?;
    ensure!(station.waiting()? > 0, "nothing was captured");
    let code = field.add_station("python")?;
    station.run(&["join", &code, "--server", &server.url()])?.success()?;
    station.run(&["push"])?.success()?;
    let first = field.assert_upstream_equals(&[&station])?;
    run_script(script, &station)?;
    station.run(&["push"])?.success()?;
    let second = field.assert_upstream_equals(&[&station])?;
    ensure!(second.rows > first.rows, "the second run added rows");

    // What the scripts agree on: these names and values, in these places.
    let products = field.schema().table("nomenclature").context("the schema has nomenclature")?;
    let rows = Upstream::open(&field.database)?.rows(field.schema(), products, station.number()?)?;
    let names: Vec<&Cell> = rows.iter().map(|row| &row[1]).collect();
    for name in ["СИНЕЦ ВЯЛЕНЫЙ", "СКУМБРИЯ Х/К (исправлено) 🐟"] {
        ensure!(names.contains(&&Cell::text(name)), "{name} is not among {names:?}");
    }
    ensure!(!names.contains(&&Cell::text("УДАЛИТЬ")), "a deleted product is upstream");
    ensure!(!names.contains(&&Cell::text("ОТКАТ")), "a product that was rolled back is upstream");
    let records = field.schema().table("calculation_data").context("the schema has calculation_data")?;
    let rate = records.column_index("adjusted_shrinkage_rate").context("it has a rate")?;
    let rows = station_rows(&station.file, records)?;
    ensure!(rows.iter().any(|row| row[rate] == Cell::real((1.2 - 1.092) / 1.2)), "the record of СИНЕЦ is there");
    Ok(())
}

#[test]
fn what_pythons_sqlite3_module_writes_arrives_upstream() -> Result<()> {
    everything_it_writes_arrives("plain_sqlite3.py")
}

#[test]
fn what_sqlalchemy_writes_through_reflected_tables_arrives_upstream() -> Result<()> {
    everything_it_writes_arrives("reflected_sqlalchemy.py")
}
