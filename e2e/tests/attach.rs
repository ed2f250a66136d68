//! The shrinkage system moves in: its own database, made and written by SQLAlchemy, is attached in place, and arrives
//! upstream.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::Connection;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{python, python_script};

fn system(args: &[&str]) -> Result<Child> {
    let mut command = Command::new(python()?);
    command.arg(python_script("shrinkage_system.py")).args(args).env("PYTHONUTF8", "1");
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn done(child: Child) -> Result<()> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The system's database, made by itself.
fn made(field: &Field, name: &str, args: &[&str]) -> Result<Station> {
    let station = field.folder_of(name)?;
    done(system(&[&["make", path(&station)], args].concat())?)?;
    Ok(station)
}

fn path(station: &Station) -> &str {
    station.file.to_str().expect("the folder's path is text")
}

/// All that the system has in its file: structure and rows, nothing of Tidemark's.
fn dump(file: &Path) -> Result<Vec<String>> {
    let db = Connection::open(file)?;
    let mut lines: Vec<String> = db
        .prepare("SELECT coalesce(sql, name) FROM sqlite_schema WHERE name NOT LIKE '%tidemark%' AND name <> 'sqlite_sequence' ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'tidemark%' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let tables: Vec<String> = db.prepare(tables)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables {
        let columns: Vec<String> = db
            .prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?
            .query_map([&table], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let cells: Vec<String> =
            columns.iter().map(|name| format!("typeof(\"{name}\") || quote(\"{name}\")")).collect();
        let rows = format!("SELECT '{table}: ' || {} FROM \"{table}\" ORDER BY 1", cells.join(" || ', ' || "));
        lines.extend(db.prepare(&rows)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?);
    }
    Ok(lines)
}

#[test]
fn the_system_works_on_while_it_moves_in() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("move")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = made(&field, "plant", &["--rows", "8000"])?;
    let at_work = system(&["work", path(&station), "--rounds", "120"])?;
    let attached = station.run(&["attach"])?.success()?;
    ensure!(attached.stdout.contains("attached, schema shrinkage version 1"), "{}", attached.output());
    field.join(&station, &server.url())?;
    let daemon = station.start(&["run"])?;
    done(at_work)?;
    daemon.terminate()?.success()?;
    station.run(&["push"])?.success()?;
    let moved = field.assert_upstream_equals(&[&station])?;
    ensure!(moved.rows > 7_000, "{} rows", moved.rows);
    ensure!(station.status()?["rejects"] == 0, "{:?}", station.status()?);
    // And on, captured like any other.
    done(system(&["work", path(&station), "--rounds", "10"])?)?;
    station.run(&["push"])?.success()?;
    let later = field.assert_upstream_equals(&[&station])?;
    ensure!(later.rows > moved.rows, "{later:?} after {moved:?}");
    station.run(&["verify"])?.success()?;
    Ok(())
}

#[test]
fn a_backfill_that_is_killed_goes_on_where_it_was() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let server = field.serve()?;
    let station = made(&field, "plant", &["--rows", "80000"])?;
    let at_work = system(&["work", path(&station), "--rounds", "60"])?;
    let open = || -> Result<i64> {
        let db = Connection::open(&station.file)?;
        db.busy_timeout(Duration::from_secs(20))?;
        let there = db.table_exists(None, "tidemark_backfill")?;
        let sql = "SELECT coalesce(sum(last_seq - next_seq + 1), 0) FROM tidemark_backfill";
        if there { Ok(db.query_row(sql, [], |row| row.get(0))?) } else { Ok(-1) }
    };
    let (mut killed, mut lefts) = (0, BTreeSet::new());
    let mut args = vec!["attach"];
    while open()? != 0 {
        let mut attaching = station.start(&args)?;
        let before = open()?;
        while !attaching.has_ended()? && (open()? == before || killed % 2 == 1 && open()? > before - 20_000) {
            std::thread::sleep(Duration::from_millis(2));
        }
        attaching.kill()?;
        killed += 1;
        lefts.insert(open()?);
        ensure!(killed < 200, "the backfill never ends");
        // It is copied before it is attached: one that was killed in between left its copy.
        args = if open()? < 0 { vec!["attach", "--no-backup"] } else { vec!["attach"] };
    }
    ensure!(killed >= 3 && lefts.len() >= 3, "killed {killed} times, {lefts:?} rows left");
    done(at_work)?;
    // Nothing changes when all is done.
    let before = std::fs::read(&station.file)?;
    let again = station.run(&["attach"])?.success()?;
    ensure!(again.stdout.contains("is a station's file already"), "{}", again.output());
    ensure!(std::fs::read(&station.file)? == before, "attaching once more changed the file");
    field.join(&station, &server.url())?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    println!("killed {killed} times, with {lefts:?} rows left");
    Ok(())
}

#[test]
fn a_backup_made_while_the_system_works_can_be_put_back() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let server = field.serve()?;
    let station = made(&field, "plant", &["--rows", "3000"])?;
    station.run(&["attach", "--no-backup"])?.success()?;
    field.join(&station, &server.url())?;
    station.run(&["push"])?.success()?;
    let at_work = system(&["work", path(&station), "--rounds", "40"])?;
    station.run(&["backup", "copy.db"])?.success()?;
    done(at_work)?;
    station.run(&["backup", "copy.db"])?.fails_saying(&["exists already"])?;
    let now = dump(&station.file)?;
    let copied = dump(&station.file.with_file_name("copy.db"))?;

    // A program that has the file open sees the copy's rows.
    let open = station.open()?;
    let count = |db: &Connection| db.query_row("SELECT count(*) FROM calculation_data", [], |row| row.get::<_, i64>(0));
    count(&open)?;
    station.run(&["restore", "copy.db"])?.success()?;
    ensure!(dump(&station.file)? == copied, "what was put back is not the copy");
    ensure!(dump(&station.file.with_file_name("tidemark.db.before-restore"))? == now, "what was replaced is not kept");
    ensure!(
        count(&open)? == count(&Connection::open(station.file.with_file_name("copy.db"))?)?,
        "an open connection sees something else"
    );
    drop(open);
    // Nothing was pushed since the copy: it goes on as if nothing had been.
    done(system(&["work", path(&station), "--rounds", "3"])?)?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    // Since this one there was: the station says so.
    station.run(&["restore", "copy.db", "--keep", "kept.db"])?.success()?;
    done(system(&["work", path(&station), "--rounds", "3"])?)?;
    station.run(&["push"])?.fails_saying(&["forked", "--replaces"])?;

    std::fs::write(
        station.file.with_file_name("torn.db"),
        &std::fs::read(station.file.with_file_name("copy.db"))?[..200_000],
    )?;
    station.run(&["restore", "torn.db", "--keep", "k2.db"])?.fails_saying(&["torn.db"])?;
    let other = made(&field, "other", &["--rows", "300"])?;
    station.run(&["restore", path(&other), "--keep", "k3.db"])?.fails_saying(&["not a Tidemark file"])?;
    let vacuumed = station.run(&["vacuum"])?.success()?;
    ensure!(vacuumed.stdout.contains("KiB, was"), "{}", vacuumed.output());
    Ok(())
}

/// What `attach --check` printed: table and key of each row that cannot go.
fn listed(output: &str) -> BTreeSet<(String, i64, String)> {
    let of_line = |line: &str| {
        let (row, reason) = line.split_once(": ")?;
        let (table, key) = row.split_once(' ')?;
        let code = reason.rsplit_once('(')?.1.trim_end_matches(')');
        Some((table.to_owned(), key.parse().ok()?, code.to_owned()))
    };
    output.lines().filter_map(of_line).collect()
}

#[test]
fn what_cannot_go_upstream_is_listed_before_and_kept_after() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("quirks")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = made(&field, "plant", &["--rows", "1500", "--quirks"])?;
    let theirs = dump(&station.file)?;
    let bytes = std::fs::read(&station.file)?;

    let checked = station.run(&["attach", "--check"])?.expect_code(1)?;
    ensure!(std::fs::read(&station.file)? == bytes, "--check changed the file");
    for says in ["models.legacy_flag", "user_settings", "alembic_version", "there is no nomenclature 777777"] {
        ensure!(checked.output().contains(says), "nothing of {says:?}:\n{}", checked.output());
    }
    let wanted = [
        ("calculation_data", 900_000_001, "required"),
        ("calculation_data", 900_000_002, "reference"),
        ("calculation_data", 900_000_003, "json"),
        ("coefficients", 900_000_004, "reference"),
        ("forecasts", 900_000_005, "type"),
        ("data_lineage", 900_000_006, "clock"),
    ];
    let wanted: BTreeSet<_> = wanted.map(|(table, key, code)| (table.to_owned(), key, code.to_owned())).into();
    ensure!(listed(&checked.stdout) == wanted, "{}", checked.stdout);

    station.run(&["attach"])?.success()?;
    ensure!(dump(&station.file)? == theirs, "attaching changed what is theirs");
    ensure!(dump(&station.file.with_extension("db.before-tidemark"))? == theirs, "the backup is not the file");
    let once_more = station.run(&["attach", "--check"])?.expect_code(1)?;
    ensure!(listed(&once_more.stdout) == wanted, "{}", once_more.stdout);
    field.join(&station, &server.url())?;
    station.run(&["push"])?.success()?;
    ensure!(station.status()?["rejects"] == 6, "{:?}", station.status()?);

    // Repaired by the means of those who have the file, and by ours.
    let db = station.open()?;
    db.execute_batch(
        "UPDATE calculation_data SET nomenclature_id = 2 WHERE id = 900000002;
         UPDATE calculation_data SET fifo_batch_sequence = '[]' WHERE id = 900000003;
         UPDATE calculation_data SET calculation_date = '2024-03-01 10:00:00' WHERE id = 900000001;
         DELETE FROM data_lineage WHERE id = 900000006;
         UPDATE coefficients SET accuracy_r2 = 0.5 WHERE id = 900000004",
    )?;
    let rejects = station.run(&["rejects", "--json"])?.success()?;
    let rejects: Vec<serde_json::Value> =
        rejects.stdout.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?;
    let of_forecast = rejects.iter().find(|reject| reject["table"] == "forecasts");
    let seq = of_forecast.context("the forecast is rejected")?["seq"].to_string();
    station.run(&["rejects", "repair", &seq, "--set", "forecast_value=0.25"])?.success()?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    let clean = station.run(&["attach", "--check"])?.success()?;
    ensure!(clean.stdout.contains("every row can go upstream"), "{}", clean.output());
    Ok(())
}

#[test]
fn detaching_leaves_the_file_as_it_was() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let station = made(&field, "plant", &["--rows", "3000", "--quirks"])?;
    let theirs = dump(&station.file)?;
    station.run(&["attach", "--backup", "kept.db"])?.success()?;
    station.run(&["detach"])?.fails_saying(&["changes are not upstream yet", "--force", "Nothing was changed"])?;
    station.run(&["detach", "--force"])?.success()?;
    ensure!(dump(&station.file)? == theirs, "detaching changed what is theirs");
    let db = Connection::open(&station.file)?;
    let ours: i64 = db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%tidemark%' OR sql LIKE '%tidemark%'",
        [],
        |row| row.get(0),
    )?;
    ensure!(ours == 0, "{ours} things of ours are left");
    drop(db);
    done(system(&["work", path(&station), "--rounds", "3"])?)?;
    station.run(&["status"])?.fails_saying(&["tidemark attach"])?;
    // It may come back, and a station that `init` made has nothing to detach.
    station.run(&["attach", "--no-backup"])?.success()?;
    let made_by_init = field.init_station("init")?;
    made_by_init.run(&["detach", "--force"])?.fails_saying(&["was made by `tidemark init`"])?;
    Ok(())
}

#[test]
fn a_file_of_an_older_version_moves_in_and_grows_later() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let server = field.serve()?;
    let station = made(&field, "plant", &["--rows", "2000", "--old"])?;
    let theirs = dump(&station.file)?;
    let attached = station.run(&["attach"])?.success()?;
    for says in [
        "ml_model_registry: the file has no such table",
        "coefficients.pre_shrinkage_factor: the file has no such column",
    ] {
        ensure!(attached.stdout.contains(says), "nothing of {says:?}:\n{}", attached.stdout);
    }
    ensure!(dump(&station.file)? == theirs, "attaching changed what is theirs");
    field.join(&station, &server.url())?;
    station.run(&["push"])?.success()?;
    let before = field.assert_upstream_equals(&[&station])?;
    station.run(&["verify"])?.success()?;
    station.run(&["info"])?.success()?;

    // The system is upgraded: the columns, one of them filled in at once, and the table with a row.
    Connection::open(&station.file)?.execute_batch(
        "ALTER TABLE coefficients ADD COLUMN pre_shrinkage_factor FLOAT;
         UPDATE coefficients SET pre_shrinkage_factor = id * 0.5 WHERE id < 100;
         ALTER TABLE preliminary_forecasts ADD COLUMN batch_storage_history JSON;
         CREATE TABLE ml_model_registry (id INTEGER NOT NULL PRIMARY KEY, model_name VARCHAR, version VARCHAR, algorithm_type VARCHAR,
             parameters JSON, training_date DATETIME, accuracy_metrics JSON, is_active BOOLEAN, created_by VARCHAR, created_date DATETIME, notes VARCHAR);
         INSERT INTO ml_model_registry (model_name, parameters) VALUES ('лес', '{\"деревья\": 100}')",
    )?;
    let pushed = station.run(&["push"])?.success()?;
    for says in
        ["coefficients.pre_shrinkage_factor is there now", "ml_model_registry is there now and captured; 1 change is"]
    {
        ensure!(pushed.output().contains(says), "nothing of {says:?}:\n{}", pushed.output());
    }
    Connection::open(&station.file)?
        .execute_batch("UPDATE preliminary_forecasts SET batch_storage_history = '[1]' WHERE id < 20")?;
    station.run(&["push"])?.success()?;
    let after = field.assert_upstream_equals(&[&station])?;
    ensure!(after.rows == before.rows + 1, "{after:?} after {before:?}");
    station.run(&["verify"])?.success()?;
    Ok(())
}

#[test]
fn a_file_without_a_table_of_the_schema_is_not_attached() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let cases = [
        (
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT); CREATE TABLE \"customers\" (id INTEGER)",
            "The file's: customers, orders.",
        ),
        ("CREATE VIEW orders AS SELECT 1 AS id", "The file's: none."),
    ];
    for (n, (sql, there)) in cases.iter().enumerate() {
        let station = field.folder_of(&format!("stranger{n}"))?;
        Connection::open(&station.file)?.execute_batch(sql)?;
        let bytes = std::fs::read(&station.file)?;
        for args in [&["attach"][..], &["attach", "--check"]] {
            let says = [
                "has none of the tables of schema shrinkage version 1",
                "nomenclature",
                there,
                "--schema FILE",
                "Nothing was changed",
            ];
            let refused = station.run(args)?.fails_saying(&says)?;
            ensure!(!refused.stdout.contains("every row can go upstream"), "{}", refused.output());
            ensure!(std::fs::read(&station.file)? == bytes, "{sql}: the file was changed");
            ensure!(!station.file.with_extension("db.before-tidemark").exists(), "{sql}: a backup was made");
        }
    }
    // One table of the schema is enough, in whatever case it is written.
    let station = field.folder_of("some")?;
    Connection::open(&station.file)?.execute_batch(
        "CREATE TABLE Nomenclature (id INTEGER PRIMARY KEY, name TEXT NOT NULL); CREATE TABLE orders (id INTEGER PRIMARY KEY);
         INSERT INTO nomenclature (name) VALUES ('one'), ('two')",
    )?;
    let checked = station.run(&["attach", "--check"])?.success()?;
    ensure!(checked.stdout.contains("every row can go upstream; 1 of 18 tables captured"), "{}", checked.output());
    let attached = station.run(&["attach"])?.success()?;
    ensure!(
        attached.stdout.contains("1 of 18 tables captured; 2 rows that were there are in the log"),
        "{}",
        attached.output()
    );
    let again = station.run(&["attach"])?.success()?;
    ensure!(again.stdout.contains("is a station's file already, 1 of 18 tables captured"), "{}", again.output());
    Ok(())
}

#[test]
fn a_file_that_capture_cannot_follow_is_refused_and_left_alone() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let cases = [
        ("CREATE TABLE tidemark_notes (id INTEGER)", "tidemark_notes: a table of this name is there"),
        ("ALTER TABLE source_data DROP COLUMN file_path", "source_data.file_path: the file has no such column"),
        (
            "CREATE UNIQUE INDEX one ON models (lower(name))",
            "models: table models: the unique index one is over an expression",
        ),
        ("DROP TABLE analytics; CREATE VIEW analytics AS SELECT 1 AS id", "analytics: is a view"),
        ("DROP TABLE models; CREATE TABLE models (id INTEGER, name TEXT)", "models.id: is not the table's primary key"),
        (
            "DROP TABLE models; CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT) WITHOUT ROWID",
            "models: is WITHOUT ROWID",
        ),
    ];
    for (n, (sql, says)) in cases.iter().enumerate() {
        let station = made(&field, &format!("plant{n}"), &["--rows", "300"])?;
        Connection::open(&station.file)?.execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))?;
        let bytes = std::fs::read(&station.file)?;
        let refused = station.run(&["attach"])?.expect_code(1)?;
        ensure!(refused.stdout.contains(&format!("stops: {says}")), "{sql}: {}", refused.output());
        ensure!(std::fs::read(&station.file)? == bytes, "{sql}: the file was changed");
        ensure!(!station.file.with_extension("db.before-tidemark").exists(), "{sql}: a backup was made");
    }
    let station = field.folder_of("none")?;
    station.run(&["attach"])?.fails_saying(&["no such file"])?;
    std::fs::write(&station.file, "no database at all, but long enough to be looked at as one: ".repeat(100))?;
    station.run(&["attach"])?.fails_saying(&["not an SQLite database"])?;
    let other = made(&field, "kept", &["--rows", "300"])?;
    std::fs::write(other.file.with_extension("db.before-tidemark"), "mine")?;
    other.run(&["attach"])?.fails_saying(&["exists already"])?;
    if std::fs::read(other.file.with_extension("db.before-tidemark"))? != b"mine" {
        bail!("the backup of before was overwritten");
    }
    Ok(())
}
