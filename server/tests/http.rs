//! The endpoint, and everything wrong that a client can send it.

use std::time::Duration;

use crate::common::NOON_MS;
use crate::common::client::{raw, request};
use crate::common::site::{reply, site, site_with, word};
use crate::common::station::{Station, day, frame};
use crate::common::stores::Kind;
use tidemark_core::digest::RowDigest;
use tidemark_core::frame::HEADER_BYTES;
use tidemark_core::identity::{Identity, Key};
use tidemark_core::limits::{ASKED_REJECTS_MAX, DIGEST_REQUEST_BYTES_MAX, FrameLimits, REJECTS_REQUEST_BYTES_MAX};
use tidemark_core::protocol::{JoinRequest, StationReply};
use tidemark_core::schema::shrinkage;
use tidemark_core::survey::{Answer as Answered, Ask, DigestReply, DigestRequest, Question, Range};
use tidemark_core::value::Value;
use tidemark_server::config::HttpLimits;
use tidemark_server::ledger::rejects::RejectState;

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
    site.store.clock.forward_ms(1_000);
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
