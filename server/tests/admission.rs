//! What is settled before a body is read, who goes first, and who gives way: greedy and slow stations, strangers with
//! tokens that nobody knows, tables that are locked.

use std::time::Duration;

use tidemark_core::limits::FrameLimits;
use tidemark_core::survey::{Ask, DigestRequest, Question, Range};
use tidemark_server::config::HttpLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::client::{Answer, answer_of, raw, request, request_with};
use crate::common::door::{Over, Stream, connect};
use crate::common::site::{Held, Site, reply, site_with, word};
use crate::common::station::{day, frame};
use crate::common::stores::Kind;

/// The head of a push of so many bytes.
fn head(token: u8, length: usize) -> String {
    format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n\r\n",
        word(token)
    )
}

/// A push that was begun and does not go on.
async fn begun(site: &Site, token: u8, length: usize, sent: usize) -> Box<dyn Stream> {
    let mut stream = connect(site.addr).await;
    stream.write_all(head(token, length).as_bytes()).await.unwrap();
    stream.write_all(&vec![0; sent]).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

async fn answer(mut stream: Box<dyn Stream>) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    answer_of(&bytes)
}

/// Waits until a station's bodies fill the memory: a stranger's that needs most of it is refused.
async fn is_full(site: &Site, token: u8, length: usize) {
    for _ in 0..200 {
        let probe = begun(site, token, length, 0).await;
        let mut first = [0; 12];
        let mut probe = probe;
        let refused = tokio::time::timeout(Duration::from_millis(50), probe.read_exact(&mut first)).await;
        if refused.is_ok() {
            assert_eq!(&first, b"HTTP/1.1 503");
            return;
        }
    }
    panic!("the memory is not full");
}

#[tokio::test]
async fn the_station_that_holds_the_most_gives_way() {
    gives_way(Over::Plain).await;
}

#[tokio::test]
async fn the_station_that_holds_the_most_gives_way_over_tls() {
    gives_way(Over::Tls).await;
}

async fn gives_way(over: Over) {
    let http = HttpLimits { memory_bytes_max: 256 << 10, ..HttpLimits::default() };
    let site = over.site(Kind::Memory, http).await;
    let (_, mut small) = (site.join(1).await, site.join(2).await);
    let greedy = begun(&site, 1, 64 << 10, 60 << 10).await;
    is_full(&site, 2, 64 << 10).await;
    let pushed = site.push(2, &frame(&small.cut(&[small.site(1)]))).await;
    assert_eq!(reply(&pushed).applied, 1);
    let cut = answer(greedy).await;
    assert_eq!((cut.status, cut.json()["reason"].as_str()), (503, Some("server-busy")));
    assert!(!cut.header("Retry-After").is_empty() && cut.header("Connection") == "close", "{}", cut.head);
}

#[tokio::test]
async fn slow_bodies_take_what_they_send_and_are_cut_by_the_slowest_rate() {
    let http = HttpLimits {
        body_idle_timeout: Duration::from_millis(500),
        body_timeout: Duration::from_secs(60),
        station_bodies_max: 8,
        ..HttpLimits::default()
    };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    let (_, mut other) = (site.join(1).await, site.join(2).await);
    let length = FrameLimits::DEFAULT.frame_bytes_max as usize;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let (mut reading, mut writing) = tokio::io::split(begun(&site, 1, length, 1).await);
        // More than 100 bytes a second, and never at its end within the minute.
        let trickle = tokio::spawn(async move {
            while writing.write_all(&[7; 100]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        slow.push(tokio::spawn(async move {
            let mut first = [0; 12];
            reading.read_exact(&mut first).await.unwrap();
            trickle.abort();
            first
        }));
    }
    // All of them together claim what all the memory is, and others push all the same.
    let whole = begun(&site, 2, length, 0).await;
    assert_eq!(reply(&site.push(2, &frame(&other.cut(&[other.site(1)]))).await).applied, 1);
    drop(whole);
    for slow in slow {
        let first = tokio::time::timeout(Duration::from_secs(20), slow).await.expect("cut long before the minute");
        assert_eq!(&first.unwrap(), b"HTTP/1.1 408");
    }
}

#[tokio::test]
async fn a_station_sends_two_bodies_at_once_and_no_more() {
    let site = site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let (mut one, mut two) = (site.join(1).await, site.join(2).await);
    let held = [begun(&site, 1, 1_000, 10).await, begun(&site, 1, 1_000, 10).await];
    let bytes = frame(&one.cut(&[one.site(1)]));
    let mut refused = site.push(1, &bytes).await;
    // The server may not have read both heads yet.
    for _ in 0..100 {
        if refused.status == 429 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        refused = site.push(1, &bytes).await;
    }
    assert_eq!((refused.status, refused.header("Retry-After").as_str()), (429, "5"));
    assert_eq!(reply(&site.push(2, &frame(&two.cut(&[two.site(1)]))).await).applied, 1);
    drop(held);
}

#[tokio::test]
async fn a_schema_that_is_not_taken_is_refused_before_the_frame() {
    let site = site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let auth = format!("Bearer {}", word(1));
    for (schema, status, code) in [(word(9), 409, "unknown-schema"), ("x".to_owned(), 400, "bad-request")] {
        let with = head(1, 32 << 20).replace("Host: t", &format!("Host: t\r\nTidemark-Schema: {schema}"));
        let refused = raw(site.addr, with.as_bytes()).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code));
        assert_eq!(refused.header("Connection"), "close");
    }
    let own = site.store.schema.fingerprint().to_hex();
    let headers = [("Authorization", auth.as_str()), ("Tidemark-Schema", own.as_str())];
    let bytes = frame(&station.cut(&[station.site(1)]));
    assert_eq!(reply(&request_with(site.addr, "POST", "/v1/push", &headers, &bytes).await).applied, 1);
}

#[tokio::test]
async fn who_is_told_to_go_on_is_told_so_only_when_the_body_is_taken() {
    let site = site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await;
    site.join(1).await;
    for (token, first) in [(1, "HTTP/1.1 100"), (9, "HTTP/1.1 401")] {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        let with = head(token, 1 << 20).replace("Host: t", "Host: t\r\nExpect: 100-continue");
        stream.write_all(with.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), first);
    }
}

#[tokio::test]
async fn strangers_try_so_many_tokens_and_codes_and_shut_no_station_out() {
    let http = HttpLimits { attempts_max: 5, attempts_per_second: 0, ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    site.join(1).await;
    let stands = async |token| request(site.addr, "GET", "/v1/station", Some(&word(token)), b"").await;
    assert_eq!(stands(1).await.status, 200);
    for n in 0..5 {
        assert_eq!(stands(100 + n).await.status, 401);
    }
    let refused = stands(99).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "too-many-requests"));
    assert_eq!(refused.header("Retry-After"), "5");
    // Who has a code joins, and is known from then on, however many strangers there are at its address.
    site.join(2).await;
    assert_eq!((stands(2).await.status, stands(99).await.status), (200, 429));
    // Codes have attempts of their own.
    for n in 0..5 {
        assert_eq!(site.post_join(&site.ask(100 + n, 1, 1)).await.code(), "join-code-unknown");
    }
    assert_eq!(site.post_join(&site.ask(99, 1, 1)).await.status, 429);
    // Also when what was heard of it is old.
    site.store.clock.forward_ms(60_000);
    assert_eq!((stands(1).await.status, stands(99).await.status), (200, 429));
}

#[tokio::test]
async fn what_is_left_of_a_request_is_not_taken_for_the_next_one() {
    let site = site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let inner = "GET /startupz HTTP/1.1\r\nHost: t\r\n\r\n";
    for first in ["GET /healthz", "HEAD /healthz", "GET /nothing", "OPTIONS *", "GET /notebook/"] {
        let head = format!("{first} HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", inner.len());
        // Nor when it comes later.
        for pause in [Duration::ZERO, Duration::from_millis(100)] {
            let mut stream = TcpStream::connect(site.addr).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            tokio::time::sleep(pause).await;
            let _ = stream.write_all(inner.as_bytes()).await;
            let mut said = Vec::new();
            let reading = stream.read_to_end(&mut said);
            let _ = tokio::time::timeout(Duration::from_secs(20), reading).await.expect("closed");
            let said = String::from_utf8_lossy(&said);
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{first}: {said}");
        }
    }
}

#[tokio::test]
async fn a_revoked_token_is_good_for_a_second_at_most() {
    let site = site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let stands = async || request(site.addr, "GET", "/v1/station", Some(&word(1)), b"").await;
    // In ordinary use it ends at once; who asks more often than the database is asked hears what that said last.
    for _ in 0..8 {
        assert_eq!(stands().await.status, 200);
    }
    assert!(site.store.upstream.revoke_station("station 1", 0).await.unwrap());
    assert_eq!(stands().await.status, 200);
    // Nothing of it is applied in any case.
    assert_eq!(site.push(1, &frame(&station.cut(&[station.site(1)]))).await.code(), "revoked");
    site.store.clock.forward_ms(1_000);
    assert_eq!(stands().await.code(), "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_waits_for_its_own_station_holds_no_turn() {
    let http = HttpLimits { applies_max: 2, ..HttpLimits::default() };
    let site = site_with(Kind::PlainPostgres, http, FrameLimits::DEFAULT).await;
    let (mut one, mut two) = (site.join(1).await, site.join(2).await);
    let held = Held::cursor(&site, &one).await;
    let bytes = frame(&one.cut(&[one.site(1)]));
    let push = |bytes: &[u8]| {
        let (addr, bytes) = (site.addr, bytes.to_vec());
        tokio::spawn(async move { request(addr, "POST", "/v1/push", Some(&word(1)), &bytes).await })
    };
    let first = push(&bytes);
    held.is_wanted().await;
    let second = push(&bytes);
    // It has come in full.
    tokio::time::sleep(Duration::from_millis(200)).await;
    // One table, of which half of the turns are: another one.
    let tag = two.tag(tidemark_core::batch::Op::Insert, [5; 16], "blue");
    assert_eq!(reply(&site.push(2, &frame(&two.cut(&[tag]))).await).applied, 1);
    assert!(!second.is_finished());
    held.release().await;
    let (first, second) = (reply(&first.await.unwrap()), reply(&second.await.unwrap()));
    assert_eq!((first.applied, second.applied, second.duplicate), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_takes_no_turn_from_the_others() {
    let http = HttpLimits { applies_max: 4, ..HttpLimits::default() };
    let site = site_with(Kind::PlainPostgres, http, FrameLimits::DEFAULT).await;
    let mut stations = Vec::new();
    for n in 1..=9 {
        stations.push(site.join(n).await);
    }
    let other = crate::common::cluster::connect(site.store.url.as_deref().unwrap()).await;
    other.batch_execute("BEGIN; LOCK TABLE field.reading IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut pushing = Vec::new();
    for (station, token) in stations[..8].iter_mut().zip(1..) {
        let bytes = frame(&station.cut(&[station.reading(1, day(1), &[])]));
        let addr = site.addr;
        pushing.push(tokio::spawn(async move {
            loop {
                let answer = request(addr, "POST", "/v1/push", Some(&word(token)), &bytes).await;
                if answer.status != 503 {
                    return answer;
                }
                assert_eq!(answer.json()["reason"].as_str(), Some("database-locked"));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }));
    }
    // Time for all of them to come, as far as they can.
    for _ in 0..500 {
        if waiting(&other).await > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ninth = &mut stations[8];
    let pushed = site.push(9, &frame(&ninth.cut(&[ninth.site(1)]))).await;
    assert_eq!(reply(&pushed).applied, 1);
    assert!(pushing.iter().all(|pushing| !pushing.is_finished()), "the table is still locked");
    let blocked = waiting(&other).await;
    assert!((1..=2).contains(&blocked), "half of the turns, and no more, wait for the lock: {blocked}");
    other.batch_execute("COMMIT").await.unwrap();
    for pushing in pushing {
        assert_eq!(reply(&pushing.await.unwrap()).applied, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_survey_ends_with_its_client_and_a_station_has_one_at_a_time() {
    let site = site_with(Kind::PlainPostgres, HttpLimits::default(), FrameLimits::DEFAULT).await;
    site.join(1).await;
    let other = crate::common::cluster::connect(site.store.url.as_deref().unwrap()).await;
    other.batch_execute("BEGIN; LOCK TABLE field.reading IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let asks = vec![Ask { table: "reading".to_owned(), question: Question::Digests(vec![Range::ALL]) }];
    let asks = DigestRequest { fingerprint: site.store.schema.fingerprint().to_hex(), asks };
    let body = serde_json::to_vec(&asks).unwrap();
    let ask = async || {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        let head = head(1, body.len()).replace("/v1/push", "/v1/digest");
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        stream
    };
    let (first, second) = (ask().await, ask().await);
    wait_for(&other, 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(waiting(&other).await, 1, "the second waits for the first");
    drop((first, second));
    wait_for(&other, 0).await;
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(site.post_digest(1, &body).await.status, 200);
}

/// How many sessions wait for a lock.
async fn waiting(client: &tokio_postgres::Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until so many do.
async fn wait_for(client: &tokio_postgres::Client, sessions: i64) {
    for _ in 0..200 {
        if waiting(client).await == sessions {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} sessions wait for a lock, not {sessions}", waiting(client).await);
}
