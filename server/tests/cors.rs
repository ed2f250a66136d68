//! A browser station: which pages may use the server, and that they can read every answer of it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::client::{Answer, raw, request_with};
use crate::common::site::{Site, site_of};
use crate::common::station::{Station, frame};
use crate::common::stores::{Kind, Store};
use crate::common::{NOON_MS, field};
use tidemark_core::protocol::{JoinReply, JoinRequest};
use tidemark_core::value::{format_uuid, hex};
use tidemark_server::RunningServer;
use tidemark_server::config::HttpLimits;
use tidemark_server::stations::{NewStation, secret_hash};

const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

struct Place {
    store: Store,
    addr: SocketAddr,
    _server: RunningServer,
}

async fn place_with(http: HttpLimits, origins: &[&str]) -> Place {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    let Site { store, server, addr } =
        site_of(Kind::Memory, &field(), |config| (config.http, config.origins) = (http, origins)).await;
    Place { store, addr, _server: server }
}

async fn place() -> Place {
    place_with(HttpLimits::default(), &["http://localhost:5173", APP]).await
}

impl Place {
    /// A request as a page of [`APP`] sends it.
    async fn of_app(&self, method: &str, path: &str, token: Option<u8>, body: &[u8]) -> Answer {
        let auth = token.map(|n| format!("Bearer {}", hex(&[n; 32])));
        let mut headers = vec![("Origin", APP)];
        headers.extend(auth.iter().map(|auth| ("Authorization", auth.as_str())));
        request_with(self.addr, method, path, &headers, body).await
    }

    async fn preflight(&self, path: &str, origin: &str, more: &[(&str, &str)]) -> Answer {
        let asked = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type,tidemark-schema"),
        ];
        request_with(self.addr, "OPTIONS", path, &[&asked[..], more].concat(), b"").await
    }

    /// A station that joined from a page of [`APP`]; code, uuid and token are all `n`.
    async fn join(&self, n: u8) -> Station {
        let station = NewStation {
            name: format!("station {n}"),
            code_hash: secret_hash(&[n; 32]),
            code_expires_at_ms: NOON_MS + 60_000,
            now_ms: NOON_MS,
        };
        assert!(self.store.upstream.add_station(&station).await.unwrap());
        let ask = JoinRequest {
            secret: hex(&[n; 32]),
            station_uuid: format_uuid([n; 16]),
            token: hex(&[n; 32]),
            fingerprint: self.store.schema.fingerprint().to_hex(),
            station: None,
            former_uuid: None,
        };
        let answer = self.of_app("POST", "/v1/join", None, &serde_json::to_vec(&ask).unwrap()).await;
        readable(&answer, 200);
        let reply: JoinReply = serde_json::from_slice(&answer.body).unwrap();
        Station::new(&self.store.schema, reply.station.get(), [n; 16])
    }
}

/// Asserts that a page of [`APP`] gets to see the answer.
#[track_caller]
fn readable(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{} {}", answer.head, String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("Access-Control-Allow-Origin"), APP, "{}", answer.head);
    assert_eq!(answer.header("Access-Control-Expose-Headers"), "Retry-After", "{}", answer.head);
    assert_eq!(answer.header("Vary"), "Origin", "{}", answer.head);
    assert_eq!(answer.header("Access-Control-Allow-Credentials"), "", "there are no cookies");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_joins_and_pushes() {
    let place = place().await;
    for path in ["/v1/join", "/v1/push", "/v1/digest", "/v1/station", "/v1/schema", "/v1/no-such", "/notebook/"] {
        let answer = place.preflight(path, APP, &[]).await;
        readable(&answer, 204);
        assert_eq!(answer.header("Access-Control-Allow-Methods"), "GET, POST");
        assert_eq!(answer.header("Access-Control-Allow-Headers"), "authorization, content-type, tidemark-schema");
        assert_eq!(answer.header("Access-Control-Max-Age"), "7200");
        assert_eq!(answer.header("Access-Control-Allow-Private-Network"), "", "nobody asked");
        assert_eq!(answer.body, b"");
    }
    let private = place.preflight("/v1/push", APP, &[("Access-Control-Request-Private-Network", "true")]).await;
    assert_eq!(private.header("Access-Control-Allow-Private-Network"), "true");
    let mut station = place.join(1).await;
    let pushed = place.of_app("POST", "/v1/push", Some(1), &frame(&station.cut(&[station.site(1)]))).await;
    readable(&pushed, 200);
    for path in ["/v1/station", "/v1/schema"] {
        readable(&place.of_app("GET", path, Some(1), b"").await, 200);
    }
    readable(&place.of_app("GET", "/readyz", None, b"").await, 200);
    // The other origin of the list.
    let answer = request_with(place.addr, "GET", "/healthz", &[("Origin", "http://localhost:5173")], b"").await;
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "http://localhost:5173");
}

#[tokio::test]
async fn every_refusal_can_be_read_by_the_page() {
    let place = place().await;
    let mut one = place.join(1).await;
    let mut two = place.join(2).await;
    let mut first = one.clone();
    let (site, another) = (one.site(1), one.site(9));
    let bytes = frame(&one.cut(&[site]));
    let ahead = frame(&one.cut(&[one.site(2)]));
    let of_two = frame(&two.cut(&[two.site(1)]));
    let fork = frame(&first.cut(&[another]));
    let too_large = vec![0; tidemark_core::limits::FrameLimits::DEFAULT.frame_bytes_max as usize + 1];
    for (method, path, token, body, status, code) in [
        ("POST", "/v1/push", None, &bytes[..], 401, "unauthorized"),
        ("POST", "/v1/push", Some(7), &bytes, 401, "unauthorized"),
        ("POST", "/v1/push", Some(1), &of_two, 403, "wrong-station"),
        ("POST", "/v1/push", Some(1), &ahead, 409, "gap"),
        ("POST", "/v1/push", Some(1), b"no frame", 400, "bad-frame"),
        ("POST", "/v1/push", Some(1), &too_large, 413, "too-large"),
        ("POST", "/v1/join", None, b"{", 400, "bad-request"),
        ("POST", "/v1/digest", Some(1), b"{", 400, "bad-request"),
        ("GET", "/v1/push", Some(1), b"", 405, "method-not-allowed"),
        ("DELETE", "/notebook/", None, b"", 405, "method-not-allowed"),
        ("GET", "/v1/nothing", None, b"", 404, "not-found"),
        ("GET", "/notebook/", None, b"", 404, "not-found"),
    ] {
        let answer = place.of_app(method, path, token, body).await;
        readable(&answer, status);
        assert_eq!(answer.code(), code, "{method} {path}");
    }
    readable(&place.of_app("POST", "/v1/push", Some(1), &bytes).await, 200);
    let forked = place.of_app("POST", "/v1/push", Some(1), &fork).await;
    readable(&forked, 409);
    assert_eq!((forked.code().as_str(), &forked.json()["tidemark"]), ("forked", &1.into()));
    assert!(place.store.upstream.revoke_station("station 1", NOON_MS).await.unwrap());
    let revoked = place.of_app("POST", "/v1/push", Some(1), &ahead).await;
    readable(&revoked, 403);
    assert_eq!(revoked.code(), "revoked");
}

#[tokio::test]
async fn a_busy_and_a_slow_exchange_can_be_read_by_the_page() {
    let http = HttpLimits {
        memory_bytes_max: 16 << 10,
        body_idle_timeout: Duration::from_millis(100),
        ..HttpLimits::default()
    };
    let place = place_with(http, &[APP]).await;
    place.join(1).await;
    let busy = place.of_app("POST", "/v1/push", Some(1), &[0; 8 << 10]).await;
    readable(&busy, 503);
    assert_eq!((busy.code().as_str(), busy.header("Retry-After").as_str()), ("unavailable", "2"));
    // A body that never comes.
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nOrigin: {APP}\r\nAuthorization: Bearer {}\r\nContent-Length: 9\r\n\r\n",
        hex(&[1; 32])
    );
    let slow = raw(place.addr, head.as_bytes()).await;
    readable(&slow, 408);
    assert_eq!(slow.code(), "timeout");
}

/// The headers of CORS in an answer.
fn of_cors(answer: &Answer) -> Vec<String> {
    let head = answer.head.lines().map(str::to_ascii_lowercase);
    head.filter(|line| line.starts_with("access-control-")).collect()
}

#[tokio::test]
async fn a_page_of_another_origin_learns_nothing() {
    let place = place().await;
    for origin in [EVIL, "null", "https://app.example:8443", "http://app.example", "https://app.example.evil.example"] {
        let private = [("Access-Control-Request-Private-Network", "true")];
        let answer = place.preflight("/v1/push", origin, &private).await;
        assert_eq!((answer.status, of_cors(&answer)), (204, Vec::new()), "{origin}");
        let answer = request_with(place.addr, "GET", "/healthz", &[("Origin", origin)], b"").await;
        assert_eq!((answer.status, of_cors(&answer)), (200, Vec::new()), "{origin}");
        assert_eq!(answer.header("Vary"), "Origin");
    }
    let two = request_with(place.addr, "GET", "/healthz", &[("Origin", APP), ("Origin", EVIL)], b"").await;
    assert_eq!(of_cors(&two), Vec::<String>::new());
}

#[tokio::test]
async fn without_a_list_no_page_is_let_in_and_nothing_is_added() {
    let place = place_with(HttpLimits::default(), &[]).await;
    let preflight = place.preflight("/v1/push", APP, &[]).await;
    assert_eq!((preflight.status, of_cors(&preflight)), (204, Vec::new()));
    // A page of the server's own origin sends `Origin`, too, when it posts: it is served.
    let own = format!("http://{}", place.addr);
    let with = request_with(place.addr, "POST", "/v1/join", &[("Origin", &own)], b"{").await;
    let without = request_with(place.addr, "POST", "/v1/join", &[], b"{").await;
    let head = |answer: &Answer| {
        let is_of_the_moment = |line: &str| ["date:", "x-request-id:"].iter().any(|name| line.starts_with(name));
        let lines = answer.head.lines().filter(|line| !is_of_the_moment(&line.to_ascii_lowercase()));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((head(&with), with.body), (head(&without), without.body.clone()));
    assert_eq!(
        head(&without),
        [
            "HTTP/1.1 400 Bad Request",
            "content-type: application/problem+json",
            "connection: close",
            &format!("content-length: {}", without.body.len())
        ]
    );
}

#[tokio::test]
async fn options_of_who_is_no_browser_names_the_methods() {
    let place = place().await;
    for (path, allow) in [
        ("/v1/push", "POST, OPTIONS"),
        ("/v1/station", "GET, OPTIONS"),
        ("/healthz", "GET, OPTIONS"),
        ("/notebook/app.js", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
    ] {
        for headers in [&[][..], &[("Origin", APP)], &[("Access-Control-Request-Method", "POST")]] {
            let answer = request_with(place.addr, "OPTIONS", path, headers, b"").await;
            assert_eq!((answer.status, answer.header("Allow").as_str()), (204, allow), "{path} {headers:?}");
        }
        if path != "*" {
            let wrong = request_with(place.addr, "PATCH", path, &[], b"").await;
            assert_eq!(
                (wrong.code().as_str(), wrong.header("Allow").as_str()),
                ("method-not-allowed", allow),
                "{path}"
            );
        }
    }
    assert_eq!(request_with(place.addr, "OPTIONS", "/v2/push", &[], b"").await.code(), "not-found");
}
