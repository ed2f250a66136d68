//! `tidemark prune` with real programs: killed, while another program writes, and all that can happen to a file that
//! was pruned.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use serde_json::Value as Json;
use tidemark_e2e::compare::Upstream;
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{python, python_script};
use tidemark_e2e::world::{Dice, pause};

/// Records of 20 hours each, back from now; each with a coefficient, every third with a forecast, some with what keeps
/// them.
fn old_records(file: &Connection, count: u32) -> Result<()> {
    let first: i64 = file.query_row("SELECT coalesce(max(id), 0) FROM calculation_data", [], |row| row.get(0))?;
    let time = "strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || (n * 20) || ' hours')";
    file.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         INSERT INTO nomenclature (name) SELECT 'СИНЕЦ ВЯЛЕНЫЙ' WHERE NOT EXISTS (SELECT 1 FROM nomenclature);
         CREATE TEMP TABLE n AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count}) SELECT n FROM n;
         INSERT INTO calculation_data (nomenclature_id, initial_balance, calculation_date) SELECT 1, n / 7.0, {time} FROM n;
         INSERT INTO coefficients (calculation_data_id, coefficient_a, calculation_date) SELECT {first} + n, 0.09, {time} FROM n;
         INSERT INTO forecasts (coefficient_id, forecast_value, forecast_date)
             SELECT max(id), 0.5, max(calculation_date) FROM coefficients WHERE calculation_data_id > {first} AND calculation_data_id % 3 = 0
             GROUP BY calculation_data_id;
         INSERT INTO forecasts (coefficient_id, forecast_value)
             SELECT max(id), 0.25 FROM coefficients WHERE calculation_data_id > {first} AND calculation_data_id % 50 = 1 GROUP BY calculation_data_id;
         INSERT INTO validation_errors (calculation_data_id, error_type) SELECT {first} + n, 'late' FROM n WHERE n % 40 = 7;
         DROP TABLE n;
         COMMIT"
    ))?;
    Ok(())
}

fn json(station: &Station, args: &[&str], code: i32) -> Result<Json> {
    let ended = station.run(&[args, &["--json"]].concat())?.expect_code(code)?;
    serde_json::from_str(&ended.stdout).with_context(|| ended.output())
}

fn verify(station: &Station, code: i32) -> Result<Json> {
    json(station, &["verify"], code)
}

/// Prunes what is older than 90 days; returns how many rows went.
fn prune(station: &Station) -> Result<u64> {
    json(station, &["prune", "--older-than", "90d"], 0)?["pruned"].as_u64().context("a number")
}

/// Puts every row of a station's file over those of a copy that is never pruned.
fn lay_over(station: &Station, whole: &Path, field: &Field) -> Result<()> {
    let file = Connection::open(whole)?;
    file.busy_timeout(Duration::from_secs(60))?;
    file.pragma_update(None, "foreign_keys", false)?;
    let ours = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'tidemark%'";
    let triggers: Vec<String> =
        file.prepare(ours)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for trigger in triggers {
        file.execute_batch(&format!("DROP TRIGGER \"{trigger}\""))?;
    }
    file.execute("ATTACH ?1 AS here", [station.file.to_str().context("a path")?])?;
    file.execute_batch("BEGIN")?;
    for table in field.schema().tables() {
        file.execute_batch(&format!("INSERT OR REPLACE INTO main.{0} SELECT * FROM here.{0}", table.name))?;
    }
    Ok(file.execute_batch("COMMIT")?)
}

fn writer(station: &Station, seed: u64) -> Result<Child> {
    let mut command = Command::new(python()?);
    command.arg(python_script("prune_writer.py")).arg(&station.file).arg(seed.to_string());
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Ends the writer; returns how often it committed.
fn end(writer: Child) -> Result<u64> {
    // Its input ends with its handle.
    let output = writer.wait_with_output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Writes upstream by hand; `{}` is where the tables are.
fn by_hand(field: &Field, cluster: Option<&PostgresCluster>, sql: &str) -> Result<()> {
    match cluster {
        Some(cluster) => cluster
            .admin("prune")?
            .batch(&format!("SET session_replication_role = replica; {}", sql.replace("{}", "shrinkage."))),
        None => {
            let path = field.database.strip_prefix("sqlite:///").context("the embedded store's file")?;
            let connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(20))?;
            connection.pragma_update(None, "foreign_keys", false)?;
            Ok(connection.execute_batch(&sql.replace("{}", ""))?)
        }
    }
}

/// How many rows were ever pruned.
fn pruned_rows(station: &Station) -> Result<i64> {
    let file = station.open()?;
    if !file.table_exists(None, "tidemark_pruned_ids")? {
        return Ok(0);
    }
    count(&file, "SELECT coalesce(sum(last - first + 1), 0) FROM tidemark_pruned_ids")
}

fn count(file: &Connection, sql: &str) -> Result<i64> {
    file.query_row(sql, [], |row| row.get(0)).with_context(|| sql.to_owned())
}

/// Kills prunes at random moments, while a program writes rows under those that go.
fn killed_anywhere_while_a_program_writes(cluster: Option<&PostgresCluster>) -> Result<()> {
    let field = Field::shrinkage(cluster.map(|cluster| cluster.create_database("prune")).transpose()?)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let mut dice = Dice::from_env();
    old_records(&station.open()?, 400)?;
    station.run(&["push"])?.success()?;
    let whole = field.folder().join("whole.db");
    station.run(&["backup", whole.to_str().context("a path")?])?.success()?;
    let program = writer(&station, dice.next())?;
    // Kills that met a prune, and those of them after it had removed some of the rows.
    let (mut kills, mut midway, mut rounds) = (0, 0, 0_u64);
    while kills < 6 || midway < 2 {
        rounds += 1;
        ensure!(rounds < 40, "only {kills} of {rounds} kills met a prune, {midway} in its middle");
        old_records(&station.open()?, 400)?;
        lay_over(&station, &whole, &field)?;
        let before = pruned_rows(&station)?;
        let mut pruning = station.start(&["prune", "--older-than", "90d"])?;
        // The longer it takes to meet one in its middle, the slower this machine is.
        pause(Duration::from_millis(dice.below((300 * rounds).max(1200))));
        let met = !pruning.has_ended()?;
        pruning.kill()?;
        kills += u32::from(met);
        midway += u32::from(met && pruned_rows(&station)? > before);
        if rounds % 3 == 0 {
            verify(&station, 0)?;
        }
    }
    let commits = end(program)?;
    ensure!(commits > 10, "the program committed {commits} times only");
    lay_over(&station, &whole, &field)?;
    let pruned = prune(&station)?;
    let report = verify(&station, 0)?;
    println!(
        "{kills} of {rounds} kills met a running prune, {midway} in its middle; {commits} commits meanwhile; {pruned} rows went at last, {} in all",
        pruned_rows(&station)?
    );
    ensure!(report["tables"][3]["pruned"].as_u64() > Some(500), "{report}");

    // What was ever written is upstream, cell by cell: the file that was never pruned says so.
    field.assert_upstream_equals(&[&station.with_file(whole.clone())])?;
    let file = station.open()?;
    ensure!(
        count(
            &file,
            "SELECT count(*) FROM coefficients WHERE calculation_data_id NOT IN (SELECT id FROM calculation_data)"
        )? == 0
    );
    ensure!(
        count(&file, "SELECT count(*) FROM forecasts WHERE coefficient_id NOT IN (SELECT id FROM coefficients)")? == 0
    );
    ensure!(
        count(
            &file,
            "SELECT count(*) FROM validation_errors WHERE calculation_data_id NOT IN (SELECT id FROM calculation_data)"
        )? == 0
    );
    // Nothing old stays without a reason.
    let old = "< datetime('now', '-91 days')";
    for (table, time, stays) in [
        ("forecasts", "forecast_date", "0"),
        ("coefficients", "calculation_date", "id IN (SELECT coefficient_id FROM forecasts)"),
        (
            "calculation_data",
            "calculation_date",
            "id IN (SELECT calculation_data_id FROM coefficients UNION SELECT calculation_data_id FROM validation_errors)",
        ),
    ] {
        let sql = format!(
            "SELECT count(*) FROM {table} WHERE {time} {old} AND NOT ({stays}) AND id < (SELECT max(id) FROM {table})"
        );
        ensure!(count(&file, &sql)? == 0, "{table}: {}", count(&file, &sql)?);
    }

    // Two rows that are upstream only are touched there by hand, on two days.
    let all = Connection::open(&whole)?;
    all.execute("ATTACH ?1 AS here", [station.file.to_str().context("a path")?])?;
    let gone = "SELECT %(id) FROM main.forecasts WHERE id NOT IN (SELECT id FROM here.forecasts)";
    let [first, last] = ["min", "max"].map(|which| count(&all, &gone.replace("%", which)));
    let block = i64::from(station.number()?) << 32;
    let [lost, changed] = [block + first?, block + last?];
    by_hand(
        &field,
        cluster,
        &format!(
            "DELETE FROM {{}}forecasts WHERE id = {lost}; UPDATE {{}}forecasts SET forecast_value = 7 WHERE id = {changed}"
        ),
    )?;
    let forecasts = field.schema().table("forecasts").context("forecasts")?;
    let there = Upstream::open(&field.database)?.count(field.schema(), forecasts)?;
    let found = verify(&station, 1)?;
    let days = found["pruned_differences"].as_array().context("a list")?;
    ensure!(
        days.len() == 2 && found["differences_found"] == 2 && found["differences"] == Json::Array(Vec::new()),
        "{found}"
    );
    let by_rows = |day: &Json| Some(day["here"].as_u64()? - day["upstream"].as_u64()?);
    let mut short: Vec<_> = days.iter().map(by_rows).collect();
    short.sort_unstable();
    ensure!(short == [Some(0), Some(1)], "{found}");
    let text = station.run(&["verify", "--repair"])?.expect_code(1)?;
    ensure!(text.stdout.contains("only the server's operator can mend them"), "{}", text.output());
    ensure!(
        Upstream::open(&field.database)?.count(field.schema(), forecasts)? == there,
        "a repair touched pruned rows"
    );
    Ok(())
}

#[test]
fn prunes_killed_anywhere_while_a_program_writes_lose_nothing_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    killed_anywhere_while_a_program_writes(Some(&cluster))
}

#[test]
fn prunes_killed_anywhere_while_a_program_writes_lose_nothing_in_the_embedded_upstream() -> Result<()> {
    killed_anywhere_while_a_program_writes(None)
}

#[test]
fn a_pruned_file_is_backed_up_restored_copied_and_goes_on_under_another_number() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    // Not joined, nothing durable; no server, nothing proved.
    let alone = field.init_station("alone")?;
    old_records(&alone.open()?, 200)?;
    alone
        .run(&["prune", "--older-than", "1d"])?
        .expect_code(1)?
        .fails_saying(&["nothing of it is durable upstream"])?;
    old_records(&station.open()?, 400)?;
    let checked = station.run(&["test"])?.success()?;
    ensure!(checked.stdout.contains("server    ok") && checked.stdout.contains("clock     ok"), "{}", checked.output());
    let address = server.address;
    server.process.terminate()?.success()?;
    station.run(&["prune", "--older-than", "1d"])?.expect_code(EXIT_UNREACHABLE)?;
    ensure!(count(&station.open()?, "SELECT count(*) FROM calculation_data")? == 400);
    let server = field.serve_on(address)?;

    station.run(&["push"])?.success()?;
    station.run(&["backup", "before.db"])?.success()?;
    let would = json(&station, &["prune", "--older-than", "90d", "--dry-run"], 0)?;
    let pruned = prune(&station)?;
    ensure!(pruned > 300 && would["pruned"].as_u64() > Some(100), "{pruned} rows, {would}");
    verify(&station, 0)?;
    station.run(&["backup", "after.db"])?.success()?;
    // A copy from before has all rows again, one from after has not; both are whole.
    for (copy, all) in [("before.db", true), ("after.db", false)] {
        station.run(&["restore", copy, "--keep", &format!("replaced-{copy}")])?.success()?;
        ensure!((count(&station.open()?, "SELECT count(*) FROM calculation_data")? == 400) == all);
        let report = verify(&station, 0)?;
        ensure!((report["tables"][3]["pruned"].as_u64() == Some(0)) == all, "{report}");
    }

    // The file is copied, and both copies are written to.
    let twin: PathBuf = field.folder().join("one/twin.db");
    station.run(&["backup", "twin.db"])?.success()?;
    let twin = station.with_file(twin);
    let gone = count(&station.open()?, "SELECT min(first) FROM tidemark_pruned_ids WHERE tbl = 'calculation_data'")?;
    for (station, name) in [(&station, "ПЕРВЫЙ"), (&twin, "ВТОРОЙ")] {
        station.open()?.execute_batch(&format!(
            "INSERT INTO nomenclature (name) VALUES ('{name}');
             INSERT INTO coefficients (calculation_data_id, coefficient_a) VALUES ({gone}, 0.5)"
        ))?;
    }
    station.run(&["push"])?.success()?;
    twin.run(&["push"])?.fails_saying(&["another history"])?;
    let code = field.add_station("two")?;
    twin.run(&["rejoin", &code, "--server", &server.url()])?.success()?;
    twin.run(&["push"])?.success()?;
    ensure!(
        count(&twin.open()?, "SELECT count(*) FROM tidemark_rejects")? == 0,
        "the pruned parent is the old number's"
    );
    let upstream = Connection::open(field.database.strip_prefix("sqlite:///").context("the embedded store's file")?)?;
    let parent = format!("SELECT calculation_data_id FROM coefficients WHERE station = {}", twin.number()?);
    ensure!(count(&upstream, &parent)? == (i64::from(station.number()?) << 32) + gone);
    for station in [&station, &twin] {
        verify(station, 0)?;
        let refused =
            station.open()?.execute("INSERT INTO calculation_data (id, initial_balance) VALUES (?1, 1)", [gone]);
        ensure!(refused.is_err_and(|error| error.to_string().contains("was pruned from this file")));
    }
    Ok(())
}

#[test]
fn a_pruned_file_follows_a_newer_schema_and_is_still_compared() -> Result<()> {
    const VERSION_1: &str = include_str!("../golden/schema.toml");
    let mut field = Field::new(VERSION_1, None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let readings = "INSERT INTO site (name) VALUES ('Memmert');
        WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500)
        INSERT INTO reading (site_id, measured_at, value) SELECT 1, datetime('2024-01-01', n || ' hours'), n / 10.0 FROM n";
    station.open()?.execute_batch(readings)?;
    ensure!(prune(&station)? == 499);
    server.process.terminate()?.success()?;
    let version_2 = VERSION_1
        .replace("version = 1", "version = 2")
        .replace("value       = {", "depth       = { type = \"real\" }\nvalue       = {");
    field.follow(&version_2)?;
    field.migrate()?;
    let server = field.serve()?;
    station.run(&["server", &server.url()])?.success()?;
    std::fs::write(field.folder().join("schema-2.toml"), version_2)?;
    station.run(&["upgrade", "--schema", "../schema-2.toml"])?.success()?;
    station.open()?.execute_batch(&readings.replace("value)", "depth)"))?;
    verify(&station, 0)?;
    ensure!(prune(&station)? == 500);
    let clean = verify(&station, 0)?;
    ensure!(clean["tables"][1]["pruned"] == 999, "{clean}");
    by_hand(&field, None, "DELETE FROM reading WHERE id % 4294967296 IN (30, 530)")?;
    let found = verify(&station, 1)?;
    ensure!(found["differences_found"] == 1 && found["pruned_differences"][0]["here"] == 48, "{found}");
    Ok(())
}

#[test]
fn an_attached_file_with_plain_keys_gives_no_id_twice() -> Result<()> {
    let field = Field::new(include_str!("../golden/schema.toml"), None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.folder_of("plant")?;
    Connection::open(&station.file)?.execute_batch(
        "CREATE TABLE site (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE reading (id INTEGER PRIMARY KEY, site_id INTEGER NOT NULL, measured_at TEXT NOT NULL, value REAL, checked BOOLEAN);
         CREATE TABLE note (reading_id INTEGER REFERENCES reading (id) ON DELETE CASCADE, text TEXT);
         INSERT INTO site (name) VALUES ('Memmert');
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100)
         INSERT INTO reading (site_id, measured_at) SELECT 1, datetime('2024-01-01', n || ' hours') FROM n;
         INSERT INTO note VALUES (5, 'a program''s own')",
    )?;
    let file = station.file.to_str().context("a path")?;
    station.run(&["attach", file, "--schema", "../schema.toml"])?.success()?;
    field.join(&station, &server.url())?;
    ensure!(prune(&station)? == 98, "row 5 is referenced, row 100 is the newest");
    let program = station.open()?;
    program.execute("INSERT INTO reading (site_id, measured_at) VALUES (1, '2024-03-01')", [])?;
    ensure!(program.last_insert_rowid() == 101 && count(&program, "SELECT count(*) FROM note")? == 1);
    ensure!(prune(&station)? == 1);
    verify(&station, 0)?;
    // What is upstream only cannot come back with `detach`: it says so first.
    station.run(&["detach"])?.expect_code(1)?.fails_saying(&["99 rows were pruned", "--force"])?;
    station.run(&["detach", "--force"])?.success()?;
    ensure!(count(&station.open()?, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'tidemark%'")? == 0);
    Ok(())
}
