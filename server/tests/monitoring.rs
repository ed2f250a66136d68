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
use crate::metrics::{CONNECTIONS_MAX, measured};

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
        crowd(site).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Comes with more connections than the server holds: one is closed for another.
pub async fn crowd(site: &Site) {
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_MAX + 2 {
        open.push(tokio::net::TcpStream::connect(site.addr).await.unwrap());
    }
    // The door takes one after the other: what is asked last is answered once all of them were.
    request(site.addr, "GET", "/healthz", None, b"").await;
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

/// What is written in numbers behind a word.
fn number_behind(text: &str, word: &str) -> u64 {
    let behind = text.split_once(word).unwrap_or_else(|| panic!("no {word:?}")).1.trim_start();
    let digits: String = behind.chars().take_while(|c| c.is_ascii_digit() || *c == '_').filter(|c| *c != '_').collect();
    digits.parse().unwrap_or_else(|_| panic!("{word}: {behind:.30}"))
}

#[test]
fn the_page_marks_what_the_alerts_fire_at() {
    use tidemark_core::limits::SILENT_AFTER_MS;
    use tidemark_server::fleet::concern::{BACKUP_OLD_MS, CLOCK_OFF_MS, LOW_DISK_BYTES, OLDEST_PENDING_MS};
    let (page, alerts) = (include_str!("../admin-page/concern.js"), read("prometheus/alerts.yml"));
    for (name, value) in [
        ("CLOCK_OFF_MS", CLOCK_OFF_MS),
        ("LOW_DISK_BYTES", LOW_DISK_BYTES),
        ("OLDEST_PENDING_MS", OLDEST_PENDING_MS),
        ("BACKUP_OLD_MS", BACKUP_OLD_MS),
    ] {
        assert_eq!(number_behind(page, &format!("export const {name} = ")), value, "{name} of the page");
    }
    assert_eq!(number_behind(&alerts, "(tidemark_oldest_pending_seconds) >"), OLDEST_PENDING_MS / 1_000);
    let backup = "(tidemark_backup_last_success_timestamp_seconds) >";
    assert_eq!(number_behind(&alerts, backup), BACKUP_OLD_MS / 1_000);
    // What the alerts say in words is what the server counts by.
    for (words, of, value) in [
        ("are more than five minutes off", CLOCK_OFF_MS, 5 * 60_000),
        ("have less than 1 GiB of free disk", LOW_DISK_BYTES, 1 << 30),
        ("has not arrived for more than six hours", OLDEST_PENDING_MS, 6 * 3_600_000),
        ("no backup of the last two days", BACKUP_OLD_MS, 2 * 86_400_000),
        ("of them for more than an hour", SILENT_AFTER_MS, 3_600_000),
    ] {
        assert!(alerts.contains(words) && of == value, "{words}: {of}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stations_say_of_themselves_reaches_a_prometheus_and_its_alerts() {
    use crate::common::NOON_MS;
    let site = measured(Kind::PlainPostgres, 2).await;
    for n in 1..=3 {
        site.join(n).await;
    }
    site.invite("later", 9).await;
    let hour = 3_600_000;
    for (token, pending, oldest_ms, free_disk_bytes, now_ms) in [
        (1, 17, NOON_MS - 60_000, 5_000_000_000_u64, NOON_MS),
        (2, 1_003, NOON_MS - 7 * hour, 400_000_000, NOON_MS - 400_000),
    ] {
        let report = serde_json::json!({
            "pending": pending, "oldest_ms": oldest_ms, "free_disk_bytes": free_disk_bytes, "now_ms": now_ms,
            "client_version": "0.1.0", "schema_version": 1
        });
        let said = request(site.addr, "POST", "/v1/contact", Some(&word(token)), report.to_string().as_bytes()).await;
        assert_eq!(said.status, 200);
    }
    let target = site.server.metrics_addr().unwrap();
    let asking = move || {
        let prometheus = Prometheus::reading(&deploy().join("prometheus"), target).unwrap();
        for (query, value) in [
            ("tidemark_stations_reporting", 2.0),
            ("tidemark_pending_changes", 1_020.0),
            ("tidemark_oldest_pending_seconds", 7.0 * 3_600.0),
            ("tidemark_lowest_free_disk_bytes", 400_000_000.0),
            ("tidemark_stations_low_disk", 1.0),
            ("tidemark_stations_clock_off", 1.0),
            ("tidemark_stations{state=\"active\"}", 3.0),
            ("tidemark_stations{state=\"invited\"}", 1.0),
            ("tidemark_station_pending_changes{station=\"1\",name=\"station 1\"}", 17.0),
            ("tidemark_station_pending_changes{station=\"2\"}", 1_003.0),
            ("tidemark_station_pending_changes{station=\"other\"}", 0.0),
            ("count(ALERTS{alertname=\"TidemarkStationDiskLow\"})", 1.0),
            ("count(ALERTS{alertname=\"TidemarkClockOff\"})", 1.0),
            ("count(ALERTS{alertname=\"TidemarkOldestPending\"})", 1.0),
        ] {
            let mut found = Vec::new();
            let came = wait_for(query, Duration::from_secs(30), || {
                found = prometheus.values(query)?;
                pause(Duration::from_millis(100));
                Ok((found == [value]).then_some(()))
            });
            assert!(came.is_ok(), "{query} is {found:?} and not {value}");
        }
    };
    tokio::task::spawn_blocking(asking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_dashboard_is_answered_by_a_prometheus_that_reads_a_server() {
    let site = measured(Kind::Timescale, 1).await;
    let target = site.server.metrics_addr().unwrap();
    let scraping = std::thread::spawn(move || {
        let prometheus = Prometheus::reading(&deploy().join("prometheus"), target).unwrap();
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
        let series = |query: &str| anyhow::Ok(prometheus.values(query)?.len());
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
