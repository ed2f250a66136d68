//! Reports: the same numbers as an independent computation in Python makes from the stations' files, however the rows
//! came.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value as Json;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::world::Dice;

/// The last day of the trends, and how many there are.
const UNTIL: &str = "2026-12-31";
const DAYS: &str = "1200";

/// The reports as Python computes them.
fn by_python(stations: &[&Station]) -> Result<Json> {
    let python = std::env::var("TIDEMARK_TEST_PYTHON").context("TIDEMARK_TEST_PYTHON is not set: run scripts/test")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/reports.py");
    let files = stations.iter().map(|station| station.file.as_os_str());
    let args = ["--since", "0001-01-01", "--until", UNTIL];
    let done = Command::new(python).arg(script).args(args).args(files).output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn report(field: &Field, args: &[&str]) -> Result<Json> {
    let args = [&["report"], args, &["--format", "json", "--database", field.database.as_str()]].concat();
    let ended = tidemark_e2e::process::run("tidemark-server", &args, field.folder(), &Default::default())?;
    let ended = ended.success()?;
    serde_json::from_str(&ended.stdout).with_context(|| ended.output())
}

/// Equal, numbers but for the last digits: a sum depends on its order.
fn assert_same(place: &str, ours: &Json, theirs: &Json) -> Result<()> {
    match (ours, theirs) {
        (Json::Number(one), Json::Number(other)) => {
            let (one, other) = (one.as_f64().context("a number")?, other.as_f64().context("a number")?);
            ensure!((one - other).abs() <= 1e-9 * one.abs().max(1.0), "{place}: {one}, Python {other}");
        }
        (Json::Array(one), Json::Array(other)) => {
            ensure!(one.len() == other.len(), "{place}: {} entries, Python {}", one.len(), other.len());
            for (at, (one, other)) in one.iter().zip(other).enumerate() {
                assert_same(&format!("{place}[{at}]"), one, other)?;
            }
        }
        (Json::Object(_), Json::Object(other)) => {
            for (key, other) in other {
                assert_same(&format!("{place}.{key}"), &ours[key.as_str()], other)?;
            }
        }
        _ => ensure!(ours == theirs, "{place}: {ours}, Python {theirs}"),
    }
    Ok(())
}

/// Every report equals Python's; returns the products' names in the report's order.
fn assert_reports(field: &Field, stations: &[&Station]) -> Result<Vec<String>> {
    let python = by_python(stations)?;
    let rows = |json: &Json, list: &str, key: &str| -> Result<serde_json::Map<String, Json>> {
        let rows = json[list].as_array().context("a list")?;
        rows.iter().map(|row| Ok((row[key].as_str().context("a name")?.to_owned(), row.clone()))).collect()
    };
    let products = report(field, &["product"])?;
    ensure!(products["behind"] == false, "{products}");
    let by_name = rows(&products, "products", "product")?;
    let theirs = python["products"].as_object().context("an object")?;
    ensure!(by_name.len() == theirs.len(), "{} products, Python {}", by_name.len(), theirs.len());
    assert_same("products", &Json::Object(by_name.clone()), &python["products"])?;
    ensure!(by_name.values().any(|row| row["calculations"].as_u64() > Some(0)), "there is something to report");
    let models = report(field, &["models"])?;
    assert_same("models", &Json::Object(rows(&models, "models", "model")?), &python["models"])?;
    let accuracy = |model: &Json| model["mean_accuracy"].as_f64().unwrap_or(f64::MIN);
    let best = python["models"].as_object().context("an object")?;
    let best = best.iter().max_by(|one, other| accuracy(one.1).total_cmp(&accuracy(other.1))).context("a model")?;
    ensure!(models["best"] == best.0.as_str(), "{models}");
    for (name, theirs) in python["trends"].as_object().context("an object")? {
        let ours = report(field, &["trend", name, "--days", DAYS, "--until", UNTIL])?;
        assert_same(name, &ours, theirs)?;
    }
    let top = report(field, &["top", "-n", "3"])?;
    let top = top["products"].as_array().context("a list")?;
    let mut counts: Vec<u64> = by_name.values().filter_map(|row| row["calculations"].as_u64()).collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let shown: Vec<u64> = top.iter().filter_map(|row| row["calculations"].as_u64()).collect();
    ensure!(shown == counts[..3], "{shown:?}, Python {counts:?}");
    let names = products["products"].as_array().context("a list")?;
    Ok(names.iter().filter_map(|row| row["product"].as_str().map(str::to_owned)).collect())
}

/// Two stations record, push, correct, and push again.
fn play(field: &Field, mut between: impl FnMut() -> Result<()>) -> Result<()> {
    let server = field.serve()?;
    let mut dice = Dice::new(7);
    let north = field.join_station("north", &server.url())?;
    let south = field.join_station("south", &server.url())?;
    for station in [&north, &south] {
        station.record(&mut dice, 120)?;
        station.push_until_drained()?;
    }
    let both = [&north, &south];
    let names = assert_reports(field, &both)?;
    println!("products in the report's order: {names:?}");
    between()?;
    // A record moves to another product after its coefficients are rolled up; one goes, with all that hangs on it; a
    // product is renamed; an error is resolved away.
    north.open()?.execute_batch(
        "UPDATE calculation_data SET nomenclature_id = 3 WHERE id % 7 = 0;
         UPDATE coefficients SET accuracy_r2 = accuracy_r2 / 2, coefficient_c = NULL WHERE id % 5 = 0;
         UPDATE coefficients SET accuracy_r2 = NULL WHERE id % 11 = 0;
         UPDATE nomenclature SET name = 'ёрш вяленый' WHERE id = 2;
         INSERT INTO validation_errors (calculation_data_id, error_type) SELECT id, 'масса' FROM calculation_data WHERE id % 9 = 0;
         DELETE FROM forecasts WHERE coefficient_id IN (SELECT id FROM coefficients WHERE calculation_data_id = 13);
         DELETE FROM validation_errors WHERE calculation_data_id = 13;
         DELETE FROM coefficients WHERE calculation_data_id = 13;
         DELETE FROM preliminary_forecasts WHERE calculation_data_id = 13;
         DELETE FROM data_lineage WHERE calculation_data_id = 13;
         DELETE FROM calculation_data WHERE id = 13;",
    )?;
    north.push_until_drained()?;
    assert_reports(field, &both)?;
    between()?;
    south.record(&mut dice, 40)?;
    south.push_until_drained()?;
    assert_reports(field, &both)?;
    between()
}

#[test]
fn reports_equal_an_independent_computation_on_the_embedded_upstream() -> Result<()> {
    play(&Field::shrinkage(None)?, || Ok(()))
}

const ROLL_UPS: [&str; 7] = [
    "daily_calculations",
    "daily_coefficients",
    "monthly_calculations",
    "monthly_coefficients",
    "product_totals",
    "coefficient_totals",
    "error_totals",
];

/// The roll-ups, sums rounded: what they are made up of may come in another order.
fn roll_ups(client: &tidemark_e2e::postgres::PgClient) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for table in ROLL_UPS {
        let sql = format!(
            "SELECT '{table}' || (SELECT string_agg(key || '=' || CASE WHEN key LIKE '%sum' THEN round(value::numeric, 9)::text ELSE value END, ' ' ORDER BY key)
             FROM jsonb_each_text(to_jsonb(t)) WHERE value IS NOT NULL) FROM shrinkage_reports.{table} AS t ORDER BY 1"
        );
        rows.extend(client.query(&sql, &[])?.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(rows)
}

fn on_postgres(flavour: Flavour) -> Result<()> {
    let cluster = PostgresCluster::shared(flavour)?;
    let database = cluster.create_database("reports")?;
    let field = Field::shrinkage(Some(database))?;
    field.migrate()?;
    let mut refreshed = 0;
    play(&field, || {
        let client = cluster.connect("reports")?;
        let kept = roll_ups(&client)?;
        client.query("SELECT shrinkage_reports.refresh(true)", &[])?;
        let anew = roll_ups(&client)?;
        ensure!(kept.len() > 100, "{} rows of roll-ups", kept.len());
        for (kept, anew) in kept.iter().zip(&anew) {
            ensure!(kept == anew, "kept up to date: {kept}\nmade anew: {anew}");
        }
        ensure!(kept.len() == anew.len());
        refreshed += 1;
        Ok(())
    })?;
    ensure!(refreshed == 3);
    headquarters(&cluster, &field)
}

/// What headquarters writes by SQL of its own is noted by triggers.
fn headquarters(cluster: &PostgresCluster, field: &Field) -> Result<()> {
    let client = cluster.connect("reports")?;
    let count = |field: &Field| -> Result<Json> {
        Ok(report(field, &["product", "ТУНЕЦ ШТАБА"])?["products"][0].clone())
    };
    client.execute(
        "WITH n AS (INSERT INTO shrinkage.nomenclature (name) VALUES ('ТУНЕЦ ШТАБА') RETURNING id),
         m AS (INSERT INTO shrinkage.models (name, model_type) VALUES ('штаб', 'linear') RETURNING id),
         c AS (INSERT INTO shrinkage.calculation_data (nomenclature_id, initial_balance, final_balance, calculation_date)
               SELECT n.id, 10, 9, timestamptz '2026-02-01 23:30+00' + interval '1 day' * g FROM n, generate_series(0, 9) AS g RETURNING id, calculation_date)
         INSERT INTO shrinkage.coefficients (calculation_data_id, model_id, coefficient_a, coefficient_b, accuracy_r2, calculation_date)
         SELECT c.id, m.id, 0.01, 0, 0.5, c.calculation_date FROM c, m",
        &[],
    )?;
    let row = count(field)?;
    ensure!(row["calculations"] == 10 && row["stations"] == 1 && row["mean_accuracy"] == 0.5, "{row}");
    ensure!(
        (row["mean_rate"].as_f64().context("a rate")? - 0.1).abs() < 1e-12 && row["last_day"] == "2026-02-10",
        "{row}"
    );
    client.execute("UPDATE shrinkage.coefficients SET accuracy_r2 = 0.9 WHERE station = 0", &[])?;
    client.execute("INSERT INTO shrinkage.validation_errors (calculation_data_id) SELECT id FROM shrinkage.calculation_data WHERE station = 0", &[])?;
    let row = count(field)?;
    ensure!((row["mean_accuracy"].as_f64().context("an accuracy")? - 0.9).abs() < 1e-12, "{row}");
    ensure!(row["validation_errors"] == 10, "{row}");
    client.execute("DELETE FROM shrinkage.coefficients WHERE station = 0", &[])?;
    client.execute(
        "DELETE FROM shrinkage.calculation_data WHERE station = 0 AND calculation_date < '2026-02-05 00:00+00'",
        &[],
    )?;
    let row = count(field)?;
    ensure!(row["calculations"] == 6 && row["mean_accuracy"].is_null() && row["validation_errors"] == 6, "{row}");
    Ok(())
}

#[test]
fn reports_equal_an_independent_computation_on_timescaledb() -> Result<()> {
    on_postgres(Flavour::Timescale)
}

#[test]
fn reports_equal_an_independent_computation_on_postgresql() -> Result<()> {
    on_postgres(Flavour::Plain)
}
