//! The way back: `tidemark-server export` makes a database of the old form again, and the round trip is equal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use tidemark_e2e::compare::{differ, station_rows};
use tidemark_e2e::exported::{assert_export_equals, map_of};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::process::{Ended, Running, run, start_python};
use tidemark_e2e::schemas::VARIED;
use tidemark_e2e::varied::{Amounts, insert};
use tidemark_e2e::world::{Dice, pause};

const SYSTEM: &str = "shrinkage_system.py";

fn text(path: &Path) -> &str {
    path.to_str().expect("the folder's path is text")
}

fn system(field: &Field, args: &[&str]) -> Result<String> {
    Ok(start_python(SYSTEM, args, field.folder())?.wait()?.success()?.stdout)
}

/// The system's database, made by itself, attached, joined and pushed; and a copy of what it was.
fn moved(field: &Field, url: &str, name: &str, args: &[&str]) -> Result<(Station, PathBuf)> {
    let station = field.folder_of(name)?;
    system(field, &[&["make", text(&station.file)], args].concat())?;
    let original = field.folder().join(format!("{name}.original.db"));
    std::fs::copy(&station.file, &original)?;
    station.run(&["attach", "--no-backup"])?.success()?;
    field.join(&station, url)?;
    station.run(&["push"])?.success()?;
    Ok((station, original))
}

fn export(field: &Field, to: &Path, args: &[&str]) -> Result<Ended> {
    let to = format!("sqlite:///{}", to.display());
    let all = [&["export", "--to", &to, "--database", &field.database], args].concat();
    run("tidemark-server", &all, field.folder(), &BTreeMap::new())
}

/// The structure of a file, by table, in SQLAlchemy's own words.
fn structure(file: &Path) -> Result<BTreeMap<String, String>> {
    let db = Connection::open(file)?;
    let mut all = db.prepare("SELECT name, replace(coalesce(sql, type), '\"', '') FROM sqlite_schema")?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// There and back, and in again elsewhere.
fn a_round_trip_is_equal(upstream: Option<String>) -> Result<()> {
    let field = Field::shrinkage(upstream)?;
    field.migrate()?;
    let server = field.serve()?;
    let (station, original) = moved(&field, &server.url(), "plant", &["--rows", "6000"])?;
    let out = field.folder().join("back.db");
    let printed = export(&field, &out, &[])?.success()?;
    ensure!(printed.stdout.contains("ids: those of plant (1) as they were"), "{}", printed.output());
    // The file is what it was, but for the version table of the system's own migrations.
    let mut wanted = structure(&original)?;
    wanted.retain(|name, _| !name.contains("alembic"));
    ensure!(structure(&out)? == wanted, "{:?}\nis not\n{wanted:?}", structure(&out)?);
    let compared = system(&field, &["compare", text(&original), text(&out)])?;
    ensure!(compared.contains("equal: ") && !compared.contains(" 0 rows"), "{compared}");
    println!("{}{compared}", printed.stdout);
    // The old programs go on with it, and it can move in again, to a new upstream.
    system(&field, &["work", text(&out), "--rounds", "10"])?;
    let again = Field::shrinkage(None)?;
    let server = again.serve()?;
    let second = again.folder_of("plant")?;
    std::fs::copy(&out, &second.file)?;
    second.run(&["attach"])?.success()?;
    again.join(&second, &server.url())?;
    second.run(&["push"])?.success()?;
    again.assert_upstream_equals(&[&second])?;
    ensure!(second.status()?["rejects"] == 0, "{:?}", second.status()?);
    let out_again = again.folder().join("again.db");
    export(&again, &out_again, &[])?.success()?;
    system(&field, &["compare", text(&out), text(&out_again)])?;
    // Nothing of the export reached the station.
    station.run(&["verify"])?.success()?;
    Ok(())
}

#[test]
fn a_round_trip_through_the_embedded_upstream_is_equal() -> Result<()> {
    a_round_trip_is_equal(None)
}

#[test]
fn a_round_trip_through_timescaledb_is_equal() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    a_round_trip_is_equal(Some(cluster.create_database("back")?))
}

#[test]
fn what_could_not_go_upstream_is_all_that_an_export_lacks() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Plain)?;
    let field = Field::shrinkage(Some(cluster.create_database("quirks")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let (station, original) = moved(&field, &server.url(), "plant", &["--rows", "1500", "--quirks"])?;
    let out = field.folder().join("back.db");
    let printed = export(&field, &out, &[])?.success()?;
    let rejects = station.run(&["rejects", "--json"])?.success()?;
    let rejects: Vec<serde_json::Value> =
        rejects.stdout.lines().map(serde_json::from_str).collect::<serde_json::Result<_>>()?;
    let without: BTreeSet<String> = rejects
        .iter()
        .map(|reject| Ok(format!("{}:{}", reject["table"].as_str().context("a table")?, reject["image"]["id"])))
        .collect::<Result<_>>()?;
    ensure!(without.len() == 6, "{rejects:?}");
    let args: Vec<&str> = without.iter().flat_map(|row| ["--without", row]).collect();
    println!("{}", system(&field, &[&["compare", text(&original), text(&out)], args.as_slice()].concat())?);
    let upstream = rejects.iter().filter(|reject| reject["origin"] == "server").count();
    ensure!(upstream > 0 && printed.stdout.contains("could not be applied upstream"), "{}", printed.output());
    Ok(())
}

/// Rows of headquarters' own: its products, and records of them and of a station's.
const HEADQUARTERS: &str = "INSERT INTO {}nomenclature (id, name) VALUES (1, 'ГОЛОВНОЙ'), (2, 'ОФИС');
    INSERT INTO {}calculation_data (id, nomenclature_id, initial_balance, calculation_date)
        VALUES (1, 1, 2.5, '2024-05-01 00:00:00.000000'), (5, NULL, 0.1, '2024-05-02 00:00:00.000000');
    INSERT INTO {}calculation_data (id, nomenclature_id, initial_balance, calculation_date)
        SELECT 9, max(id), 7.5, '2024-05-03 00:00:00.000000' FROM {}nomenclature";

fn several_stations_make_one_database(upstream: Option<String>) -> Result<()> {
    let field = Field::shrinkage(upstream)?;
    field.migrate()?;
    let server = field.serve()?;
    let first = moved(&field, &server.url(), "kola", &["--rows", "1200"])?;
    moved(&field, &server.url(), "neva", &["--rows", "900"])?;
    let (out, map) = (field.folder().join("all.db"), field.folder().join("all.csv"));
    if field.database.starts_with("postgres") {
        PgClient::connect_url(&field.database)?.batch(&HEADQUARTERS.replace("{}", "shrinkage."))?;
    } else {
        let file = field.database.strip_prefix("sqlite:///").context("an embedded upstream")?;
        Connection::open(file)?.execute_batch(&HEADQUARTERS.replace("{}", ""))?;
    }
    let printed = export(&field, &out, &["--map", text(&map)])?.success()?;
    println!("{}", printed.stdout);
    let says = "ids: those of kola (1) as they were written there; after them, moved up in each table: headquarters (0), neva (2)";
    ensure!(printed.stdout.contains(says), "{}", printed.output());
    let all = assert_export_equals(&field, &out, &map, &|_| true)?;
    let db = Connection::open(&out)?;
    let orphans: i64 = db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    ensure!(orphans == 0, "{orphans} references to nothing");
    ensure!(map_of(&map)?[&("nomenclature".to_owned(), 1)] == 0, "the first station's ids moved");

    // Together they can be a station again, and move in as one.
    let again = Field::shrinkage(None)?;
    let server = again.serve()?;
    let joined = again.folder_of("both")?;
    std::fs::copy(&out, &joined.file)?;
    joined.run(&["attach", "--no-backup"])?.success()?;
    again.join(&joined, &server.url())?;
    joined.run(&["push"])?.success()?;
    let seen = again.assert_upstream_equals(&[&joined])?;
    ensure!(seen.rows == all, "{seen:?}");

    // One of them alone is what it was, by name or by number; headquarters needs the rows it names.
    for (station, original) in [("kola", &first.1), ("2", &field.folder().join("neva.original.db"))] {
        let alone = field.folder().join(format!("{station}.db"));
        export(&field, &alone, &["--station", station])?.success()?;
        system(&field, &["compare", text(original), text(&alone)])?;
    }
    let alone = field.folder().join("hq.db");
    let refused = export(&field, &alone, &["--station", "0"])?;
    refused.fails_saying(&["calculation_data.nomenclature_id references rows of station 2", "--station 2"])?;
    let (some, some_map) = (field.folder().join("some.db"), field.folder().join("some.csv"));
    export(&field, &some, &["--station", "0", "--station", "neva", "--map", text(&some_map)])?.success()?;
    ensure!(assert_export_equals(&field, &some, &some_map, &|station| station != 1)? < all, "all stations are in it");
    ensure!(!alone.exists(), "an export that failed left a file");
    Ok(())
}

#[test]
fn several_stations_of_the_embedded_upstream_make_one_database() -> Result<()> {
    several_stations_make_one_database(None)
}

#[test]
fn several_stations_of_timescaledb_make_one_database() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    several_stations_make_one_database(Some(cluster.create_database("several")?))
}

fn every_type_comes_back(upstream: Option<String>) -> Result<()> {
    let field = Field::new(VARIED, upstream)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("varied", &server.url())?;
    let amounts = Amounts { sites: 40, readings: 600, tags: 80, events: 80 };
    insert(&mut station.open()?, &mut Dice::new(11), amounts)?;
    station.run(&["push"])?.success()?;
    let (out, map) = (field.folder().join("back.db"), field.folder().join("map.csv"));
    export(&field, &out, &["--map", text(&map)])?.success()?;
    let rows = assert_export_equals(&field, &out, &map, &|_| true)?;
    ensure!(rows == 800, "{rows} rows");
    for table in field.schema().tables() {
        let mut differences = Vec::new();
        differ(
            table,
            1,
            &station_rows(&station.file, table)?,
            "in the export",
            &station_rows(&out, table)?,
            &mut differences,
        );
        ensure!(differences.is_empty(), "{differences:#?}");
    }
    Ok(())
}

#[test]
fn every_type_comes_back_from_the_embedded_upstream() -> Result<()> {
    every_type_comes_back(None)
}

#[test]
fn every_type_comes_back_from_postgresql() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Plain)?;
    every_type_comes_back(Some(cluster.create_database("varied")?))
}

/// All files of a folder.
fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    Ok(std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?)
}

#[test]
fn an_export_that_cannot_be_whole_is_refused_and_leaves_nothing() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("refused")?))?;
    field.migrate()?;
    let server = field.serve()?;
    moved(&field, &server.url(), "plant", &["--rows", "300"])?;
    field.add_station("invited")?;
    let out = field.folder().join("out.db");
    let there = files(field.folder())?;
    let client = cluster.connect("refused")?;
    let refused = |args: &[&str], says: &[&str]| -> Result<()> {
        export(&field, &out, args)?.fails_saying(says)?;
        ensure!(files(field.folder())? == there, "{args:?} left something");
        Ok(())
    };
    refused(&["--station", "nobody"], &["there is no such station", "station list"])?;
    refused(&["--station", "77"], &["there is no such station"])?;
    refused(&["--station", "invited"], &["has not joined"])?;
    let map = field.folder().join("map.csv");
    for (sql, says) in [
        (
            "UPDATE shrinkage.models SET created_date = 'infinity' WHERE id = (SELECT min(id) FROM shrinkage.models)",
            "column created_date",
        ),
        (
            "INSERT INTO shrinkage.ai_patterns (id, confidence_level) VALUES (7, 'NaN')",
            "ai_patterns, row 7, column confidence_level",
        ),
        ("INSERT INTO shrinkage.models (id, name) VALUES (-3, 'x')", "models.id holds ids that are no station's"),
        (
            "INSERT INTO shrinkage.forecasts (id, coefficient_id) VALUES (5, 8589934592)",
            "forecasts.coefficient_id holds ids",
        ),
    ] {
        client.batch(&format!("BEGIN; {sql}; COMMIT"))?;
        refused(&["--map", text(&map)], &[says])?;
        client.batch(
            "UPDATE shrinkage.models SET created_date = NULL WHERE created_date = 'infinity'; DELETE FROM shrinkage.ai_patterns WHERE id = 7;
             DELETE FROM shrinkage.models WHERE id = -3; DELETE FROM shrinkage.forecasts WHERE id = 5",
        )?;
    }
    // Where it cannot be written, and where something is.
    let folder = field.folder().join("plant");
    export(&field, &folder, &[])?.fails_saying(&["exists already"])?;
    export(&field, &field.folder().join("none/out.db"), &[])?.fails_saying(&["cannot write"])?;
    std::fs::write(&out, "mine")?;
    export(&field, &out, &[])?.fails_saying(&["exists already; move it away"])?;
    ensure!(std::fs::read(&out)? == b"mine", "a file was overwritten");
    let to_postgres = ["export", "--to", &field.database, "--database", &field.database];
    run("tidemark-server", &to_postgres, field.folder(), &BTreeMap::new())?
        .fails_saying(&["an export is a SQLite file", "--to sqlite:///file.db"])?;
    let nowhere = ["export", "--to", "sqlite:///new.db", "--database", "sqlite:///nowhere.db"];
    run("tidemark-server", &nowhere, field.folder(), &BTreeMap::new())?
        .fails_saying(&["there is no database file nowhere.db"])?;
    ensure!(!field.folder().join("nowhere.db").exists(), "a typing error made a database");
    // A reference to a row that somebody deleted by hand is kept, and said.
    std::fs::remove_file(&out)?;
    client.batch(
        "DELETE FROM shrinkage.calculation_data WHERE id = (SELECT max(calculation_data_id) FROM shrinkage.coefficients)",
    )?;
    let map = field.folder().join("map.csv");
    let printed = export(&field, &out, &["--map", text(&map)])?.success()?;
    let line =
        printed.stdout.lines().find(|line| line.starts_with("coefficients")).context("a line of coefficients")?;
    ensure!(line.split_whitespace().nth(2).context("a count")? != "0", "{}", printed.output());
    assert_export_equals(&field, &out, &map, &|_| true)?;
    Ok(())
}

#[test]
fn an_export_that_is_killed_leaves_no_file_and_can_be_repeated() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let server = field.serve()?;
    let (_, original) = moved(&field, &server.url(), "plant", &["--rows", "40000"])?;
    let out = field.folder().join("out.db");
    let to = format!("sqlite:///{}", out.display());
    let args = ["export", "--to", &to, "--database", &field.database];
    let (mut killed, mut begun) = (0, 0_usize);
    for wait_ms in (0..400).step_by(40) {
        let mut exporting = Running::start("tidemark-server", &args, field.folder(), &BTreeMap::new())?;
        pause(Duration::from_millis(wait_ms));
        if exporting.has_ended()? {
            break;
        }
        exporting.kill()?;
        killed += 1;
        let part = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".out.db-"));
        let parts = files(field.folder())?.iter().filter(|file| part(file)).count();
        begun = parts.max(begun);
        ensure!(!out.exists(), "a file that is not whole has the name");
    }
    ensure!(killed > 2 && begun > 0, "killed {killed} times, {begun} of them while it was writing");
    if !out.exists() {
        export(&field, &out, &[])?.success()?;
    }
    system(&field, &["compare", text(&original), text(&out)])?;
    println!("killed {killed} times, {begun} of them while it was writing");
    Ok(())
}
