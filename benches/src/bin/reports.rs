//! Reports over millions of rows: how long each takes from the roll-ups, by what plan, and how long the same answer
//! takes from the rows.
//!
//! `cargo run --release -p tidemark-benches --bin reports [-- ROWS]`, default 5,000,000 rows (half records, half
//! coefficients) of 20 stations with 50 products of the same 50 names and three models each, over two years, on
//! PostgreSQL with TimescaleDB. It prints the time of the first refresh, of one after a day's new rows, and for each
//! report the median of nine answers in milliseconds with the store's own code, the time of the same numbers from the
//! rows, and the plan. It ends with 1 when an answer takes 200 ms or more, or when roll-ups and rows differ.
#![allow(clippy::disallowed_methods)] // measures real time

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tidemark_core::schema::shrinkage;
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_server::config::DatabaseUrl;
use tidemark_server::reports::{Body, Question, ask};
use tidemark_server::stores::postgres::PostgresUpstream;
use tidemark_server::stores::postgres::reports as statements;
use tidemark_server::upstream::Upstream as _;

const BOUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 9;
const STATIONS: u64 = 20;
const PRODUCTS: u64 = 50;
const DAYS: u64 = 730;
const LAST_DAY: &str = "2026-12-31";

fn main() -> Result<()> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(5_000_000), |text| text.parse())?;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let url = cluster.create_database("reports")?;
    Field::shrinkage(Some(url.clone()))?.migrate()?;
    let client = cluster.admin("reports")?;
    let records = rows / 2;
    fill(&client, records)?;
    let count: i64 = client.value(
        "SELECT (SELECT count(*) FROM shrinkage.calculation_data) + (SELECT count(*) FROM shrinkage.coefficients)",
    )?;
    println!("{count} rows of {STATIONS} stations, {PRODUCTS} products, 3 models, {DAYS} days");

    let timed = |sql: &str| -> Result<Duration> {
        let begin = Instant::now();
        client.batch(sql)?;
        Ok(begin.elapsed())
    };
    println!("first refresh: {:.1} s", timed("SELECT shrinkage_reports.refresh()")?.as_secs_f64());
    // As autovacuum does within a minute.
    client.batch("VACUUM ANALYZE")?;
    println!("refresh with nothing new: {:.1} ms", timed("SELECT shrinkage_reports.refresh()")?.as_secs_f64() * 1e3);
    let day = format!(
        "INSERT INTO shrinkage_reports.touched (tbl, day, op) VALUES ('calculation_data', '{LAST_DAY}', 'i'), ('coefficients', '{LAST_DAY}', 'i')"
    );
    client.batch(&day)?;
    println!(
        "refresh after one day's new rows: {:.0} ms",
        timed("SELECT shrinkage_reports.refresh()")?.as_secs_f64() * 1e3
    );
    client.batch(&day.replace("'i'", "'u'"))?;
    println!(
        "refresh after one day's changed rows: {:.0} ms",
        timed("SELECT shrinkage_reports.refresh()")?.as_secs_f64() * 1e3
    );

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let DatabaseUrl::Postgres(config) = url.parse()? else { anyhow::bail!("not a PostgreSQL URL") };
    let upstream = runtime.block_on(PostgresUpstream::open(&config, Arc::new(shrinkage()), 4))?;
    let store = upstream.reports().context("the database has the roll-ups")?;
    let until = Some(LAST_DAY.to_owned());
    let trend = |days| Question::Trend { product: "РЫБА 07".into(), days, until: until.clone(), model: None };
    client.batch(&format!(
        "PREPARE products AS {products}; PREPARE product (text) AS {products} WHERE name = $1; PREPARE models AS {}; PREPARE days (text, text, text) AS {}",
        statements::MODELS,
        statements::DAYS,
        products = statements::PRODUCTS,
    ))?;
    // Each report, with the statement that it asks, and the same from the rows.
    let reports = [
        ("product", Question::Product { name: None }, "products", PRODUCTS_FROM_ROWS),
        ("product, one", Question::Product { name: Some("РЫБА 07".into()) }, "product('РЫБА 07')", ""),
        ("models", Question::Models, "models", MODELS_FROM_ROWS),
        ("top 10", Question::Top { count: 10 }, "products", ""),
        ("trend, 30 days", trend(30), "days('РЫБА 07', '2026-12-02', '2026-12-31')", ""),
        ("trend, 730 days", trend(730), "days('РЫБА 07', '2025-01-01', '2026-12-31')", ""),
    ];
    let mut slowest = Duration::ZERO;
    for (name, question, plan, rows_sql) in &reports {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            let report = runtime.block_on(ask(store, question, 0))?;
            times.push(begin.elapsed());
            ensure!(!report.freshness.behind);
            if let Body::Product { products } | Body::Top { products } = &report.body {
                ensure!(products.iter().all(|row| row.calculations > 0), "{name} is empty");
            }
        }
        times.sort_unstable();
        let median = times[ROUNDS / 2];
        slowest = slowest.max(median);
        println!("\n{name}: {:.1} ms (median of {ROUNDS})", median.as_secs_f64() * 1e3);
        if !rows_sql.is_empty() {
            println!("the same from the rows: {:.0} ms", timed(rows_sql)?.as_secs_f64() * 1e3);
        }
        for line in client.query(&format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE {plan}"), &[])? {
            println!("    {}", line.get::<_, String>(0));
        }
    }
    let differ: i64 = client.value(&format!(
        "SELECT count(*) FROM ({PRODUCTS_FROM_ROWS}) AS r FULL JOIN shrinkage_reports.products AS p USING (name)
         WHERE r.calculations IS DISTINCT FROM p.calculations OR abs(r.mean_accuracy - p.mean_accuracy) > 1e-9"
    ))?;
    ensure!(differ == 0, "{differ} products differ between roll-ups and rows");
    ensure!(slowest < BOUND, "the slowest report takes {slowest:?}, the bound is {BOUND:?}");
    println!(
        "\nok: the slowest report takes {:.1} ms, the bound is {} ms; roll-ups and rows agree",
        slowest.as_secs_f64() * 1e3,
        BOUND.as_millis()
    );
    Ok(())
}

const PRODUCTS_FROM_ROWS: &str =
    "SELECT n.name, count(DISTINCT c.id) AS calculations, avg(k.accuracy_r2) AS mean_accuracy
    FROM shrinkage.nomenclature AS n JOIN shrinkage.calculation_data AS c ON c.nomenclature_id = n.id
    LEFT JOIN shrinkage.coefficients AS k ON k.calculation_data_id = c.id GROUP BY n.name";
const MODELS_FROM_ROWS: &str = "SELECT m.name, count(*), count(DISTINCT n.name), avg(k.accuracy_r2) FROM shrinkage.models AS m
    JOIN shrinkage.coefficients AS k ON k.model_id = m.id JOIN shrinkage.calculation_data AS c ON c.id = k.calculation_data_id
    JOIN shrinkage.nomenclature AS n ON n.id = c.nomenclature_id GROUP BY m.name";

/// Rows as stations' batches bring them: ids carry the station's number.
fn fill(client: &tidemark_e2e::postgres::PgClient, records: u64) -> Result<()> {
    client.batch(&format!(
        "SET TIME ZONE 'UTC'; SET session_replication_role = replica;
         INSERT INTO shrinkage.nomenclature (id, name, station)
             SELECT (s << 32) + p, 'РЫБА ' || lpad(p::text, 2, '0'), s FROM generate_series(1::bigint, {STATIONS}) AS s, generate_series(1, {PRODUCTS}) AS p;
         INSERT INTO shrinkage.models (id, name, model_type, station)
             SELECT (s << 32) + m, (ARRAY['экспонента', 'прямая', 'парабола'])[m], (ARRAY['exponential', 'linear', 'polynomial'])[m], s
             FROM generate_series(1::bigint, {STATIONS}) AS s, generate_series(1, 3) AS m"
    ))?;
    // By days, so that each transaction fills few chunks.
    let per_day = records / DAYS;
    for from in (0..DAYS).step_by(35) {
        let to = (from + 35).min(DAYS);
        let more = if to == DAYS { records - per_day * DAYS } else { 0 };
        client.batch(&format!(
            "SET TIME ZONE 'UTC';
             CREATE TEMPORARY TABLE n AS SELECT g::bigint AS g, (1 + g % {STATIONS})::bigint AS s, timestamptz '{LAST_DAY}' - make_interval(days => ({DAYS} - 1 - g / greatest({per_day}, 1))::integer)
                 + interval '1 second' * (g % 80000) AS at FROM generate_series({from} * {per_day}, {to} * {per_day} + {more} - 1) AS g;
             UPDATE n SET at = least(at, timestamptz '{LAST_DAY} 23:00');
             INSERT INTO shrinkage.calculation_data (id, nomenclature_id, initial_balance, final_balance, storage_days, calculation_date, station)
                 SELECT (s << 32) + g / {STATIONS} + 1, (s << 32) + 1 + g / {STATIONS} % {PRODUCTS}, 10, 9 + (g % 100) / 100.0, 7, at, s FROM n;
             INSERT INTO shrinkage.coefficients (id, calculation_data_id, model_id, coefficient_a, coefficient_b, coefficient_c, accuracy_r2, calculation_date, station)
                 SELECT (s << 32) + g / {STATIONS} + 1, (s << 32) + g / {STATIONS} + 1, (s << 32) + 1 + g / {STATIONS} / {PRODUCTS} % 3, 0.01, 0.2, 0, 0.9 + (g % 97) / 1000.0, at, s FROM n;
             DROP TABLE n"
        ))?;
    }
    client.batch("ANALYZE")
}
