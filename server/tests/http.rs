//! The endpoint, and everything wrong that a client can send it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::common::client::{Answer, raw, request};
use crate::common::station::{Station, day, frame};
use crate::common::stores::{Kind, Store};
use crate::common::{NOON_MS, TestClock, field};
use tidemark_core::digest::RowDigest;
use tidemark_core::frame::HEADER_BYTES;
use tidemark_core::identity::{Identity, Key};
use tidemark_core::limits::{ASKED_REJECTS_MAX, DIGEST_REQUEST_BYTES_MAX, FrameLimits, REJECTS_REQUEST_BYTES_MAX};
use tidemark_core::protocol::{JoinReply, JoinRequest, PushReply, StationReply};
use tidemark_core::schema::{Schema, shrinkage};
use tidemark_core::survey::{Answer as Answered, Ask, DigestReply, DigestRequest, Question, Range};
use tidemark_core::value::{Value, format_uuid, hex};
use tidemark_server::config::{DatabaseUrl, HttpLimits};
use tidemark_server::ledger::rejects::RejectState;
use tidemark_server::stations::{NewStation, secret_hash};
use tidemark_server::{RunningServer, Server, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

struct Site {
    store: Store,
    server: RunningServer,
    addr: SocketAddr,
}

async fn site_with(kind: Kind, http: HttpLimits, limits: FrameLimits) -> Site {
    let store = Store::open(kind, &[field()]).await;
    let mut config = ServerConfig::new(DatabaseUrl::Sqlite("unused.db".into()));
    config.schema = Arc::clone(&store.schema);
    config.http = http;
    config.limits = limits;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock: Arc<dyn tidemark_server::clock::Clock> = Arc::<TestClock>::clone(&store.clock);
    let server = Server::serve(listener, Arc::clone(&store.upstream), &config, clock).unwrap();
    let addr = server.addr();
    Site { store, server, addr }
}

async fn site() -> Site {
    site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await
}

/// A secret or token of 32 bytes.
fn word(n: u8) -> String {
    hex(&[n; 32])
}

impl Site {
    async fn invite(&self, name: &str, code: u8) {
        let station = NewStation {
            name: name.to_owned(),
            code_hash: secret_hash(&[code; 32]),
            code_expires_at_ms: NOON_MS + 60_000,
            now_ms: NOON_MS,
        };
        assert!(self.store.upstream.add_station(&station).await.unwrap());
    }

    fn ask(&self, code: u8, uuid: u8, token: u8) -> JoinRequest {
        JoinRequest {
            secret: word(code),
            station_uuid: format_uuid([uuid; 16]),
            token: word(token),
            fingerprint: self.store.schema.fingerprint().to_hex(),
            station: None,
            former_uuid: None,
        }
    }

    async fn post_join(&self, ask: &JoinRequest) -> Answer {
        request(self.addr, "POST", "/v1/join", None, &serde_json::to_vec(ask).unwrap()).await
    }

    /// A station that joined over HTTP; code, uuid and token are all `n`.
    async fn join(&self, n: u8) -> Station {
        self.invite(&format!("station {n}"), n).await;
        let answer = self.post_join(&self.ask(n, n, n)).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let reply: JoinReply = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((reply.name.as_str(), reply.limits), (format!("station {n}").as_str(), FrameLimits::DEFAULT));
        Station::new(&self.store.schema, reply.station.get(), [n; 16])
    }

    async fn post_digest(&self, token: u8, body: &[u8]) -> Answer {
        request(self.addr, "POST", "/v1/digest", Some(&word(token)), body).await
    }

    async fn push(&self, token: u8, frame: &[u8]) -> Answer {
        request(self.addr, "POST", "/v1/push", Some(&word(token)), frame).await
    }
}

fn reply(answer: &Answer) -> PushReply {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_station_joins_pushes_and_asks_where_it_stands() {
    let site = site().await;
    assert_eq!(request(site.addr, "GET", "/healthz", None, b"").await.status, 200);
    assert_eq!(request(site.addr, "GET", "/readyz", None, b"").await.status, 200);
    let mut station = site.join(1).await;
    let batch = station.cut(&[station.site(1), station.reading(1, day(1), &[("site_id", station.id(2))])]);
    let first = reply(&site.push(1, &frame(&batch)).await);
    assert_eq!((first.tidemark, first.applied, first.duplicate, first.chain), (2, 1, 0, batch.chain_after));
    assert_eq!((first.rejected[0].seq, first.rejected[0].code.as_str()), (2, "reference"));
    let again = reply(&site.push(1, &frame(&batch)).await);
    assert_eq!((again.applied, again.duplicate, again.rejected), (0, 2, first.rejected));
    let asked = request(site.addr, "GET", "/v1/station", Some(&word(1)), b"").await;
    let asked: StationReply = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!((asked.tidemark, asked.chain, asked.server_time_ms), (2, batch.chain_after, NOON_MS));
    let schema = request(site.addr, "GET", "/v1/schema", Some(&word(1)), b"").await;
    assert_eq!(String::from_utf8(schema.body).unwrap(), site.store.schema.source());
    // Several requests on one connection.
    let head = "GET /v1/station HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer ";
    let two = format!("{head}{0}\r\n\r\n{head}{0}\r\nConnection: close\r\n\r\n", word(1));
    let both = raw(site.addr, two.as_bytes()).await;
    assert_eq!(String::from_utf8_lossy(&both.body).matches("HTTP/1.1 200").count(), 1, "and the first before it");
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let site = site().await;
    let mut station = site.join(1).await;
    let bytes = frame(&station.cut(&[station.site(1)]));
    for path in ["/v1/push", "/v1/digest", "/v1/station", "/v1/schema"] {
        let method = if matches!(path, "/v1/push" | "/v1/digest") { "POST" } else { "GET" };
        for token in [None, Some("x".to_owned()), Some(word(1)[..63].to_owned()), Some(word(9)), Some("é".repeat(32))]
        {
            let answer = request(site.addr, method, path, token.as_deref(), &bytes).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path} {token:?}");
        }
    }
    let basic =
        format!("GET /v1/station HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Basic {}\r\n\r\n", word(1));
    assert_eq!(raw(site.addr, basic.as_bytes()).await.status, 401);
    assert_eq!(site.store.upstream.cursor(station.number).await.unwrap().unwrap().seq, 0);
    assert!(site.store.upstream.revoke_station("station 1", NOON_MS).await.unwrap());
    let answer = site.push(1, &bytes).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "revoked"));
}

#[tokio::test]
async fn another_stations_frame_is_refused() {
    let site = site().await;
    let (mut one, two) = (site.join(1).await, site.join(2).await);
    let bytes = frame(&one.cut(&[one.site(1)]));
    let answer = site.push(2, &bytes).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "wrong-station"));
    for station in [&one, &two] {
        assert_eq!(site.store.upstream.cursor(station.number).await.unwrap().unwrap().seq, 0);
    }
}

/// A frame with another header, its check made right again.
fn resealed(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&frame[..136]).update(&frame[HEADER_BYTES..]);
    let check = hasher.finalize();
    frame[136..HEADER_BYTES].copy_from_slice(&check.as_bytes()[..16]);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_changes_nothing() {
    let site = site().await;
    let mut station = site.join(1).await;
    let good = frame(&station.cut(&[station.site(1), station.reading(1, day(1), &[])]));
    for length in 0..good.len() {
        let answer = site.push(1, &good[..length]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-frame"), "cut to {length} bytes");
    }
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        let answer = site.push(1, &flipped).await;
        // A length over a limit is told as such; every other damage is a bad frame.
        let fits = matches!((answer.status, answer.code().as_str()), (400, "bad-frame") | (413, "too-large"));
        assert!(fits, "bit flipped in byte {at}: {}", String::from_utf8_lossy(&answer.body));
    }
    let cases: [(&str, Vec<u8>, u16, &str); 9] = [
        ("trailing", [&good[..], b"x"].concat(), 400, "bad-frame"),
        ("magic", resealed(&good, 0, b"TDMQ"), 400, "bad-frame"),
        ("future version", resealed(&good, 4, &2_u16.to_le_bytes()), 400, "bad-frame"),
        ("unknown compression", resealed(&good, 6, &[9]), 400, "bad-frame"),
        ("claims gigabytes", resealed(&good, 12, &u32::MAX.to_le_bytes()), 413, "too-large"),
        ("claims the limit", resealed(&good, 12, &FrameLimits::DEFAULT.body_bytes_max.to_le_bytes()), 400, "bad-frame"),
        ("counts too many", resealed(&good, 52, &u32::MAX.to_le_bytes()), 413, "too-large"),
        ("count that lies", resealed(&good, 52, &3_u32.to_le_bytes()), 400, "bad-frame"),
        ("chain that lies", resealed(&good, 104, &[7; 32]), 400, "bad-frame"),
    ];
    for (what, bytes, status, code) in cases {
        let answer = site.push(1, &bytes).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {}", answer.json());
        assert_eq!(answer.json()["limits"].is_object(), status == 413, "{what}");
    }
    let stranger = resealed(&good, 16, &shrinkage().fingerprint().0);
    let answer = site.push(1, &stranger).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "unknown-schema"));
    assert_eq!(site.store.upstream.cursor(station.number).await.unwrap().unwrap().seq, 0);
    assert_eq!(reply(&site.push(1, &good).await).applied, 2);
}

#[tokio::test]
async fn a_gap_and_a_fork_say_where_the_server_stands() {
    let site = site().await;
    let mut station = site.join(1).await;
    let begin = station.clone();
    reply(&site.push(1, &frame(&station.cut(&[station.site(1)]))).await);
    let mut ahead = station.clone();
    ahead.cut(&[ahead.site(2)]);
    for (batch, code) in [(ahead.peek(&[ahead.site(3)]), "gap"), (begin.peek(&[begin.site(9)]), "forked")] {
        let answer = site.push(1, &frame(&batch)).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, code));
        assert_eq!(answer.json()["tidemark"], 1);
        assert_eq!(answer.json()["chain"], station.chain.to_hex());
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused_before_it_is_read() {
    let limits = FrameLimits { frame_bytes_max: 2000, rows_max: 3, ..FrameLimits::DEFAULT };
    let site = site_with(Kind::Memory, HttpLimits::default(), limits).await;
    site.invite("a", 1).await;
    assert_eq!(site.post_join(&site.ask(1, 1, 1)).await.status, 200);
    let head =
        format!("POST /v1/push HTTP/1.1\r\nHost: t\r\nConnection: close\r\nAuthorization: Bearer {}\r\n", word(1));
    // Nothing follows the head, and the answer comes.
    let huge = format!("{head}Content-Length: 99999999999\r\n\r\n");
    let answer = tokio::time::timeout(Duration::from_secs(20), raw(site.addr, huge.as_bytes())).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "too-large"));
    assert_eq!(answer.json()["limits"]["frame_bytes_max"], 2000);
    // A length that is not told: counted as it comes.
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..3 {
        chunked.extend_from_slice(b"3e8\r\n");
        chunked.extend_from_slice(&[0; 1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(raw(site.addr, &chunked).await.code(), "too-large");
    let mut station = Station::new(&site.store.schema, 1, [1; 16]);
    let four = frame(&station.cut(&[station.site(1), station.site(2), station.site(3), station.site(4)]));
    assert_eq!(site.push(1, &four).await.code(), "too-large");
    assert_eq!(request(site.addr, "POST", "/v1/join", None, &[b' '; 5000]).await.code(), "too-large");
}

#[tokio::test]
async fn joining_refuses_with_a_reason_each() {
    let site = site().await;
    site.invite("a", 1).await;
    site.invite("b", 2).await;
    let code = async |ask: JoinRequest| {
        let answer = site.post_join(&ask).await;
        (answer.status, answer.code())
    };
    assert_eq!(code(site.ask(9, 1, 1)).await, (403, "join-code-unknown".into()));
    let other = JoinRequest { fingerprint: shrinkage().fingerprint().to_hex(), ..site.ask(1, 1, 1) };
    assert_eq!(code(other).await, (409, "unknown-schema".into()));
    for _ in 0..2 {
        let answer = site.post_join(&site.ask(1, 1, 1)).await;
        assert_eq!((answer.status, &answer.json()["station"]), (200, &1.into()), "asking again is answered again");
    }
    assert_eq!(code(site.ask(1, 5, 1)).await, (403, "join-code-used".into()));
    assert_eq!(code(site.ask(1, 1, 5)).await, (403, "join-code-used".into()));
    site.store.clock.forward_ms(60_000);
    assert_eq!(code(site.ask(2, 2, 2)).await, (403, "join-code-expired".into()));
    for body in [
        "".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        format!(r#"{{"secret":"{}"}}"#, word(7)),
        serde_json::to_string(&JoinRequest { secret: "77".into(), ..site.ask(1, 1, 1) }).unwrap(),
        serde_json::to_string(&JoinRequest { token: word(7).to_uppercase() + "7", ..site.ask(1, 1, 1) }).unwrap(),
        serde_json::to_string(&JoinRequest { station_uuid: word(7), ..site.ask(1, 1, 1) }).unwrap(),
        serde_json::to_string(&JoinRequest { fingerprint: "x".into(), ..site.ask(1, 1, 1) }).unwrap(),
        "[".repeat(4000),
    ] {
        let answer = request(site.addr, "POST", "/v1/join", None, body.as_bytes()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{body}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("0707"), "secrets are not repeated");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told() {
    let site = site().await;
    assert_eq!(request(site.addr, "GET", "/", None, b"").await.code(), "not-found");
    assert_eq!(request(site.addr, "GET", "/v1/push", None, b"").await.code(), "method-not-allowed");
    assert_eq!(request(site.addr, "DELETE", "/healthz", None, b"").await.code(), "method-not-allowed");
    for nonsense in
        [&b"\0\x01\x02\r\n\r\n"[..], b"GET / HTTP/9.9\r\n\r\n", b"GET /healthz HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
    {
        assert_eq!(raw(site.addr, nonsense).await.status, 400);
    }
    let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(raw(site.addr, long.as_bytes()).await.status, 431);
}

#[tokio::test]
async fn slow_clients_do_not_hold_the_server() {
    let http = HttpLimits {
        head_timeout: Duration::from_millis(200),
        body_idle_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(600),
        ..HttpLimits::default()
    };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    site.join(1).await;
    // A head that never ends: the connection is closed.
    let mut stream = tokio::net::TcpStream::connect(site.addr).await.unwrap();
    stream.write_all(b"POST /v1/push HTTP/1.1\r\nHost:").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("closed").unwrap();
    // A body that stands still, and one that trickles.
    for pause_ms in [10_000, 100] {
        let mut stream = tokio::net::TcpStream::connect(site.addr).await.unwrap();
        let head = format!(
            "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\n",
            word(1)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let trickle = tokio::spawn(async move {
            while writing.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
        });
        let mut answer = [0; 12];
        tokio::time::timeout(Duration::from_secs(10), reading.read_exact(&mut answer))
            .await
            .expect("answered")
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
        trickle.abort();
    }
}

#[tokio::test]
async fn bodies_in_memory_are_bounded() {
    let http = HttpLimits { body_bytes_total: 64 << 10, ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: 60000\r\n\r\n",
        word(1)
    );
    let mut held = tokio::net::TcpStream::connect(site.addr).await.unwrap();
    held.write_all(head.as_bytes()).await.unwrap();
    held.write_all(&[0; 1000]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let full = site.push(1, &[0; 20_000]).await;
    assert_eq!((full.status, full.code().as_str()), (503, "unavailable"));
    assert!(full.head.to_ascii_lowercase().contains("retry-after: "), "{}", full.head);
    drop(held);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(1)]))).await).applied, 1);
}

/// Sends the head of a request and goes on sending its body until the server has closed; returns the answer, and how many bytes of the body went.
async fn send_on(addr: SocketAddr, head: &str, length: usize) -> (Answer, usize) {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while sent < length {
            match writing.write(&[7; 16 << 10]).await {
                Ok(bytes) => sent += bytes,
                Err(_) => break,
            }
        }
        sent
    });
    let mut bytes = Vec::new();
    let _ = reading.read_to_end(&mut bytes).await;
    let answer = crate::common::client::answer_of(&bytes);
    (answer, sending.await.unwrap())
}

#[tokio::test]
async fn who_is_refused_is_answered_before_the_body_is_read() {
    let http = HttpLimits { body_bytes_total: 4 << 10, ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    site.join(1).await;
    let length = FrameLimits::DEFAULT.frame_bytes_max as usize;
    for (token, status, code) in [(word(1), 503, "unavailable"), (word(9), 401, "unauthorized")] {
        let head = format!(
            "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n"
        );
        let (answer, sent) = send_on(site.addr, &head, length).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.header("Connection"), "close");
        assert!(sent < length / 2, "{sent} bytes were taken of a body that nobody wants");
    }
    // What was read whole, or has no body, leaves the connection open.
    let head = format!("GET /v1/station HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\n\r\n", word(9));
    let twice =
        raw(site.addr, format!("{head}{}", head.replace("Host: t", "Host: t\r\nConnection: close")).as_bytes()).await;
    assert_eq!(String::from_utf8_lossy(&twice.body).matches("HTTP/1.1 401").count(), 1, "and the first before it");
}

#[tokio::test]
async fn the_more_are_refused_the_later_they_are_to_come_back() {
    let http = HttpLimits { body_bytes_total: 1 << 10, ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    site.join(1).await;
    let mut told = Vec::new();
    for _ in 0..61 {
        let answer = site.push(1, &[0; 4 << 10]).await;
        assert_eq!(answer.status, 503);
        told.push(answer.header("Retry-After").parse::<u32>().unwrap());
    }
    assert_eq!((told[0], told[19], told[20], told[60]), (2, 2, 3, 5), "{told:?}");
    // Whoever watches the server is none of them, and the load passes.
    site.store.clock.forward_ms(60_000);
    assert_eq!(site.push(1, &[0; 4 << 10]).await.header("Retry-After"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_batches_wait_in_vain_none_is_read_and_none_is_asked_for() {
    let http = HttpLimits { applies_max: 1, turn_timeout: Duration::from_millis(300), ..HttpLimits::default() };
    let site = site_with(Kind::PlainPostgres, http, FrameLimits::DEFAULT).await;
    let (mut first, mut second) = (site.join(1).await, site.join(2).await);
    let stands = async || request(site.addr, "GET", "/v1/station", Some(&word(2)), b"").await;
    let held = Held::cursor(&site, &first).await;
    let (addr, bytes) = (site.addr, frame(&first.cut(&[first.site(1)])));
    let pushing = tokio::spawn(async move { request(addr, "POST", "/v1/push", Some(&word(1)), &bytes).await });
    held.is_wanted().await;
    let bytes = frame(&second.cut(&[second.site(1)]));
    assert_eq!(stands().await.status, 200, "nobody has waited in vain yet");
    assert_eq!(site.push(2, &bytes).await.code(), "unavailable");
    // Now the server knows, and says so to heads alone.
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        word(2),
        bytes.len()
    );
    let refused = raw(site.addr, head.as_bytes()).await;
    assert_eq!((refused.code().as_str(), refused.header("Connection").as_str()), ("unavailable", "close"));
    assert_eq!(stands().await.code(), "unavailable", "a station that asks before it sends is told, too");
    held.release().await;
    assert_eq!(reply(&pushing.await.unwrap()).applied, 1);
    assert_eq!(stands().await.status, 200);
    assert_eq!(reply(&site.push(2, &bytes).await).applied, 1);
}

/// Another session that holds a station's cursor: whoever pushes for it waits until this is dropped.
struct Held(tokio_postgres::Client);

impl Held {
    async fn cursor(site: &Site, station: &Station) -> Self {
        let client = crate::common::cluster::connect(site.store.url.as_deref().unwrap()).await;
        let sql = format!("BEGIN; SELECT FROM tidemark.cursor WHERE station = {} FOR UPDATE", station.number);
        client.batch_execute(&sql).await.unwrap();
        Self(client)
    }

    /// Waits until somebody waits for the cursor.
    async fn is_wanted(&self) {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
        for _ in 0..200 {
            if self.0.query_one(sql, &[]).await.unwrap().get(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody asks for the cursor");
    }

    async fn release(self) {
        self.0.batch_execute("COMMIT").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_does_not_cut_its_batch() {
    let site = site_with(Kind::PlainPostgres, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let held = Held::cursor(&site, &station).await;
    let rows = [station.site(1), station.reading(1, day(1), &[])];
    let bytes = frame(&station.cut(&rows));
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        word(1),
        bytes.len()
    );
    let mut stream = tokio::net::TcpStream::connect(site.addr).await.unwrap();
    stream.write_all(&[head.as_bytes(), &bytes].concat()).await.unwrap();
    held.is_wanted().await;
    drop(stream);
    // Time enough for the server to notice.
    tokio::time::sleep(Duration::from_millis(300)).await;
    held.release().await;
    for _ in 0..200 {
        if site.store.upstream.cursor(station.number).await.unwrap().unwrap().seq == 2 {
            return site.store.has(&station, "reading", &[rows[1].values.clone()]).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the batch was cut off with its client");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_runs() {
    let site = site_with(Kind::PlainPostgres, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let held = Held::cursor(&site, &station).await;
    let bytes = frame(&station.cut(&[station.site(1)]));
    let (addr, upstream) = (site.addr, Arc::clone(&site.store.upstream));
    let mut idle = tokio::net::TcpStream::connect(addr).await.unwrap();
    let pushing = tokio::spawn(async move { request(addr, "POST", "/v1/push", Some(&word(1)), &bytes).await });
    held.is_wanted().await;
    let stopping = tokio::spawn(site.server.shutdown());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody new is let in");
    assert!(!stopping.is_finished());
    held.release().await;
    assert_eq!(reply(&pushing.await.unwrap()).tidemark, 1);
    tokio::time::timeout(Duration::from_secs(20), stopping)
        .await
        .expect("an idle connection does not hold it")
        .unwrap();
    assert_eq!(upstream.cursor(station.number).await.unwrap().unwrap().seq, 1);
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_unavailable_and_comes_back() {
    let site = site_with(Kind::PlainPostgres, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let url = site.store.url.clone().unwrap();
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let admin = crate::common::cluster::connect(&crate::common::cluster::Cluster::plain().url_of("postgres")).await;
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    admin.query(&end, &[]).await.unwrap();
    let bytes = frame(&station.cut(&[station.site(1)]));
    assert_eq!(request(site.addr, "GET", "/healthz", None, b"").await.status, 200);
    let mut refused = 0;
    for _ in 0..3 {
        let answer = site.push(1, &bytes).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
        refused += usize::from(answer.head.to_ascii_lowercase().contains("retry-after"));
    }
    assert_eq!(refused, 3);
    assert_eq!(request(site.addr, "GET", "/readyz", None, b"").await.status, 503);
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    assert_eq!(request(site.addr, "GET", "/readyz", None, b"").await.status, 200);
    assert_eq!(reply(&site.push(1, &bytes).await).applied, 1);
    // A database that changed under the server is not ready.
    crate::common::cluster::connect(&url).await.batch_execute("ALTER TABLE field.site DROP COLUMN name").await.unwrap();
    assert_eq!(request(site.addr, "GET", "/readyz", None, b"").await.status, 503);
}

#[tokio::test]
async fn a_server_starts_on_a_new_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upstream.db");
    let mut config = ServerConfig::new(DatabaseUrl::Sqlite(path.clone()));
    config.schema = Arc::new(Schema::parse(crate::common::FIELD_TOML).unwrap());
    let server = Server::start(config.clone()).await.unwrap();
    assert_eq!(request(server.addr(), "GET", "/readyz", None, b"").await.status, 200);
    config.listen = server.addr().to_string();
    let taken = Server::start(config).await.unwrap_err();
    assert!(format!("{taken:#}").contains("cannot listen on"), "{taken:#}");
    server.shutdown().await;
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is no database, only text that is long enough to have a header").unwrap();
    let error = Server::start(ServerConfig::new(DatabaseUrl::Sqlite(text))).await.unwrap_err();
    assert!(format!("{error:#}").contains("text.db") && format!("{error:#}").contains("not a database"), "{error:#}");
    let error =
        Server::start(ServerConfig::new(DatabaseUrl::Sqlite(folder.path().join("none/x.db")))).await.unwrap_err();
    assert!(format!("{error:#}").contains("none/x.db"), "{error:#}");
}

#[tokio::test]
async fn a_station_asks_for_digests_of_its_own_rows() {
    let site = site().await;
    let (mut one, two) = (site.join(1).await, site.join(2).await);
    let (early, late) = (one.reading(1, day(1), &[]), one.reading(2, day(20), &[]));
    reply(&site.push(1, &frame(&one.cut(&[early.clone(), late.clone()]))).await);
    let february = Identity { time_us: day(18), key: Key::Integer(i64::MIN) };
    let months = vec![Range { from: None, to: Some(february) }, Range { from: Some(february), to: None }];
    let ask = |table: &str, question| Ask { table: table.to_owned(), question };
    let digest_request = |asks| DigestRequest { fingerprint: site.store.schema.fingerprint().to_hex(), asks };
    let digests =
        digest_request(vec![ask("reading", Question::Digests(months)), ask("site", Question::Rows(vec![Range::ALL]))]);
    let post = async |token, body: &[u8]| site.post_digest(token, body).await;
    let answer = post(1, &serde_json::to_vec(&digests).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answered: DigestReply = serde_json::from_slice(&answer.body).unwrap();
    let of = |row: &[Value]| one.digest("reading", &[row.to_vec()]);
    let months = Answered::Digests(vec![of(&early.values), of(&late.values)]);
    assert_eq!(answered.answers, [months, Answered::Rows { rows: Vec::new(), more: false }]);
    assert_eq!((answered.tidemark, answered.chain), (2, one.chain));
    // Another station's token sees another station's rows: none.
    let answer = post(2, &serde_json::to_vec(&digests).unwrap()).await;
    let answered: DigestReply = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answered.answers[0], Answered::Digests(vec![RowDigest::default(); 2]));
    assert_eq!((answered.tidemark, answered.chain), (0, two.chain));
    // What makes no sense is refused with its place.
    let good = serde_json::to_string(&digests).unwrap();
    for (body, code, says) in [
        ("{}".to_owned(), "bad-request", "missing field"),
        (good.replace("\"site\"", "\"users\""), "bad-request", "ask 1: \\\"users\\\" is no table"),
        (good.replace("\"to\"", "\"until\""), "bad-request", "unknown field"),
        (good.replace("\"to\"", "\"from\""), "bad-request", "range"),
        (good.replace("-9223372036854775808", "\"x\""), "bad-request", "not a uuid"),
        (good[..good.len() / 2].to_owned(), "bad-request", "EOF"),
        (good.replace(&digests.fingerprint, "00"), "bad-request", "64 hex digits"),
        (good.replace(&digests.fingerprint, &word(9)), "unknown-schema", "does not know schema"),
        (" ".repeat(DIGEST_REQUEST_BYTES_MAX + 1), "too-large", "bytes"),
        ("[".repeat(100_000), "bad-request", "not well formed"),
    ] {
        let answer = post(1, body.as_bytes()).await;
        assert_eq!(answer.code(), code, "{body:.200}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains(says) && text.len() < 2000, "{text}");
    }
    let get = crate::common::client::request(site.addr, "GET", "/v1/digest", None, b"").await;
    assert_eq!(get.code(), "method-not-allowed");
    assert!(site.store.upstream.revoke_station("station 1", NOON_MS).await.unwrap());
    assert_eq!(post(1, good.as_bytes()).await.code(), "revoked");
}

#[tokio::test]
async fn station_and_server_tell_each_other_what_became_of_rejects() {
    let site = site().await;
    let (mut one, two) = (site.join(1).await, site.join(2).await);
    // Two without their parent, and two that the station could not send.
    let orphan = |n| one.reading(n, day(1), &[("site_id", one.id(9))]);
    let changes =
        [orphan(1), orphan(2), one.void(Some("reading"), "type", "why"), one.void(Some("site"), "utf8", "why")];
    assert_eq!(reply(&site.push(1, &frame(&one.cut(&changes))).await).rejected.len(), 2);
    site.store.upstream.close(one.number, &[2], RejectState::Discarded, NOON_MS).await.unwrap();
    let post = async |token, body: String| {
        let answer = request(site.addr, "POST", "/v1/rejects", Some(&word(token)), body.as_bytes()).await;
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let told = r#"{"settled":[{"seq":2,"fate":"discarded"}]}"#.to_owned();
    assert_eq!(post(1, r#"{"open":[1,2,3,77,18446744073709551615]}"#.to_owned()).await, (200, told));

    // What the server has the image of is its own to settle, and nobody settles another station's.
    let all = r#"{"open":[],"settled":[{"seq":1,"fate":"superseded"},{"seq":3,"fate":"superseded"},{"seq":4,"fate":"discarded"}]}"#;
    assert_eq!(two.number.get(), 2);
    for (token, states) in
        [(2, ["open", "discarded", "open", "open"]), (1, ["open", "discarded", "superseded", "discarded"])]
    {
        assert_eq!(post(token, all.to_owned()).await, (200, r#"{"settled":[]}"#.to_owned()));
        let mut rejects = site.store.rejects(one.number).await;
        rejects.sort_by_key(|reject| reject.seq);
        assert_eq!(rejects.iter().map(|reject| reject.state.as_str()).collect::<Vec<_>>(), states);
    }

    let many = format!("{:?}", vec![1; ASKED_REJECTS_MAX + 1]);
    let settled = format!("{{\"open\":[],\"settled\":{}}}", many.replace('1', r#"{"seq":1,"fate":"discarded"}"#));
    for (body, status, says) in [
        ("{}".to_owned(), 400, "missing field"),
        (r#"{"open":[-1]}"#.to_owned(), 400, "invalid value"),
        (r#"{"open":[],"settled":[{"seq":1,"fate":"open"}]}"#.to_owned(), 400, "unknown variant"),
        (format!(r#"{{"open":{many}}}"#), 400, "at most 1000"),
        (settled, 400, "at most 1000"),
        (" ".repeat(REJECTS_REQUEST_BYTES_MAX + 1), 413, "bytes"),
    ] {
        let (is, text) = post(1, body).await;
        assert!(is == status && text.contains(says), "{is} {text}");
    }
    assert_eq!(request(site.addr, "GET", "/v1/rejects", None, b"").await.code(), "method-not-allowed");
    assert_eq!(request(site.addr, "POST", "/v1/rejects", None, b"{}").await.code(), "unauthorized");
}

#[tokio::test]
async fn surveys_wait_for_their_turn() {
    let http = HttpLimits { surveys_max: 0, turn_timeout: Duration::from_millis(50), ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    site.join(1).await;
    let answer = site.post_digest(1, b"{}").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
}

#[tokio::test]
async fn a_panic_in_a_request_is_answered_as_a_fault_and_leaves_the_server_as_it_was() {
    let site = site().await;
    let mut station = site.join(1).await;
    let first = frame(&station.cut(&[station.site(1)]));
    // Wherever the clock is looked at: in the request itself, in a task of it, and in a thread of that.
    site.store.clock.set_broken(true);
    for _ in 0..3 {
        for answer in [
            request(site.addr, "GET", "/v1/station", Some(&word(1)), b"").await,
            site.push(1, &first).await,
            site.post_join(&site.ask(9, 9, 9)).await,
        ] {
            let problem: tidemark_core::protocol::Problem = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, problem.code), (500, tidemark_core::protocol::ProblemCode::Internal));
            assert!(!problem.detail.contains("clock"), "{problem:?}");
        }
    }
    site.store.clock.set_broken(false);
    assert_eq!(reply(&site.push(1, &first).await).tidemark, 1);
    assert_eq!(request(site.addr, "GET", "/readyz", None, b"").await.status, 200);
    site.server.shutdown().await;
}

#[test]
fn a_panic_in_a_request_is_logged_with_what_it_was_doing_and_for_whom_and_counted() {
    use std::io::Write;
    use std::sync::Mutex;

    use http_body_util::{BodyExt as _, Full};
    use tidemark_server::http::Endpoint;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::ERROR);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let panics = tracing::subscriber::with_default(subscriber.finish(), || {
        runtime.block_on(async {
            let store = Store::open(Kind::Memory, &[field()]).await;
            let station = store.join("north").await;
            assert_eq!(station.number.get(), 1);
            // Its token is not known to anybody, so the one whose hash is kept is looked for.
            let invited = NewStation {
                name: "south".to_owned(),
                code_hash: secret_hash(&[7; 32]),
                code_expires_at_ms: NOON_MS + 60_000,
                now_ms: NOON_MS,
            };
            assert!(store.upstream.add_station(&invited).await.unwrap());
            let token_hash = secret_hash(&[8; 32]);
            let ask = tidemark_server::stations::JoinAsk {
                code_hash: secret_hash(&[7; 32]),
                uuid: [8; 16],
                token_hash,
                now_ms: NOON_MS,
            };
            store.upstream.join(&ask).await.unwrap();
            let endpoint = Endpoint::new(Arc::clone(&store.ingest), HttpLimits::default());
            store.clock.set_broken(true);
            let asked = hyper::Request::get("/v1/station")
                .header("authorization", format!("Bearer {}", word(8)))
                .body(Full::default().map_err(|never: std::convert::Infallible| match never {}).boxed())
                .unwrap();
            assert_eq!(endpoint.answer(asked).await.status(), 500);
            endpoint.panics().count()
        })
    });
    assert_eq!(panics, 1);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the clock is broken") && log.contains("GET /v1/station"), "{log}");
    assert!(log.contains("station=2") && log.contains("panics=1"), "{log}");
}
