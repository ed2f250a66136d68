//! Append tables with real programs on TimescaleDB: each row comes in once, nothing changes it, and what a station's
//! commands say of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::proxy::{Act, Gate, Proxy};
use tidemark_e2e::world::Dice;

use crate::crash::{Kills, still_pushing};

pub(crate) const SCHEMA: &str = r#"
name = "weir"
version = 1
[tables.gate.columns]
id   = { type = "integer" }
name = { type = "text", required = true }
[tables.level]
time = "at"
append = true
[tables.level.columns]
id      = { type = "integer" }
gate_id = { type = "integer", references = "gate" }
at      = { type = "timestamp" }
height  = { type = "real" }
[tables.event]
append = true
[tables.event.columns]
id      = { type = "integer" }
gate_id = { type = "integer", references = "gate" }
what    = { type = "text" }
"#;

/// A field whose upstream is a database of a cluster, and a look into it.
fn field(cluster: &PostgresCluster) -> Result<(Field, PgClient)> {
    let mut field = Field::new(SCHEMA, Some(cluster.create_database("append")?))?;
    field.serve_args = ["--batch-rows-max", "300"].map(str::to_owned).to_vec();
    field.migrate()?;
    Ok((field, cluster.connect("append")?))
}

/// The rows of an append table upstream, as text, in order: a row that is there twice stands there twice.
pub(crate) fn rows(upstream: &PgClient, table: &str) -> Result<Vec<String>> {
    let columns = if table == "level" { "height" } else { "what" };
    let sql = format!("SELECT concat_ws(' ', id & 4294967295, {columns}, station) FROM weir.{table} ORDER BY id, 1");
    Ok(upstream.query(&sql, &[])?.iter().map(|row| row.get(0)).collect())
}

/// Seq, operation, code and origin of the rejects that a station keeps.
fn rejects(station: &Station) -> Result<Vec<(i64, String, String, String)>> {
    let file = station.open()?;
    let sql = "SELECT seq, op, code, origin FROM tidemark_rejects WHERE state = 'open' ORDER BY seq";
    let mut query = file.prepare(sql)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn verify(station: &Station, args: &[&str], code: i32) -> Result<Json> {
    let ended = station.run(&[&["verify", "--json"], args].concat())?.expect_code(code)?;
    serde_json::from_str(&ended.stdout).with_context(|| ended.output())
}

fn append_only(seq: i64, op: &str, origin: &str) -> (i64, String, String, String) {
    (seq, op.to_owned(), "append-only".to_owned(), origin.to_owned())
}

#[test]
fn what_changes_appended_rows_is_rejected_and_shown_and_nothing_is_doubled() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let (field, upstream) = field(&cluster)?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    let file = station.open()?;
    file.execute_batch(
        "INSERT INTO gate (name) VALUES ('north');
         INSERT INTO level (gate_id, at, height) VALUES (1, '2026-06-01', 1.5), (1, '2026-07-01', 2.5);
         INSERT INTO event (gate_id, what) VALUES (1, 'opened'), (1, 'closed')",
    )?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    file.execute_batch(
        "UPDATE level SET height = 9 WHERE id = 1;
         DELETE FROM event WHERE id = 2;
         INSERT OR REPLACE INTO event SELECT * FROM event WHERE id = 1;
         INSERT INTO event (id, gate_id, what) VALUES (2, 1, 'closed again');
         DELETE FROM gate WHERE id = 1",
    )?;
    let told = station.run(&["push"])?.success()?.output();
    ensure!(told.contains("append-only") || told.contains("rejected"), "{told}");
    let mut kept = vec![
        append_only(6, "U", "station"),
        append_only(7, "D", "station"),
        append_only(9, "I", "server"),
        (10, "D".to_owned(), "referenced".to_owned(), "server".to_owned()),
    ];
    ensure!(rejects(&station)? == kept, "{:?}", rejects(&station)?);
    let (levels, events) = (["1 1.5 1", "2 2.5 1"], ["1 opened 1", "2 closed 1"]);
    ensure!(rows(&upstream, "level")? == levels && rows(&upstream, "event")? == events);

    let listed = station.run(&["rejects"])?.success()?.output();
    ensure!(
        listed.contains("append-only (by the station)") && listed.contains("append-only (by the server)"),
        "{listed}"
    );
    let one = station.run(&["rejects", "show", "6"])?.success()?.output();
    ensure!(one.contains("takes inserts only") && one.contains("rejects discard"), "{one}");
    ensure!(station.status()?["rejects"] == 4);
    let there = field.server_command(&["rejects", "list"])?.success()?.output();
    ensure!(there.matches("append-only").count() >= 3, "{there}");
    // That both sides differ there is known, and stays known when nobody wants to hear of it any more.
    ensure!(verify(&station, &["--table", "level"], 0)?["equal"] == true);
    // Sending it again brings nothing: the row stays as it was inserted.
    station.run(&["rejects", "requeue", "6"])?.success()?;
    station.run(&["push"])?.success()?;
    kept.remove(0);
    kept.push(append_only(11, "I", "server"));
    ensure!(rejects(&station)? == kept, "{:?}", rejects(&station)?);
    station.run(&["rejects", "discard", "7", "9", "11"])?.success()?;
    let json = verify(&station, &["--repair"], 0)?;
    ensure!(json["equal"] == true && json["repaired"].is_null(), "{json}");

    // A row that could not travel is mended, and comes in as the insert that it was.
    file.execute_batch("INSERT INTO level (gate_id, at, height) VALUES (1, '2026-08-01', 'high')")?;
    station.run(&["push"])?.success()?;
    file.execute_batch(
        "UPDATE level SET height = 3.5 WHERE id = 3; INSERT INTO level (at, height) VALUES ('2026-08-02', 4)",
    )?;
    station.run(&["push"])?.success()?;
    let refused = rejects(&station)?;
    ensure!(refused.len() == 3 && refused[2] == append_only(13, "U", "station"), "{refused:?}");
    station.run(&["rejects", "repair", "12", "--set", "height=4.5"])?.success()?;
    station.run(&["push"])?.success()?;
    let levels = ["1 1.5 1", "2 2.5 1", "3 4.5 1", "4 4 1"];
    ensure!(rows(&upstream, "level")? == levels && rejects(&station)?.len() == 1, "{:?}", rejects(&station)?);
    Ok(())
}

#[test]
fn keys_that_ran_away_are_renumbered_in_append_tables_too() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let (field, upstream) = field(&cluster)?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    station.open()?.execute_batch(
        "INSERT INTO gate (name) VALUES ('near'); INSERT INTO gate (id, name) VALUES (5000000000, 'far');
         INSERT INTO event (gate_id, what) VALUES (1, 'a'), (5000000000, 'b');
         INSERT INTO event (id, what) VALUES (6000000000, 'c'); INSERT INTO event (what) VALUES ('d')",
    )?;
    station.run(&["push"])?.success()?;
    ensure!(rejects(&station)?.len() == 4 && rows(&upstream, "event")? == ["1 a 1"], "{:?}", rejects(&station)?);
    station.run(&["rejects", "renumber"])?.success()?;
    station.run(&["push"])?.success()?;
    ensure!(rejects(&station)?.is_empty(), "{:?}", rejects(&station)?);
    ensure!(rows(&upstream, "event")? == ["1 a 1", "2 b 1", "3 c 1", "4 d 1"], "{:?}", rows(&upstream, "event")?);
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn verify_brings_missing_rows_back_and_leaves_others_as_they_are_upstream() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let (field, upstream) = field(&cluster)?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    station.open()?.execute_batch(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
         INSERT INTO level (at, height) SELECT datetime('2026-01-01', n || ' hours'), n % 7 FROM n;
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
         INSERT INTO event (what) SELECT 'event ' || n FROM n",
    )?;
    ensure!(verify(&station, &[], 0)?["equal"] == true);
    // Rows that somebody took away upstream, changed, moved, and added.
    upstream.batch(
        "DELETE FROM weir.level WHERE id & 4294967295 BETWEEN 10 AND 12;
         DELETE FROM weir.event WHERE id & 4294967295 IN (1, 500, 1000);
         UPDATE weir.level SET height = 29 WHERE id & 4294967295 = 20;
         DELETE FROM weir.level WHERE id & 4294967295 = 30;
         INSERT INTO weir.level (id, at, height, station) VALUES (4294967296 + 30, '2025-01-01', 2, 1);
         INSERT INTO weir.event (id, what, station) VALUES (4294967296 + 5000, 'by hand', 1)",
    )?;
    let json = verify(&station, &[], 1)?;
    ensure!(json["differences_found"] == 10, "{json}");
    let json = verify(&station, &["--repair"], 1)?;
    let repaired = &json["repaired"];
    ensure!(repaired["rewritten"] == 6 && repaired["rejected"] == 0 && repaired["removed"] == 0, "{json}");
    // What stays: a changed row, a moved one here and there, and one that only upstream has.
    ensure!(json["differences_found"] == 4 && repaired["append_only"].as_u64() >= Some(4), "{json}");
    let counted: i64 = upstream.value("SELECT count(*) - count(DISTINCT id) FROM weir.level")?;
    let events: i64 = upstream.value("SELECT count(*) - count(DISTINCT id) FROM weir.event")?;
    ensure!(counted == 0 && events == 0, "{counted} levels and {events} events stand there twice");
    let told = station.run(&["verify", "--repair"])?.expect_code(1)?.output();
    ensure!(told.contains("of append tables left as they are upstream"), "{told}");
    Ok(())
}

/// Writes rows as a program does, some in the order of their keys and some not.
fn write(station: &Station, dice: &mut Dice, count: i64) -> Result<()> {
    let mut file = station.open()?;
    let tx = file.transaction()?;
    for _ in 0..count {
        let at = format!("2026-0{}-01 00:00:{:02}", 1 + dice.below(6), dice.below(60));
        tx.execute("INSERT INTO level (at, height) VALUES (?1, ?2)", (at, dice.below(30) as f64 / 4.0))?;
        if dice.below(5) == 0 {
            let key = 1 + dice.below(1_000_000);
            tx.execute("INSERT OR IGNORE INTO event (id, what) VALUES (?1, 'x')", [key.cast_signed()])?;
        }
    }
    Ok(tx.commit()?)
}

#[test]
fn a_server_and_a_station_killed_mid_push_leave_each_appended_row_once() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let (field, _) = field(&cluster)?;
    let mut server = field.serve()?;
    let address = server.address;
    let station = field.join_station("a", &server.url())?;
    let mut dice = Dice::from_env();
    let mut kills = Kills::of(6, 40);
    while kills.go_on()? {
        write(&station, &mut dice, 3000)?;
        let mut push = station.start(&["push"])?;
        let met = still_pushing(&mut push, &mut dice, 350)?;
        if kills.round.is_multiple_of(2) {
            push.kill()?;
        } else {
            server.process.kill()?;
            let ended = push.wait()?;
            ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{ended:?}");
            server = field.serve_on(address)?;
        }
        kills.count(met);
    }
    station.push_until_drained()?;
    field.assert_upstream_equals(&[&station])?;
    ensure!(rejects(&station)?.is_empty());
    Ok(())
}

#[test]
fn appended_rows_committed_before_their_ack_was_lost_are_there_once() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let (field, _) = field(&cluster)?;
    let server = field.serve()?;
    let proxy = Proxy::start(server.address)?;
    let station = field.join_station("a", &proxy.url())?;
    let mut dice = Dice::new(7);
    for round in 0..4 {
        write(&station, &mut dice, 40)?;
        let waiting = station.waiting()?;
        let gate = Gate::new();
        proxy.script([Act::HoldReply(gate.clone())]);
        let push = station.start(&["push"])?;
        gate.wait_until_held(Duration::from_secs(30))?;
        push.kill()?;
        gate.open();
        ensure!(station.waiting()? == waiting, "the ack never came, so nothing may leave the log");
        if round % 2 == 0 {
            write(&station, &mut dice, 5)?;
        }
        station.run(&["push"])?.success()?;
        field.assert_upstream_equals(&[&station])?;
    }
    Ok(())
}

#[test]
fn files_with_append_tables_rejoin_and_are_pruned_and_exported_with_every_row_once() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let (field, upstream) = field(&cluster)?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    let url = server.url();
    let replace = |name: &str, old: &str| -> Result<()> {
        let code = field.server_command(&["station", "add", name, "--replaces", old])?.success()?;
        station.run(&["rejoin", code.last_line().trim(), "--server", &url])?.success()?;
        station.run(&["push"])?.success().map(drop)
    };
    let write = |text: &str| -> Result<()> {
        let sql = format!(
            "INSERT INTO level (at, height) VALUES ('2025-06-01', 1), ('2026-06-01', 2); \
             INSERT INTO event (what) VALUES ('{text} 1'), ('{text} 2')"
        );
        Ok(station.open()?.execute_batch(&sql)?)
    };
    write("first")?;
    station.run(&["push"])?.success()?;
    // A file put back to an older copy: what the lost life wrote stays upstream, what this one writes comes beside it.
    let copy = field.folder().join("copy.db");
    station.open()?.execute("VACUUM INTO ?1", [copy.to_str()])?;
    write("lost")?;
    station.run(&["push"])?.success()?;
    for suffix in ["-wal", "-shm"] {
        let beside =
            station.file.with_file_name(format!("{}{suffix}", station.file.file_name().context("a name")?.display()));
        if beside.exists() {
            std::fs::remove_file(beside)?;
        }
    }
    std::fs::copy(&copy, &station.file)?;
    write("again")?;
    station.run(&["push"])?.fails_saying(&["forked: "])?;
    replace("b", "a")?;
    let events =
        ["1 first 1 1", "2 first 2 1", "3 lost 1 1", "4 lost 2 1", "3 again 1 2", "4 again 2 2"].map(str::to_owned);
    ensure!(rows(&upstream, "event")? == events, "{:?}", rows(&upstream, "event")?);
    // A log that was edited is begun anew from the rows: those that are upstream already change nothing.
    write("more")?;
    station.open()?.execute_batch("DELETE FROM tidemark_log WHERE seq = (SELECT min(seq) FROM tidemark_log)")?;
    station.run(&["push"])?.fails_saying(&["tampered"])?;
    replace("c", "b")?;
    ensure!(rejects(&station)?.is_empty(), "{:?}", rejects(&station)?);
    let found = rows(&upstream, "event")?;
    ensure!(found.len() == 8 && found[..4] == events[..4], "{found:?}");
    ensure!(rows(&upstream, "level")?.len() == 8, "{:?}", rows(&upstream, "level")?);

    // What is pruned is no delete.
    let (levels, file) = (rows(&upstream, "level")?, station.open()?);
    write("last")?;
    let pruned = station.run(&["prune", "--older-than", "90d", "--json"])?.success()?.output();
    let left: i64 = file.query_row("SELECT count(*) FROM level WHERE at < '2026-01-01'", [], |row| row.get(0))?;
    ensure!(left < 4, "{left} old rows are left: {pruned}");
    station.run(&["push"])?.success()?;
    ensure!(rejects(&station)?.is_empty() && rows(&upstream, "level")?.len() == levels.len() + 2);
    ensure!(verify(&station, &[], 0)?["equal"] == true);
    field.server_command(&["export", "--to", "sqlite:///export.db"])?.success()?;
    let exported = rusqlite::Connection::open(field.folder().join("export.db"))?;
    let counted: i64 = exported.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
    ensure!(counted == 10, "{counted} events were exported");
    Ok(())
}
