//! The switch without downtime, and the way back: the system's program writes all the while it moves, goes on against
//! PostgreSQL, and can go back to a file of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tidemark_e2e::exported::{assert_export_equals, map_of};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{run, start_python};
use tidemark_e2e::world::wait_for;

const SYSTEM: &str = "shrinkage_system.py";
const PATIENCE: Duration = Duration::from_secs(120);

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's path is text")
}

#[test]
fn the_system_switches_to_postgresql_while_it_works_and_can_go_back() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("switch")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let plant = field.folder_of("plant")?;
    let program = |args: &[&str]| start_python(SYSTEM, args, field.folder());
    program(&["make", text(&plant.file), "--rows", "6000"])?.wait()?.success()?;

    // It works through attach, backfill, join and push, until it is told to stop.
    let stop = field.folder().join("stop");
    let at_work = program(&["work", text(&plant.file), "--until", text(&stop)])?;
    plant.run(&["attach", "--no-backup"])?.success()?;
    field.join(&plant, &server.url())?;
    let daemon = plant.start(&["run"])?;
    let tidemark = || -> Result<u64> { Ok(plant.status()?["tidemark"].as_u64().unwrap_or(0)) };
    let (mut seen, mut moved) = (tidemark()?, 0);
    wait_for("the daemon to push what the program writes", PATIENCE, || {
        let now = tidemark()?;
        moved += u32::from(now > seen);
        seen = now;
        Ok((now > 5800 && moved >= 3).then_some(()))
    })?;

    // The switch: the program stands still for as long as this takes.
    std::fs::write(&stop, "")?;
    let rounds = at_work.wait()?.success()?.stdout;
    daemon.terminate()?.success()?;
    plant.run(&["push"])?.success()?;
    let verified = plant.run(&["verify"])?.expect_code(0)?;
    let at_switch = field.assert_upstream_equals(&[&plant])?;
    ensure!(plant.status()?["rejects"] == 0, "{:?}", plant.status()?);
    let revoke = ["station", "revoke", "plant", "--database", &field.database];
    run("tidemark-server", &revoke, field.folder(), &BTreeMap::new())?.success()?;
    println!("{}{rounds}{}", verified.stdout, field.database.split('@').next_back().unwrap_or_default());

    // On, as headquarters: it adds rows of its own, and changes and deletes those it wrote as a station.
    program(&["work", &field.database, "--rounds", "30"])?.wait()?.success()?;
    let client = cluster.connect("switch")?;
    let written: i64 = client.value("SELECT count(*) FROM shrinkage.coefficients WHERE station = 0")?;
    ensure!(written > 10, "{written} coefficients of its own");

    // And back: a file that the program works with as it always did, its old rows under their old ids.
    let (out, map) = (field.folder().join("back.db"), field.folder().join("back.csv"));
    let to = format!("sqlite:///{}", out.display());
    let export = ["export", "--to", &to, "--map", text(&map), "--database", &field.database];
    let exported = run("tidemark-server", &export, field.folder(), &BTreeMap::new())?.success()?;
    println!("{}", exported.stdout);
    let rows = assert_export_equals(&field, &out, &map, &|_| true)?;
    ensure!(rows > at_switch.rows, "{rows} rows after {at_switch:?}");
    ensure!(map_of(&map)?.iter().all(|((_, station), added)| *station != 1 || *added == 0), "old ids moved");
    program(&["work", text(&out), "--rounds", "20"])?.wait()?.success()?;

    // Nor is that the end: it can move again.
    let again = Field::shrinkage(None)?;
    let server = again.serve()?;
    let second = again.folder_of("plant")?;
    std::fs::copy(&out, &second.file)?;
    second.run(&["attach", "--no-backup"])?.success()?;
    again.join(&second, &server.url())?;
    second.run(&["push"])?.success()?;
    again.assert_upstream_equals(&[&second])?;
    second.run(&["verify"])?.success()?;
    Ok(())
}
