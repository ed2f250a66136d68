//! Upgrades never wipe: files of every format open, migrate and push; a station follows a newer schema with changes
//! still unsent; old stations push to upgraded servers; a file of the future is left alone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use tidemark_client::format::FORMAT;
use tidemark_e2e::compare::{Upstream, assert_log_drained, assert_upstream_equals};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::run;
use tidemark_e2e::proxy::{Act, Proxy};

const VERSION_1: &str = include_str!("../golden/schema.toml");

/// Version 2 of the golden schema: a table more, and columns in between so that layouts shift.
fn version_2() -> String {
    VERSION_1
        .replace("version = 1", "version = 2")
        .replace("value       = {", "depth       = { type = \"real\", default = 1.5 }\nvalue       = {")
        .replace("name = { type", "code = { type = \"text\" }\nname = { type")
        + "[tables.visit.columns]\nid = { type = \"integer\" }\nsite_id = { type = \"integer\", references = \"site\" }\n"
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn text(file: &Path, sql: &str) -> Result<String> {
    let db = Connection::open(file)?;
    db.query_row(sql, [], |row| row.get::<_, Option<String>>(0))
        .map(Option::unwrap_or_default)
        .with_context(|| format!("{}: {sql}", file.display()))
}

/// Copies a golden file into the field as a station of that name.
fn station_of(field: &Field, name: &str, golden: &Path) -> Result<Station> {
    let station = field.init_station(name)?;
    std::fs::copy(golden, &station.file)?;
    for rest in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{rest}", station.file.display()));
    }
    Ok(station)
}

/// Every folder of golden files.
fn formats() -> Result<Vec<PathBuf>> {
    let mut formats: Vec<PathBuf> =
        std::fs::read_dir(golden())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    formats.retain(|path| path.is_dir());
    formats.sort();
    // A format without golden files could be broken unseen by the next.
    let every: Vec<PathBuf> = (1..=FORMAT).map(|format| golden().join(format!("v{format}"))).collect();
    ensure!(formats == every, "{formats:?} are not all formats up to {FORMAT}");
    Ok(formats)
}

/// The pair of a station and its upstream, with the programs of today: migrates, opens, pushes, and nothing is lost or
/// doubled.
fn golden_files_migrate_and_push(field: &Field, golden: &Path) -> Result<()> {
    field.migrate()?;
    let server = field.serve()?;
    let station = station_of(field, "norderney", &golden.join("station.db"))?;
    // Its triggers have an earlier form, and capture all; who opens it first replaces them, and has nothing to warn of.
    ensure!(station.status()?["captured"] == true);
    // Its server has moved since.
    station.run(&["server", "not a url"])?.fails_saying(&["must begin with http:// or https://"])?;
    let opened = station.run(&["server", &server.url()])?.success()?.output();
    ensure!(!opened.contains("trigger") && !opened.contains("index"), "{opened}");
    ensure!(station.status()?["captured"] == true);
    let status = station.status()?;
    ensure!(status["pending"] == 8 && status["rejects"] == 2, "{status}");
    station.open()?.execute_batch("INSERT INTO reading (site_id, measured_at, value) VALUES (3, '2026-07-03', 8)")?;
    let pushed = station.run(&["push"])?.success()?;
    ensure!(pushed.output().contains("9 changes"), "{}", pushed.output());

    let alone = station_of(field, "alone", &golden.join("never-joined.db"))?;
    alone.run(&["server", &server.url()])?.fails_saying(&["has not joined"])?;
    let code = field.add_station("alone")?;
    alone.run(&["join", &code, "--server", &server.url()])?.success()?;
    alone.run(&["push"])?.success()?;
    // The row of the other one was deleted since.
    ensure!(station.status()?["rejects"] == 1);
    ensure!(station.run(&["rejects", "--all"])?.success()?.output().contains("json (by the station)"));
    server.process.terminate()?.success()?;
    let rejects = field.server_command(&["rejects", "list", "--state", "all"])?.success()?.output();
    ensure!(rejects.contains("clock") && rejects.contains("json"), "{rejects}");

    for (station, sites) in [(&station, "Norderney, Baltrum Hafen, Juist"), (&alone, "Wangerooge, Spiekeroog")] {
        ensure!(
            text(&station.file, "SELECT group_concat(name, ', ') FROM (SELECT name FROM site ORDER BY id)")? == sites
        );
        ensure!(text(&station.file, "PRAGMA integrity_check")? == "ok");
    }
    ensure!(
        text(&station.file, "SELECT group_concat(id, ' ') FROM (SELECT id FROM reading ORDER BY id)")? == "1 3 4 5 6 7"
    );
    // The rejected row is on the station only.
    let without = station.with_file(field.folder().join("without-the-rejected.db"));
    std::fs::copy(&station.file, &without.file)?;
    without.open()?.execute_batch("DROP TRIGGER tidemark_reading_after_delete; DELETE FROM reading WHERE id = 4")?;
    let seen = field.assert_upstream_equals(&[&without, &alone])?;
    ensure!(seen.rows == 3 + 5 + 2, "{seen:?}");
    Ok(())
}

#[test]
fn files_of_every_format_migrate_and_push_embedded() -> Result<()> {
    for format in formats()? {
        let golden = format.join("embedded");
        let field = Field::new(VERSION_1, None)?;
        std::fs::copy(golden.join("upstream.db"), field.folder().join("upstream.db"))?;
        golden_files_migrate_and_push(&field, &golden).with_context(|| format!("{}", golden.display()))?;
    }
    Ok(())
}

#[test]
fn files_of_every_format_migrate_and_push_on_postgresql() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Plain)?;
    for (n, format) in formats()?.iter().enumerate() {
        let golden = format.join("postgres");
        let name = format!("golden{n}");
        let field = Field::new(VERSION_1, Some(cluster.create_database(&name)?))?;
        // Without the lines that are psql's own.
        let dump = std::fs::read_to_string(golden.join("upstream.sql"))?;
        let sql: Vec<&str> = dump.lines().filter(|line| !line.starts_with('\\')).collect();
        cluster.connect(&name)?.batch(&sql.join("\n"))?;
        golden_files_migrate_and_push(&field, &golden).with_context(|| format!("{}", golden.display()))?;
    }
    Ok(())
}

#[test]
fn a_file_of_the_future_is_left_alone() -> Result<()> {
    let field = Field::new(VERSION_1, None)?;
    let station = field.init_station("future")?;
    station
        .open()?
        .execute_batch("INSERT INTO site (name) VALUES ('Memmert'); UPDATE tidemark_station SET format = 99")?;
    let before = std::fs::read(&station.file)?;
    for verb in [&["push"][..], &["status"], &["run"], &["log"], &["upgrade", "--schema", "../schema.toml"]] {
        station.run(verb)?.expect_code(1)?.fails_saying(&[
            "written by a newer Tidemark",
            "file format 99",
            "upgrade this program",
        ])?;
    }
    ensure!(std::fs::read(&station.file)? == before, "the file was changed");
    Ok(())
}

/// What a station records before it knows version 2, and after.
fn record(station: &Station, n: i64) -> Result<()> {
    station.open()?.execute_batch(&format!(
        "INSERT INTO site (name) VALUES ('site {n}');
         INSERT INTO reading (site_id, measured_at, value) VALUES ((SELECT max(id) FROM site), '2026-06-01', {n}), (1, '2026-06-02', -{n});
         UPDATE reading SET checked = 1 WHERE id = {n};
         DELETE FROM reading WHERE id = 2 AND {n} = 3"
    ))?;
    Ok(())
}

/// Both orders in which station and server are upgraded, with changes that wait, and one batch whose acknowledgement is
/// lost in between.
fn unsent_changes_survive_a_schema_upgrade(database: Option<String>) -> Result<()> {
    let mut field = Field::new(VERSION_1, database)?;
    field.migrate()?;
    let server = field.serve()?;
    let proxy = Proxy::start(server.address)?;
    let [first, second, old] = [
        field.join_station("station first", &proxy.url())?,
        field.join_station("server first", &proxy.url())?,
        field.join_station("never upgraded", &proxy.url())?,
    ];
    let stations = [&first, &second, &old];
    for station in stations {
        record(station, 1)?;
        station.run(&["push"])?.success()?;
        record(station, 2)?;
    }
    // Upstream has what `first` sent, and `first` does not know: from here on its chain must not change.
    proxy.otherwise(Act::DropReply);
    first.run(&["push"])?.expect_code(75)?;
    proxy.otherwise(Act::Pass);

    std::fs::write(field.folder().join("schema-2.toml"), version_2())?;
    record(&first, 3)?;
    let upgraded = first.run(&["upgrade", "--schema", "../schema-2.toml"])?.success()?;
    for says in [
        "version 2 now (was 1)",
        "new tables visit",
        "new columns site.code, reading.depth",
        "reading.depth: the default",
    ] {
        ensure!(upgraded.stdout.contains(says), "{says:?} in {}", upgraded.stdout);
    }
    let after = "INSERT INTO visit (site_id) VALUES (2); UPDATE site SET code = 'A' WHERE id = 1;
                 INSERT INTO reading (site_id, measured_at, value, depth) VALUES (2, '2026-06-05', 3.5, -0.25)";
    first.open()?.execute_batch(after)?;
    let waiting = first.waiting()?;
    // The server does not know version 2 yet: it takes what is of version 1, and the rest waits.
    first.run(&["push"])?.fails_saying(&["does not know schema", "migrate up --schema"])?;
    ensure!(first.waiting()? == 3 && waiting > 3, "{waiting} changes waited, {} do", first.waiting()?);

    server.process.terminate()?.success()?;
    field.follow(&version_2())?;
    field.migrate()?;
    let server = field.serve()?;
    proxy.lead_to(server.address);
    first.run(&["push"])?.success()?;

    record(&second, 3)?;
    second.run(&["upgrade", "--schema", "../schema-2.toml"])?.success()?;
    second.open()?.execute_batch(after)?;
    second.run(&["push"])?.success()?;
    record(&old, 3)?;
    old.run(&["push"])?.success()?;

    // The old station's file has version 1's columns only; upstream the others are NULL.
    old.open()?.execute_batch(
        "ALTER TABLE site ADD COLUMN code; ALTER TABLE reading ADD COLUMN depth; CREATE TABLE visit (id, site_id)",
    )?;
    let mut numbered = Vec::new();
    for station in stations {
        numbered.push((station.number()?, station.file.as_path()));
    }
    let seen = assert_upstream_equals(&Upstream::open(&field.database)?, field.schema(), &numbered)?;
    println!("{} rows of two upgraded stations and an old one are upstream once", seen.rows);
    ensure!(seen.rows == 2 * 10 + 8, "{seen:?}");
    stations.iter().try_for_each(|station| assert_log_drained(&station.file).map(|_| ()))
}

#[test]
fn unsent_changes_survive_a_schema_upgrade_embedded() -> Result<()> {
    unsent_changes_survive_a_schema_upgrade(None)
}

#[test]
fn unsent_changes_survive_a_schema_upgrade_on_timescale() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    unsent_changes_survive_a_schema_upgrade(Some(cluster.create_database("upgrades")?))
}

/// The log of two schemas as one bundle: refused whole by a server that knows the first only, taken whole by one that
/// knows both.
#[test]
fn a_bundle_holds_what_was_captured_before_and_after_an_upgrade() -> Result<()> {
    let mut field = Field::new(VERSION_1, None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    server.process.terminate()?.success()?;
    record(&station, 1)?;
    std::fs::write(field.folder().join("schema-2.toml"), version_2())?;
    station.run(&["upgrade", "--schema", "../schema-2.toml"])?.success()?;
    station.open()?.execute_batch("INSERT INTO visit (site_id) VALUES (1)")?;
    station.run(&["export", "../log.bundle"])?.success()?;

    let import = |field: &Field| field.server_command(&["import", "log.bundle", "--receipt", "log.receipt"]);
    import(&field)?.fails_saying(&["does not know schema", "Nothing was applied"])?;
    field.follow(&version_2())?;
    field.migrate()?;
    import(&field)?.success()?;
    station.run(&["import-receipt", "../log.receipt"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn an_upgrade_that_is_none_says_why_and_changes_nothing() -> Result<()> {
    let field = Field::new(VERSION_1, None)?;
    let station = field.init_station("a")?;
    record(&station, 1)?;
    let before = station.waiting()?;
    std::fs::write(
        field.folder().join("less.toml"),
        VERSION_1.replace("version = 1", "version = 2").replace("checked     = { type = \"boolean\" }", ""),
    )?;
    let file = station.file.to_str().context("a path")?;
    let upgrade = |schema: &str| {
        run("tidemark", &["upgrade", "--schema", schema, "--db", file], field.folder(), &Default::default())
    };
    upgrade("less.toml")?.expect_code(1)?.fails_saying(&["column reading.checked is gone", "Nothing was changed"])?;
    upgrade("none.toml")?.expect_code(1)?.fails_saying(&["none.toml: cannot read the schema file"])?;
    ensure!(upgrade("schema.toml")?.success()?.stdout.contains("follows golden version 1 already"));
    ensure!(station.waiting()? == before);
    Ok(())
}
