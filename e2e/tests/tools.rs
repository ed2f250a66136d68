//! The server's tools, on every kind of database: looked at, tidied, copied while stations push, put back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value as Json;
use tidemark_e2e::compare::{Upstream, assert_log_drained};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::lives::{Former, Life, assert_upstream_equals};
use tidemark_e2e::postgres::{Flavour, OWNER, PASSWORD, PgClient, PostgresCluster};
use tidemark_e2e::process::{Ended, Running, ServerProcess};
use tidemark_e2e::world::{Dice, wait_for};

/// One kind of upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Embedded,
    Plain,
    Timescale,
}

/// A deployment on one kind of upstream; in PostgreSQL, on a database of its own.
struct World {
    kind: Kind,
    cluster: Option<PostgresCluster>,
    field: Field,
    dice: Dice,
}

impl World {
    fn new(kind: Kind) -> Result<Self> {
        let cluster = match kind {
            Kind::Embedded => None,
            Kind::Plain => Some(PostgresCluster::start(Flavour::Plain)?),
            Kind::Timescale => Some(PostgresCluster::start(Flavour::Timescale)?),
        };
        let database = cluster.as_ref().map(|cluster| cluster.create_database("harbour_db")).transpose()?;
        let mut field = Field::shrinkage(database)?;
        if let Some(bin) = std::env::var_os("TIDEMARK_PG_BIN") {
            field.set_env("TIDEMARK_PG_BIN", &bin.to_string_lossy());
        }
        field.migrate()?;
        Ok(Self { kind, cluster, field, dice: Dice::from_env() })
    }

    /// The same with the role's right to make databases.
    fn with_createdb(kind: Kind) -> Result<Self> {
        let world = Self::new(kind)?;
        if let Some(cluster) = &world.cluster {
            cluster.admin("postgres")?.execute(&format!("ALTER ROLE {OWNER} CREATEDB"), &[])?;
        }
        Ok(world)
    }

    /// A server's command; the password is in nothing it prints.
    fn tool(&self, args: &[&str]) -> Result<Ended> {
        let ended = self.field.server_command(args)?;
        for piece in [PASSWORD, "Ebb", "Flow"] {
            ensure!(!ended.output().contains(piece), "{args:?} shows the password: {}", ended.output());
        }
        Ok(ended)
    }

    fn does(&self, args: &[&str]) -> Result<String> {
        let ended = self.tool(args)?.success()?;
        println!("$ tidemark-server {}\n{}", args.join(" "), ended.stdout.trim_end());
        Ok(ended.stdout)
    }

    fn info(&self) -> Result<Json> {
        Ok(serde_json::from_str(&self.tool(&["info", "--json"])?.success()?.stdout)?)
    }

    /// An empty database beside, by its URL.
    fn another(&self, name: &str) -> Result<String> {
        match &self.cluster {
            Some(cluster) => cluster.create_database(name),
            None => Ok(format!("sqlite:///{}", self.field.folder().join(format!("{name}.db")).display())),
        }
    }

    /// Another database in the place of this one.
    fn turn_to(&mut self, database: String) -> String {
        std::mem::replace(&mut self.field.database, database)
    }

    const fn prefix(&self) -> &'static str {
        if matches!(self.kind, Kind::Embedded) { "" } else { "shrinkage." }
    }

    /// How many rows a FROM clause has upstream.
    fn upstream_has(&self, from: &str) -> Result<i64> {
        let sql = format!("SELECT count(*) FROM {}{from}", self.prefix());
        match self.kind {
            Kind::Embedded => {
                Ok(rusqlite::Connection::open(self.file("upstream.db"))?.query_row(&sql, [], |row| row.get(0))?)
            }
            _ => PgClient::connect_url(&self.field.database)?.value(&sql),
        }
    }

    /// Changes something upstream by hand.
    fn upstream_does(&self, sql: &str) -> Result<()> {
        match self.kind {
            Kind::Embedded => Ok(rusqlite::Connection::open(self.file("upstream.db"))?.execute_batch(sql)?),
            _ => PgClient::connect_url(&self.field.database)?.batch(sql),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.field.folder().join(name)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of a test is text")
}

fn rows_of(info: &Json, table: &str) -> Option<u64> {
    let tables = info["tables"].as_array()?.iter().chain(info["own_tables"].as_array()?);
    tables.clone().find(|it| it["name"] == table)?["rows"].as_u64()
}

/// Rows of its own that a station writes, so that something is there to push.
fn add(station: &Station, name: &str, count: u32) -> Result<()> {
    let file = station.open()?;
    for n in 0..count {
        file.execute("INSERT INTO models (name, model_type) VALUES (?1, 'linear')", [format!("{name} {n}")])?;
        file.execute(
            "INSERT INTO coefficients (model_id, coefficient_a, calculation_date) VALUES (?1, 0.5, ?2)",
            (file.last_insert_rowid(), format!("2025-{:02}-{:02} 10:00:00", n % 12 + 1, n % 28 + 1)),
        )?;
    }
    Ok(())
}

fn push(station: &Station) -> Result<()> {
    station.run(&["push"])?.success()?;
    assert_log_drained(&station.file)?;
    Ok(())
}

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
    ensure!(test.lines().all(|line| line.starts_with("ok ")) && test.contains("matches shrinkage version 1"), "{test}");
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
    ensure!(test.lines().all(|line| line.starts_with("ok ")), "{test}");
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

/// Ends the server and starts another where it was.
fn restarted(world: &World, server: ServerProcess) -> Result<ServerProcess> {
    let address = server.address;
    server.process.terminate()?.success()?;
    world.field.serve_on(address)
}

/// The drill: the database is lost, an older backup is put back; what was pushed since, and trimmed from the station's log, comes again.
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
    // The one thing that the station cannot say again: that it deleted a row since the backup. It is upstream again, and only that.
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

/// A cluster whose database was migrated before TimescaleDB was there, with a station's rows in it, and TimescaleDB since.
fn migrated_too_early() -> Result<World> {
    let mut world = World::new(Kind::Plain)?;
    let cluster = world.cluster.as_mut().context("a cluster")?;
    let settings = "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\nmax_worker_processes = 16\n\
                    timescaledb.max_background_workers = 2\n";
    let file = cluster.folder().join("data/postgresql.conf");
    let before = std::fs::read_to_string(&file)?;
    std::fs::write(&file, before + settings)?;
    cluster.kill_hard()?;
    cluster.restart()?;
    Ok(world)
}

/// HQ's own rows, so many that they are copied in several pieces.
fn many_rows(client: &PgClient, rows: u32) -> Result<()> {
    client.batch(&format!(
        "INSERT INTO shrinkage.coefficients (coefficient_a, coefficient_b, calculation_date)
         SELECT n, n / 3.0, timestamptz '2025-01-01 00:00:00+00' + n * interval '1 minute' FROM generate_series(1, {rows}) n"
    ))
}

const DIGEST: &str = "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(c::text, 0)::numeric), 0)
    FROM shrinkage.coefficients c WHERE station = 0";

#[test]
fn plain_tables_become_hypertables_while_a_station_pushes() -> Result<()> {
    let mut world = migrated_too_early()?;
    let client = PgClient::connect_url(&world.field.database)?;
    many_rows(&client, 150_000)?;
    client.batch("CREATE INDEX mine ON shrinkage.coefficients (station, calculation_date DESC); GRANT SELECT ON shrinkage.coefficients TO PUBLIC")?;
    let digest: String = client.value(DIGEST)?;
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    station.record(&mut world.dice, 200)?;
    push(&station)?;
    let plan = world.does(&["optimize", "--plan"])?;
    ensure!(plan.matches("online").count() == 5, "{plan}");
    let (ended, mut kills) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| -> Result<u32> {
            let (mut rounds, mut dice) = (0, Dice::new(7));
            while !ended.load(Ordering::Relaxed) {
                // Inserts, updates and deletes, in the tables that are moved.
                station.record(&mut dice, 5)?;
                station.open()?.execute_batch(
                    "UPDATE coefficients SET coefficient_b = coefficient_b + 1 WHERE id % 7 = 1;
                     DELETE FROM forecasts WHERE id % 13 = 5;
                     UPDATE data_lineage SET process_timestamp = '2025-09-01 00:00:00' WHERE id % 5 = 1",
                )?;
                station.push_until_drained()?;
                rounds += 1;
            }
            Ok(rounds)
        });
        let mut work = || -> Result<()> {
            // Killed where it stands, several times; then to its end.
            let args = ["optimize", "--database", world.field.database.as_str(), "--schema", "schema.toml"];
            let env = std::collections::BTreeMap::new();
            for wait_ms in [60, 250, 500, 900] {
                let mut running = Running::start("tidemark-server", &args, world.field.folder(), &env)?;
                tidemark_e2e::world::pause(Duration::from_millis(wait_ms));
                if !running.has_ended()? {
                    running.kill()?;
                    kills += 1;
                }
            }
            // The backend of a killed run ends when it notices.
            wait_for("the lock of a killed run to go", Duration::from_secs(60), || {
                let ended = world.tool(&["optimize"])?;
                println!("{}", ended.output().trim_end());
                Ok((ended.code == Some(0)).then_some(()))
            })
        };
        let worked = work();
        ended.store(true, Ordering::Relaxed);
        let rounds = writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        println!("{rounds} rounds were pushed meanwhile, {kills} runs were killed");
        ensure!(rounds > 0);
        worked
    })?;
    ensure!(kills > 0, "no run was killed in its middle");
    ensure!(client.value::<String>(DIGEST)? == digest, "HQ's rows are what they were");
    let timescale = world.does(&["timescale"])?;
    ensure!(timescale.lines().count() == 7, "{timescale}");
    for name in ["coefficients_pkey", "mine"] {
        let sql = format!("SELECT count(*) FROM pg_indexes WHERE schemaname = 'shrinkage' AND indexname = '{name}'");
        ensure!(client.value::<i64>(&sql)? == 1, "{name}");
    }
    ensure!(client.value::<bool>("SELECT has_table_privilege('public', 'shrinkage.coefficients', 'SELECT')").is_err()
        || client.value::<i64>("SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC' AND table_name = 'coefficients' AND table_schema = 'shrinkage'")? == 1);
    ensure!(client.value::<i64>("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidemark_optimize'")? == 0);
    ensure!(
        client.value::<Option<String>>("SELECT obj_description('shrinkage.coefficients'::regclass)")?.as_deref()
            == Some("The coefficients of one model fitted to one inventory record.")
    );
    // What reports have on the tables is there again.
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgfoid = to_regproc('shrinkage_reports.note_touched') AND tgparentid = 0
        AND tgrelid IN ('shrinkage.calculation_data'::regclass, 'shrinkage.coefficients'::regclass, 'shrinkage.validation_errors'::regclass)";
    ensure!(client.value::<i64>(triggers)? == 9);
    ensure!(client.value::<i64>("SELECT count(*) FROM shrinkage_reports.records")? > 0);
    // HQ's numbering goes on.
    client.batch("INSERT INTO shrinkage.coefficients (coefficient_a) VALUES (1)")?;
    ensure!(client.value::<i64>("SELECT max(id) FROM shrinkage.coefficients WHERE station = 0")? == 150_001);
    client.batch("DELETE FROM shrinkage.coefficients WHERE station = 0")?;
    // The server that ran all the while goes on, and a new one starts.
    station.record(&mut world.dice, 5)?;
    push(&station)?;
    world.field.assert_upstream_equals(&[&station])?;
    station.run(&["verify"])?.success()?;
    drop(world.field.serve()?);
    ensure!(world.does(&["optimize"])?.contains("there was nothing to make a hypertable of"));
    ensure!(world.does(&["test"])?.lines().all(|line| line.starts_with("ok ")));
    Ok(())
}

#[test]
fn what_a_copy_would_lose_is_moved_in_place_or_told() -> Result<()> {
    let mut world = migrated_too_early()?;
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    station.record(&mut world.dice, 50)?;
    push(&station)?;
    let client = PgClient::connect_url(&world.field.database)?;
    client.batch("CREATE VIEW public.fresh AS SELECT * FROM shrinkage.forecasts")?;
    let before: i64 = client.value("SELECT count(*) FROM public.fresh")?;
    let plan = world.does(&["optimize", "--plan"])?;
    ensure!(plan.contains("the view or rule fresh") && plan.matches("online").count() == 4, "{plan}");
    let facts: Json = serde_json::from_str(&world.does(&["optimize", "--plan", "--json"])?)?;
    let tables = facts["tables"].as_array().context("no tables")?;
    let locked = tables.iter().filter(|table| table["in_place_for"] != serde_json::json!([]));
    let locked: Vec<_> = locked.map(|table| &table["table"]).collect();
    ensure!(tables.len() == 5 && locked == ["forecasts"], "{facts}");
    // One that was begun is taken back: nothing of it is left.
    client.batch("CREATE SCHEMA tidemark_optimize")?;
    let told = world.tool(&["test"])?.fails_saying(&["1 point failed"])?;
    ensure!(told.stdout.contains("broken off"), "{}", told.stdout);
    world.does(&["optimize", "--undo"])?;
    world.does(&["test"])?;
    world.does(&["optimize"])?;
    ensure!(client.value::<i64>("SELECT count(*) FROM public.fresh")? == before);
    ensure!(world.does(&["timescale"])?.lines().count() == 7);
    world.field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn without_timescaledb_optimize_says_what_is_missing() -> Result<()> {
    let world = World::new(Kind::Plain)?;
    world.tool(&["optimize"])?.fails_saying(&["no hypertables made", "shared_preload_libraries"])?;
    let world = World::new(Kind::Embedded)?;
    ensure!(world.does(&["optimize"])?.contains("statistics renewed"));
    Ok(())
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
