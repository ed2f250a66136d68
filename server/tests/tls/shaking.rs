//! Handshakes: who is let in, and those that never end.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use tidemark_core::joincode::{JoinCode, Pin};
use tidemark_server::config::HttpLimits;
use tidemark_testkit::certificates::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::client::{Answer, answer_of, request, request_with};
use crate::common::door::{client, locked, locked_with, shake};
use crate::common::program::server;
use crate::common::serving::Serving;
use crate::common::site::{Site, reply, word};
use crate::common::station::frame;
use crate::common::stores::Kind;
use crate::fleet::{OPERATOR, operator};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_station_joins_and_pushes_over_tls_and_the_url_says_so() {
    let locked = locked(Kind::Memory, HttpLimits::default(), None).await;
    let site = &locked.site;
    assert_eq!(site.server.url(), format!("https://{}", site.addr));
    let mut station = site.join(1).await;
    assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(1)]))).await).applied, 1);
    // Who speaks plain HTTP there is told so.
    let mut plain = TcpStream::connect(site.addr).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = tokio::time::timeout(LONG, plain.read_to_end(&mut said)).await.expect("closed");
    let told = answer_of(&said);
    assert_eq!((told.status, told.code().as_str()), (400, "bad-request"));
    assert!(told.json()["detail"].as_str().unwrap().contains("https://"), "{:?}", told.json());
    assert_eq!(request(site.addr, "GET", "/healthz", None, b"").await.status, 200);
}

#[tokio::test]
async fn an_operators_session_over_tls_has_a_cookie_for_tls_and_who_is_invited_gets_the_pin() {
    let pin = Some(Pin([7; 32]));
    let locked = locked_with(Kind::Sqlite, HttpLimits::default(), None, |config| config.pin = pin).await;
    operator(&locked.site, "anna", OPERATOR).await;
    let token = serde_json::json!({ "token": word(OPERATOR) }).to_string();
    let own = [("Tidemark-Admin", "1")];
    let begun = request_with(locked.site.addr, "POST", "/v1/admin/session", &own, token.as_bytes()).await;
    assert_eq!(begun.status, 204);
    assert!(begun.header("set-cookie").contains("; Secure"), "{}", begun.head);
    for (name, url, expected) in [("north", "https://hq.test", pin), ("south", "http://hq.test", None)] {
        let asked = serde_json::json!({ "name": name, "url": url }).to_string();
        let token = word(OPERATOR);
        let invited = request(locked.site.addr, "POST", "/v1/admin/stations", Some(&token), asked.as_bytes()).await;
        let code = invited.json()["code"].as_str().unwrap().to_owned();
        assert_eq!(JoinCode::decode(&code).unwrap().pin, expected, "{url}");
    }
}

/// Asks over a connection with this client's certificate; `None` when it is not let in.
async fn asked(
    addr: std::net::SocketAddr,
    authority: &Authority,
    identity: Option<&tidemark_testkit::certificates::Certificate>,
) -> Option<Answer> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let mut stream = shake(client(authority, identity, &[]), stream).await.ok()?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.ok()?;
    (!said.is_empty()).then(|| answer_of(&said))
}

#[tokio::test]
async fn a_clients_certificate_is_asked_for_where_the_operator_wants_it() {
    let other = Authority::new("somebody else's").unwrap();
    let theirs = other.client("north").unwrap();
    for (required, without_one) in [(true, false), (false, true)] {
        let locked = locked(Kind::Memory, HttpLimits::default(), Some(required)).await;
        let (addr, authority) = (locked.site.addr, &locked.authority);
        let ours = authority.client("north").unwrap();
        assert!(asked(addr, authority, Some(&ours)).await.is_some_and(|answer| answer.status == 200));
        assert_eq!(asked(addr, authority, None).await.is_some(), without_one, "required: {required}");
        assert!(asked(addr, authority, Some(&theirs)).await.is_none(), "required: {required}");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_cut_off_in_time() {
    let http = HttpLimits { head_timeout: Duration::from_millis(300), ..HttpLimits::default() };
    let locked = locked(Kind::Memory, http, None).await;
    // Nothing; and the beginning of a ClientHello that never goes on.
    for sent in [&b""[..], &[0x16, 3, 1, 2, 0, 1, 0]] {
        let mut stalled = TcpStream::connect(locked.site.addr).await.unwrap();
        stalled.write_all(sent).await.unwrap();
        let mut said = Vec::new();
        let _ = tokio::time::timeout(LONG, stalled.read_to_end(&mut said)).await.expect("cut off");
    }
}

/// How often handshakes failed, by cause.
fn failures(site: &Site) -> Vec<(String, f64)> {
    let text = site.server.metrics().text();
    let series = text.lines().filter_map(|line| line.strip_prefix("tidemark_tls_handshake_failures_total{cause=\""));
    let series = series.map(|line| line.split_once("\"} ").unwrap());
    series.map(|(cause, count)| (cause.to_owned(), count.parse().unwrap())).collect()
}

#[tokio::test]
async fn handshakes_that_fail_are_counted_by_cause() {
    let http = HttpLimits { head_timeout: Duration::from_millis(500), ..HttpLimits::default() };
    let locked = locked(Kind::Memory, http, Some(true)).await;
    let (addr, authority) = (locked.site.addr, &locked.authority);
    let before = failures(&locked.site);
    assert!(before.len() == 8 && before.iter().all(|(_, count)| *count == 0.0), "each is there: {before:?}");
    let (other, ours) = (Authority::new("somebody else's").unwrap(), authority.client("north").unwrap());
    assert!(asked(addr, authority, None).await.is_none());
    assert!(asked(addr, authority, Some(&other.client("north").unwrap())).await.is_none());
    // One who does not know the server, and one who speaks another protocol.
    assert!(asked(addr, &other, Some(&ours)).await.is_none());
    let stream = TcpStream::connect(addr).await.unwrap();
    assert!(shake(client(authority, Some(&ours), &["gopher"]), stream).await.is_err());
    for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x03nonsense", b"\x16\x03\x01\x00\x04\x07\x00\x00\x00", b"\x16\x03"]
    {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut said = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut said)).await.expect("closed");
    }
    drop(TcpStream::connect(addr).await.unwrap());
    let wanted = [
        ("client-certificate", 1.0),
        ("hung-up", 1.0),
        ("malformed", 2.0),
        ("no-client-certificate", 1.0),
        ("nothing-in-common", 1.0),
        ("plain-http", 1.0),
        ("server-certificate", 1.0),
        ("timeout", 1.0),
    ]
    .map(|(cause, count)| (cause.to_owned(), count));
    let mut found = failures(&locked.site);
    for _ in 0..100 {
        if found == wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        found = failures(&locked.site);
    }
    assert_eq!(found, wanted);
    assert!(asked(addr, authority, Some(&ours)).await.is_some(), "and whoever does it right is let in");
}

#[test]
fn handshakes_that_fail_are_a_line_for_each_cause_and_minute() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the tests'").unwrap();
    authority.server(&["localhost"]).unwrap().write(folder.path(), "server").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "server.crt", "--tls-key", "server.key"];
    let serving = Serving::start(server(folder.path(), &serve));
    for _ in 0..20 {
        let mut plain = std::net::TcpStream::connect(serving.addr).unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut said = Vec::new();
        let _ = plain.read_to_end(&mut said);
        // Who looks whether the port is open.
        drop(std::net::TcpStream::connect(serving.addr).unwrap());
    }
    serving.says("a TLS handshake failed: the client speaks plain HTTP", 1);
    std::thread::sleep(Duration::from_millis(500));
    let log = serving.log();
    assert_eq!(log.matches("handshake").count(), 1, "{log}");
    assert!(log.contains("peer=127.0.0.1"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_handshakes_that_stall_or_trickle_are_ended_and_others_are_served_meanwhile() {
    const MANY: usize = 500;
    // They have room: it is the time that ends them.
    let http =
        HttpLimits { address_connections_max: 2 * MANY, head_timeout: Duration::from_secs(4), ..HttpLimits::default() };
    let locked = locked(Kind::Memory, http, None).await;
    let site = &locked.site;
    let mut station = site.join(1).await;
    let mut hostile = Vec::new();
    for n in 0..MANY {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        hostile.push(tokio::spawn(async move {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.unwrap();
            let (mut reading, mut writing) = stream.into_split();
            // Every other one sends a byte now and then.
            let trickling = async {
                while n % 2 == 0 && writing.write_all(&[1]).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                std::future::pending::<()>().await;
            };
            let mut said = Vec::new();
            tokio::select! {
                () = trickling => {}
                _ = reading.read_to_end(&mut said) => {}
            }
        }));
    }
    let mut pushed = 0;
    while hostile.iter().any(|peer| !peer.is_finished()) && pushed < 40 {
        pushed += 1;
        assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(pushed)]))).await).applied, 1);
        assert_eq!(request(site.addr, "GET", "/healthz", None, b"").await.status, 200);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(pushed > 4, "they were there meanwhile: {pushed}");
    for peer in hostile {
        tokio::time::timeout(LONG, peer).await.expect("ended").unwrap();
    }
    let timed_out = failures(site).into_iter().find(|(cause, _)| cause == "timeout").unwrap().1;
    assert_eq!(timed_out, MANY as f64);
}

#[tokio::test]
async fn handshakes_that_never_end_keep_nobody_out() {
    let http = HttpLimits {
        connections_max: 24,
        unknown_connections_max: 16,
        address_connections_max: 8,
        head_timeout: LONG * 4,
        ..HttpLimits::default()
    };
    let locked = locked(Kind::Memory, http, None).await;
    let site = &locked.site;
    let mut station = site.join(1).await;
    let mut stalled = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.unwrap();
        stalled.push(stream);
        if n % 100 == 99 {
            assert_eq!(reply(&site.push(1, &frame(&station.cut(&[station.site(n)]))).await).applied, 1);
            assert_eq!(request(site.addr, "GET", "/v1/station", Some(&word(1)), b"").await.status, 200);
        }
    }
    let mut open = 0;
    for stream in &mut stalled {
        let mut room = [0; 1];
        open += usize::from(tokio::time::timeout(Duration::from_millis(2), stream.read(&mut room)).await.is_err());
    }
    assert!(open <= 8, "{open} of one address");
}
