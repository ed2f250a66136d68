//! The stations as operators see them: contacts and reports, silence, forks, what came in, the database. Over HTTP, on
//! the embedded upstream and on PostgreSQL.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tidemark_core::batch::Op;
use tidemark_server::ledger::fleet::BackupMade;
use tidemark_server::stations::secret_hash;

use crate::common::client::{Answer, request};
use crate::common::site::{Site, site_of, word};
use crate::common::station::{Station, frame};
use crate::common::stores::Kind;
use crate::common::{NOON_MS, field};

pub const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::PlainPostgres, Kind::Timescale];
/// The operator's token of these tests.
pub const OPERATOR: u8 = 99;

/// A server with an operator.
pub async fn operated(kind: Kind) -> Site {
    let site = site_of(kind, &field(), |config| config.reports_every = None).await;
    operator(&site, "anna", OPERATOR).await;
    site
}

pub async fn operator(site: &Site, name: &str, token: u8) {
    let mut ledger = site.store.upstream.ledger();
    assert!(ledger.add_operator(name, secret_hash(&[token; 32]), NOON_MS).await.unwrap());
}

impl Site {
    pub async fn admin(&self, method: &str, path: &str, body: &Json) -> Answer {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        request(self.addr, method, &format!("/v1/admin/{path}"), Some(&word(OPERATOR)), body.as_bytes()).await
    }

    pub async fn look(&self, path: &str) -> Json {
        let answer = self.admin("GET", path, &Json::Null).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    pub async fn act(&self, path: &str, body: &Json) -> Json {
        let answer = self.admin("POST", path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    async fn report(&self, token: u8, report: &str) -> Answer {
        request(self.addr, "POST", "/v1/contact", Some(&word(token)), report.as_bytes()).await
    }

    /// A station as the fleet shows it.
    async fn seen(&self, name: &str) -> Json {
        let fleet = self.look("fleet").await;
        let stations = fleet["stations"].as_array().unwrap();
        stations.iter().find(|station| station["name"] == name).unwrap_or_else(|| panic!("{fleet}")).clone()
    }

    async fn push_rows(&self, token: u8, station: &mut Station, rows: std::ops::Range<i64>) {
        let changes: Vec<_> = rows.map(|row| station.site(row)).collect();
        let pushed = self.push(token, &frame(&station.cut(&changes))).await;
        assert_eq!(pushed.status, 200, "{}", String::from_utf8_lossy(&pushed.body));
    }
}

#[tokio::test]
async fn what_a_station_says_is_shown_and_one_that_never_pushed_has_no_last_push() {
    for kind in KINDS {
        let site = operated(kind).await;
        site.invite("later", 9).await;
        let mut station = site.join(1).await;
        let seen = site.seen("station 1").await;
        assert_eq!((&seen["state"], &seen["last_push_ms"]), (&json!("active"), &Json::Null), "{seen}");
        assert_eq!(seen["pending"], Json::Null, "nothing was said yet: {seen}");
        site.store.clock.forward_ms(90_000);
        let said = json!({
            "now_ms": NOON_MS - 30_000, "pending": 17, "oldest_ms": NOON_MS - 5_000, "free_disk_bytes": 1_000_000,
            "client_version": "0.1.0", "schema_version": 1, "said_by_a_later_version": true
        });
        let answer = site.report(1, &said.to_string()).await;
        assert_eq!(answer.json(), json!({ "server_time_ms": NOON_MS + 90_000 }));
        let seen = site.seen("station 1").await;
        for (name, value) in [
            ("pending", json!(17)),
            ("oldest_ms", json!(NOON_MS - 5_000)),
            ("free_disk_bytes", json!(1_000_000)),
            ("client_version", json!("0.1.0")),
            ("schema_version", json!(1)),
            ("clock_offset_ms", json!(120_000)),
            ("last_contact_ms", json!(NOON_MS + 90_000)),
            ("reported_at_ms", json!(NOON_MS + 90_000)),
            ("last_push_ms", Json::Null),
        ] {
            assert_eq!(seen[name], value, "{kind:?} {name}: {seen}");
        }
        for path in ["fleet", "stations/1", "rejects", "ingest", "database", "audit"] {
            assert_eq!(site.look(path).await["now_ms"], NOON_MS + 90_000, "{path} says by which clock its times are");
        }
        site.push_rows(1, &mut station, 1..4).await;
        let seen = site.seen("station 1").await;
        assert_eq!((&seen["last_push_ms"], &seen["tidemark"]), (&json!(NOON_MS + 90_000), &json!(3)), "{seen}");
        let later = site.seen("later").await;
        assert_eq!((&later["state"], &later["number"]), (&json!("invited"), &Json::Null), "{later}");
        assert_eq!(later["code_expires_at_ms"], NOON_MS + 60_000);
        // What was heard is in the database, for servers beside this one and after it.
        site.server.shutdown().await;
        let kept = site.store.upstream.ledger().contacts(None).await.unwrap();
        assert_eq!(kept.len(), 1, "{kind:?}");
        assert_eq!(kept[0].report.as_ref().unwrap().1.pending, Some(17), "{kind:?}");
        let pushes = site.store.upstream.ledger().pushes(station.number, 9).await.unwrap();
        assert_eq!(pushes.iter().map(|push| (push.first_seq, push.last_seq)).collect::<Vec<_>>(), [(1, 3)], "{kind:?}");
    }
}

#[tokio::test]
async fn hostile_reports_are_harmless() {
    let site = operated(Kind::Sqlite).await;
    let plain = operated(Kind::PlainPostgres).await;
    for site in [&site, &plain] {
        site.join(1).await;
        let huge = format!(r#"{{"client_version":"{}"}}"#, "x".repeat(5_000));
        for (report, status) in [
            (
                r#"{"pending":18446744073709551615,"oldest_ms":-9223372036854775808,"now_ms":9223372036854775807,"free_disk_bytes":18446744073709551615,"schema_version":4294967295}"#,
                200,
            ),
            (r#"{"client_version":"\u001b]0;owned\u0007\u202e<script>\u0000"}"#, 200),
            (r#"{"pending":-1}"#, 400),
            (r#"{"pending":1e400}"#, 400),
            (r#"{"schema_version":4294967296}"#, 400),
            (r#"[[[["#, 400),
            ("", 400),
            (huge.as_str(), 413),
        ] {
            let answer = site.report(1, report).await;
            assert_eq!(answer.status, status, "{report:.60}: {}", String::from_utf8_lossy(&answer.body));
            let seen = site.seen("station 1").await;
            let version = seen["client_version"].as_str().unwrap_or_default();
            assert!(!version.contains(tidemark_core::printable::is_harmful) && version.len() <= 64, "{seen}");
            assert!(seen["pending"].as_u64().unwrap_or(0) < 1 << 53, "{seen}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let stranger = request(site.addr, "POST", "/v1/contact", Some(&word(77)), b"{}").await;
        assert_eq!((stranger.status, stranger.code().as_str()), (401, "unauthorized"));
    }
    plain.server.shutdown().await;
    let kept = plain.store.upstream.ledger().contacts(None).await.unwrap();
    assert_eq!(kept.len(), 1, "the database took it");
}

#[tokio::test]
async fn silence_begins_after_an_hour_and_the_longest_comes_first() {
    let site = operated(Kind::Sqlite).await;
    for n in 1..=3 {
        site.join(n).await;
    }
    let minutes = |minutes: i64| minutes * 60_000;
    site.store.clock.forward_ms(minutes(10));
    site.report(2, "{}").await;
    site.store.clock.forward_ms(minutes(45));
    site.report(3, "{}").await;
    site.store.clock.forward_ms(minutes(20));
    let fleet = site.look("fleet").await;
    let order: Vec<(&str, &str)> = fleet["stations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|station| (station["name"].as_str().unwrap(), station["state"].as_str().unwrap()))
        .collect();
    assert_eq!(order, [("station 1", "silent"), ("station 2", "silent"), ("station 3", "active")]);
    assert_eq!(fleet["counts"], json!({ "active": 1, "silent": 2, "forked": 0, "revoked": 0, "invited": 0 }));
    site.report(1, "{}").await;
    assert_eq!(site.seen("station 1").await["state"], "active");
}

#[tokio::test]
async fn a_fork_is_seen() {
    for kind in [Kind::Sqlite, Kind::PlainPostgres] {
        let site = operated(kind).await;
        let mut station = site.join(1).await;
        site.push_rows(1, &mut station, 1..3).await;
        let mut copy = Station::new(&site.store.schema, 1, [1; 16]);
        let other = [copy.tag(Op::Insert, [7; 16], "x"), copy.site(5), copy.site(6)];
        assert_eq!(site.push(1, &frame(&copy.cut(&other))).await.code(), "forked");
        let seen = site.seen("station 1").await;
        assert_eq!((&seen["state"], &seen["last_fork_ms"]), (&json!("forked"), &json!(NOON_MS)), "{kind:?} {seen}");
        assert_eq!(site.look("fleet").await["counts"]["forked"], 1);
    }
}

#[tokio::test]
async fn what_came_in_is_counted_by_time_and_the_history_of_a_station_is_bounded() {
    for kind in KINDS {
        let site = operated(kind).await;
        let mut station = site.join(1).await;
        for n in 0..3 {
            site.push_rows(1, &mut station, 1 + 10 * n..11 + 10 * n).await;
            site.store.clock.forward_ms(600_000);
        }
        let written = async || {
            for _ in 0..100 {
                let pushes = site.look("stations/1").await["pushes"].as_array().unwrap().len();
                // What came in by the minute is written after that.
                let minutes = site.store.upstream.ledger().ingested(0, 9).await.unwrap().len();
                if (pushes, minutes) == (3, 3) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("the history is not written");
        };
        written().await;
        let one = site.look("stations/1").await;
        let pushes: Vec<(u64, u64, u64)> = one["pushes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|push| {
                assert!(push["bytes"].as_u64().unwrap() > 150 && push["ms"].is_u64(), "{push}");
                (push["first"].as_u64().unwrap(), push["last"].as_u64().unwrap(), push["applied"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(pushes, [(21, 30, 10), (11, 20, 10), (1, 10, 10)], "{kind:?}");
        let ingest = site.look("ingest?hours=1").await;
        let buckets = ingest["buckets"].as_array().unwrap();
        let sum = |name: &str| buckets.iter().map(|bucket| bucket[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("batches"), sum("changes"), sum("rejected")), (3, 30, 0), "{kind:?} {ingest}");
        assert_eq!((ingest["bucket_ms"].as_u64(), buckets.len()), (Some(60_000), 61), "{kind:?}");
        assert_eq!(buckets.iter().filter(|bucket| bucket["batches"] == 1).count(), 3, "{kind:?} {ingest}");
        let mut ledger = site.store.upstream.ledger();
        assert_eq!(ledger.thin_pushes(station.number, 1, 1).await.unwrap(), 1, "{kind:?}");
        assert_eq!(ledger.thin_pushes(station.number, 1, 9).await.unwrap(), 1, "{kind:?}");
        assert_eq!(ledger.pushes(station.number, 9).await.unwrap()[0].first_seq, 21, "{kind:?}");
        drop(ledger);
        let late = NOON_MS + tidemark_server::fleet::thinning::INGESTED_KEPT_MS + 3 * 600_000;
        tidemark_server::fleet::thinning::thin(site.store.upstream.as_ref(), late).await.unwrap();
        assert_eq!(site.store.upstream.ledger().ingested(0, 9).await.unwrap(), [], "{kind:?}");
    }
}

#[tokio::test]
async fn the_database_is_described_with_its_last_backup() {
    for kind in KINDS {
        let site = operated(kind).await;
        let database = site.look("database").await;
        let kind_word = if kind == Kind::Sqlite { "sqlite" } else { "postgresql" };
        assert_eq!((&database["kind"], &database["read_only"]), (&json!(kind_word), &json!(false)), "{database}");
        assert!(database["size_bytes"].as_u64().unwrap() > 0 && database["version"].is_string(), "{database}");
        assert_eq!(database["backup"], Json::Null);
        let tables = database["tables"].as_array().unwrap();
        assert!(tables.iter().any(|table| table["table"] == "reading"), "{database}");
        let hypertables = database["hypertables"].as_array().unwrap();
        assert_eq!(database["timescale"].is_string(), kind == Kind::Timescale, "{database}");
        assert_eq!(hypertables.iter().any(|table| table["table"] == "reading"), kind == Kind::Timescale, "{database}");
        let backup = |at_ms, restored| BackupMade {
            at_ms,
            file: "/backups/a.dump".into(),
            size_bytes: 7,
            checked_at_ms: at_ms + 5,
            restored,
        };
        let mut ledger = site.store.upstream.ledger();
        ledger.note_backup(&backup(NOON_MS - 9_000, true)).await.unwrap();
        ledger.note_backup(&backup(NOON_MS - 1_000, false)).await.unwrap();
        // By a clock that was wrong.
        ledger.note_backup(&backup(NOON_MS + 86_400_000, false)).await.unwrap();
        drop(ledger);
        let expected = json!({
            "last_at_ms": NOON_MS - 1_000, "file": "/backups/a.dump", "size_bytes": 7, "checked_at_ms": NOON_MS - 995,
            "restored_at_ms": NOON_MS - 8_995
        });
        assert_eq!(site.look("database").await["backup"], expected, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_written_of_stations_when_the_server_stops_is_written() {
    for kind in [Kind::PlainPostgres, Kind::Timescale] {
        let site = site_of(kind, &field(), |config| config.http.drain_grace = Duration::ZERO).await;
        site.join(1).await;
        let (addr, url) = (site.addr, site.store.url.clone().unwrap());
        // Another session holds the table: what was heard is taken to be written, and waits for it.
        let other = crate::common::cluster::connect(&url).await;
        other.batch_execute("BEGIN; LOCK TABLE tidemark.contact IN ACCESS EXCLUSIVE MODE").await.unwrap();
        assert_eq!(site.report(1, r#"{"pending":17}"#).await.status, 200);
        let waits =
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'tidemark.contact'::regclass)";
        for n in 0.. {
            if other.query_one(waits, &[]).await.unwrap().get(0) {
                break;
            }
            assert!(n < 600, "nobody writes");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let upstream = std::sync::Arc::clone(&site.store.upstream);
        let stopping = tokio::spawn(site.server.shutdown());
        while tokio::net::TcpStream::connect(addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        other.batch_execute("COMMIT").await.unwrap();
        stopping.await.unwrap();
        let kept = upstream.ledger().contacts(None).await.unwrap();
        let pending = kept.first().and_then(|contact| contact.report.as_ref()?.1.pending);
        assert_eq!((kept.len(), pending), (1, Some(17)), "{kind:?}");
    }
}
