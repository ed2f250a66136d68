//! What is delivered for Prometheus and Grafana, against a real Prometheus that reads a server with data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value as Json;
use tidemark_testkit::prometheus::{Prometheus, program};
use tidemark_testkit::world::{pause, wait_for};

use crate::common::client::request;
use crate::common::site::{Site, word};
use crate::common::station::{day, frame};
use crate::common::stores::Kind;
use crate::metrics::measured;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).unwrap()
}

#[track_caller]
fn promtool(args: &[&str]) {
    let output =
        Command::new(program("promtool").unwrap()).args(args).current_dir(deploy().join("prometheus")).output();
    let output = output.unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {args:?}:\n{}", String::from_utf8_lossy(&said));
}

/// The values of a key of the rules, one for each alert.
fn values<'t>(rules: &'t str, key: &str) -> Vec<&'t str> {
    rules.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key)).map(str::trim).collect()
}

/// The anchors of a guide's headings.
fn anchors(guide: &str) -> BTreeSet<String> {
    let headings = guide.lines().filter_map(|line| line.strip_prefix("## "));
    let plain = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-');
    headings
        .map(|heading| heading.to_lowercase().chars().filter(plain).map(|c| if c == ' ' { '-' } else { c }).collect())
        .collect()
}

#[test]
fn every_alert_fires_when_it_should_and_says_what_to_do() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["check", "config", "prometheus.yml"]);
    promtool(&["test", "rules", "alerts.test.yml"]);
    let (rules, tests) = (read("prometheus/alerts.yml"), read("prometheus/alerts.test.yml"));
    let alerts = values(&rules, "alert:");
    assert!(alerts.len() >= 20, "{alerts:?}");
    for key in ["expr:", "severity:", "summary:", "description:", "runbook:"] {
        assert_eq!(values(&rules, key).len(), alerts.len(), "each alert has {key}");
    }
    let named = values(&tests, "name:");
    let (well, fired) = named.split_last().unwrap();
    assert_eq!((fired, *well), (alerts.as_slice(), "a server that is well"), "one test for each, and one for none");
    let silent: Vec<&str> = values(tests.rsplit_once("name: a server").unwrap().1, "alertname:");
    assert_eq!(silent, alerts, "none of them fires for a server that is well");
    let english = include_str!("../../docs/guides/monitoring.md");
    let russian = include_str!("../../docs/ru/monitoring.md");
    for (alert, runbook) in alerts.iter().zip(values(&rules, "runbook:")) {
        let anchor = runbook.strip_prefix("docs/guides/monitoring.md#").unwrap();
        assert!(anchors(english).contains(anchor), "{alert}: {runbook}");
        let said = format!("`{alert}`");
        assert!(english.contains(&said) && russian.contains(&said), "{alert} is in both guides");
    }
    assert_eq!(anchors(english).len(), anchors(russian).len());
}

/// Pushes, is refused and asks, for as long as it is polled.
async fn busy(site: &Site) {
    let mut station = site.join(1).await;
    site.join(2).await;
    for n in 1.. {
        let orphan = station.reading(n, day(1), &[("site_id", station.id(1_000_000))]);
        let batch = station.cut(&[station.site(2 * n), station.site(2 * n + 1), orphan]);
        assert_eq!(site.push(1, &frame(&batch)).await.status, 200);
        // Not so often that it counts as an attack.
        if n < 5 {
            request(site.addr, "GET", "/v1/station", Some(&word(99)), b"").await;
        }
        request(site.addr, "GET", "/readyz", None, b"").await;
        site.server.metrics().requests.closed("all");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Rules, variables and panels of the dashboard, as Grafana knows them.
fn panels(dashboard: &Json) -> Vec<&Json> {
    for field in ["title", "uid", "schemaVersion", "time", "templating", "panels", "timezone"] {
        assert!(!dashboard[field].is_null(), "the dashboard has no {field}");
    }
    let panels: Vec<&Json> = dashboard["panels"].as_array().unwrap().iter().collect();
    let ids: BTreeSet<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let mut places = BTreeSet::new();
    for panel in &panels {
        let (title, kind) = (panel["title"].as_str().unwrap(), panel["type"].as_str().unwrap());
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: {x} {w}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(cell), "{title} lies on another panel");
        }
        assert!(["row", "stat", "timeseries", "table"].contains(&kind), "{title}: {kind}");
        if kind == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["fieldConfig"]["defaults"].is_object() && panel["options"].is_object(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let refs: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(!refs.is_empty() && refs.len() == targets.len(), "{title}: {refs:?}");
        assert!(targets.iter().all(|target| target["datasource"]["uid"] == "${datasource}"), "{title}");
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "job"]);
    panels
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_is_answered_by_a_prometheus_that_reads_a_server() {
    let site = measured(Kind::Timescale, 1).await;
    let target = site.server.metrics_addr().unwrap();
    let scraping = std::thread::spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        // The rules that are delivered, and this server instead of the one of the example.
        let rules = deploy().join("prometheus/alerts.yml").canonicalize().unwrap();
        let example = read("prometheus/prometheus.yml");
        let configuration = example
            .replace("alerts.yml", &rules.display().to_string())
            .replace("127.0.0.1:9464", &target.to_string())
            .replace("_interval: 15s", "_interval: 250ms");
        std::fs::write(folder.path().join("prometheus.yml"), &configuration).unwrap();
        assert!(configuration.contains(&target.to_string()) && configuration.contains("250ms"));
        let prometheus = Prometheus::start(folder.path(), &folder.path().join("prometheus.yml")).unwrap();
        let dashboard: Json = serde_json::from_str(&read("grafana/tidemark.json")).unwrap();
        let queries: Vec<(String, String)> = panels(&dashboard)
            .iter()
            .flat_map(|panel| panel["targets"].as_array().into_iter().flatten().map(move |target| (panel, target)))
            .map(|(panel, target)| (panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap()))
            .map(|(title, query)| {
                (title.to_owned(), query.replace("$job", "tidemark").replace("$__rate_interval", "5s"))
            })
            .collect();
        assert!(queries.len() > 40, "{} queries", queries.len());
        let series = |query: &str| {
            let answer: Json = serde_json::from_str(&prometheus.query(query)?)?;
            anyhow::Ok(answer["data"]["result"].as_array().map_or(0, Vec::len))
        };
        let mut open = queries.clone();
        let answered = wait_for("every query of the dashboard to be answered", Duration::from_secs(30), || {
            let mut still = Vec::new();
            for (title, query) in open.drain(..) {
                if series(&query)? == 0 {
                    still.push((title, query));
                }
            }
            open = still;
            pause(Duration::from_millis(200));
            Ok(open.is_empty().then_some(()))
        });
        assert!(answered.is_ok(), "no series for {open:#?}");
        assert_eq!(series("up{job=\"tidemark\"} == 1").unwrap(), 1);
        assert_eq!(series("tidemark_no_such_metric").unwrap(), 0);
        // What the delivered rules find of this server: it has no backup, rejects nobody settled, and is well else.
        let rules: Json = serde_json::from_str(&prometheus.api("rules").unwrap()).unwrap();
        let groups = rules["data"]["groups"].as_array().unwrap();
        let alerts: Vec<&Json> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert!(alerts.len() >= 20 && alerts.iter().all(|alert| alert["health"] == "ok"), "{alerts:#?}");
        let found = alerts.iter().filter(|alert| alert["state"] != "inactive");
        let mut found: Vec<&str> = found.map(|alert| alert["name"].as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, ["TidemarkBackupOld", "TidemarkFiguresStale", "TidemarkRejectsOpen"]);
        queries.len()
    });
    let work = async {
        while !scraping.is_finished() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = busy(&site) => {}
        () = work => {}
    }
    println!("{} queries", scraping.join().unwrap());
}
