//! What the server counts and measures: equal to what was done to it, well formed, documented, and for nobody who may
//! not read it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use tidemark_core::limits::FrameLimits;
use tidemark_server::config::HttpLimits;
use tidemark_server::metrics::MetricsSettings;
use tidemark_testkit::prometheus::program;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::client::{answer_of, raw, request, request_with};
use crate::common::cluster::connect;
use crate::common::door::locked_with;
use crate::common::site::{Site, reply, site_of, word};
use crate::common::station::{day, frame};
use crate::common::stores::Kind;
use crate::common::{NOON_MS, field};
use crate::monitoring::crowd;

/// So many connections it holds at once.
pub const CONNECTIONS_MAX: usize = 24;

/// A server that tells its metrics at a listener of its own, and asks the database for them all the time.
pub async fn measured(kind: Kind, stations_max: usize) -> Site {
    site_of(kind, &field(), |config| {
        config.http.connections_max = CONNECTIONS_MAX;
        config.metrics = MetricsSettings {
            listen: Some("127.0.0.1:0".to_owned()),
            stations_max,
            refresh_every: Duration::from_millis(100),
            ..MetricsSettings::default()
        };
    })
    .await
}

pub async fn scraped(addr: SocketAddr) -> String {
    let answer = request(addr, "GET", "/metrics", None, b"").await;
    assert_eq!(
        (answer.status, answer.header("content-type").as_str()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    String::from_utf8(answer.body).unwrap()
}

/// The values of a scrape, by series.
struct Said(BTreeMap<String, f64>);

impl Said {
    /// What is said once nothing of before is told any more.
    async fn by(site: &Site) -> Self {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let text = scraped(site.server.metrics_addr().unwrap()).await;
        let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Self(series.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect())
    }

    #[track_caller]
    fn is(&self, series: &str, value: f64) {
        assert_eq!(self.0.get(series), Some(&value), "{series} of {:#?}", self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_says_what_was_pushed_and_refused() {
    let site = measured(Kind::PlainPostgres, 0).await;
    let mut station = site.join(1).await;
    let mut other = site.join(2).await;
    site.invite("invited", 3).await;
    let first = frame(&station.cut(&[station.site(1), station.site(2), station.site(3)]));
    let orphan = station.reading(1, day(1), &[("site_id", station.id(99))]);
    let second = frame(&station.cut(&[station.site(4), orphan]));
    let third = frame(&station.cut(&[station.site(5)]));
    assert_eq!(reply(&site.push(1, &first).await).applied, 3);
    assert_eq!(site.push(1, &third).await.status, 409, "a gap");
    assert_eq!(reply(&site.push(1, &second).await).rejected.len(), 1);
    assert_eq!(reply(&site.push(1, &second).await).duplicate, 2);
    let mut copy = other.clone();
    assert_eq!(reply(&site.push(2, &frame(&other.cut(&[other.site(1)]))).await).applied, 1);
    assert_eq!(site.push(2, &frame(&copy.cut(&[copy.site(8)]))).await.status, 409, "a fork");
    assert_eq!(request(site.addr, "GET", "/v1/station", Some(&word(9)), b"").await.status, 401);
    let too_large = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        word(1),
        u64::from(FrameLimits::DEFAULT.frame_bytes_max) + 1
    );
    assert_eq!(raw(site.addr, too_large.as_bytes()).await.status, 413);
    for path in ["/nowhere", "/wp-login.php", "/v1/../x"] {
        assert_eq!(request(site.addr, "GET", path, None, b"").await.status, 404);
    }
    let said = Said::by(&site).await;
    for (series, value) in [
        ("tidemark_batches_total{outcome=\"acknowledged\"}", 4.0),
        ("tidemark_batches_total{outcome=\"gap\"}", 1.0),
        ("tidemark_batches_total{outcome=\"forked\"}", 1.0),
        ("tidemark_batches_total{outcome=\"failed\"}", 0.0),
        ("tidemark_changes_total{verdict=\"applied\"}", 5.0),
        ("tidemark_changes_total{verdict=\"duplicate\"}", 2.0),
        ("tidemark_changes_total{verdict=\"rejected\"}", 2.0),
        ("tidemark_changes_rejected_total{code=\"reference\"}", 2.0),
        ("tidemark_changes_rejected_total{code=\"clock\"}", 0.0),
        ("tidemark_rejects_open{code=\"reference\"}", 1.0),
        ("tidemark_batch_changes_sum", 8.0),
        ("tidemark_batch_changes_count", 4.0),
        ("tidemark_clock_offset_seconds_count", 4.0),
        ("tidemark_batch_stage_seconds_count{stage=\"decode\"}", 6.0),
        ("tidemark_batch_stage_seconds_count{stage=\"plan\"}", 4.0),
        ("tidemark_batch_stage_seconds_count{stage=\"write\"}", 4.0),
        ("tidemark_batch_stage_seconds_count{stage=\"commit\"}", 4.0),
        ("tidemark_turn_wait_seconds_count{queue=\"apply\"}", 6.0),
        ("tidemark_turn_wait_seconds_count{queue=\"decode\"}", 6.0),
        ("tidemark_http_requests_total{route=\"/v1/push\",status=\"200\"}", 4.0),
        ("tidemark_http_requests_total{route=\"/v1/push\",status=\"409\"}", 2.0),
        ("tidemark_http_requests_total{route=\"/v1/push\",status=\"413\"}", 1.0),
        ("tidemark_http_requests_total{route=\"/v1/station\",status=\"401\"}", 1.0),
        ("tidemark_http_requests_total{route=\"/v1/join\",status=\"200\"}", 2.0),
        ("tidemark_http_requests_total{route=\"other\",status=\"404\"}", 3.0),
        ("tidemark_refusals_total{code=\"gap\",reason=\"\",status=\"409\"}", 1.0),
        ("tidemark_refusals_total{code=\"forked\",reason=\"\",status=\"409\"}", 1.0),
        ("tidemark_refusals_total{code=\"too-large\",reason=\"\",status=\"413\"}", 1.0),
        ("tidemark_refusals_total{code=\"unauthorized\",reason=\"\",status=\"401\"}", 1.0),
        ("tidemark_http_request_duration_seconds_count{route=\"/v1/push\"}", 7.0),
        ("tidemark_stations{state=\"active\"}", 1.0),
        ("tidemark_stations{state=\"forked\"}", 1.0),
        ("tidemark_stations{state=\"invited\"}", 1.0),
        ("tidemark_stations{state=\"silent\"}", 0.0),
        ("tidemark_database_up", 1.0),
        ("tidemark_database_read_only", 0.0),
        ("tidemark_ready", 1.0),
        ("tidemark_panics_total", 0.0),
        ("tidemark_http_requests_running", 0.0),
        ("tidemark_build_info{schema=\"field\",schema_version=\"1\",version=\"0.1.0\"}", 1.0),
    ] {
        said.is(series, value);
    }
    let bytes = said.0["tidemark_batch_bytes_total"] as usize;
    assert!(bytes > [&first, &third, &second, &second].iter().map(|frame| frame.len()).sum(), "{bytes}");
    assert_eq!(said.0["tidemark_http_received_bytes_total{route=\"/v1/push\"}"], bytes as f64, "each frame once");
    assert!(said.0["tidemark_pool_wait_seconds_count{purpose=\"work\"}"] >= 6.0);
    assert!(said.0["tidemark_pool_connections{state=\"idle\"}"] >= 1.0);
    assert!(said.0["tidemark_connections_accepted_total"] >= 12.0);
    assert!(said.0["process_resident_memory_bytes"] > 1e6);
    let refreshed = said.0["tidemark_figures_refreshed_timestamp_seconds"];
    assert_eq!(refreshed, NOON_MS as f64 / 1_000.0, "by the server's clock");
    // An hour without a sign, and nobody is heard of any more; a revoked one is missed by nobody.
    site.store.clock.forward_ms(3_600_001);
    assert!(site.store.upstream.revoke_station("station 2", NOON_MS).await.unwrap());
    let said = Said::by(&site).await;
    said.is("tidemark_stations{state=\"silent\"}", 1.0);
    said.is("tidemark_stations{state=\"revoked\"}", 1.0);
    said.is("tidemark_stations{state=\"active\"}", 0.0);
    said.is("tidemark_longest_silence_seconds", 3_600.001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_read_only_or_away_is_said_and_the_figures_of_before_stay() {
    let site = measured(Kind::PlainPostgres, 0).await;
    site.join(1).await;
    let said = Said::by(&site).await;
    ["tidemark_database_up", "tidemark_ready"].iter().for_each(|series| said.is(series, 1.0));
    let (url, name) = site.store.url.as_deref().and_then(|url| url.rsplit_once('/')).unwrap();
    let admin = connect(&format!("{url}/postgres")).await;
    let all_new = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname";
    for (setting, up, read_only) in [
        ("SET default_transaction_read_only = on", 1.0, 1.0),
        ("RESET default_transaction_read_only", 1.0, 0.0),
        ("ALLOW_CONNECTIONS false", 0.0, 0.0),
        ("ALLOW_CONNECTIONS true", 1.0, 0.0),
    ] {
        let sql = format!("ALTER DATABASE \"{name}\" {setting}; {all_new} = '{name}'");
        admin.batch_execute(&sql).await.unwrap();
        let is_ready = f64::from(u8::from(up == 1.0 && read_only == 0.0));
        let wanted =
            [("tidemark_database_up", up), ("tidemark_database_read_only", read_only), ("tidemark_ready", is_ready)];
        let began = tokio::time::Instant::now();
        loop {
            let said = Said::by(&site).await;
            said.is("tidemark_stations{state=\"active\"}", 1.0);
            if wanted.iter().all(|(series, value)| said.0[*series] == *value) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{setting}: {wanted:?} of {:#?}", said.0);
        }
    }
}

#[tokio::test]
async fn nobody_reads_metrics_where_stations_ask_but_whoever_has_the_token() {
    let closed = site_of(Kind::Memory, &field(), |_| {}).await;
    assert_eq!(closed.server.metrics_addr(), None, "and there is no listener");
    let answer = request(closed.addr, "GET", "/metrics", None, b"").await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not-found"));
    let token = "a token of some length";
    let open = site_of(Kind::Memory, &field(), |config| {
        config.metrics.token_hash = Some(*blake3::hash(token.as_bytes()).as_bytes());
        config.http.attempts_max = 5;
        config.http.attempts_per_second = 1;
    })
    .await;
    let ask = async |header: &str| {
        let headers = [("Authorization", header)];
        request_with(open.addr, "GET", "/metrics", &headers[usize::from(header.is_empty())..], b"").await
    };
    let bearer = format!("Bearer {token}");
    assert_eq!(ask(&bearer).await.status, 200);
    assert_eq!(ask("").await.code(), "unauthorized");
    for wrong in ["Bearer ", "Bearer a token of some lengt", "Basic YTpi", token] {
        assert_eq!(ask(wrong).await.code(), "unauthorized", "{wrong}");
    }
    let mut codes = Vec::new();
    for n in 0..6 {
        codes.push(ask(&format!("Bearer guess number {n}")).await.status);
    }
    assert!(codes.ends_with(&[429]), "who guesses is told to wait: {codes:?}");
    assert_eq!(ask(&bearer).await.status, 429, "whatever it is that is tried: no guess is told from another");
    // From elsewhere who has it is not held up; and here no longer than it takes to wear off.
    let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut elsewhere = elsewhere.connect(open.addr).await.unwrap();
    let asks = format!("GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: {bearer}\r\n\r\n");
    elsewhere.write_all(asks.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    elsewhere.read_to_end(&mut said).await.unwrap();
    assert_eq!(answer_of(&said).status, 200);
    open.store.clock.forward_ms(60_000);
    for _ in 0..40 {
        assert_eq!(ask(&bearer).await.status, 200, "who has it may ask as often as they like");
    }
    assert_eq!(
        request(open.addr, "GET", "/v1/station", Some(&word(1)), b"").await.status,
        401,
        "tokens of stations are others"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listener_for_metrics_has_nothing_else_and_is_not_held_by_who_says_nothing() {
    let site = measured(Kind::Memory, 0).await;
    let addr = site.server.metrics_addr().unwrap();
    site.join(1).await;
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/v1/station", 404),
        ("POST", "/v1/push", 405),
        ("GET", "/", 404),
        ("GET", "/readyz", 404),
    ] {
        assert_eq!(request(addr, method, path, Some(&word(1)), b"").await.status, status, "{method} {path}");
    }
    // More than it lets in at once, all silent: they are let go, and a scrape comes through.
    let idle: Vec<_> = (0..80).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
    let began = tokio::time::Instant::now();
    let answered = loop {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        if bytes.starts_with(b"HTTP/1.1 200") {
            break bytes;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "nobody is let in");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(answered.len() > 1_000);
    drop(idle);
}

/// The families of a scrape: name and type.
fn families(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_documented_with_its_labels_and_promtool_has_nothing_to_say() {
    // With a certificate, so that there is something to say of it.
    let locked = locked_with(Kind::PlainPostgres, HttpLimits::default(), None, |config| {
        config.http.connections_max = CONNECTIONS_MAX;
        config.metrics = MetricsSettings {
            listen: Some("127.0.0.1:0".to_owned()),
            stations_max: 2,
            refresh_every: Duration::from_millis(100),
            ..MetricsSettings::default()
        };
    })
    .await;
    let site = &locked.site;
    let mut station = site.join(1).await;
    site.push(1, &frame(&station.cut(&[station.site(1)]))).await;
    request(site.addr, "GET", "/v1/station", None, b"").await;
    crowd(site).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let text = scraped(site.server.metrics_addr().unwrap()).await;

    let mut promtool = Command::new(program("promtool").unwrap())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let words = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success() && words.is_empty(), "{}", String::from_utf8_lossy(&words));

    // | `name` | type | labels | meaning |
    let page = include_str!("../../docs/internals/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `tidemark_"));
    let rows: Vec<Vec<&str>> = rows.map(|line| line.split('|').map(str::trim).collect()).collect();
    let told: BTreeMap<String, String> =
        rows.iter().map(|row| (row[1].trim_matches('`').to_owned(), row[2].to_owned())).collect();
    let ours: BTreeMap<String, String> =
        families(&text).into_iter().filter(|(name, _)| name.starts_with("tidemark_")).collect();
    assert_eq!(told, ours, "docs/internals/metrics.md and a scrape");
    for row in &rows {
        let name = row[1].trim_matches('`');
        let is_of = |series: &str| {
            let suffix = series.strip_prefix(name);
            suffix.is_some_and(|suffix| matches!(suffix, "" | "_bucket" | "_sum" | "_count"))
        };
        let of = text.lines().filter_map(|line| line.split_once('{')).filter(|(series, _)| is_of(series));
        let labels = of.flat_map(|(_, rest)| {
            rest.split("\",").filter_map(|label| label.trim_start_matches(',').split_once('=')).map(|(name, _)| name)
        });
        let labels: BTreeSet<&str> = labels.filter(|label| *label != "le").collect();
        let named: BTreeSet<&str> = row[3].split('`').skip(1).step_by(2).collect();
        assert!(labels.is_subset(&named) && named.len() == labels.len(), "{name}: {labels:?} and {named:?}");
    }
}
