//! `tidemark verify`: finds every divergence that is planted, raises no false alarm, and repairs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::Connection;
use serde_json::Value as Json;
use tidemark_e2e::divergence::{Deed, Found, Plan, RowId, Vandal};
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::schemas::VARIED;
use tidemark_e2e::varied::{Amounts, edit, insert, spoil};
use tidemark_e2e::world::{Dice, now, pause};

/// Divergences planted.
const PLANTED: usize = 1000;
/// Clean runs on each kind of upstream: 100 on both.
const CLEAN_RUNS: u64 = 50;

/// Runs `verify --json`; the document, when it ended with this code.
fn verify(station: &Station, args: &[&str], code: i32) -> Result<Json> {
    let ended = station.run(&[&["verify", "--json"], args].concat())?.expect_code(code)?;
    serde_json::from_str(&ended.stdout).with_context(|| ended.output())
}

/// The rows a document names, and how.
fn found(json: &Json) -> Result<BTreeMap<RowId, Found>> {
    let mut rows = BTreeMap::new();
    for row in json["differences"].as_array().context("differences is a list")? {
        let key = &row["upstream_key"];
        let id = RowId {
            table: row["table"].as_str().context("a table")?.to_owned(),
            key: key.as_str().map_or_else(|| key.to_string(), str::to_owned),
            time: row["time"].as_str().map(str::to_owned),
        };
        let kind = ["missing", "extra", "changed"].into_iter().find(|kind| row["kind"] == *kind).context("a kind")?;
        let cells = row["cells"].as_array().context("cells is a list")?;
        ensure!((kind == "changed") != cells.is_empty(), "{row}");
        let column = if let [cell] = &cells[..] { cell["column"].as_str().map(str::to_owned) } else { None };
        ensure!(rows.insert(id, (kind, column)).is_none(), "twice: {row}");
    }
    Ok(rows)
}

/// Checks that exactly the expected rows were found, in the expected way.
fn assert_found(json: &Json, expected: &BTreeMap<RowId, Found>) -> Result<()> {
    let found = found(json)?;
    // Of rows that exchanged their keys any number of cells differs.
    let same =
        |found: &Found, expected: &Found| found.0 == expected.0 && (expected.1.is_none() || found.1 == expected.1);
    for (id, expected) in expected {
        match found.get(id) {
            Some(found) if same(found, expected) => {}
            other => bail!("{id:?}: {expected:?} was planted, {other:?} was found"),
        }
    }
    if let Some((id, found)) = found.iter().find(|(id, _)| !expected.contains_key(*id)) {
        bail!("false alarm: {id:?}: {found:?}");
    }
    Ok(())
}

fn vandal(field: &Field, cluster: Option<&PostgresCluster>) -> Result<Vandal> {
    Ok(match cluster {
        Some(cluster) => Vandal::Postgres(cluster.admin("verify")?),
        None => {
            let path = field.database.strip_prefix("sqlite:///").context("the embedded store's file")?;
            let connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(20))?;
            connection.pragma_update(None, "foreign_keys", false)?;
            Vandal::Sqlite(connection)
        }
    })
}

fn every_planted_divergence_is_found_and_repaired(cluster: Option<&PostgresCluster>) -> Result<()> {
    let mut dice = Dice::from_env();
    let field = Field::new(VARIED, cluster.map(|cluster| cluster.create_database("verify")).transpose()?)?;
    field.migrate()?;
    let server = field.serve()?;
    let (one, two) = (field.join_station("one", &server.url())?, field.join_station("two", &server.url())?);
    let amounts = Amounts { sites: 600, readings: 4000, tags: 900, events: 900 };
    for station in [&one, &two] {
        insert(&mut station.open()?, &mut dice, amounts)?;
        // Pushes first.
        let json = verify(station, &[], 0)?;
        ensure!(json["equal"] == true && json["tidemark"] == 6400, "{json}");
        ensure!(json["requests"].as_u64() <= Some(2), "a clean station asks little: {json}");
    }
    let vandal = vandal(&field, cluster)?;
    let mut plan = Plan::new(field.schema(), &one, &mut dice)?;
    let tables = field.schema().tables().len();
    // Mostly cells of readings, which have every type; every deed on every table.
    let mut planted = 0;
    for turn in 0.. {
        if planted == PLANTED {
            break;
        }
        let deed = Deed::ALL[turn % Deed::ALL.len()];
        let round = turn / Deed::ALL.len();
        let table = if round.is_multiple_of(3) { (round / 3) % tables } else { 1 };
        planted += usize::from(plan.plant(&vandal, &mut dice, table, deed)?);
    }
    println!("planted: {:?}", plan.done);
    for ty in ["integer", "real", "text", "boolean", "timestamp", "json", "bytes", "uuid"] {
        for turn in ["NULL to value", "value to NULL", "to another"] {
            ensure!(plan.done.contains_key(&format!("Change {ty} {turn}")), "no {ty} {turn}: {:?}", plan.done);
        }
    }
    let start = now();
    let json = verify(&one, &["--limit", "100000"], 1)?;
    println!(
        "{planted} divergences, {} rows: found in {:.2} s with {} requests",
        plan.expected.len(),
        start.elapsed().as_secs_f64(),
        json["requests"]
    );
    assert_found(&json, &plan.expected)?;
    ensure!(json["requests"].as_u64() < Some(40), "{} requests", json["requests"]);
    // The other station's rows are not touched by it.
    verify(&two, &[], 0)?;
    // People see them too, shortened.
    let text =
        one.run(&["verify", "--limit", "3"])?.fails_saying(&["upstream does not equal the station", "--repair"])?;
    ensure!(text.stdout.contains("--limit N shows more"), "{}", text.stdout);
    let json = verify(&one, &["--repair"], 0)?;
    let missing_or_changed = plan.expected.values().filter(|(kind, _)| *kind != "extra").count();
    let repaired = &json["repaired"];
    ensure!(json["equal"] == true && repaired["rejected"] == 0 && repaired["out_of_reach"] == 0, "{json}");
    ensure!(repaired["differences"] == plan.expected.len() && repaired["rewritten"] == missing_or_changed, "{json}");
    verify(&one, &["--no-push"], 0)?;
    verify(&two, &[], 0)?;
    field.assert_upstream_equals(&[&one, &two])?;
    Ok(())
}

#[test]
fn every_planted_divergence_is_found_and_repaired_on_timescale() -> Result<()> {
    every_planted_divergence_is_found_and_repaired(Some(&PostgresCluster::shared(Flavour::Timescale)?))
}

#[test]
fn every_planted_divergence_is_found_and_repaired_on_the_embedded_upstream() -> Result<()> {
    every_planted_divergence_is_found_and_repaired(None)
}

/// Runs `work` while a program writes to the station and a daemon pushes from it.
fn while_busy<R>(station: &Station, seed: u64, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let end = AtomicBool::new(false);
    let mut file = station.open()?;
    let daemon = station.start(&["run"])?;
    std::thread::scope(|scope| {
        let end = &end;
        let writer = scope.spawn(move || -> Result<u64> {
            let mut dice = Dice::new(seed);
            let mut commits = 0;
            while !end.load(Ordering::Relaxed) {
                insert(&mut file, &mut dice, Amounts { sites: 1, readings: 5, tags: 1, events: 1 })?;
                edit(&mut file, &mut dice, 4)?;
                commits += 2;
                pause(Duration::from_millis(3));
            }
            Ok(commits)
        });
        let result = work();
        end.store(true, Ordering::Relaxed);
        let commits = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        ensure!(commits > 1, "the writer wrote nothing meanwhile");
        daemon.terminate()?.success()?;
        result
    })
}

fn clean_runs_raise_no_alarm(cluster: Option<&PostgresCluster>) -> Result<()> {
    let mut dice = Dice::from_env();
    let field = Field::new(VARIED, cluster.map(|cluster| cluster.create_database("verify")).transpose()?)?;
    field.migrate()?;
    let server = field.serve()?;
    let mut stations = Vec::new();
    for name in ["one", "two", "three"] {
        stations.push(field.join_station(name, &server.url())?);
    }
    let (mut rejected, mut busy) = (0, 0);
    for round in 0..CLEAN_RUNS {
        let station = &stations[dice.below(3) as usize];
        let mut file = station.open()?;
        let mut some = |most| dice.below(most);
        let amounts = Amounts { sites: some(8), readings: some(120), tags: some(20), events: some(20) };
        insert(&mut file, &mut dice, amounts)?;
        edit(&mut file, &mut dice, 20)?;
        for _ in 0..dice.below(4) {
            spoil(&mut file, &mut dice)?;
        }
        drop(file);
        let json = if round % 5 == 4 {
            busy += 1;
            while_busy(station, dice.next(), || {
                pause(Duration::from_millis(50));
                verify(station, &[], 0)
            })
        } else {
            verify(station, &[], 0)
        };
        let json = json.with_context(|| format!("round {round}"))?;
        ensure!(json["equal"] == true && json["complete"] == true, "{json}");
        let tables = json["tables"].as_array().context("tables is a list")?;
        rejected += tables.iter().filter_map(|table| table["rejected"].as_u64()).sum::<u64>();
    }
    ensure!(rejected > 0, "no run had a row that differs by a rejected change");
    println!("{CLEAN_RUNS} clean runs, {busy} of them while a program wrote and a daemon pushed");
    Ok(())
}

#[test]
fn clean_runs_raise_no_alarm_on_timescale() -> Result<()> {
    clean_runs_raise_no_alarm(Some(&PostgresCluster::shared(Flavour::Timescale)?))
}

#[test]
fn clean_runs_raise_no_alarm_on_the_embedded_upstream() -> Result<()> {
    clean_runs_raise_no_alarm(None)
}

#[test]
fn what_verify_cannot_do_it_says() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::new(VARIED, Some(cluster.create_database("verify")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.init_station("one")?;
    let not_joined = station.run(&["verify"])?.expect_code(2)?;
    ensure!(not_joined.stderr.contains("tidemark join CODE"), "{}", not_joined.stderr);
    let code = field.add_station("one")?;
    station.run(&["join", &code, "--server", &server.url()])?.success()?;
    let mut dice = Dice::new(7);
    insert(&mut station.open()?, &mut dice, Amounts { sites: 3, readings: 50, tags: 0, events: 0 })?;
    let waiting = station.run(&["verify", "--no-push"])?.expect_code(2)?;
    ensure!(waiting.stderr.contains("53 changes are not pushed yet"), "{}", waiting.stderr);
    ensure!(station.waiting()? == 53, "nothing was pushed");
    station.run(&["verify"])?.success()?;
    let no_table = station.run(&["verify", "--table", "nothing"])?.expect_code(2)?;
    ensure!(no_table.stderr.contains("its tables are: site, reading, tag, event"), "{}", no_table.stderr);
    // Rows that no change of a station can name: a time that is none, and another station's key.
    let admin = cluster.admin("verify")?;
    let row = |key: &str, time: &str| {
        format!("INSERT INTO varied.reading (id, measured_at, station) VALUES ({key}, '{time}', 1)")
    };
    admin.batch(&row("4294967296 + 1", "infinity"))?;
    admin.batch(&row("4294967296 * 9 + 1", "2025-01-01"))?;
    admin.batch(&row("4294967296 + 2", "0044-03-15 BC"))?;
    let json = verify(&station, &["--table", "reading"], 1)?;
    let kinds: Vec<&Json> = json["differences"].as_array().context("a list")?.iter().map(|row| &row["kind"]).collect();
    ensure!(kinds == ["extra"; 3], "{json}");
    verify(&station, &["--table", "site"], 0)?;
    let json = verify(&station, &["--repair"], 1)?;
    ensure!(json["repaired"]["out_of_reach"] == 3 && json["differences_found"] == 3, "{json}");
    admin.batch("DELETE FROM varied.reading WHERE measured_at > '9999-01-01' OR measured_at < '0001-01-01' OR id > 4294967296 * 9")?;
    verify(&station, &[], 0)?;
    // A file that was put back to an older copy has another history.
    let copy = station.file.with_extension("copy");
    station.open()?.execute("VACUUM INTO ?1", [copy.to_str().context("a path")?])?;
    let older = station.with_file(copy);
    insert(&mut station.open()?, &mut dice, Amounts { sites: 1, readings: 0, tags: 0, events: 0 })?;
    station.run(&["push"])?.success()?;
    let forked = older.run(&["verify"])?.expect_code(2)?;
    ensure!(forked.stderr.contains("forked:") && forked.stderr.contains("What to do"), "{}", forked.stderr);
    // Nobody there.
    drop(server);
    let unreachable = station.run(&["verify"])?.expect_code(EXIT_UNREACHABLE)?;
    ensure!(unreachable.stderr.contains("cannot reach the server"), "{}", unreachable.stderr);
    Ok(())
}
