//! Backups while stations push, on demand and by schedule.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use tidemark_e2e::postgres::PASSWORD;
use tidemark_e2e::process::Running;
use tidemark_e2e::world::wait_for;

use super::{Kind, World, add, push, rows_of, text};

/// While a station writes and pushes, a backup is made; it restores, and what it holds is a moment of the history.
fn a_backup_is_one_moment(kind: Kind) -> Result<()> {
    let mut world = World::with_createdb(kind)?;
    let server = world.field.serve()?;
    let station = world.field.join_station("Север", &server.url())?;
    station.record(&mut world.dice, 300)?;
    push(&station)?;
    let ended = AtomicBool::new(false);
    let copy = world.file("copy.backup");
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| -> Result<u32> {
            let mut rounds = 0;
            while !ended.load(Ordering::Relaxed) {
                add(&station, "meanwhile", 20)?;
                push(&station)?;
                rounds += 1;
            }
            Ok(rounds)
        });
        let made = text(&copy).and_then(|copy| world.does(&["backup", copy, "--check"]));
        ended.store(true, Ordering::Relaxed);
        let rounds = writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        ensure!(rounds > 0, "nothing was pushed meanwhile");
        ensure!(made?.contains("restored and compared, every row came back"));
        Ok(())
    })?;
    world.tool(&["backup", text(&copy)?])?.fails_saying(&["exists already"])?;
    drop(server);
    // Rows and cursor of the backup are of one moment: each pushed row is there once, and no other.
    let other = world.another("restored")?;
    let before = world.turn_to(other);
    let said = world.does(&["restore", text(&copy)?])?;
    ensure!(said.contains("rows put back"), "{said}");
    let test = world.does(&["test"])?;
    // A setting of the tests' clusters is not what one would run with.
    ensure!(test.lines().all(|line| line.starts_with("ok ") || line.starts_with("warn ")), "{test}");
    if kind == Kind::Timescale {
        ensure!(world.does(&["timescale"])?.contains("shrinkage.coefficients"));
    }
    let info = world.info()?;
    let cursor = rows_of(&info, if kind == Kind::Embedded { "tidemark_cursor" } else { "cursor" });
    ensure!(cursor == Some(1), "{info}");
    let models = rows_of(&info, "models").context("models")?;
    let coefficients = rows_of(&info, "coefficients").context("coefficients")?;
    let (first_models, first_coefficients): (i64, i64) = station.open()?.query_row(
        "SELECT (SELECT count(*) FROM models WHERE name NOT LIKE 'meanwhile%'), (SELECT count(*) FROM coefficients WHERE calculation_data_id IS NOT NULL)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    ensure!(
        models - first_models.unsigned_abs() == coefficients - first_coefficients.unsigned_abs(),
        "{models} {coefficients}"
    );
    // The database itself is as the station has it.
    world.turn_to(before);
    world.field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn a_backup_is_one_moment_embedded() -> Result<()> {
    a_backup_is_one_moment(Kind::Embedded)
}

#[test]
fn a_backup_is_one_moment_in_plain_postgresql() -> Result<()> {
    a_backup_is_one_moment(Kind::Plain)
}

#[test]
fn a_backup_is_one_moment_in_timescaledb() -> Result<()> {
    a_backup_is_one_moment(Kind::Timescale)
}

/// The backups of a folder by name, those that count.
fn backups(folder: &Path) -> Result<Vec<String>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<Result<_>>()?;
    let mut made: Vec<String> =
        names.into_iter().filter(|name| name.ends_with("Z.db") || name.ends_with("Z.dump")).collect();
    made.sort();
    Ok(made)
}

fn scheduled_backups_are_checked_and_rotated(kind: Kind) -> Result<()> {
    let mut world = World::with_createdb(kind)?;
    let folder = world.file("copies");
    std::fs::create_dir(&folder)?;
    for name in ["mine.txt", "upstream.db", "harbour_db.dump"] {
        std::fs::write(folder.join(name), "of somebody else")?;
    }
    world.field.serve_args =
        ["--backup-every", "0.0003", "--backup-keep", "2", "--backup-dir", "copies"].map(str::to_owned).into();
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    let mut seen = std::collections::BTreeSet::new();
    wait_for("five backups by the server", Duration::from_secs(90), || {
        station.record(&mut world.dice, 1)?;
        push(&station)?;
        seen.extend(backups(&folder)?);
        Ok((seen.len() >= 5).then_some(()))
    })?;
    let log = server.process.output_so_far();
    ensure!(log.contains("restored and compared, every row came back") && log.contains("was taken away"), "{log}");
    server.process.terminate()?.success()?;
    let kept = backups(&folder)?;
    ensure!(kept.len() <= 3 && kept.last() == seen.last(), "{kept:?} of {seen:?}");
    // The newest restores, and the program that only makes backups waits until the next is due, also after a restart.
    let other = world.another("newest")?;
    let here = world.turn_to(other);
    world.does(&["restore", &format!("copies/{}", kept.last().context("a backup")?)])?;
    world.turn_to(here);
    let args =
        ["backup", "--every", "1000", "--keep", "2", "--dir", "copies", "--database", world.field.database.as_str()];
    let env = std::collections::BTreeMap::new();
    let mut daily = Running::start("tidemark-server", &args, world.field.folder(), &env)?;
    wait_for("the schedule to be told", Duration::from_secs(20), || {
        Ok(daily.output_so_far().contains("every 1000 h").then_some(()))
    })?;
    ensure!(!daily.has_ended()?);
    daily.terminate()?.success()?;
    ensure!(backups(&folder)? == kept, "no backup before its time");
    for name in ["mine.txt", "upstream.db", "harbour_db.dump"] {
        ensure!(std::fs::read_to_string(folder.join(name))? == "of somebody else", "{name}");
    }
    // A backup that cannot be made is told, and takes nothing away.
    let fails = ["backup", "--every", "0", "--dir", "copies"];
    world.field.server_command(&fails)?.expect_code(2)?;
    if let Some(cluster) = &world.cluster {
        let left: i64 = cluster
            .admin("postgres")?
            .value("SELECT count(*) FROM pg_database WHERE datname LIKE 'tidemark_check_%'")?;
        // The one that was under way when the server was stopped may be left; no more.
        ensure!(left <= 1, "{left} databases of checks are left");
    }
    Ok(())
}

#[test]
fn scheduled_backups_are_checked_and_rotated_embedded() -> Result<()> {
    scheduled_backups_are_checked_and_rotated(Kind::Embedded)
}

#[test]
fn scheduled_backups_are_checked_and_rotated_in_timescaledb() -> Result<()> {
    scheduled_backups_are_checked_and_rotated(Kind::Timescale)
}

#[test]
fn a_stations_copies_are_checked_and_rotated() -> Result<()> {
    let mut world = World::new(Kind::Embedded)?;
    let station = world.field.init_station("one")?;
    station.record(&mut world.dice, 10)?;
    let folder = world.file("one/copies");
    let mut daemon = station.start(&["backup", "--every", "0.0003", "--keep", "2", "--dir", "copies"])?;
    std::fs::write(world.file("one/mine.db"), "of somebody else")?;
    let mut seen = std::collections::BTreeSet::new();
    wait_for("four copies", Duration::from_secs(60), || {
        ensure!(!daemon.has_ended()?, "{}", daemon.output_so_far());
        station.record(&mut world.dice, 1)?;
        if folder.is_dir() {
            seen.extend(backups(&folder)?);
        }
        Ok((seen.len() >= 4).then_some(()))
    })?;
    let ended = daemon.terminate()?.success()?;
    ensure!(ended.stderr.contains("put back to check it: ") && ended.stderr.contains("ended"), "{}", ended.stderr);
    let kept = backups(&folder)?;
    ensure!(kept.len() == 2, "{kept:?}");
    let before: i64 = station.open()?.query_row("SELECT count(*) FROM forecasts", [], |row| row.get(0))?;
    station.open()?.execute_batch("DELETE FROM forecasts")?;
    station.run(&["restore", &format!("copies/{}", kept[1])])?.success()?;
    let after: i64 = station.open()?.query_row("SELECT count(*) FROM forecasts", [], |row| row.get(0))?;
    ensure!(after > 0 && after <= before, "{after} of {before}");
    let once = station.run(&["backup", "--dir", "once"])?.success()?;
    ensure!(
        once.stdout.contains("put back to check it: ") && backups(&world.file("one/once"))?.len() == 1,
        "{}",
        once.stdout
    );
    station.run(&["backup", "--every", "-1"])?.expect_code(2)?;
    Ok(())
}

#[cfg(unix)]
#[test]
fn the_password_is_on_no_command_line() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new(Kind::Plain)?;
    let wrappers = world.file("bin");
    std::fs::create_dir(&wrappers)?;
    let real = std::env::var("TIDEMARK_PG_BIN").ok().map(PathBuf::from);
    for name in ["pg_dump", "pg_restore"] {
        let real = real.as_ref().map_or_else(|| name.to_owned(), |bin| bin.join(name).display().to_string());
        let path = wrappers.join(name);
        std::fs::write(
            &path,
            format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{}/called'\nexec {real} \"$@\"\n", wrappers.display()),
        )?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    world.field.set_env("TIDEMARK_PG_BIN", text(&wrappers)?);
    world.does(&["backup", "copy.dump"])?;
    let other = world.another("other")?;
    world.turn_to(other);
    world.does(&["restore", "copy.dump"])?;
    let called = std::fs::read_to_string(wrappers.join("called"))?;
    ensure!(called.contains("--snapshot") && called.contains("--use-list"), "{called}");
    ensure!(!called.contains("Ebb") && !called.contains(PASSWORD), "{called}");
    let mode = std::fs::metadata(world.file("copy.dump"))?.permissions().mode();
    ensure!(mode & 0o077 == 0, "a backup holds everything: {mode:o}");
    world.field.set_env("TIDEMARK_PG_BIN", "/nowhere");
    world.tool(&["backup", "second.dump"])?.fails_saying(&["there is no pg_dump", "TIDEMARK_PG_BIN"])?;
    ensure!(!world.file("second.dump").exists() && !world.file("second.dump.part").exists());
    Ok(())
}
