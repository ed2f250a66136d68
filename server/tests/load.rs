//! Load and slow clients: everything is bounded, refused early, and told when to come back.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::client::{Answer, raw, request};
use crate::common::site::{Held, reply, site_with, word};
use crate::common::station::{day, frame};
use crate::common::stores::Kind;
use tidemark_core::limits::FrameLimits;
use tidemark_core::survey::{Ask, DigestRequest, Question, Range};
use tidemark_server::config::HttpLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
    let http = HttpLimits { memory_bytes_max: 256 << 10, ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: 60000\r\n\r\n",
        word(1)
    );
    let mut held = tokio::net::TcpStream::connect(site.addr).await.unwrap();
    held.write_all(head.as_bytes()).await.unwrap();
    held.write_all(&[0; 40_000]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let full = site.push(1, &[0; 20_000]).await;
    assert_eq!((full.status, full.code().as_str()), (503, "unavailable"));
    assert!(full.head.to_ascii_lowercase().contains("retry-after: "), "{}", full.head);
    drop(held);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(1)]))).await).applied, 1);
}

/// Sends the head of a request and goes on sending its body until the server has closed; returns the answer, and how
/// many bytes of the body went.
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
    let http = HttpLimits { memory_bytes_max: 16 << 10, ..HttpLimits::default() };
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
    let http = HttpLimits { memory_bytes_max: 4 << 10, ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    let mut told = Vec::new();
    for station in 1..=61 {
        site.join(station).await;
        let answer = site.push(station, &[0; 4 << 10]).await;
        assert_eq!(answer.status, 503);
        told.push(answer.header("Retry-After").parse::<u32>().unwrap());
    }
    assert_eq!((told[0], told[19], told[20], told[60]), (2, 2, 3, 5), "{told:?}");
    // One place for each, however often it asks.
    for _ in 0..100 {
        assert_eq!(site.push(61, &[0; 4 << 10]).await.header("Retry-After"), "5");
    }
    site.join(62).await;
    assert_eq!(site.push(62, &[0; 4 << 10]).await.header("Retry-After"), "5");
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

#[tokio::test]
async fn surveys_wait_for_their_turn() {
    let http = HttpLimits { surveys_max: 0, turn_timeout: Duration::from_millis(50), ..HttpLimits::default() };
    let site = site_with(Kind::Memory, http, FrameLimits::DEFAULT).await;
    site.join(1).await;
    let asks = vec![Ask { table: "site".to_owned(), question: Question::Digests(vec![Range::ALL]) }];
    let question = DigestRequest { fingerprint: site.store.schema.fingerprint().to_hex(), asks };
    let answer = site.post_digest(1, &serde_json::to_vec(&question).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
}
