//! What happens to files: copied, put back, tampered with.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use tidemark_e2e::field::Station;
use tidemark_e2e::lives::{Former, Life};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};

use super::{World, add, copy_file, former, rejects};

/// A copy is written to while the original goes on: both lives stay whole, and shared rows are there once.
fn a_copied_file_goes_on_beside_the_original(database: Option<String>) -> Result<()> {
    let mut world = World::new(database)?;
    let station = world.station("one")?;
    world.record(&station, 20)?;
    world.push(&station)?;
    // Copied with changes waiting in both.
    world.record(&station, 5)?;
    let copied = world.copy(&station)?;
    let twin = station.with_file(world.field.folder().join("one/twin.db"));
    copy_file(&copied, &twin.file)?;
    world.record(&station, 8)?;
    world.push(&station)?;
    add(&twin, "twin", 30)?;
    let ended =
        twin.run(&["push"])?.fails_saying(&["forked: ", "two copies", "--replaces \"one\"", "tidemark rejoin"])?;
    println!("{}", ended.stderr.trim_end());
    let list = world.list()?;
    ensure!(list.contains(" at change "), "the server's operator sees the fork: {list}");
    ensure!(twin.status()?["state"] == "forked");
    world.rejoin(&twin, "two", None)?;
    world.push(&twin)?;
    ensure!(twin.number()? == 2 && rejects(&twin)?.is_empty(), "{:?}", rejects(&twin)?);
    ensure!(twin.status()?["former"][0]["station"] == 1);
    ensure!(world.list()?.contains("joined"), "the original keeps its number");
    // Both go on.
    world.record(&station, 6)?;
    world.push(&station)?;
    add(&twin, "later", 10)?;
    world.push(&twin)?;
    let lives = [Life::of(&station.file, 1), Life { file: &twin.file, number: 2, former: former(1, &copied, false) }];
    world.equal(&lives)?;
    // An edit of a shared row is the original's to make: refused, kept, shown, and nothing behind it waits.
    twin.open()?.execute_batch(
        "UPDATE models SET description = 'twin' WHERE id = 1; DELETE FROM forecasts WHERE id = (SELECT min(id) FROM forecasts);",
    )?;
    add(&twin, "behind", 3)?;
    world.push(&twin)?;
    let found = rejects(&twin)?;
    let owner = |table: &str| (table.to_owned(), "owner".to_owned());
    ensure!(found == [owner("models"), owner("forecasts")], "{found:?}");
    let shown = world.field.server_command(&["rejects", "list"])?.success()?.stdout;
    ensure!(shown.contains("owner"), "{shown}");
    twin.open()?.execute_batch("DELETE FROM tidemark_rejects")?;
    world.equal(&lives)?;
    Ok(())
}

#[test]
fn a_copied_file_goes_on_beside_the_original_in_the_embedded_upstream() -> Result<()> {
    a_copied_file_goes_on_beside_the_original(None)
}

#[test]
fn a_copied_file_goes_on_beside_the_original_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    a_copied_file_goes_on_beside_the_original(Some(cluster.create_database("rejoin")?))
}

/// A backup with changes that were pushed after it was made is put back, and the file goes on in another way.
fn a_restored_backup_goes_on(database: Option<String>, replaces: bool) -> Result<()> {
    let mut world = World::new(database)?;
    let station = world.station("one")?;
    world.record(&station, 15)?;
    world.push(&station)?;
    world.record(&station, 10)?;
    let backup = world.copy(&station)?;
    // The life that is lost: it pushed what waits in the backup, and more.
    world.push(&station)?;
    world.record(&station, 12)?;
    world.push(&station)?;
    let lost = world.copy(&station)?;
    copy_file(&backup, &station.file)?;
    if replaces {
        // Everything a program does, edits and deletes of shared rows among it.
        world.record(&station, 9)?;
    } else {
        add(&station, "restored", 9)?;
    }
    station.run(&["push"])?.fails_saying(&["forked: "])?;
    let parted = backup;
    world.rejoin(&station, "one again", replaces.then_some("one"))?;
    world.push(&station)?;
    ensure!(rejects(&station)?.is_empty(), "{:?}", rejects(&station)?);
    let again = Life { file: &station.file, number: 2, former: former(1, &parted, replaces) };
    world.equal(&[Life::of(&lost, 1), again.clone()])?;
    let state = if replaces { "revoked" } else { "joined" };
    ensure!(world.list()?.lines().any(|line| line.starts_with("one  ") && line.contains(state)), "{}", world.list()?);
    // The rejoined file is a file like any other: it can be put back and rejoin in its turn.
    let second_backup = world.copy(&station)?;
    add(&station, "lost again", 4)?;
    world.push(&station)?;
    let second_lost = world.copy(&station)?;
    copy_file(&second_backup, &station.file)?;
    if replaces {
        world.record(&station, 4)?;
    } else {
        add(&station, "once more", 4)?;
    }
    station.run(&["push"])?.fails_saying(&["forked: "])?;
    world.rejoin(&station, "third", replaces.then_some("one again"))?;
    world.push(&station)?;
    ensure!(rejects(&station)?.is_empty(), "{:?}", rejects(&station)?);
    let once_more = Former { number: 2, copy: second_backup, replaced: replaces };
    let third = Life {
        file: &station.file,
        number: 3,
        former: vec![Former { number: 1, copy: parted.clone(), replaced: replaces }, once_more],
    };
    let second = Life { file: &second_lost, ..again };
    world.equal(&[Life::of(&lost, 1), second, third])?;
    Ok(())
}

#[test]
fn a_restored_backup_replaces_the_lost_life_in_the_embedded_upstream() -> Result<()> {
    a_restored_backup_goes_on(None, true)
}

#[test]
fn a_restored_backup_replaces_the_lost_life_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    a_restored_backup_goes_on(Some(cluster.create_database("rejoin")?), true)
}

#[test]
fn a_restored_backup_goes_on_beside_the_lost_life_in_the_embedded_upstream() -> Result<()> {
    a_restored_backup_goes_on(None, false)
}

#[test]
fn a_restored_backup_goes_on_beside_the_lost_life_in_plain_postgresql() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Plain)?;
    a_restored_backup_goes_on(Some(cluster.create_database("rejoin")?), false)
}

/// Captured changes are lost with their log; the rows that are there go upstream as they are.
fn a_file_with_a_tampered_log_goes_on_from_its_rows(database: Option<String>) -> Result<()> {
    let tamperings = [
        ("holes", "DELETE FROM tidemark_log WHERE seq % 7 = 3"),
        ("no end", "DELETE FROM tidemark_log WHERE seq > (SELECT max(seq) - 40 FROM tidemark_log)"),
        ("emptied", "DELETE FROM tidemark_log"),
        (
            "restarted",
            "DELETE FROM tidemark_log; DELETE FROM sqlite_sequence WHERE name = 'tidemark_log'; \
                       INSERT INTO models (name, model_type) VALUES ('after', 'linear')",
        ),
        ("renumbered", "UPDATE tidemark_log SET seq = seq + 1000"),
    ];
    let mut world = World::new(database)?;
    let mut done: Vec<(Station, u32, PathBuf, u32)> = Vec::new();
    for (name, tampering) in tamperings {
        let station = world.station(name)?;
        world.record(&station, 10)?;
        world.push(&station)?;
        let old = station.number()?;
        add(&station, name, 25)?;
        // Deletes stay in the log in every case but those where nothing of it is left.
        station.open()?.execute_batch("UPDATE models SET description = 'edited' WHERE id = 2")?;
        station.open()?.execute_batch(tampering)?;
        let told = station.run(&["push"])?.fails_saying(&["tampered", "--replaces", "tidemark rejoin"])?;
        println!("{name}: {}", told.stderr.trim_end());
        ensure!(station.status()?["state"] == "forked", "{name}");
        let plain = world.code(&format!("{name} beside"), None)?;
        let url = world.server.url();
        station.run(&["rejoin", &plain, "--server", &url])?.fails_saying(&["--replaces"])?;
        world.rejoin(&station, &format!("{name} again"), Some(name))?;
        world.push(&station)?;
        ensure!(rejects(&station)?.is_empty(), "{name}: {:?}", rejects(&station)?);
        let copy = world.copy(&station)?;
        done.push((station, old, copy, 0));
    }
    for (station, _, _, number) in &mut done {
        *number = station.number()?;
        add(station, "afterwards", 2)?;
        world.push(station)?;
    }
    // What was there when it rejoined is the old number's.
    let lives = done.iter().flat_map(|(station, old, copy, number)| {
        [Life::of(copy, *old), Life { file: &station.file, number: *number, former: former(*old, copy, true) }]
    });
    let lives: Vec<Life<'_>> = lives.collect();
    world.equal(&lives)?;
    Ok(())
}

#[test]
fn a_file_with_a_tampered_log_goes_on_from_its_rows_in_the_embedded_upstream() -> Result<()> {
    a_file_with_a_tampered_log_goes_on_from_its_rows(None)
}

#[test]
fn a_file_with_a_tampered_log_goes_on_from_its_rows_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    a_file_with_a_tampered_log_goes_on_from_its_rows(Some(cluster.create_database("rejoin")?))
}
