//! Copied, restored and tampered files go on under a new number: no row lost, none doubled. Real programs, real copies of real files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::compare::{Seen, Upstream, assert_log_drained};
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::lives::{Former, Life, assert_upstream_equals};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::ServerProcess;
use tidemark_e2e::proxy::{Act, Proxy};
use tidemark_e2e::world::{Dice, pause, wait_for};

/// A deployment with its server.
struct World {
    field: Field,
    server: ServerProcess,
    dice: Dice,
    copies: u32,
}

impl World {
    fn new(database: Option<String>) -> Result<Self> {
        let field = Field::shrinkage(database)?;
        field.migrate()?;
        let server = field.serve()?;
        Ok(Self { field, server, dice: Dice::from_env(), copies: 0 })
    }

    fn station(&self, name: &str) -> Result<Station> {
        self.field.join_station(name, &self.server.url())
    }

    fn record(&mut self, station: &Station, records: u32) -> Result<()> {
        station.record(&mut self.dice, records)
    }

    fn push(&self, station: &Station) -> Result<()> {
        station.run(&["push"])?.success()?;
        assert_log_drained(&station.file)?;
        Ok(())
    }

    /// Copies a station's file as it lies on the disk.
    fn copy(&mut self, station: &Station) -> Result<PathBuf> {
        self.copies += 1;
        let to = self.field.folder().join(format!("copy-{}.db", self.copies));
        copy_file(&station.file, &to)?;
        Ok(to)
    }

    /// A code for a new station, and whether it replaces an old one.
    fn code(&self, name: &str, replaces: Option<&str>) -> Result<String> {
        let mut args = vec!["station", "add", name];
        args.extend(replaces.iter().flat_map(|old| ["--replaces", old]));
        let added = self.field.server_command(&args)?.success()?;
        Ok(added.last_line().trim().to_owned())
    }

    fn rejoin(&self, station: &Station, name: &str, replaces: Option<&str>) -> Result<()> {
        let code = self.code(name, replaces)?;
        let ended = station.run(&["rejoin", &code, "--server", &self.server.url()])?.success()?;
        println!("{}", ended.stdout.trim_end());
        Ok(())
    }

    fn equal(&self, lives: &[Life<'_>]) -> Result<Seen> {
        for life in lives {
            drop(rusqlite::Connection::open(life.file)?);
        }
        let seen = assert_upstream_equals(&Upstream::open(&self.field.database)?, self.field.schema(), lives)?;
        println!("equal: {} rows, {} cells of {} files", seen.rows, seen.cells, lives.len());
        Ok(seen)
    }

    fn list(&self) -> Result<String> {
        Ok(self.field.server_command(&["station", "list"])?.success()?.stdout)
    }
}

/// Puts a copy of a file in another's place: the database and, where a program left one, its write-ahead log.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let (from, to) = (with(from), with(to));
        if to.exists() {
            std::fs::remove_file(&to)?;
        }
        if from.exists() {
            std::fs::copy(&from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
        }
    }
    Ok(())
}

fn former(number: u32, copy: &Path, replaced: bool) -> Vec<Former> {
    vec![Former { number, copy: copy.to_owned(), replaced }]
}

/// The rejected changes of a station's file: table and code of each.
fn rejects(station: &Station) -> Result<Vec<(String, String)>> {
    let file = station.open()?;
    let mut query = file.prepare("SELECT tbl, code FROM tidemark_rejects ORDER BY seq")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What a station writes that only adds: rows of its own, some of them under shared ones.
fn add(station: &Station, name: &str, count: u32) -> Result<()> {
    let file = station.open()?;
    for n in 0..count {
        file.execute(
            "INSERT INTO calculation_data (source_data_id, nomenclature_id, initial_balance, calculation_date) VALUES (1, 2, ?1, ?2)",
            (f64::from(n), format!("2025-03-{:02} 10:00:00", n % 28 + 1)),
        )?;
        let record = file.last_insert_rowid();
        file.execute("INSERT INTO models (name, model_type) VALUES (?1, 'linear')", [format!("{name} {n}")])?;
        let model = file.last_insert_rowid();
        file.execute(
            "INSERT INTO coefficients (calculation_data_id, model_id, coefficient_a, calculation_date) VALUES (?1, ?2, 0.5, '2025-04-01')",
            (record, model),
        )?;
    }
    Ok(())
}

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

/// A station whose file was put back and written to, ready to rejoin as `one again`; the lost life and the copy where they part.
fn forked(world: &mut World) -> Result<(Station, PathBuf, PathBuf)> {
    let station = world.station("one")?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let backup = world.copy(&station)?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let lost = world.copy(&station)?;
    copy_file(&backup, &station.file)?;
    world.record(&station, 60)?;
    station.run(&["push"])?.fails_saying(&["forked: "])?;
    Ok((station, lost, backup))
}

#[test]
fn a_rejoin_killed_at_any_moment_is_done_by_the_same_command_again() -> Result<()> {
    let mut world = World::new(None)?;
    let (station, lost, backup) = forked(&mut world)?;
    let code = world.code("one again", Some("one"))?;
    let url = world.server.url();
    let mut kills = 0;
    for delay_ms in [1, 3, 5, 8, 12, 16, 20, 25, 30, 40] {
        let mut rejoin = station.start(&["rejoin", &code, "--server", &url])?;
        pause(Duration::from_millis(delay_ms));
        kills += u32::from(!rejoin.has_ended()?);
        rejoin.kill()?;
    }
    println!("{kills} of 10 kills met a running rejoin");
    ensure!(kills >= 3, "only {kills} kills met a running rejoin");
    for _ in 0..2 {
        station.run(&["rejoin", &code, "--server", &url])?.success()?;
        ensure!(station.number()? == 2, "the same code gives the same number");
    }
    world.push(&station)?;
    world.equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    Ok(())
}

#[test]
fn a_rejoin_whose_answers_are_lost_is_repaired_by_asking_again() -> Result<()> {
    for path in ["/v1/history", "/v1/rejoin"] {
        let mut world = World::new(None)?;
        let (station, lost, backup) = forked(&mut world)?;
        let proxy = Proxy::start_for(path, world.server.address)?;
        let code = world.code("one again", Some("one"))?;
        for fault in
            [Act::DropReply, Act::CutReply(40), Act::Close, Act::Answer(500), Act::Answer(503), Act::CutBody(20)]
        {
            proxy.script([fault.clone()]);
            let ended = station.run(&["rejoin", &code, "--server", &proxy.url()])?;
            // A request without a body has none that could be cut.
            if ended.code != Some(0) {
                ended.expect_code(EXIT_UNREACHABLE).with_context(|| format!("{fault:?}"))?;
            }
        }
        proxy.script([Act::Pass]);
        station.run(&["rejoin", &code, "--server", &proxy.url()])?.success()?;
        ensure!(station.number()? == 2, "{path}: every request was of the same station");
        world.push(&station)?;
        world
            .equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    }
    Ok(())
}

#[test]
fn two_rejoins_at_once_make_one_station() -> Result<()> {
    let mut world = World::new(None)?;
    let (station, lost, backup) = forked(&mut world)?;
    let code = world.code("one again", Some("one"))?;
    let url = world.server.url();
    let both = [0; 2].map(|_| station.start(&["rejoin", &code, "--server", &url]));
    for rejoin in both {
        let ended = rejoin?.wait()?;
        ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{}", ended.output());
    }
    station.run(&["rejoin", &code, "--server", &url])?.success()?;
    ensure!(station.number()? == 2);
    world.push(&station)?;
    world.equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    Ok(())
}

#[test]
fn a_deliberate_copy_takes_a_number_of_its_own_under_a_running_daemon() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("template")?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let copied = world.copy(&station)?;
    let twin = station.with_file(world.field.folder().join("template/twin.db"));
    copy_file(&copied, &twin.file)?;
    let code = world.code("two", None)?;
    let url = world.server.url();
    twin.run(&["rejoin", &code, "--server", &url])?.fails_saying(&["not forked", "--force"])?;
    let daemon = twin.start(&["run"])?;
    wait_for("the daemon to watch", Duration::from_secs(20), || {
        Ok(daemon.output_so_far().contains("watches").then_some(()))
    })?;
    twin.run(&["rejoin", &code, "--force", "--server", &url])?.success()?;
    add(&twin, "twin", 12)?;
    add(&station, "original", 7)?;
    world.push(&station)?;
    wait_for("the daemon to push as the new station", Duration::from_secs(30), || {
        Ok((twin.waiting()? == 0).then_some(()))
    })?;
    daemon.terminate()?.success()?;
    ensure!(twin.number()? == 2 && rejects(&twin)?.is_empty());
    world.equal(&[
        Life::of(&station.file, 1),
        Life { file: &twin.file, number: 2, former: former(1, &copied, false) },
    ])?;
    Ok(())
}

#[test]
fn what_may_still_arrive_under_the_old_number_is_waited_for() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("one")?;
    world.record(&station, 5)?;
    world.push(&station)?;
    world.record(&station, 5)?;
    let proxy = Proxy::start(world.server.address)?;
    station.open()?.execute("UPDATE tidemark_station SET server = ?1", [proxy.url()])?;
    // Sent, and lost before the server: whether it arrives is not known here.
    proxy.script([Act::Close, Act::Close, Act::Close, Act::Close]);
    station.run(&["push"])?.expect_code(EXIT_UNREACHABLE)?;
    let copied = world.copy(&station)?;
    let twin = station.with_file(world.field.folder().join("one/twin.db"));
    copy_file(&copied, &twin.file)?;
    add(&twin, "twin", 3)?;
    let code = world.code("two", None)?;
    let url = world.server.url();
    let rejoin = ["rejoin", &code, "--force", "--server", &url];
    twin.run(&rejoin)?.fails_saying(&["may still be applied", "copy that keeps the number"])?;
    world.push(&station)?;
    twin.run(&rejoin)?.success()?;
    world.push(&twin)?;
    world.equal(&[
        Life::of(&station.file, 1),
        Life { file: &twin.file, number: 2, former: former(1, &copied, false) },
    ])?;
    Ok(())
}

#[test]
fn a_rejoin_that_would_double_or_guess_is_refused_with_what_to_do() -> Result<()> {
    let mut world = World::new(None)?;
    let url = world.server.url();
    let stranger = world.field.init_station("stranger")?;
    let any = world.code("any", None)?;
    stranger.run(&["rejoin", &any, "--server", &url])?.fails_saying(&["has not joined", "tidemark join"])?;

    let (station, _, _) = forked(&mut world)?;
    let before = world.copy(&station)?;
    let list = ["station", "add", "x", "--replaces", "nobody"];
    world.field.server_command(&list)?.fails_saying(&["no station \"nobody\""])?;
    let code = world.code("one again", Some("one"))?;
    stranger.run(&["join", &code, "--server", &url])?.fails_saying(&["station \"one\"", "tidemark rejoin"])?;
    let other = world.station("other")?;
    other.record(&mut world.dice, 3)?;
    other.run(&["rejoin", "--force", &code, "--server", &url])?.fails_saying(&["station \"one\""])?;
    station.run(&["rejoin", &code, "--server", &url])?.success()?;
    world.push(&station)?;
    other.run(&["rejoin", "--force", &code, "--server", &url])?.fails_saying(&["station \"one\""])?;

    // The file as it was before it rejoined is put back: what it would send went on already.
    copy_file(&before, &station.file)?;
    station.run(&["push"])?.fails_saying(&["replaced by \"one again\"", "tidemark rejoin", "nothing is lost"])?;
    let third = world.code("third", None)?;
    let waiting = station.waiting()?;
    station.run(&["rejoin", &third, "--server", &url])?.fails_saying(&["\"one again\"", "double"])?;
    ensure!(station.waiting()? == waiting && station.number()? == 1, "the file is what it was");
    let gone = ["station", "add", "y", "--replaces", "one"];
    world.field.server_command(&gone)?.fails_saying(&["replaced already"])?;
    Ok(())
}

#[test]
fn where_the_server_kept_no_prints_a_rejoin_is_exact_or_refused() -> Result<()> {
    let mut world = World::new(None)?;
    let (station, lost, backup) = forked(&mut world)?;
    let upstream = rusqlite::Connection::open(world.field.folder().join("upstream.db"))?;
    upstream.busy_timeout(Duration::from_secs(20))?;
    upstream.execute_batch("CREATE TABLE kept AS SELECT * FROM tidemark_history; DELETE FROM tidemark_history")?;
    let code = world.code("one again", Some("one"))?;
    let url = world.server.url();
    let waiting = station.waiting()?;
    station.run(&["rejoin", &code, "--server", &url])?.fails_saying(&["before it kept any", "tidemark init"])?;
    ensure!(station.waiting()? == waiting && station.number()? == 1, "the file is what it was");
    upstream.execute_batch("INSERT INTO tidemark_history SELECT * FROM kept; DROP TABLE kept")?;
    station.run(&["rejoin", &code, "--server", &url])?.success()?;
    world.push(&station)?;
    world.equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    Ok(())
}

#[test]
fn a_server_put_back_to_an_older_state_gets_the_rows_again() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("one")?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let upstream = world.field.folder().join("upstream.db");
    let address = world.server.address;
    world.server.process.kill()?;
    let backup = world.field.folder().join("upstream-backup.db");
    copy_file(&upstream, &backup)?;
    world.server = world.field.serve_on(address)?;
    add(&station, "lost upstream", 20)?;
    station.open()?.execute_batch("UPDATE models SET description = 'later' WHERE id = 1")?;
    world.push(&station)?;
    world.server.process.kill()?;
    copy_file(&backup, &upstream)?;
    world.server = world.field.serve_on(address)?;
    add(&station, "more", 3)?;
    station.run(&["push"])?.fails_saying(&["forked: ", "it has lost changes"])?;
    let copied = world.copy(&station)?;
    world.rejoin(&station, "one again", Some("one"))?;
    world.push(&station)?;
    ensure!(rejects(&station)?.is_empty(), "{:?}", rejects(&station)?);
    world.equal(&[Life::of(&copied, 1), Life { file: &station.file, number: 2, former: former(1, &copied, true) }])?;
    Ok(())
}

/// What the server kept of changes for as long as it was told, and no longer: a rejoin is exact as far as that goes, and says where it ends.
#[test]
fn an_older_file_is_told_what_cannot_be_told_any_more() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("kama")?;
    world.record(&station, 5)?;
    world.push(&station)?;
    let late = world.station("lena")?;
    world.record(&late, 5)?;
    world.push(&late)?;
    // One copy has changes that its original pushes, too, after it was made; the other was made when everything was pushed.
    world.record(&station, 5)?;
    let (old, level) = (world.copy(&station)?, world.copy(&late)?);
    let many = |station: &Station| -> Result<()> {
        station.open()?.execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10100)
             INSERT INTO nomenclature (name) SELECT 'fish ' || n FROM n",
        )?;
        Ok(())
    };
    world.push(&station)?;
    for station in [&station, &station, &late] {
        many(station)?;
        world.push(station)?;
    }
    let batches = |world: &World| -> Result<i64> {
        let upstream = rusqlite::Connection::open(world.field.folder().join("upstream.db"))?;
        Ok(upstream.query_row("SELECT count(*) FROM tidemark_history", [], |row| row.get(0))?)
    };
    let before = batches(&world)?;
    // The server starts again, and keeps a second's worth.
    pause(Duration::from_millis(1500));
    world.field.serve_args.extend(["--keep".to_owned(), "1s".to_owned()]);
    world.server = world.field.serve()?;
    wait_for("the old prints go", Duration::from_secs(20), || Ok((batches(&world)? < before).then_some(())))?;

    // Exact, wherever the prints reach: the copy's own tidemark is where its history parts.
    let level = late.with_file(level);
    world.record(&level, 2)?;
    level.run(&["server", &world.server.url()])?.success()?;
    level.run(&["push"])?.fails_saying(&["rejoin"])?;
    world.rejoin(&level, "lena beside", None)?;
    world.push(&level)?;
    // Where they do not, it says so, and changes nothing.
    let old = station.with_file(old);
    let waiting = old.waiting()?;
    world.record(&old, 2)?;
    let code = world.code("kama beside", None)?;
    let refused = old.run(&["rejoin", &code, "--server", &world.server.url()])?;
    refused.fails_saying(&[
        "has no prints of those changes",
        "longer ago than it keeps prints",
        "Nothing was changed",
    ])?;
    ensure!(old.waiting()? > waiting && old.number()? == 1);
    Ok(())
}
