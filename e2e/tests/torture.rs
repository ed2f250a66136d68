//! Thirty rounds of torture, and the proof that its checks can see: each divergence is planted by hand and found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use rusqlite::Connection;
use tidemark_core::schema::Schema;
use tidemark_e2e::compare::Upstream;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::Running;
use tidemark_e2e::torture::check::{Checked, Subject, check};
use tidemark_e2e::torture::journal::{self, Told};
use tidemark_e2e::torture::ledger::Ledger;
use tidemark_e2e::torture::plan::Shape;
use tidemark_e2e::torture::tally::Hit;
use tidemark_e2e::torture::{Database, Options, markers, run};
use tidemark_e2e::world::unix_ms;

/// The program that writes.
const TORTURE: &str = env!("CARGO_BIN_EXE_torture");

fn options(database: Database, rounds: u64) -> Options {
    let seed = std::env::var("TIDEMARK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    Options {
        from: 0,
        rounds: Some(rounds),
        duration: None,
        seed: seed.unwrap_or_else(|| unix_ms() as u64),
        shape: Shape { servers: 2, stations: 3 },
        database,
        keep: false,
        writer: TORTURE.into(),
        interrupted: Arc::default(),
    }
}

#[test]
fn thirty_rounds_on_timescaledb_lose_stick_and_double_nothing() -> Result<()> {
    let totals = run(&options(Database::Postgres(Flavour::Timescale), 30))?;
    println!("{totals}");
    ensure!(totals.rounds == 30);
    // Otherwise it was no torture.
    for hit in [Hit::Server, Hit::Station, Hit::Writer, Hit::Postgres, Hit::Backend, Hit::Cut] {
        ensure!(totals.sum.of(hit) > 0, "no {}", hit.label());
    }
    ensure!(totals.sum.pushed > 1_000 && totals.sum.rejected > 0 && totals.sum.cut_off > 0, "{totals}");
    Ok(())
}

#[test]
fn five_rounds_on_the_embedded_upstream_lose_stick_and_double_nothing() -> Result<()> {
    let totals = run(&options(Database::Embedded, 5))?;
    println!("{totals}");
    ensure!(totals.rounds == 5 && totals.sum.pushed > 100, "{totals}");
    Ok(())
}

/// A small world after a peaceful round: files that nobody has open.
struct AtRest {
    schema: Schema,
    folder: tempfile::TempDir,
    number: u32,
}

/// The files of a copy of it.
struct Copy<'a> {
    rest: &'a AtRest,
    folder: tempfile::TempDir,
}

const STATION: &str = "station.db";
const UPSTREAM: &str = "upstream.db";
const JOURNAL: &str = "writer.jsonl";

/// A station that a writer has written to, with its journal, and whose server has taken everything and ended.
fn written(database: Option<String>, journal: &Path) -> Result<(Field, Station)> {
    let field = Field::shrinkage(database)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is text");
    let args = ["write", &text(&station.file)?, &text(journal)?, "5", "4000"];
    Running::spawn(Path::new(TORTURE), &args, field.folder(), &BTreeMap::new())?.wait()?.success()?;
    station.run(&["push"])?.success()?;
    server.process.terminate()?.success()?;
    Ok((field, station))
}

fn at_rest() -> Result<AtRest> {
    let folder = tempfile::tempdir()?;
    let (field, station) = written(None, &folder.path().join(JOURNAL))?;
    for (from, to) in [(station.file.as_path(), STATION), (&field.folder().join("upstream.db"), UPSTREAM)] {
        // Whatever a write-ahead log still holds goes into the copy too.
        let to = folder.path().join(to);
        Connection::open(from)?.execute("VACUUM INTO ?1", [to.to_str().context("a path is text")?])?;
    }
    Ok(AtRest { schema: field.schema().clone(), folder, number: station.number()? })
}

/// What the harness does after a round.
fn check_all(upstream: &Upstream, schema: &Schema, number: u32, file: &Path, journal: &Path) -> Result<Checked> {
    let markers = markers(&Connection::open(file)?)?;
    let mut told = Told::default();
    journal::read(journal, |name| Ok(markers.contains(name)), &mut told)?;
    let mut ledger = Ledger::new(schema);
    ledger.take(told.committed)?;
    check(upstream, schema, &[Subject { number, file, ledger: &ledger }])
}

impl AtRest {
    fn copy(&self) -> Result<Copy<'_>> {
        let folder = tempfile::tempdir()?;
        for name in [STATION, UPSTREAM, JOURNAL] {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name))?;
        }
        Ok(Copy { rest: self, folder })
    }
}

impl Copy<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs SQL that must change something.
    fn alter(&self, name: &str, sql: &str) -> Result<()> {
        let db = Connection::open(self.path(name))?;
        db.pragma_update(None, "foreign_keys", false)?;
        let before = db.total_changes();
        db.execute_batch(sql).with_context(|| sql.to_owned())?;
        ensure!(db.total_changes() > before, "changed nothing: {sql}");
        Ok(())
    }

    fn check(&self) -> Result<Checked> {
        let AtRest { schema, number, .. } = self.rest;
        let upstream = Upstream::Sqlite(self.path(UPSTREAM));
        check_all(&upstream, schema, *number, &self.path(STATION), &self.path(JOURNAL))
    }
}

/// Without the triggers, as a fault below SQLite would alter a file.
const UNSEEN: &str = "DROP TRIGGER tidemark_nomenclature_after_delete; DROP TRIGGER tidemark_nomenclature_after_update; \
    DROP TRIGGER tidemark_nomenclature_before_update; DROP TRIGGER tidemark_data_lineage_after_delete;";

#[test]
fn every_planted_divergence_is_found() -> Result<()> {
    let rest = at_rest()?;
    let checked = rest.copy()?.check()?;
    ensure!(checked.rows > 100 && checked.rejects > 3, "too little to plant in: {checked:?}");
    let on_station = |sql: &str| format!("{UNSEEN} {sql}");
    let lost_row = on_station("DELETE FROM nomenclature WHERE id = (SELECT min(id) FROM nomenclature WHERE id > 0)");
    let lost_commit = on_station("DELETE FROM data_lineage WHERE id = 3");
    let other_value =
        on_station("UPDATE nomenclature SET product_type = 'мясо' WHERE id = (SELECT max(id) FROM nomenclature)");
    let plants: &[(&str, &str, &str)] = &[
        (UPSTREAM, "DELETE FROM forecasts WHERE id = (SELECT max(id) FROM forecasts)", "missing upstream"),
        (
            UPSTREAM,
            "DELETE FROM source_data WHERE id = (SELECT max(source_data_id) FROM calculation_data)",
            "orphans upstream",
        ),
        (UPSTREAM, "INSERT INTO models (id, name, station) VALUES (4294967297, 'лишняя', 1)", "upstream only"),
        (
            UPSTREAM,
            "INSERT INTO models (id, name, station) VALUES (8589934593, 'ничья', 2)",
            "1 rows upstream, 0 should be",
        ),
        (
            UPSTREAM,
            "UPDATE calculation_data SET final_balance = final_balance + 1e-9 WHERE final_balance > 0",
            "calculation_data.final_balance",
        ),
        (UPSTREAM, "UPDATE tidemark_cursor SET seq = seq - 1", "the one upstream"),
        (UPSTREAM, "UPDATE tidemark_cursor SET chain = randomblob(32)", "its chain is not the one upstream"),
        (UPSTREAM, "DELETE FROM tidemark_cursor", "upstream has no cursor"),
        (
            UPSTREAM,
            "DELETE FROM tidemark_rejects WHERE seq = (SELECT max(seq) FROM tidemark_rejects)",
            "is not among the rejects upstream",
        ),
        (
            UPSTREAM,
            "UPDATE tidemark_rejects SET image = '{\"id\": 1}' WHERE origin = 'server'",
            "its image upstream is not the row",
        ),
        (
            UPSTREAM,
            "UPDATE tidemark_rejects SET code = 'constraint' WHERE origin = 'server'",
            "was rejected upstream as constraint",
        ),
        (
            UPSTREAM,
            "INSERT INTO tidemark_rejects (station, seq, at, received_at, tbl, op, code, message, image, origin) SELECT station, 1, at, received_at, tbl, op, code, message, image, origin FROM tidemark_rejects LIMIT 1",
            "change 1 was rejected, and nothing is wrong with it",
        ),
        (STATION, &lost_row, "missing on the station"),
        (STATION, &other_value, "nomenclature.product_type"),
        (STATION, &lost_commit, "was committed, and nothing of it is in the station's file"),
        (
            STATION,
            "DELETE FROM tidemark_rejects WHERE seq = (SELECT min(seq) FROM tidemark_rejects)",
            "is not among its rejects",
        ),
        (STATION, "UPDATE tidemark_rejects SET c1 = 'другое'", "its image on the station is not the row"),
        (STATION, "INSERT INTO models (name) VALUES ('не отправлено')", "1 changes are still in its log"),
        // Logged, trimmed, and never upstream: the tidemark runs ahead of what was acknowledged.
        (
            STATION,
            "INSERT INTO models (name) VALUES ('потеряно'); DELETE FROM tidemark_log; UPDATE tidemark_station SET tidemark = tidemark + 1",
            "the one upstream",
        ),
        // Logged and trimmed without a word.
        (STATION, "INSERT INTO models (name) VALUES ('потеряно'); DELETE FROM tidemark_log", "its tidemark is"),
    ];
    for (file, sql, says) in plants {
        let copy = rest.copy()?;
        copy.alter(file, sql)?;
        found(copy.check(), sql, says)?;
    }
    Ok(())
}

/// Checks that a check fails and says why.
fn found(checked: Result<Checked>, what: &str, says: &str) -> Result<()> {
    let Err(error) = checked else { bail!("went unseen: {what}") };
    let message = format!("{error:#}");
    ensure!(message.contains(says), "{what}: does not say {says:?}:\n{message}");
    Ok(())
}

#[test]
fn what_is_planted_in_timescaledb_is_found_too() -> Result<()> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let folder = tempfile::tempdir()?;
    let journal = folder.path().join(JOURNAL);
    let (field, station) = written(Some(cluster.create_database("planted")?), &journal)?;
    let number = station.number()?;
    let database = cluster.connect("planted")?;
    let check = || {
        let upstream = Upstream::open(&field.database)?;
        check_all(&upstream, field.schema(), number, &station.file, &journal)
    };
    check()?;
    let last = "(SELECT max(id) FROM shrinkage.forecasts)";
    let plants = [
        // A key is unique within a chunk only: a row may be there twice at two times.
        (
            format!(
                "INSERT INTO shrinkage.forecasts (id, coefficient_id, forecast_date, station)
                 SELECT id, coefficient_id, forecast_date + interval '1 year', station FROM shrinkage.forecasts WHERE id = {last}"
            ),
            "upstream only",
        ),
        (format!("DELETE FROM shrinkage.forecasts WHERE id = {last}"), "missing upstream"),
        (format!("UPDATE shrinkage.forecasts SET forecast_value = -0.0 WHERE id = {last}"), "forecasts.forecast_value"),
        ("UPDATE tidemark.cursor SET seq = seq + 1".to_owned(), "the one upstream"),
        ("DELETE FROM tidemark.rejects".to_owned(), "is not among the rejects upstream"),
    ];
    for (sql, says) in plants {
        // What a plant does is undone by putting back what it took.
        database.batch("CREATE TABLE kept_forecasts AS TABLE shrinkage.forecasts; CREATE TABLE kept_cursor AS TABLE tidemark.cursor;
            CREATE TABLE kept_rejects AS TABLE tidemark.rejects")?;
        ensure!(database.execute(&sql, &[])? > 0, "changed nothing: {sql}");
        found(check(), &sql, says)?;
        database.batch(
            "DELETE FROM shrinkage.forecasts; INSERT INTO shrinkage.forecasts TABLE kept_forecasts;
            DELETE FROM tidemark.cursor; INSERT INTO tidemark.cursor TABLE kept_cursor;
            DELETE FROM tidemark.rejects; INSERT INTO tidemark.rejects TABLE kept_rejects;
            DROP TABLE kept_forecasts, kept_cursor, kept_rejects",
        )?;
        check().context("after everything was put back")?;
    }
    Ok(())
}

#[test]
fn what_the_writer_was_told_and_the_file_does_not_hold_is_found() -> Result<()> {
    let rest = at_rest()?;
    let whole = std::fs::read_to_string(rest.folder.path().join(JOURNAL))?;
    let lines: Vec<&str> = whole.lines().collect();
    let rewrite = |lines: &[&str]| -> Result<Copy<'_>> {
        let copy = rest.copy()?;
        std::fs::write(copy.path(JOURNAL), lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        Ok(copy)
    };
    // A commit that never reached the file.
    let row = [1_000_000.to_string(), "null,\"x\"".to_owned()].join(",");
    let prepared = format!(
        "{{\"prepared\":{{\"tx\":999,\"last_seq\":1,\"changes\":[{{\"table\":\"models\",\"op\":\"I\",\"row\":[{row}]}}]}}}}"
    );
    let invented = [&lines[..], &["{\"begin\":999}", &prepared, "{\"committed\":999}"]].concat();
    found(rewrite(&invented)?.check(), "an invented commit", "writer/999 was committed, and nothing of it")?;
    // A transaction that the writer has taken back, and the file kept.
    let taken_back: Vec<String> =
        lines.iter().map(|line| line.replace("{\"committed\":1}", "{\"rolled_back\":1}")).collect();
    let taken_back: Vec<&str> = taken_back.iter().map(String::as_str).collect();
    found(rewrite(&taken_back)?.check(), "a kept rollback", "writer/1 was rolled back, and is in the station's file")?;
    // A change that capture did not log: the numbers no longer fit.
    let prepared = lines.iter().position(|line| line.starts_with("{\"prepared\"")).context("a transaction")?;
    let mut more: journal::Line = serde_json::from_str(lines[prepared])?;
    if let journal::Line::Prepared(prepared) = &mut more {
        let again = prepared.changes.first().context("a change")?.clone();
        prepared.changes.push(again);
    }
    let more = serde_json::to_string(&more)?;
    let unlogged: Vec<&str> =
        lines.iter().enumerate().map(|(at, line)| if at == prepared { more.as_str() } else { line }).collect();
    found(rewrite(&unlogged)?.check(), "a change without a number", "capture missed a change or logged one twice")?;
    Ok(())
}
