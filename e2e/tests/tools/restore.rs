//! Backups put back: what was lost since comes again, and what is no backup is refused.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::compare::Upstream;
use tidemark_e2e::lives::{Former, Life, assert_upstream_equals};
use tidemark_e2e::postgres::{Flavour, OWNER, PostgresCluster};
use tidemark_e2e::process::{Ended, ServerProcess};

use super::{Kind, World, add, push, rows_of, text};

/// Ends the server and starts another where it was.
fn restarted(world: &World, server: ServerProcess) -> Result<ServerProcess> {
    let address = server.address;
    server.process.terminate()?.success()?;
    world.field.serve_on(address)
}

/// The drill: the database is lost, an older backup is put back; what was pushed since, and trimmed from the station's
/// log, comes again.
fn a_lost_database_is_made_whole_again(kind: Kind) -> Result<()> {
    let mut world = World::new(kind)?;
    let mut server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    let idle = world.field.join_station("idle", &server.url())?;
    let quiet = world.field.join_station("quiet", &server.url())?;
    for station in [&station, &idle, &quiet] {
        station.record(&mut world.dice, 15)?;
        push(station)?;
    }
    let copy = world.file("copy.backup");
    let copy = text(&copy)?;
    world.does(&["backup", copy])?;
    // After the backup: pushed and trimmed, new rows, an edit, a delete; and what waits still.
    add(&station, "since", 40)?;
    station
        .open()?
        .execute_batch("UPDATE models SET description = 'later' WHERE id = 1; DELETE FROM forecasts WHERE id = 2")?;
    push(&station)?;
    add(&station, "waits", 5)?;
    add(&quiet, "all pushed", 7)?;
    push(&quiet)?;
    world.tool(&["restore", copy])?.fails_saying(&["is not empty", "--replace"])?;
    world.tool(&["restore", copy, "--replace"])?.fails_saying(&["--yes"])?;
    world.field.assert_upstream_equals(&[&station, &idle, &quiet]).err().context("the log is not drained yet")?;
    // The server serves on meanwhile.
    let said = world.does(&["restore", copy, "--replace", "--yes", "--kept", "kept.backup"])?;
    ensure!(said.contains("what was there before is kept.backup") && world.file("kept.backup").is_file(), "{said}");
    idle.run(&["verify"])?.success()?;
    // One that has nothing to push asks as well.
    quiet.run(&["push"])?.fails_saying(&["forked: ", "it has lost changes"])?;
    let asked = quiet.run(&["verify"])?;
    ensure!(asked.code != Some(0) && asked.stderr.contains("it has lost changes"), "{}", asked.output());
    let told = station.run(&["push"])?.fails_saying(&["forked: ", "it has lost changes"])?;
    println!("{}", told.stderr.trim_end());
    ensure!(station.status()?["state"] == "forked");
    // Verify says so, too, and repairs nothing past a fork.
    let verify = station.run(&["verify", "--repair"])?;
    ensure!(verify.code != Some(0), "{}", verify.output());
    let parted = world.file("parted.db");
    station.open()?.execute("VACUUM INTO ?1", [text(&parted)?])?;
    let quiet_parted = world.file("quiet-parted.db");
    quiet.open()?.execute("VACUUM INTO ?1", [text(&quiet_parted)?])?;
    server = restarted(&world, server)?;
    for (station, name, old) in [(&station, "one again", "one"), (&quiet, "quiet again", "quiet")] {
        let code = world.does(&["station", "add", name, "--replaces", old])?;
        let code = code.lines().last().context("a code")?.to_owned();
        station.run(&["rejoin", &code, "--server", &server.url()])?.success()?;
        push(station)?;
    }
    let rejects: i64 = station.open()?.query_row("SELECT count(*) FROM tidemark_rejects", [], |row| row.get(0))?;
    ensure!(rejects == 0);
    // The one thing that the station cannot say again: that it deleted a row since the backup. It is upstream again,
    // and only that.
    let number_one = 1_i64 << 32;
    let back = world.upstream_has(&format!("forecasts WHERE id = {}", number_one + 2))?;
    ensure!(back == 1, "the deleted row is back");
    world.upstream_does(&format!("DELETE FROM {}forecasts WHERE id = {}", world.prefix(), number_one + 2))?;
    let former = |number, copy: &Path| vec![Former { number, copy: copy.to_owned(), replaced: true }];
    let lives = [
        Life::of(&parted, 1),
        Life::of(&idle.file, 2),
        Life::of(&quiet_parted, 3),
        Life { file: &station.file, number: 4, former: former(1, &parted) },
        Life { file: &quiet.file, number: 5, former: former(3, &quiet_parted) },
    ];
    let seen = assert_upstream_equals(&Upstream::open(&world.field.database)?, world.field.schema(), &lives)?;
    println!("equal: {} rows", seen.rows);
    // What was replaced can be put back, too.
    world.does(&["restore", "kept.backup", "--replace", "--yes", "--kept", "third.backup"])?;
    ensure!(rows_of(&world.info()?, "coefficients") > Some(40));
    Ok(())
}

#[test]
fn a_lost_database_is_made_whole_again_embedded() -> Result<()> {
    a_lost_database_is_made_whole_again(Kind::Embedded)
}

#[test]
fn a_lost_database_is_made_whole_again_in_plain_postgresql() -> Result<()> {
    a_lost_database_is_made_whole_again(Kind::Plain)
}

#[test]
fn a_lost_database_is_made_whole_again_in_timescaledb() -> Result<()> {
    a_lost_database_is_made_whole_again(Kind::Timescale)
}

/// A server that was put back to before a station joined does not know it, and may have given its number away.
fn a_station_that_joined_after_the_backup_sends_every_row_again(kind: Kind) -> Result<()> {
    let mut world = World::new(kind)?;
    let mut server = world.field.serve()?;
    let one = world.field.join_station("one", &server.url())?;
    one.record(&mut world.dice, 15)?;
    push(&one)?;
    let copy = world.file("copy.backup");
    world.does(&["backup", text(&copy)?])?;
    let late = world.field.join_station("late", &server.url())?;
    late.record(&mut world.dice, 30)?;
    push(&late)?;
    late.open()?
        .execute_batch("UPDATE models SET description = 'later' WHERE id = 1; DELETE FROM forecasts WHERE id = 2")?;
    push(&late)?;
    let pruned = late.run(&["prune", "--older-than", "1d"])?.success()?;
    ensure!(late.open()?.table_exists(None, "tidemark_pruned_ids")?, "nothing was pruned: {}", pruned.output());
    add(&late, "waits", 5)?;
    world.does(&["restore", text(&copy)?, "--replace", "--yes", "--kept", "kept.backup"])?;
    server = restarted(&world, server)?;
    late.run(&["push"])?.fails_saying(&[
        "does not know this token",
        "station add NAME",
        "tidemark rejoin --anew CODE",
    ])?;
    let other = world.field.join_station("other", &server.url())?;
    ensure!(other.status()?["station"] == late.status()?["station"], "its number was given away");
    other.record(&mut world.dice, 10)?;
    push(&other)?;
    let code = |name: &str| -> Result<String> {
        Ok(world.does(&["station", "add", name])?.lines().last().context("a code")?.to_owned())
    };
    let url = server.url();
    let again = code("late again")?;
    late.run(&["rejoin", &again, "--server", &url])?.fails_saying(&["tidemark rejoin --anew CODE"])?;
    one.run(&["rejoin", "--anew", &code("one again")?, "--server", &url])?
        .fails_saying(&["knows this file", "twice"])?;
    for _ in 0..2 {
        let said = late.run(&["rejoin", "--anew", &again, "--server", &url])?.success()?;
        ensure!(said.stdout.contains("\"late again\" now, and was"), "{}", said.output());
    }
    for station in [&late, &one] {
        push(station)?;
        station.run(&["verify"])?.success()?;
    }
    world.field.assert_upstream_equals(&[&one, &late, &other])?;
    let rejects: i64 = late.open()?.query_row("SELECT count(*) FROM tidemark_rejects", [], |row| row.get(0))?;
    ensure!(rejects == 0);
    late.record(&mut world.dice, 10)?;
    push(&late)?;
    world.field.assert_upstream_equals(&[&one, &late, &other])?;
    Ok(())
}

#[test]
fn a_station_that_joined_after_the_backup_sends_every_row_again_embedded() -> Result<()> {
    a_station_that_joined_after_the_backup_sends_every_row_again(Kind::Embedded)
}

#[test]
fn a_station_that_joined_after_the_backup_sends_every_row_again_in_timescaledb() -> Result<()> {
    a_station_that_joined_after_the_backup_sends_every_row_again(Kind::Timescale)
}

/// Whatever is no whole backup is refused, and the database is as it was.
fn what_is_no_backup_is_refused(kind: Kind) -> Result<()> {
    let mut world = World::new(kind)?;
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    station.record(&mut world.dice, 30)?;
    push(&station)?;
    let copy = world.file("copy.backup");
    world.does(&["backup", text(&copy)?])?;
    let whole = std::fs::read(&copy)?;
    let replace = |world: &World, name: &str| -> Result<Ended> {
        world.tool(&["restore", name, "--replace", "--yes", "--kept", &format!("kept-{name}")])
    };
    let station_file = world.file("station.db");
    station.open()?.execute("VACUUM INTO ?1", [text(&station_file)?])?;
    std::fs::write(world.file("empty"), [])?;
    std::fs::write(world.file("text"), "no backup at all\n".repeat(1000))?;
    let mut bad = vec!["empty".to_owned(), "text".to_owned(), "station.db".to_owned()];
    for part in [1, 3, 6, 9] {
        let name = format!("cut-{part}");
        std::fs::write(world.file(&name), &whole[..whole.len() * part / 10])?;
        bad.push(name);
    }
    for name in &bad {
        let ended = replace(&world, name)?.expect_code(1)?;
        ensure!(!ended.output().contains("panicked at"), "{}", ended.output());
        println!("{name}: {}", ended.stderr.trim_end());
    }
    replace(&world, "none")?.fails_saying(&["there is no backup none"])?;
    world.field.assert_upstream_equals(&[&station])?;
    station.record(&mut world.dice, 3)?;
    push(&station)?;
    world.field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn what_is_no_backup_is_refused_embedded() -> Result<()> {
    what_is_no_backup_is_refused(Kind::Embedded)
}

#[test]
fn what_is_no_backup_is_refused_by_timescaledb() -> Result<()> {
    what_is_no_backup_is_refused(Kind::Timescale)
}

#[test]
fn a_superuser_restores_by_timescaledbs_own_steps() -> Result<()> {
    let mut world = World::new(Kind::Timescale)?;
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    station.record(&mut world.dice, 40)?;
    push(&station)?;
    world.does(&["backup", "copy.dump"])?;
    let owners = world.another("by_owner")?;
    let here = world.turn_to(owners.clone());
    world.tool(&["restore", "copy.dump", "--exact"])?.fails_saying(&["needs a superuser"])?;
    world.turn_to(owners.replace(OWNER, "admin"));
    let said = world.does(&["restore", "copy.dump", "--exact"])?;
    ensure!(said.contains("rows put back"), "{said}");
    ensure!(world.does(&["timescale"])?.lines().count() == 7);
    world.field.assert_upstream_equals(&[&station])?;
    // Chunks take rows as before.
    let restored = world.field.serve()?;
    station.run(&["server", &restored.url()])?.success()?;
    station.record(&mut world.dice, 5)?;
    push(&station)?;
    world.field.assert_upstream_equals(&[&station])?;
    world.turn_to(here);
    Ok(())
}

#[test]
fn a_backup_of_timescaledb_goes_into_plain_postgresql() -> Result<()> {
    let mut world = World::new(Kind::Timescale)?;
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    station.record(&mut world.dice, 40)?;
    push(&station)?;
    drop(server);
    world.does(&["backup", "copy.dump"])?;
    let plain = PostgresCluster::start(Flavour::Plain)?;
    world.turn_to(plain.create_database("plain")?);
    let said = world.does(&["restore", "copy.dump"])?;
    ensure!(said.contains("became plain tables"), "{said}");
    world.field.assert_upstream_equals(&[&station])?;
    let server = world.field.serve()?;
    station.run(&["server", &server.url()])?.success()?;
    station.record(&mut world.dice, 5)?;
    push(&station)?;
    world.field.assert_upstream_equals(&[&station])?;
    Ok(())
}
