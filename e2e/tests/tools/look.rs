//! A database is looked at and tidied, and what is wrong with it told.

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::postgres::OWNER;

use super::{Kind, World, push, rows_of};

fn tools_say_what_is_there(kind: Kind) -> Result<()> {
    let mut world = World::new(kind)?;
    let server = world.field.serve()?;
    let station = world.field.join_station("Волга", &server.url())?;
    world.field.add_station("not yet")?;
    station.record(&mut world.dice, 20)?;
    // Text where a number belongs: a reject.
    station
        .open()?
        .execute("INSERT INTO coefficients (coefficient_a, calculation_date) VALUES ('viel', '2025-01-01')", [])?;
    push(&station)?;
    let info = world.info()?;
    let here: i64 = station.open()?.query_row("SELECT count(*) FROM forecasts", [], |row| row.get(0))?;
    ensure!(rows_of(&info, "forecasts") == Some(here.unsigned_abs()), "{info}");
    ensure!(info["stations"] == serde_json::json!({ "joined": 1, "invited": 1, "revoked": 0 }), "{info}");
    ensure!(info["open_rejects"] == 1 && info["migrations_pending"] == serde_json::json!([]), "{info}");
    ensure!(info["bytes"].as_u64() > Some(100_000) && info["schema"]["name"] == "shrinkage", "{info}");
    let forecasts = info["tables"].as_array().and_then(|tables| tables.iter().find(|it| it["name"] == "forecasts"));
    let forecasts = forecasts.context("forecasts is told")?;
    ensure!(forecasts["bytes"].as_u64() >= Some(4096), "{forecasts}");
    let shown = world.does(&["info"])?;
    let timescale = world.does(&["timescaledb"])?;
    let test = world.does(&["test"])?;
    match kind {
        Kind::Timescale => {
            ensure!(forecasts["chunks"].as_u64() > Some(0), "{forecasts}");
            ensure!(info["timescaledb"]["licence"] == "apache", "{info}");
            ensure!(shown.contains("yes, ") && shown.contains("licence apache"), "{shown}");
            ensure!(
                timescale.contains("shrinkage.forecasts") && timescale.contains("forecast_date by 7 days"),
                "{timescale}"
            );
            ensure!(timescale.lines().count() == 7, "{timescale}");
        }
        Kind::Plain => {
            ensure!(info["timescaledb"].is_null() && forecasts["chunks"].is_null(), "{info}");
            ensure!(
                timescale.contains("no TimescaleDB") && timescale.contains("shared_preload_libraries"),
                "{timescale}"
            );
        }
        Kind::Embedded => ensure!(timescale.contains("has no hypertables"), "{timescale}"),
    }
    // The clusters of the tests are without fsync, which is warned of.
    ensure!(
        test.lines().all(|line| !line.starts_with("FAIL")) && test.contains("matches shrinkage version 1"),
        "{test}"
    );
    // Looking and tidying change nothing.
    let before = world.info()?["tables"].clone();
    world.does(&["vacuum"])?;
    world.does(&["vacuum", "--full"])?;
    let after = world.info()?["tables"].clone();
    for (before, after) in before.as_array().into_iter().flatten().zip(after.as_array().into_iter().flatten()) {
        ensure!(before["rows"] == after["rows"] && before["name"] == after["name"], "{before} {after}");
    }
    station
        .open()?
        .execute_batch("DELETE FROM coefficients WHERE typeof(coefficient_a) = 'text'; DELETE FROM tidemark_rejects")?;
    push(&station)?;
    world.field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn tools_say_what_is_there_embedded() -> Result<()> {
    tools_say_what_is_there(Kind::Embedded)
}

#[test]
fn tools_say_what_is_there_in_plain_postgresql() -> Result<()> {
    tools_say_what_is_there(Kind::Plain)
}

#[test]
fn tools_say_what_is_there_in_timescaledb() -> Result<()> {
    tools_say_what_is_there(Kind::Timescale)
}

#[test]
fn a_database_that_a_server_cannot_work_with_is_told_point_by_point() -> Result<()> {
    let mut world = World::new(Kind::Plain)?;
    let cluster = world.cluster.as_ref().context("a cluster")?;
    let admin = cluster.admin("harbour_db")?;
    admin.batch(&format!(
        "ALTER TABLE shrinkage.models DROP COLUMN version; REVOKE ALL ON tidemark.cursor FROM {OWNER}"
    ))?;
    let ended = world.tool(&["test"])?.fails_saying(&["points failed"])?;
    ensure!(
        ended.stdout.contains("FAIL  rights")
            && ended.stdout.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON tidemark.cursor TO harbour\n"),
        "{}",
        ended.stdout
    );
    ensure!(
        ended.stdout.contains("FAIL  schema") && ended.stdout.contains("models.version is missing"),
        "{}",
        ended.stdout
    );
    let gone = cluster.url("nowhere");
    let here = world.turn_to(gone);
    world.tool(&["test"])?.fails_saying(&["nowhere"])?;
    let wrong = here.replace("Ebb", "Wr0ngEbb");
    world.turn_to(wrong);
    let ended = world.field.server_command(&["test"])?.fails_saying(&["password authentication failed"])?;
    ensure!(!ended.output().contains("Wr0ng"), "{}", ended.output());
    // Looking at an embedded database does not make one.
    let none = world.file("none.db");
    world.turn_to(format!("sqlite:///{}", none.display()));
    for tool in ["test", "info", "vacuum", "optimize", "backup"] {
        world.tool(&[tool])?.fails_saying(&["there is no database file", "none.db"])?;
    }
    ensure!(!none.exists());
    Ok(())
}
