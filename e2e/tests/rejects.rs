//! Rejects from end to end, with the programs: set aside on both sides, shown, repaired on the station, replayed on the
//! server.

use anyhow::{Result, ensure};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};

const SCHEMA: &str = include_str!("../golden/schema.toml");

/// A parent that the database refuses, its child, its child's sibling that waits for nothing.
fn refused_family(station: &Station) -> Result<()> {
    station.open()?.execute_batch(
        "INSERT INTO site (name) VALUES ('refused'), ('welcome');
         INSERT INTO reading (site_id, measured_at, value) VALUES (1, '2026-06-01', 1.5), (2, '2026-06-01', 2.5)",
    )?;
    Ok(())
}

#[test]
fn a_refused_parent_and_its_child_are_replayed_once_the_cause_is_gone() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::new(SCHEMA, Some(cluster.create_database("rejects")?))?;
    field.migrate()?;
    let upstream = cluster.connect("rejects")?;
    upstream.batch("ALTER TABLE golden.site ADD CONSTRAINT welcome CHECK (name <> 'refused')")?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    refused_family(&station)?;
    station.run(&["push"])?.success()?;

    let shown = station.run(&["rejects"])?.success()?.output();
    ensure!(shown.contains("constraint (by the server)") && shown.contains("parent (by the server)"), "{shown}");
    let listed = field.server_command(&["rejects", "list"])?.success()?.output();
    ensure!(listed.contains("constraint") && listed.contains("parent"), "{listed}");
    let one = field.server_command(&["rejects", "show", "a", "1"])?.success()?.output();
    ensure!(one.contains("refused") && one.contains("welcome"), "{one}");
    field.server_command(&["rejects", "replay", "a", "99"])?.fails_saying(&["no reject 99"])?;

    // The cause is still there: both stay, and nothing is lost.
    let still = field.server_command(&["rejects", "replay", "--all"])?.success()?.output();
    ensure!(still.contains("replayed 0, superseded 0, still open 2"), "{still}");
    upstream.batch("ALTER TABLE golden.site DROP CONSTRAINT welcome")?;
    let replayed = field.server_command(&["rejects", "replay", "a", "1"])?.success()?.output();
    ensure!(replayed.contains("replayed 2, superseded 0, still open 0"), "{replayed}");
    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == 4, "{seen:?}");

    // The station hears of it when it speaks with the server next.
    ensure!(station.status()?["rejects"] == 2);
    let heard = station.run(&["push"])?.success()?.output();
    ensure!(heard.contains("2 rejected changes: upstream after all"), "{heard}");
    ensure!(station.status()?["rejects"] == 0, "{}", station.run(&["rejects"])?.output());
    Ok(())
}

#[test]
fn a_row_repaired_on_the_station_heals_upstream_with_what_hangs_on_it() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::new(SCHEMA, Some(cluster.create_database("rejects")?))?;
    field.migrate()?;
    cluster.connect("rejects")?.batch("ALTER TABLE golden.site ADD CONSTRAINT welcome CHECK (name <> 'refused')")?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    refused_family(&station)?;
    station.run(&["push"])?.success()?;
    ensure!(station.status()?["rejects"] == 2);

    station.run(&["rejects", "repair", "1", "--set", "nothing=1"])?.expect_code(1)?;
    station.run(&["rejects", "repair", "1", "--set", "name=accepted"])?.success()?;
    station.run(&["push"])?.success()?;
    // Whether or not the repair took the child along, asking for all of them leaves none.
    station.run(&["rejects", "requeue", "--all"])?;
    station.run(&["push"])?.success()?;
    ensure!(station.status()?["rejects"] == 0, "{}", station.run(&["rejects"])?.output());
    let seen = field.assert_upstream_equals(&[&station])?;
    ensure!(seen.rows == 4, "{seen:?}");
    let listed = field.server_command(&["rejects", "list", "--state", "open"])?.success()?.output();
    ensure!(!listed.contains("constraint") && !listed.contains("parent"), "{listed}");
    Ok(())
}

#[test]
fn a_time_that_was_taken_for_wrong_is_released_by_the_operator() -> Result<()> {
    let field = Field::new(SCHEMA, None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    station.open()?.execute_batch(
        "INSERT INTO site (name) VALUES ('far'); INSERT INTO reading (site_id, measured_at) VALUES (1, '1955-01-01')",
    )?;
    station.run(&["push"])?.success()?;
    let shown = station.run(&["rejects", "show", "2"])?.success()?.output();
    ensure!(shown.contains("clock") && shown.contains("1955-01-01"), "{shown}");
    let still = field.server_command(&["rejects", "replay", "--all"])?.success()?.output();
    ensure!(still.contains("still open 1"), "{still}");
    let released = field.server_command(&["rejects", "replay", "--all", "--ignore-clock"])?.success()?.output();
    ensure!(released.contains("replayed 1"), "{released}");
    field.assert_upstream_equals(&[&station])?;
    station.open()?.execute("INSERT INTO reading (site_id, measured_at) VALUES (1, '1956-01-01')", [])?;
    station.run(&["push"])?.success()?;
    ensure!(station.status()?["rejects"] == 1, "the first is upstream, the second rejected");
    field.server_command(&["rejects", "discard", "a", "3"])?.success()?;
    let heard = station.run(&["push"])?.success()?.output();
    ensure!(heard.contains("1 rejected change: discarded by the server's operator"), "{heard}");
    ensure!(station.status()?["rejects"] == 0);

    // The other way round: of what could not travel the server knows the number only, until the station says that it is
    // repaired.
    station.open()?.execute(
        "INSERT INTO picture (uuid, extra) VALUES ('0192f0c1-2e4a-7c4e-8a51-3f1d2c9b7e60', '{not json')",
        [],
    )?;
    station.run(&["push"])?.success()?;
    let listed = || anyhow::Ok(field.server_command(&["rejects", "list"])?.success()?.output());
    ensure!(listed()?.contains("json"), "{}", listed()?);
    let repaired = station.run(&["rejects", "repair", "4", "--set", "extra={}"])?.success()?.output();
    ensure!(repaired.contains("1 new change for 1 rejected change"), "{repaired}");
    station.run(&["push"])?.success()?;
    ensure!(!listed()?.contains("json"), "{}", listed()?);
    Ok(())
}
