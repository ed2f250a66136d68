//! Mistakes that concern both sides: each ends with exit code 1 (or 75), a sentence that says what to do, and nothing
//! lost.

use anyhow::{Result, ensure};
use rusqlite::Connection;
use tidemark_core::joincode::JoinCode;
use tidemark_e2e::compare::Upstream;
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::postgres::{Flavour, PASSWORD, PostgresCluster};
use tidemark_e2e::process::run;
use tidemark_e2e::world::Dice;

/// A running server over the embedded upstream.
fn served() -> Result<(Field, tidemark_e2e::process::ServerProcess)> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    Ok((field, server))
}

fn upstream_rows(field: &Field) -> Result<u64> {
    let upstream = Upstream::open(&field.database)?;
    field.schema().tables().iter().map(|table| upstream.count(field.schema(), table)).sum()
}

/// The embedded upstream's own tables.
fn embedded(field: &Field) -> Result<Connection> {
    let file = Connection::open(field.folder().join("upstream.db"))?;
    file.busy_timeout(std::time::Duration::from_secs(20))?;
    Ok(file)
}

#[test]
fn a_join_code_that_is_none_is_damaged_unknown_used_or_expired_says_so() -> Result<()> {
    let (field, server) = served()?;
    let (station, other) = (field.init_station("one")?, field.init_station("other")?);
    let code = field.add_station("one")?;
    let join = |station: &Station, code: &str| station.run(&["join", code, "--server", &server.url()]);

    join(&station, "not-a-code")?.fails_saying(&["not a join code", "tidemark-server station add"])?;
    let mut slipped = code.clone().into_bytes();
    slipped[20] = if slipped[20] == b'a' { b'b' } else { b'a' };
    join(&station, &String::from_utf8(slipped)?)?.fails_saying(&["damaged", "copy it again"])?;
    let invented = JoinCode { url: server.url(), secret: [7; 32], pin: None }.encode();
    join(&station, &invented)?.fails_saying(&["did not make this join code", "tidemark-server station add"])?;
    // A code that was copied without its end.
    for end in [4, 20, code.len() - 7, code.len() - 1] {
        join(&station, &code[..end])?.fails_saying(&["damaged", "copy it again", "tidemark-server station add"])?;
    }

    join(&station, &code)?.success()?;
    let used =
        join(&other, &code)?.fails_saying(&["another station used this join code", "tidemark-server station add"])?;
    ensure!(used.stderr.matches("station add").count() == 1, "says what to do twice: {}", used.stderr);
    // The station itself may say it again.
    join(&station, &code)?.success()?;

    let late = field.add_station("other")?;
    embedded(&field)?.execute(
        "UPDATE tidemark_station SET code_expires_at = '2020-01-01 00:00:00.000000' WHERE name = 'other'",
        [],
    )?;
    join(&other, &late)?.fails_saying(&["time is over", "tidemark-server station add"])?;
    ensure!(upstream_rows(&field)? == 0);
    Ok(())
}

#[test]
fn push_before_join_says_to_join_and_keeps_the_log() -> Result<()> {
    let field = Field::shrinkage(None)?;
    let station = field.init_station("one")?;
    station.record(&mut Dice::new(1), 5)?;
    let waiting = station.waiting()?;
    station.run(&["push"])?.fails_saying(&["join"])?;
    ensure!(station.waiting()? == waiting);
    Ok(())
}

#[test]
fn a_url_of_another_scheme_is_refused_on_both_sides() -> Result<()> {
    let (mut field, server) = served()?;
    let station = field.init_station("one")?;
    let code = field.add_station("one")?;
    for url in ["ftp://127.0.0.1", "127.0.0.1:8787", "", "http://", "file:///etc/passwd"] {
        station.run(&["join", &code, "--server", url])?.fails_saying(&["URL", "://"])?;
    }
    for url in
        ["mysql://u:geheim77@h/db", "sqlite://", "upstream.db", "http://127.0.0.1", "postgresql://u:geheim77@h:x/db"]
    {
        field.database = url.to_owned();
        for command in [&["migrate", "up"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let ended = field.server_command(command)?.fails_saying(&["://"])?;
            ensure!(!ended.output().contains("geheim77"), "{}", ended.output());
        }
    }
    station.run(&["join", &code, "--server", &server.url()])?.success()?;
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_exit_code_75() -> Result<()> {
    let (field, server) = served()?;
    let station = field.init_station("one")?;
    let code = field.add_station("one")?;
    // Nobody listens on port 1; the name is reserved for never existing.
    for url in ["http://127.0.0.1:1", "http://no-such-host.invalid"] {
        let ended = station.run(&["join", &code, "--server", url])?.expect_code(EXIT_UNREACHABLE)?;
        ensure!(ended.stderr.contains(url.trim_start_matches("http://")), "{}", ended.output());
    }
    station.run(&["join", &code, "--server", &server.url()])?.success()?;
    Ok(())
}

#[test]
fn a_password_is_never_printed_right_or_wrong() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Plain)?;
    let right = cluster.create_database("secret")?;
    let wrong = right.replace("Ebb", "Flut");
    let unreachable = right.replace(&format!(":{}/", cluster.port()), ":1/");
    let mut field = Field::shrinkage(None)?;
    // As much as the server can say.
    field.set_env("TIDEMARK_LOG", "trace");
    let pieces = [PASSWORD, "Ebb", "Flut", "%D0%96", "Flow@", "Flow%40", "Ж"];
    let check = |ended: &str| -> Result<()> {
        for piece in pieces {
            ensure!(!ended.contains(piece), "{piece:?} was printed:\n{ended}");
        }
        Ok(())
    };
    for url in [&wrong, &unreachable] {
        field.database.clone_from(url);
        let commands: [&[&str]; 4] =
            [&["migrate", "up"], &["migrate", "status"], &["serve", "--listen", "127.0.0.1:0"], &["station", "list"]];
        for command in commands {
            let ended = field.server_command(command)?;
            ensure!(ended.code != Some(0), "{ended:?}");
            ensure!(!ended.output().contains("panicked"), "{}", ended.output());
            ensure!(!ended.stderr.trim().is_empty(), "{} said nothing", ended.command);
            check(&ended.output())?;
        }
    }
    field.database = right;
    check(&field.server_command(&["migrate", "up"])?.success()?.output())?;
    check(&field.server_command(&["migrate", "plan"])?.success()?.output())?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    station.record(&mut Dice::new(1), 5)?;
    check(&station.run(&["push"])?.success()?.output())?;
    field.assert_upstream_equals(&[&station])?;
    check(&server.process.terminate()?.success()?.output())?;
    Ok(())
}

#[test]
fn another_stations_token_moves_nothing() -> Result<()> {
    let (field, server) = served()?;
    let owner = field.join_station("owner", &server.url())?;
    let thief = field.join_station("thief", &server.url())?;
    thief.record(&mut Dice::new(1), 5)?;
    let token: Vec<u8> = owner.open()?.query_row("SELECT token FROM tidemark_station", [], |row| row.get(0))?;
    let own: Vec<u8> = thief.open()?.query_row("SELECT token FROM tidemark_station", [], |row| row.get(0))?;
    thief.open()?.execute("UPDATE tidemark_station SET token = ?1", [&token])?;
    let waiting = thief.waiting()?;
    let ended = thief.run(&["push"])?;
    ensure!(ended.code == Some(1), "{ended:?}");
    ensure!(thief.waiting()? == waiting && upstream_rows(&field)? == 0);
    let hex = tidemark_core::value::hex(&token);
    ensure!(!ended.output().contains(&hex), "the token was printed");
    // An invented token is nobody's.
    thief.open()?.execute("UPDATE tidemark_station SET token = ?1", [vec![9_u8; 32]])?;
    thief.run(&["push"])?.fails_saying(&["join"])?;
    ensure!(thief.waiting()? == waiting && upstream_rows(&field)? == 0);
    drop((own, owner));
    Ok(())
}

#[test]
fn a_revoked_station_is_told_so() -> Result<()> {
    let (field, server) = served()?;
    let station = field.join_station("gone", &server.url())?;
    station.record(&mut Dice::new(1), 5)?;
    let waiting = station.waiting()?;
    run(
        "tidemark-server",
        &["station", "revoke", "gone", "--database", &field.database],
        field.folder(),
        &Default::default(),
    )?
    .success()?;
    station.run(&["push"])?.fails_saying(&["revoked"])?;
    ensure!(station.waiting()? == waiting && upstream_rows(&field)? == 0);
    Ok(())
}

#[test]
fn a_copied_station_file_is_found_out() -> Result<()> {
    let (field, server) = served()?;
    let station = field.join_station("one", &server.url())?;
    station.record(&mut Dice::new(1), 5)?;
    station.run(&["push"])?.success()?;
    // A copy of the whole database, as a backup program would make it.
    let copy = station.with_file(field.folder().join("one/copy.db"));
    station.open()?.execute("VACUUM INTO ?1", [copy.file.to_string_lossy()])?;
    station.record(&mut Dice::new(2), 5)?;
    station.run(&["push"])?.success()?;
    copy.record(&mut Dice::new(3), 7)?;
    let waiting = copy.waiting()?;
    copy.run(&["push"])?.fails_saying(&["fork"])?;
    ensure!(copy.waiting()? == waiting, "a forked station keeps its log");
    // It stays so, and says it without asking the server.
    copy.run(&["push"])?.fails_saying(&["fork"])?;
    station.record(&mut Dice::new(4), 3)?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

fn serve_refuses_a_database_that_does_not_match(field: &Field, change: impl FnOnce() -> Result<()>) -> Result<()> {
    let serve = || field.server_command(&["serve", "--listen", "127.0.0.1:0"]);
    field.migrate()?;
    change()?;
    serve()?.fails_saying(&["does not match", "forecasts", "deviation", "models", "version", "migrate"])?;
    Ok(())
}

#[test]
fn serve_refuses_a_postgresql_database_that_does_not_match_and_prints_the_difference() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("other")?))?;
    let ended = field.server_command(&["serve", "--listen", "127.0.0.1:0"])?.fails_saying(&["migrate up"])?;
    ensure!(ended.stderr.contains("0001_tidemark"), "{}", ended.output());
    serve_refuses_a_database_that_does_not_match(&field, || {
        cluster.connect("other")?.batch(
            "ALTER TABLE shrinkage.forecasts DROP COLUMN deviation; ALTER TABLE shrinkage.models ALTER version TYPE varchar(5)",
        )
    })
}

#[test]
fn serve_refuses_an_embedded_database_that_does_not_match_and_prints_the_difference() -> Result<()> {
    let field = Field::shrinkage(None)?;
    serve_refuses_a_database_that_does_not_match(&field, || {
        Ok(embedded(&field)?.execute_batch(
            "ALTER TABLE forecasts DROP COLUMN deviation; ALTER TABLE models DROP COLUMN version;
             ALTER TABLE models ADD COLUMN version INTEGER",
        )?)
    })
}

#[test]
fn a_station_of_another_schema_cannot_join() -> Result<()> {
    let (field, server) = served()?;
    let other = Field::new(
        "name = 'other'\nversion = 1\n[tables.t.columns]\nid = { type = 'integer' }\nx = { type = 'real' }\n",
        None,
    )?;
    let station = other.init_station("stranger")?;
    let code = field.add_station("stranger")?;
    station.run(&["join", &code, "--server", &server.url()])?.fails_saying(&["schema"])?;
    Ok(())
}

#[test]
fn values_that_cannot_travel_are_refused_with_a_code_and_the_rest_goes_on() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("values")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    station.record(&mut Dice::new(1), 10)?;
    let file = station.open()?;
    // Keys that no correction of a season touches.
    let bad = [
        ("timestamp", "INSERT INTO forecasts (id, forecast_date) VALUES (9001, 'infinity')"),
        ("timestamp", "INSERT INTO forecasts (id, forecast_date) VALUES (9002, '10000-01-01 00:00:00')"),
        ("clock", "INSERT INTO forecasts (id, forecast_date) VALUES (9003, '9999-12-31 23:59:59')"),
        ("clock", "INSERT INTO forecasts (id, forecast_date) VALUES (9004, '1999-12-31 23:59:59')"),
        ("required", "INSERT INTO forecasts (id, forecast_date) VALUES (9041, NULL)"),
        ("nul", "INSERT INTO models (id, name) VALUES (9006, 'a' || char(0) || 'b')"),
        ("utf8", "INSERT INTO models (id, name) VALUES (9007, CAST(x'ff41' AS TEXT))"),
        ("json", r#"INSERT INTO ai_patterns (id, pattern_data) VALUES (9008, '{"a": "\u0000"}')"#),
        ("json", "INSERT INTO ai_patterns (id, pattern_data) VALUES (9009, '{broken')"),
        ("type", "INSERT INTO calculation_data (id, storage_days) VALUES (9011, 'seven')"),
        ("type", "INSERT INTO models (id, name) VALUES (9011, x'00')"),
        ("type", "INSERT INTO priority_periods (id, active) VALUES (9012, 2)"),
        ("reference", "INSERT INTO coefficients (id, model_id) VALUES (9013, 777)"),
        ("id-range", "INSERT INTO models (id, name) VALUES (4294967296, 'too far')"),
        ("id-range", "INSERT INTO models (id, name) VALUES (-5, 'below')"),
    ];
    for (_, sql) in bad {
        file.execute(sql, [])?;
    }
    drop(file);
    station.record(&mut Dice::new(2), 10)?;
    station.run(&["push"])?.success()?;
    ensure!(station.waiting()? == 0, "refused changes do not hold up the log");

    let mut codes: Vec<String> = bad.iter().map(|(code, _)| (*code).to_owned()).collect();
    codes.sort();
    let admin = cluster.connect("values")?;
    let rejected = admin.query("SELECT code FROM tidemark.rejects ORDER BY code", &[])?;
    let rejected = rejected.iter().map(|row| row.try_get::<_, String>(0)).collect::<Result<Vec<_>, _>>()?;
    ensure!(rejected == codes, "{rejected:?}");
    let file = station.open()?;
    let here: Vec<String> = file
        .prepare("SELECT code FROM tidemark_rejects ORDER BY code")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    ensure!(here == codes, "{here:?}");

    // Repaired rows travel as updates; deleted ones are gone; then both sides are equal.
    file.execute_batch(
        "UPDATE forecasts SET forecast_date = '2025-05-05 05:05:05' WHERE id BETWEEN 9001 AND 9041;
         UPDATE models SET name = 'repariert' WHERE id IN (9006, 9007, 9011);
         UPDATE ai_patterns SET pattern_data = '{}' WHERE id IN (9008, 9009);
         UPDATE calculation_data SET storage_days = 7 WHERE id = 9011;
         UPDATE priority_periods SET active = 1 WHERE id = 9012;
         UPDATE coefficients SET model_id = 1 WHERE id = 9013;
         DELETE FROM models WHERE id = 4294967296 OR id = -5;",
    )?;
    drop(file);
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}
