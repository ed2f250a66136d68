//! Connections that do not mean well, or are too many: whoever is honest is served meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::client::{Answer, answer_of, request};
use crate::common::door::{Over, Stream, connect};
use crate::common::site::{Held, Site, reply, site_with, word};
use crate::common::station::frame;
use crate::common::stores::Kind;
use tidemark_core::limits::FrameLimits;
use tidemark_server::config::HttpLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Few connections, none of which ends by itself.
fn few() -> HttpLimits {
    HttpLimits {
        connections_max: 24,
        unknown_connections_max: 16,
        address_connections_max: 8,
        station_connections_max: 3,
        head_timeout: LONG * 4,
        ..HttpLimits::default()
    }
}

/// A connection that stays open.
struct Kept(Box<dyn Stream>);

impl Kept {
    async fn open(addr: SocketAddr) -> Self {
        Self(connect(addr).await)
    }

    /// Asks, and reads the answer; `None` when the server has closed.
    async fn get(&mut self, path: &str, token: Option<&str>) -> Option<Answer> {
        let auth = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("GET {path} HTTP/1.1\r\nHost: t\r\n{auth}\r\n");
        self.0.write_all(head.as_bytes()).await.ok()?;
        let mut bytes = Vec::new();
        loop {
            let read = tokio::time::timeout(LONG, self.0.read_buf(&mut bytes)).await.expect("answered").ok()?;
            if read == 0 {
                return None;
            }
            if !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                continue;
            }
            let answer = answer_of(&bytes);
            if answer.body.len().to_string() == answer.header("Content-Length") {
                return Some(answer);
            }
        }
    }

    /// Sends the head of a request whose body does not come, but for a byte.
    async fn begin(addr: SocketAddr, path: &str, token: Option<&str>) -> Self {
        let mut kept = Self::open(addr).await;
        let auth = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("POST {path} HTTP/1.1\r\nHost: t\r\n{auth}Content-Length: 1000\r\n\r\n{{");
        kept.0.write_all(head.as_bytes()).await.unwrap();
        kept
    }

    /// The server has closed it.
    async fn is_closed(&mut self) -> bool {
        let mut room = [0; 1];
        match tokio::time::timeout(Duration::from_millis(20), self.0.read(&mut room)).await {
            Ok(read) => read.unwrap_or(0) == 0,
            Err(_) => false,
        }
    }
}

async fn stands(site: &Site, n: u8) -> Answer {
    request(site.addr, "GET", "/v1/station", Some(&word(n)), b"").await
}

async fn is_alive(site: &Site) -> bool {
    let answer = request(site.addr, "GET", "/healthz", None, b"");
    tokio::time::timeout(LONG, answer).await.expect("answered").status == 200
}

#[tokio::test]
async fn idle_peers_keep_nobody_out() {
    idle_peers(Over::Plain).await;
}

#[tokio::test]
async fn idle_peers_keep_nobody_out_over_tls() {
    idle_peers(Over::Tls).await;
}

async fn idle_peers(over: Over) {
    let site = over.site(Kind::Memory, few()).await;
    let mut station = site.join(1).await;
    let mut idle = Vec::new();
    for n in 0..100 {
        let mut kept = Kept::open(site.addr).await;
        // Some have asked, some say nothing.
        if n % 2 == 0 {
            assert_eq!(kept.get("/healthz", None).await.expect("served").status, 200);
        }
        idle.push(kept);
    }
    assert!(is_alive(&site).await);
    assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(1)]))).await).applied, 1);
    let mut open = 0;
    for kept in &mut idle {
        open += usize::from(!kept.is_closed().await);
    }
    assert!((6..=7).contains(&open), "{open}: the last 8, but for those that made room for the two requests");
}

#[tokio::test]
async fn while_peers_without_a_token_come_and_go_a_station_keeps_its_connection_and_gets_new_ones() {
    let site = site_with(Kind::Memory, few(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let mut kept = Kept::open(site.addr).await;
    assert_eq!(kept.get("/v1/station", Some(&word(1))).await.unwrap().status, 200);
    let addr = site.addr;
    let flood = tokio::spawn(async move {
        let mut idle = Vec::new();
        loop {
            idle.push(TcpStream::connect(addr).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // There are more than one address may have by then.
    tokio::time::sleep(Duration::from_millis(150)).await;
    for n in 1..=20 {
        assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(n)]))).await).applied, 1);
        assert!(is_alive(&site).await);
    }
    assert_eq!(kept.get("/v1/station", Some(&word(1))).await.expect("still open").status, 200);
    flood.abort();
}

#[tokio::test]
async fn a_station_with_many_connections_closes_its_own_alone() {
    many_of_one_station(Over::Plain).await;
}

#[tokio::test]
async fn a_station_with_many_connections_closes_its_own_alone_over_tls() {
    many_of_one_station(Over::Tls).await;
}

async fn many_of_one_station(over: Over) {
    let site = over.site(Kind::Memory, few()).await;
    site.join(1).await;
    site.join(2).await;
    let (mut other, mut unknown) = (Kept::open(site.addr).await, Kept::open(site.addr).await);
    assert_eq!(other.get("/v1/station", Some(&word(1))).await.unwrap().status, 200);
    assert_eq!(unknown.get("/healthz", None).await.unwrap().status, 200);
    let mut many = Vec::new();
    for _ in 0..6 {
        let mut kept = Kept::open(site.addr).await;
        assert_eq!(kept.get("/v1/station", Some(&word(2))).await.unwrap().status, 200);
        many.push(kept);
    }
    let mut closed = Vec::new();
    for kept in &mut many {
        closed.push(kept.is_closed().await);
    }
    assert_eq!(closed, [true, true, true, false, false, false]);
    assert!(!other.is_closed().await && !unknown.is_closed().await);
}

#[tokio::test]
async fn a_station_whose_requests_all_run_is_told_to_wait() {
    let http = HttpLimits { station_connections_max: 1, ..few() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    site.join(1).await;
    site.join(2).await;
    let running = Kept::begin(site.addr, "/v1/push", Some(&word(1))).await;
    let mut refused = stands(&site, 1).await;
    for _ in 0..100 {
        if refused.status == 429 {
            break;
        }
        refused = stands(&site, 1).await;
    }
    assert_eq!((refused.status, refused.code().as_str()), (429, "too-many-requests"));
    assert_eq!(refused.header("Retry-After"), "5");
    assert_eq!(stands(&site, 2).await.status, 200, "another is not");
    drop(running);
    for _ in 0..100 {
        if stands(&site, 1).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("its place is not given back");
}

#[tokio::test]
async fn who_asks_and_never_reads_is_cut_off() {
    asks_and_never_reads(Over::Plain).await;
}

#[tokio::test]
async fn who_asks_and_never_reads_is_cut_off_over_tls() {
    asks_and_never_reads(Over::Tls).await;
}

async fn asks_and_never_reads(over: Over) {
    let http = HttpLimits { write_timeout: Duration::from_millis(300), ..few() };
    let site = over.site(Kind::Memory, http).await;
    let mut stream = connect(site.addr).await;
    let many = "GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n".repeat(1000);
    let asking = async {
        // Until the server says that it has enough: nothing that it answers is read.
        while stream.write_all(many.as_bytes()).await.is_ok() {}
    };
    // First all buffers of the way fill, which takes tens of thousands of answers.
    tokio::time::timeout(LONG * 4, asking).await.expect("cut off");
    assert!(is_alive(&site).await);
}

#[tokio::test]
async fn a_body_that_anyone_may_send_comes_in_time_and_that_of_a_station_has_its_own() {
    bodies_in_time(Over::Plain).await;
}

#[tokio::test]
async fn a_body_that_anyone_may_send_comes_in_time_and_that_of_a_station_has_its_own_over_tls() {
    bodies_in_time(Over::Tls).await;
}

async fn bodies_in_time(over: Over) {
    let http = HttpLimits { anyone_timeout: Duration::from_millis(300), ..few() };
    let site = over.site(Kind::Memory, http).await;
    let mut station = site.join(1).await;
    let Kept(joining) = Kept::begin(site.addr, "/v1/join", None).await;
    let (mut reading, mut writing) = tokio::io::split(joining);
    let trickle = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    tokio::time::timeout(LONG, reading.read_to_end(&mut answer)).await.expect("cut off").unwrap();
    assert_eq!(answer_of(&answer).code(), "timeout");
    trickle.abort();
    let bytes = frame(&station.cut(&[station.site(1)]));
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        word(1),
        bytes.len()
    );
    let mut stream = connect(site.addr).await;
    stream.write_all(&[head.as_bytes(), &bytes[..9]].concat()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    stream.write_all(&bytes[9..]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(reply(&answer_of(&answer)).applied, 1);
}

#[tokio::test]
async fn bodies_that_trickle_do_not_keep_out_who_has_the_same_address() {
    trickling_bodies(Over::Plain).await;
}

#[tokio::test]
async fn bodies_that_trickle_do_not_keep_out_who_has_the_same_address_over_tls() {
    trickling_bodies(Over::Tls).await;
}

async fn trickling_bodies(over: Over) {
    let site = over.site(Kind::Memory, few()).await;
    let mut station = site.join(1).await;
    let mut trickling = Vec::new();
    for _ in 0..8 {
        trickling.push(Kept::begin(site.addr, "/v1/join", None).await);
    }
    // A request has a second for itself.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(is_alive(&site).await);
    assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(1)]))).await).applied, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_answered_and_its_batch_goes_on() {
    let http = HttpLimits { request_timeout: Duration::from_millis(400), ..HttpLimits::default() };
    let site = site_with(Kind::PlainPostgres, http, FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let held = Held::cursor(&site, &station).await;
    let refused = site.push(1, &frame(&station.cut(&[station.site(1)]))).await;
    assert_eq!((refused.code().as_str(), refused.json()["reason"].as_str()), ("unavailable", Some("server-busy")));
    held.release().await;
    for _ in 0..200 {
        if site.store.upstream.cursor(station.number).await.unwrap().unwrap().seq == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the batch was cut off with its request");
}
