//! Reports over HTTP and on the command line, and the formulas in SQL. That the numbers are right is tested end to end,
//! beside Python.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::common::client::request;
use crate::common::cluster::{Cluster, connect};
use crate::common::stores::{Kind, Store};
use crate::common::{NOON_MS, field, site};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use tidemark_core::formulas::{Inventory, Model, ModelType};
use tidemark_core::schema::{Schema, shrinkage};
use tidemark_core::value::hex;
use tidemark_server::RunningServer;
use tidemark_server::reports::words::Lang;
use tidemark_server::reports::{Format, Question, ask, render};
use tidemark_server::stations::secret_hash;

/// What headquarters writes by hand: names that mean no good, too. The same on both kinds of upstream.
const ROWS: &str = "
    INSERT INTO nomenclature (id, name) VALUES (1, 'СИНЕЦ ВЯЛЕНЫЙ'), (2, '<script>alert(1)</script>'), (3, '=1+1,\"x\"');
    INSERT INTO models (id, name, model_type) VALUES (1, 'экспонента', 'exponential'), (2, 'прямая', 'linear');
    INSERT INTO calculation_data (id, nomenclature_id, initial_balance, final_balance, calculation_date) VALUES
        (1, 1, 1.2, 1.092, '2026-01-01 10:00:00.000000'), (2, 1, 5.0, 4.75, '2026-01-02 10:00:00.000000'),
        (3, 2, 1, 1, '2026-01-02 10:00:00.000000'), (4, 1, NULL, 1, '2026-01-04 10:00:00.000000');
    INSERT INTO coefficients (id, calculation_data_id, model_id, coefficient_a, coefficient_b, coefficient_c, accuracy_r2, calculation_date) VALUES
        (1, 1, 1, 0.1, 0.2, 0.0, 0.90, '2026-01-01 10:00:00.000000'), (2, 2, 1, 0.3, 0.2, 0.0, 0.92, '2026-01-02 10:00:00.000000'),
        (3, 2, 1, 0.2, 0.2, 0.0, 0.94, '2026-01-03 10:00:00.000000'), (4, 2, 2, 0.01, 0.0, NULL, 0.5, '2026-01-03 10:00:00.000000'),
        (5, 3, 2, 0.01, 0.0, NULL, NULL, '2026-01-03 10:00:00.000000');
    INSERT INTO validation_errors (id, calculation_data_id) VALUES (1, 1), (2, 4);";

/// A server over a database with these rows.
struct Site {
    store: Store,
    server: RunningServer,
}

impl Site {
    async fn open(kind: Kind, schema: &Arc<Schema>) -> Self {
        let site::Site { store, server, .. } = site::site_of(kind, schema, |config| config.reports_every = None).await;
        Self { store, server }
    }

    async fn with_rows(kind: Kind) -> Self {
        let site = Self::open(kind, &Arc::new(shrinkage())).await;
        match &site.store.url {
            Some(url) => {
                let client = connect(url).await;
                client
                    .batch_execute(&format!("SET search_path = shrinkage; SET TIME ZONE 'UTC'; {ROWS}"))
                    .await
                    .unwrap();
            }
            None => site.store.embedded().execute_batch(ROWS).unwrap(),
        }
        site
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    async fn reader(&self, name: &str, secret: u8) -> String {
        assert!(self.store.upstream.ledger().add_reader(name, secret_hash(&[secret; 32]), NOON_MS).await.unwrap());
        hex(&[secret; 32])
    }
}

#[tokio::test]
async fn reports_are_read_with_a_readers_token_only() {
    for kind in [Kind::Sqlite, Kind::PlainPostgres, Kind::Timescale] {
        let site = Site::with_rows(kind).await;
        let reports = site.store.upstream.reports().unwrap();
        reports.refresh(false).await.unwrap();
        let token = site.reader("1C", 7).await;
        let get = async |path: &str, token: Option<&str>| request(site.addr(), "GET", path, token, b"").await;

        let answer = get("/v1/reports/product", Some(&token)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("cache-control"), "no-store");
        let json = answer.json();
        assert_eq!(json["report"], "product");
        assert_eq!(json["behind"], false);
        let names: Vec<&str> =
            json["products"].as_array().unwrap().iter().map(|row| row["product"].as_str().unwrap()).collect();
        assert_eq!(names, ["<script>alert(1)</script>", "=1+1,\"x\"", "СИНЕЦ ВЯЛЕНЫЙ"], "{kind:?}");
        let row = &json["products"][2];
        assert_eq!(row["calculations"], 3);
        assert_eq!(row["validation_errors"], 2);
        assert!((row["mean_rate"].as_f64().unwrap() - 0.07).abs() < 1e-12, "{row}");
        assert!((row["mean_accuracy"].as_f64().unwrap() - 0.815).abs() < 1e-12, "{row}");
        // 0.108 kg of 1.2 and 0.25 kg of 5; the record without a beginning has neither rate nor mass.
        assert!((row["loss_kg"].as_f64().unwrap() - 0.358).abs() < 1e-12, "{row}");
        assert!((row["mean_loss_kg"].as_f64().unwrap() - 0.179).abs() < 1e-12, "{row}");
        assert_eq!(json["products"][1]["loss_kg"], serde_json::Value::Null);

        let json = get("/v1/reports/models", Some(&token)).await.json();
        assert_eq!(json["best"], "экспонента");
        let line = json["models"].as_array().unwrap().iter().find(|row| row["model"] == "прямая").unwrap();
        assert_eq!((&line["calculations"], &line["products"]), (&2.into(), &2.into()), "{line}");
        let path = "/v1/reports/trend?product=%D1%81%D0%B8%D0%BD%D0%B5%D1%86+%D0%B2%D1%8F%D0%BB%D0%B5%D0%BD%D1%8B%D0%B9&days=31&until=2026-01-31&model=%D1%8D%D0%BA%D1%81%D0%BF%D0%BE%D0%BD%D0%B5%D0%BD%D1%82%D0%B0";
        let json = get(path, Some(&token)).await.json();
        assert_eq!((&json["product"], &json["trend"]), (&"СИНЕЦ ВЯЛЕНЫЙ".into(), &"improving".into()), "{json}");
        assert_eq!(json["points"].as_array().unwrap().len(), 3);
        assert!((json["slope_per_day"].as_f64().unwrap() - 0.02).abs() < 1e-12);
        assert_eq!(json["elsewhere"], serde_json::Value::Null);
        for (product, model, found) in [
            (
                "%D0%A1%D0%98%D0%9D%D0%95%D0%A6%20%D0%92%D0%AF%D0%9B%D0%95%D0%9D%D0%AB%D0%99",
                "",
                ["2026-01-01", "2026-01-03"],
            ),
            (
                "%D1%81%D0%B8%D0%BD%D0%B5%D1%86+%D0%B2%D1%8F%D0%BB%D0%B5%D0%BD%D1%8B%D0%B9",
                "&model=%D0%BF%D1%80%D1%8F%D0%BC%D0%B0%D1%8F",
                ["2026-01-03", "2026-01-03"],
            ),
            ("=1%2B1,%22x%22", "", ["", ""]),
        ] {
            let path = format!("/v1/reports/trend?product={product}{model}&days=7&until=2026-03-31");
            let json = get(&path, Some(&token)).await.json();
            assert_eq!(json["points"], serde_json::json!([]), "{json}");
            let days = json["elsewhere"].as_object().map(|days| [days["first_day"].clone(), days["last_day"].clone()]);
            assert_eq!(
                days.map_or(["".into(), "".into()], |days| days),
                found.map(serde_json::Value::from),
                "{kind:?} {path}"
            );
        }
        let page = get("/v1/reports/top?format=html&lang=ru", Some(&token)).await;
        assert_eq!(page.header("content-language"), "ru");
        assert!(String::from_utf8(page.body).unwrap().contains("<html lang=\"ru\">"));
        assert_eq!(get("/v1/reports/top?lang=de", Some(&token)).await.code(), "bad-request");
        let json = get("/v1/reports/top?n=1", Some(&token)).await.json();
        assert_eq!(json["products"].as_array().unwrap().len(), 1);

        for (path, status, code) in [
            ("/v1/reports/trend?product=x", 404, "not-found"),
            ("/v1/reports/trend", 400, "bad-request"),
            ("/v1/reports/top?n=0", 400, "bad-request"),
            ("/v1/reports/top?n=99999999999", 400, "bad-request"),
            ("/v1/reports/product?name=%FF", 400, "bad-request"),
            ("/v1/reports/secret", 404, "not-found"),
            ("/v1/reports/", 404, "not-found"),
        ] {
            let answer = get(path, Some(&token)).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
        }
        assert_eq!(request(site.addr(), "POST", "/v1/reports/top", Some(&token), b"").await.status, 405);
        for token in [None, Some(hex(&[8; 32])), Some("x".to_owned())] {
            assert_eq!(get("/v1/reports/top", token.as_deref()).await.status, 401);
        }
        // It is good for reports, and for nothing else.
        assert_eq!(get("/v1/station", Some(&token)).await.status, 401);
        assert!(site.store.upstream.ledger().revoke_reader("1C", NOON_MS).await.unwrap());
        assert!(!site.store.upstream.ledger().revoke_reader("1D", NOON_MS).await.unwrap());
        assert_eq!(get("/v1/reports/top", Some(&token)).await.code(), "revoked");
        assert!(!site.store.upstream.ledger().add_reader("1C", [0; 32], NOON_MS).await.unwrap(), "a name is used once");
    }
}

#[tokio::test]
async fn a_page_runs_nothing_and_fetches_nothing() {
    let site = Site::with_rows(Kind::Sqlite).await;
    let token = site.reader("1C", 7).await;
    for report in [
        "product",
        "models",
        "top",
        "trend?product=%3Cscript%3Ealert(1)%3C/script%3E&until=2026-01-05",
        "trend?product=синец+вяленый&until=2026-01-05",
    ] {
        let report = report
            .replace("синец+вяленый", "%D0%A1%D0%98%D0%9D%D0%95%D0%A6%20%D0%92%D0%AF%D0%9B%D0%95%D0%9D%D0%AB%D0%99");
        let with = if report.contains('?') { '&' } else { '?' };
        let answer =
            request(site.addr(), "GET", &format!("/v1/reports/{report}{with}format=html"), Some(&token), b"").await;
        assert_eq!(answer.status, 200, "{report}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        let page = String::from_utf8(answer.body).unwrap();
        assert!(!page.contains("<script") && !page.contains("http") && !page.contains("url("), "{page}");
        // Of the product without an accuracy there is nothing to draw but its coefficients.
        assert!(page.contains("<svg") && page.ends_with("</html>\n"), "{page}");
    }
}

#[tokio::test]
async fn csv_holds_names_as_they_are() {
    let site = Site::with_rows(Kind::Sqlite).await;
    let answer = ask(site.store.upstream.reports().unwrap(), &Question::Top { count: 3 }, NOON_MS).await.unwrap();
    let text = render(&answer, Format::Csv, Lang::En);
    let mut reader = csv_rows(&text);
    assert_eq!(reader.next().unwrap()[0], "product");
    let names: Vec<String> = reader.map(|row| row[0].clone()).collect();
    assert_eq!(names, ["СИНЕЦ ВЯЛЕНЫЙ", "<script>alert(1)</script>", "'=1+1,\"x\""], "and none is a formula");
}

fn csv_rows(text: &str) -> impl Iterator<Item = Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let rows: Vec<_> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    rows.into_iter()
}

#[tokio::test]
async fn a_database_with_other_tables_has_no_reports_and_takes_no_harm() {
    for kind in [Kind::Memory, Kind::Sqlite, Kind::PlainPostgres] {
        let site = Site::open(kind, &field()).await;
        let answer = request(site.addr(), "GET", "/v1/reports/top", Some(&hex(&[7; 32])), b"").await;
        assert_eq!(answer.code(), "not-found", "{kind:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("shrinkage schema"));
    }
}

fn program(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark-server"));
    command.env_remove("TIDEMARK_DATABASE_URL").args(args).current_dir(folder).output().unwrap()
}

#[test]
fn the_program_writes_every_form_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let works = |args: &[&str]| {
        let done = program(folder.path(), args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    works(&["migrate", "up"]);
    rusqlite::Connection::open(folder.path().join("tidemark-upstream.db")).unwrap().execute_batch(ROWS).unwrap();
    let table = works(&["report", "product", "Синец вяленый"]);
    assert!(table.starts_with("product") && table.contains("СИНЕЦ ВЯЛЕНЫЙ         1             3"), "{table}");
    let table = works(&["report", "trend", "СИНЕЦ ВЯЛЕНЫЙ", "--until", "2026-01-30", "--model", "экспонента"]);
    assert!(table.contains("accuracy is improving, +0.020000 of accuracy per day"), "{table}");
    assert!(works(&["report", "models"]).contains("best model: экспонента"));
    // Masses and rates say their units, in the language's own way.
    let table = works(&["report", "product", "Синец вяленый"]);
    assert!(table.contains("7.00 %") && table.contains("0.1790 kg") && table.contains("0.3580 kg"), "{table}");
    let table = works(&["report", "product", "Синец вяленый", "--lang", "ru"]);
    assert!(table.starts_with("продукт") && table.contains("7,00 %") && table.contains("0,1790 кг"), "{table}");
    let csv = works(&["report", "product", "Синец вяленый", "--lang", "ru", "--format", "csv"]);
    assert!(csv.starts_with("продукт,станций,расчётов,") && csv.contains(",средняя_усушка_кг,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().contains(",0.17"), "numbers are numbers in every language: {csv}");
    let page = works(&["report", "models", "--lang", "ru", "--format", "html"]);
    assert!(page.contains("<html lang=\"ru\">") && page.contains("<b>экспонента</b>"), "{page}");
    assert!(!page.contains("ccuracy") && !page.contains("alculation") && page.contains("линейная"), "{page}");
    let json = |args: &[&str]| {
        let mut json: serde_json::Value = serde_json::from_str(&works(args)).unwrap();
        json.as_object_mut().unwrap().remove("refreshed_at_ms");
        json
    };
    let [en, ru] = ["en", "ru"].map(|lang| json(&["report", "models", "--format", "json", "--lang", lang]));
    assert_eq!(en, ru, "what programs read is the same in every language");
    for (lang, said) in [
        ("en", "no data from 2026-11-01 to 2026-11-30; the last is of 2026-01-03, the first of 2026-01-01"),
        ("ru", "с 2026-11-01 по 2026-11-30 данных нет; последние — за 2026-01-03, первые — за 2026-01-01"),
    ] {
        for format in ["table", "html"] {
            let args =
                ["report", "trend", "СИНЕЦ ВЯЛЕНЫЙ", "--until", "2026-11-30", "--lang", lang, "--format", format];
            let text = works(&args).replace("<span class=\"d\">", "").replace("</span>", "");
            assert!(text.contains(said), "{text}");
        }
    }
    works(&["report", "top", "--format", "html", "--out", "top.html"]);
    assert!(std::fs::read_to_string(folder.path().join("top.html")).unwrap().starts_with("<!doctype html>"));
    assert!(works(&["report", "top", "-n", "1", "--format", "csv"]).starts_with("product,stations,"));
    let token = works(&["reader", "add", "1C"]);
    assert_eq!(token.lines().last().unwrap().len(), 64, "{token}");
    assert!(!works(&["reader", "list"]).contains(token.lines().last().unwrap()));
    works(&["reader", "revoke", "1C"]);
    for (args, said) in [
        (&["report", "trend", "синец"][..], "there is no product \"синец\"; there are: \"СИНЕЦ ВЯЛЕНЫЙ\""),
        (&["report", "trend", "синец", "--lang", "ru"], "нет продукта \"синец\"; есть: \"СИНЕЦ ВЯЛЕНЫЙ\""),
        (&["report", "trend", "синец вяленый", "--days", "0"], "1 to 36500"),
        (&["report", "trend", "синец вяленый", "--until", "31.01.2026"], "write YYYY-MM-DD"),
        (&["report", "top", "-n", "0"], "1 to 10000"),
        (&["reader", "add", "1C"], "choose another name"),
        (&["reader", "add", "\u{7}"], "no control characters"),
        (&["reader", "revoke", "1D"], "reader list"),
    ] {
        let done = program(folder.path(), args);
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        assert!(
            String::from_utf8_lossy(&done.stderr).contains(said),
            "{args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    assert_eq!(program(folder.path(), &["report", "top", "--format", "pdf"]).status.code(), Some(2));
}

/// A number as a station might have written it.
fn number() -> impl Strategy<Value = Option<f64>> {
    let odd = prop::sample::select(vec![
        0.0,
        -0.0,
        1e-7,
        1e-6,
        1e100,
        1.1e100,
        -1e100,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ]);
    prop_oneof![8 => (-10.0..10.0_f64).prop_map(Some), 1 => Just(None), 3 => odd.prop_map(Some)]
}

fn same(sql: Option<f64>, core: Option<f64>) -> bool {
    match (sql, core) {
        (Some(sql), Some(core)) => sql == core || (sql - core).abs() <= 1e-9 * sql.abs().max(core.abs()),
        (sql, core) => sql.is_none() && core.is_none(),
    }
}

#[tokio::test]
async fn the_formulas_in_sql_are_those_of_core() {
    let store = Store::open(Kind::PlainPostgres, &[Arc::new(shrinkage())]).await;
    let client = connect(store.url.as_ref().unwrap()).await;
    let records =
        "SELECT shrinkage_reports.theoretical_balance($1, $2, $3), shrinkage_reports.shrinkage_mass($1, $2, $3, $4),
        shrinkage_reports.shrinkage_rate($1, $2, $3, $4)";
    let models = "SELECT shrinkage_reports.shrinkage_after($1, $2, $3, $4, $5)";
    let forecasts = "SELECT day, shrinkage, shrinkage_mass, balance FROM shrinkage_reports.forecast($1, $2, $3, $4, $5, 40) ORDER BY day";
    let (records, models, forecasts) = (
        client.prepare(records).await.unwrap(),
        client.prepare(models).await.unwrap(),
        client.prepare(forecasts).await.unwrap(),
    );
    let mut runner = proptest::test_runner::TestRunner::default();
    let strategy = (prop::array::uniform4(number()), prop::array::uniform3(number()), number());
    let mut told = 0;
    for _ in 0..2000 {
        let ([initial, incoming, outgoing, last], [a, b, c], days) = strategy.new_tree(&mut runner).unwrap().current();
        let row = client.query_one(&records, &[&initial, &incoming, &outgoing, &last]).await.unwrap();
        let record = Inventory { initial_balance: initial, incoming, outgoing, final_balance: last };
        for (at, core) in
            [record.theoretical_balance(), record.shrinkage_mass(), record.shrinkage_rate()].into_iter().enumerate()
        {
            assert!(same(row.get(at), core), "{record:?}: {:?}, core {core:?}", row.get::<_, Option<f64>>(at));
            told += usize::from(core.is_some());
        }
        let days = days.map(|days| days * 50.0);
        for name in ["exponential", "linear", "polynomial", "spline"] {
            let row = client.query_one(&models, &[&name, &a, &b, &c, &days]).await.unwrap();
            let model = ModelType::parse(name).map(|ty| Model { ty, a, b, c });
            let core = model.and_then(|model| model.shrinkage_after(days?));
            assert!(same(row.get(0), core), "{model:?} {days:?}: {:?}, core {core:?}", row.get::<_, Option<f64>>(0));
            told += usize::from(core.is_some());
            let rows = client.query(&forecasts, &[&name, &a, &b, &c, &initial]).await.unwrap();
            let core: Vec<_> =
                model.map(|model| model.forecast(initial.unwrap_or(f64::NAN), 40).collect()).unwrap_or_default();
            for (row, core) in rows.iter().zip(&core) {
                assert_eq!(row.get::<_, i32>(0), core.day.cast_signed());
                for (at, core) in [core.shrinkage, core.shrinkage_mass, core.balance].into_iter().enumerate() {
                    let sql: Option<f64> = row.get(at + 1);
                    assert!(
                        same(sql, Some(core)) || sql.is_some_and(|sql| (sql - core).abs() <= 1e-6),
                        "{model:?}: {sql:?}, core {core}"
                    );
                }
            }
        }
    }
    assert!(told > 3000, "{told} results");
}

#[test]
fn the_continuous_aggregate_is_asked_of_a_licence_that_has_it_only() {
    // The edition here is the Apache one: what is made there is an ordinary table, and nothing fails.
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = Cluster::timescale().database().await;
        crate::common::stores::migrate(&url, &shrinkage()).await;
        let client = connect(&url).await;
        let licence: String = client.query_one("SHOW timescaledb.license", &[]).await.unwrap().get(0);
        let kind: i8 = client
            .query_one("SELECT relkind FROM pg_class WHERE oid = 'shrinkage_reports.daily_calculations'::regclass", &[])
            .await
            .unwrap()
            .get(0);
        let wanted = if licence == "timescale" { b'v' } else { b'r' };
        assert_eq!(kind.cast_unsigned(), wanted, "licence {licence}");
    });
}
