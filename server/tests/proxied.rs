//! Behind a proxy that is believed: what it says of who asks counts, nobody else's word does, and strangers are bounded
//! by the address that it tells.

use std::time::Duration;

use serde_json::json;
use tidemark_server::config::HttpLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::client::{answer_of, request_with};
use crate::common::field;
use crate::common::site::{Site, site_of, word};
use crate::common::stores::Kind;
use crate::fleet::{OPERATOR, operator};

const LONG: Duration = Duration::from_secs(30);

/// A server that believes a proxy on this machine, or nobody.
async fn site(believes: bool, http: HttpLimits) -> Site {
    site_of(Kind::Sqlite, &field(), |config| {
        config.http = http;
        if believes {
            config.proxies = tidemark_server::http::Proxies::new(vec!["127.0.0.1".parse().unwrap()]);
        }
    })
    .await
}

/// A request to join from an address whose body does not come.
async fn trickles(site: &Site, from: &str) -> TcpStream {
    let mut stream = TcpStream::connect(site.addr).await.unwrap();
    let head = format!("POST /v1/join HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {from}\r\nContent-Length: 400\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    // It is being answered.
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream
}

/// The status that a connection was answered with.
async fn heard(mut stream: TcpStream) -> u16 {
    let mut said = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut said)).await.expect("answered");
    answer_of(&said).status
}

#[tokio::test]
async fn strangers_behind_a_proxy_are_bounded_by_their_own_address_and_keep_nobody_out() {
    let http = HttpLimits { address_connections_max: 3, anyone_timeout: LONG * 4, ..HttpLimits::default() };
    let site = site(true, http).await;
    site.join(1).await;
    site.invite("late", 7).await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(trickles(&site, "203.0.113.9").await);
    }
    let from = |from: &'static str, token: Option<String>| {
        let site = &site;
        async move {
            let token = token.map(|token| format!("Bearer {token}"));
            let mut headers = vec![("X-Forwarded-For", from)];
            headers.extend(token.as_deref().map(|token| ("Authorization", token)));
            request_with(site.addr, "GET", "/v1/station", &headers, b"").await
        }
    };
    // From that address, with the port as some proxies write it: one more is refused at once, and told when to come.
    let refused = from("203.0.113.9:4711", None).await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "too-many-requests"));
    assert!(!refused.header("retry-after").is_empty(), "{}", refused.head);
    // A station that is known is not held up there, and strangers elsewhere are not.
    assert_eq!(from("203.0.113.9", Some(word(1))).await.status, 200);
    assert_eq!(from("203.0.113.10", None).await.status, 401);
    assert_eq!(from("[2001:db8::1]:4711", None).await.status, 401);
    // Who comes later takes the place of the one that trickles for longest.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(from("203.0.113.9", None).await.status, 401);
    assert_eq!(heard(slow.remove(0)).await, 429, "it gave way");
    assert_eq!(slow.len(), 2);
    for stream in &mut slow {
        let more = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
        assert!(more.is_err(), "the others go on: {more:?}");
    }
}

#[tokio::test]
async fn the_word_of_a_proxy_counts_for_who_asks_by_which_id_and_how_and_nobody_elses_does() {
    let own = ("Tidemark-Admin", "1");
    for believes in [true, false] {
        let site = site(believes, HttpLimits::default()).await;
        operator(&site, "anna", OPERATOR).await;
        let id = request_with(site.addr, "GET", "/healthz", &[("X-Request-Id", "of-a-proxy")], b"").await;
        assert_eq!(id.header("x-request-id") == "of-a-proxy", believes, "{}", id.head);
        let token = json!({ "token": word(OPERATOR) }).to_string();
        let asks = [own, ("X-Forwarded-Proto", "https")];
        let begun = request_with(site.addr, "POST", "/v1/admin/session", &asks, token.as_bytes()).await;
        assert_eq!(begun.header("set-cookie").contains("; Secure"), believes, "{}", begun.head);
        let bearer = format!("Bearer {}", word(OPERATOR));
        let asks = [("Authorization", bearer.as_str()), ("Host", "hq.example"), ("X-Forwarded-Proto", "https")];
        let invited = request_with(site.addr, "POST", "/v1/admin/stations", &asks, br#"{"name":"north"}"#).await;
        let code = invited.json()["code"].as_str().unwrap().to_owned();
        let url = tidemark_core::joincode::JoinCode::decode(&code).unwrap().url;
        assert_eq!(url.starts_with("https://"), believes, "{url}");
    }
}
