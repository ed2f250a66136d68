//! Operators: who may look and act, sessions in a browser, requests that pages of others send, and the audit.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tidemark_core::joincode::JoinCode;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::client::{Answer, request, request_with};
use crate::common::cluster::connect;
use crate::common::site::{Site, reply, site_of, word};
use crate::common::station::{frame, text};
use crate::common::stores::{Kind, POISON};
use crate::common::{NOON_MS, field};
use crate::fleet::{KINDS, OPERATOR, operated, operator};

async fn with(site: &Site, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    request_with(site.addr, method, &format!("/v1/admin/{path}"), headers, body.as_bytes()).await
}

#[tokio::test]
async fn without_operators_there_is_nothing() {
    for kind in KINDS {
        let site = site_of(kind, &field(), |_| ()).await;
        for (method, path) in [("GET", "fleet"), ("POST", "session"), ("GET", "no-such"), ("DELETE", "session")] {
            let answer = site.admin(method, path, &json!({ "token": word(1) })).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "not-found"), "{kind:?} {method} {path}");
        }
        operator(&site, "anna", OPERATOR).await;
        site.store.clock.forward_ms(1_000);
        site.look("fleet").await;
        let token = word(OPERATOR);
        assert!(site.store.upstream.ledger().revoke_operator("anna", NOON_MS).await.unwrap());
        let answer = request(site.addr, "GET", "/v1/admin/fleet", Some(&token), b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "revoked"), "{kind:?}: at once");
        site.store.clock.forward_ms(1_000);
        assert_eq!(site.admin("GET", "fleet", &Json::Null).await.status, 404, "{kind:?}: nobody is left");
    }
}

#[tokio::test]
async fn only_operators_are_let_in_and_guessing_is_bounded() {
    let site = operated(Kind::Sqlite).await;
    site.join(1).await;
    let get = async |token: Option<&str>| request(site.addr, "GET", "/v1/admin/fleet", token, b"").await;
    assert_eq!(get(None).await.code(), "unauthorized");
    assert_eq!(get(Some(&word(1))).await.code(), "unauthorized", "a station's token opens nothing here");
    let mut last = String::new();
    for n in 0..60 {
        last = get(Some(&word(n))).await.code();
        if last == "too-many-requests" {
            break;
        }
        assert_eq!(last, "unauthorized");
    }
    assert_eq!(last, "too-many-requests");
    let token = json!({ "token": word(3) }).to_string();
    let begin = with(&site, "POST", "session", &[("Tidemark-Admin", "1")], &token);
    assert_eq!(begin.await.code(), "too-many-requests", "nor by a session");
    site.store.clock.forward_ms(60_000);
    site.look("fleet").await;
    for (method, path, code) in [
        ("GET", "no-such", "not-found"),
        ("GET", "stations/7", "not-found"),
        ("GET", "rejects/1-1", "not-found"),
        ("DELETE", "fleet", "method-not-allowed"),
        ("GET", "rejects?state=lost", "bad-request"),
        ("GET", "rejects?what=1", "bad-request"),
        ("GET", "rejects?before=x", "bad-request"),
        ("GET", "audit?limit=many", "bad-request"),
        ("POST", "stations", "bad-request"),
        ("POST", "rejects/replay", "bad-request"),
    ] {
        assert_eq!(site.admin(method, path, &json!({ "odd": 1 })).await.code(), code, "{method} {path}");
    }
    let large = json!({ "name": "x".repeat(70_000) });
    assert_eq!(site.admin("POST", "stations", &large).await.status, 413);
}

#[tokio::test]
async fn strangers_who_are_slow_to_say_a_token_take_no_turn_of_an_operator() {
    let site = operated(Kind::Sqlite).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(site.addr).await.unwrap();
        let head = "POST /v1/admin/session HTTP/1.1\r\nHost: t\r\nTidemark-Admin: 1\r\nContent-Length: 80\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    // All of them are heard: the server waits for the rest of their bodies.
    for _ in 0..3 {
        site.look("fleet").await;
        tokio::task::yield_now().await;
    }
    for stream in &slow {
        let heard = stream.try_read(&mut [0; 64]).map_err(|error| error.kind());
        assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock), "they still wait");
    }
}

#[tokio::test]
async fn a_session_is_in_a_strict_cookie_and_only_the_servers_own_page_acts_by_it() {
    for kind in [Kind::Sqlite, Kind::PlainPostgres] {
        let site = operated(kind).await;
        let token = json!({ "token": word(OPERATOR) }).to_string();
        assert_eq!(with(&site, "POST", "session", &[], &token).await.code(), "forbidden", "a form sends no header");
        let own = ("Tidemark-Admin", "1");
        let begun = with(&site, "POST", "session", &[own], &token).await;
        assert_eq!(begun.status, 204, "{}", String::from_utf8_lossy(&begun.body));
        let set = begun.header("set-cookie");
        for part in ["tidemark-operator=", "; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
            assert!(set.contains(part), "{set}");
        }
        assert!(!set.contains("Secure") && !set.contains(&word(OPERATOR)), "the token is not in it: {set}");
        let made_up = with(&site, "POST", "session", &[own, ("X-Forwarded-Proto", "https")], &token).await;
        assert!(!made_up.header("set-cookie").contains("Secure"), "nobody else is believed: {}", made_up.head);
        let cookie = ("Cookie", set.split(';').next().unwrap());
        assert_eq!(with(&site, "GET", "session", &[cookie], "").await.json(), json!({ "operator": "anna" }));
        let add = json!({ "name": "by cookie", "url": "https://hq.example" }).to_string();
        for foreign in [
            &[cookie][..],
            &[cookie, own, ("Origin", "https://evil.example")],
            &[cookie, own, ("Origin", "http://t"), ("Sec-Fetch-Site", "cross-site")],
            &[cookie, own, ("Sec-Fetch-Site", "same-site")],
        ] {
            assert_eq!(with(&site, "POST", "stations", foreign, &add).await.code(), "forbidden", "{foreign:?}");
        }
        assert_eq!(with(&site, "POST", "stations", &[own], &add).await.code(), "unauthorized", "{kind:?}");
        let page = [cookie, own, ("Origin", "http://t"), ("Sec-Fetch-Site", "same-origin")];
        assert_eq!(with(&site, "POST", "stations", &page, &add).await.status, 200);
        assert_eq!(with(&site, "DELETE", "session", &[cookie], "").await.code(), "forbidden");
        let ended = with(&site, "DELETE", "session", &page, "").await;
        assert!(ended.status == 204 && ended.header("set-cookie").contains("Max-Age=0"), "{}", ended.head);
        assert_eq!(
            with(&site, "GET", "session", &[cookie], "").await.code(),
            "unauthorized",
            "ended at the server, too"
        );
        // It ends by itself, and with its operator.
        let begin = async || {
            let begun = with(&site, "POST", "session", &[own], &token).await.header("set-cookie");
            begun.split(';').next().unwrap().to_owned()
        };
        let cookie = begin().await;
        site.store.clock.forward_ms(12 * 3_600_000);
        let get = async |cookie: &str| with(&site, "GET", "fleet", &[("Cookie", cookie)], "").await;
        assert_eq!(get(&cookie).await.code(), "unauthorized");
        let cookie = begin().await;
        operator(&site, "boris", 98).await;
        assert_eq!(get(&cookie).await.status, 200);
        assert!(site.store.upstream.ledger().revoke_operator("anna", NOON_MS).await.unwrap());
        assert_eq!(get(&cookie).await.code(), "unauthorized", "at once");
        assert_eq!(with(&site, "POST", "session", &[own], &token).await.code(), "revoked");
    }
}

#[tokio::test]
async fn stations_are_invited_renamed_rotated_and_revoked_and_the_audit_has_it() {
    for kind in KINDS {
        let site = operated(kind).await;
        let invited = site.act("stations", &json!({ "name": " north ", "url": "https://hq.example/" })).await;
        assert_eq!(invited["name"], "north");
        let code = invited["code"].as_str().unwrap();
        let decoded = JoinCode::decode(code).unwrap();
        assert_eq!(
            (decoded.url.as_str(), &invited["expires_at_ms"]),
            ("https://hq.example", &json!(NOON_MS + 7 * 86_400_000))
        );
        assert_eq!(invited["notebook"], format!("https://hq.example/notebook/#join={code}"));
        let again = site.admin("POST", "stations", &json!({ "name": "north" })).await;
        assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
        for bad in [json!({ "name": "" }), json!({ "name": "a\nb" }), json!({ "name": "x", "url": "ftp://x" })] {
            assert_eq!(site.admin("POST", "stations", &bad).await.code(), "bad-request", "{bad}");
        }
        let mut ask = site.ask(1, 1, 1);
        ask.secret = tidemark_core::value::hex(&decoded.secret);
        assert_eq!(site.post_join(&ask).await.status, 200, "the code works");
        site.join(2).await;
        assert_eq!(
            site.act("stations/1/rename", &json!({ "name": "north hut" })).await,
            json!({ "name": "north hut" })
        );
        let taken = site.admin("POST", "stations/1/rename", &json!({ "name": "station 2" })).await;
        assert_eq!(taken.code(), "conflict");
        let rotated = site.act("stations/1/rotate", &json!({})).await;
        assert_eq!((&rotated["name"], &rotated["notebook"]), (&json!("north hut"), &Json::Null));
        assert_eq!(JoinCode::decode(rotated["code"].as_str().unwrap()).unwrap().url, "http://t", "where the page is");
        let ended = request(site.addr, "GET", "/v1/station", Some(&word(1)), b"").await;
        assert_eq!(ended.code(), "revoked", "its token has ended");
        assert_eq!(site.act("stations/station%202/revoke", &json!({})).await, json!({ "name": "station 2" }));
        assert_eq!(request(site.addr, "GET", "/v1/station", Some(&word(2)), b"").await.code(), "revoked");
        let fleet = site.look("fleet").await;
        let state = |name: &str| {
            let found = fleet["stations"].as_array().unwrap().iter().find(|station| station["name"] == name).unwrap();
            found["state"].as_str().unwrap().to_owned()
        };
        assert_eq!((state("north hut").as_str(), state("station 2").as_str()), ("active", "revoked"), "{kind:?}");
        let audit = site.look("audit").await;
        let acts: Vec<(&str, &str, &Json, &str)> = audit["acts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|act| {
                assert_eq!(act["at_ms"], NOON_MS);
                let text = |name: &str| act[name].as_str().unwrap();
                (text("operator"), text("act"), &act["station"], text("detail"))
            })
            .collect();
        let (one, two, none) = (json!(1), json!(2), Json::Null);
        assert_eq!(
            acts,
            [
                ("anna", "station-revoke", &two, "station 2"),
                ("anna", "station-rotate", &one, "north hut"),
                ("anna", "station-rename", &one, "north → north hut"),
                ("anna", "station-add", &none, "north"),
            ],
            "{kind:?}"
        );
        let newest = site.look("audit?limit=1").await;
        assert_eq!((newest["acts"].as_array().unwrap().len(), &newest["more"]), (1, &json!(true)));
        let before = newest["acts"][0]["id"].as_u64().unwrap();
        assert_eq!(site.look(&format!("audit?before={before}")).await["acts"].as_array().unwrap().len(), 3);
        assert_eq!(site.look("stations/1").await["audit"].as_array().unwrap().len(), 3, "also that it was added");
    }
}

#[tokio::test]
async fn a_name_that_is_another_stations_number_is_no_target() {
    for kind in KINDS {
        let site = operated(kind).await;
        site.join(1).await;
        site.invite("1", 77).await;
        let before = site.look("fleet").await["stations"].clone();
        for (method, path, body) in [
            ("GET", "stations/1", Json::Null),
            ("POST", "stations/1/rename", json!({ "name": "other" })),
            ("POST", "stations/1/rotate", json!({ "url": "https://hq.example" })),
            ("POST", "stations/1/revoke", json!({})),
        ] {
            let answer = site.admin(method, path, &body).await;
            assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"), "{kind:?} {method} {path}");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("the number of station \"station 1\" and the name of another"), "{detail}");
        }
        assert_eq!(site.look("fleet").await["stations"], before, "{kind:?}");
        assert_eq!(site.look("audit").await["acts"], json!([]), "{kind:?}");
        // Either is found by what only it has.
        assert_eq!(site.look("stations/station%201").await["station"]["number"], 1, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_there_are_operators_is_asked_by_one_request_for_all() {
    let site = operated(Kind::PlainPostgres).await;
    let other = connect(site.store.url.as_deref().unwrap()).await;
    let page = async || request(site.addr, "GET", "/admin/", None, b"").await.status;
    // A failure is known for a second, too.
    other.batch_execute("ALTER TABLE tidemark.operator RENAME TO gone").await.unwrap();
    let failed = page().await;
    assert!(failed >= 500, "{failed}");
    other.batch_execute("ALTER TABLE tidemark.gone RENAME TO operator").await.unwrap();
    assert_eq!(page().await, failed, "nobody asks again at once");
    site.store.clock.forward_ms(1_000);
    // One asks, and all hear its answer.
    other.batch_execute("BEGIN; LOCK TABLE tidemark.operator IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let addr = site.addr;
    let asking: Vec<_> =
        (0..12).map(|_| tokio::spawn(async move { request(addr, "GET", "/admin/", None, b"").await.status })).collect();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let waiting = async || other.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    while waiting().await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The others have come, too.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(waiting().await, 1);
    other.batch_execute("COMMIT").await.unwrap();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn rejects_are_shown_replayed_and_given_up() {
    for kind in KINDS {
        let site = operated(kind).await;
        let mut station = site.join(1).await;
        let poisoned = |row| station.reading(row, NOON_MS * 1000, &[("note", text(POISON))]);
        let changes = [poisoned(1), poisoned(2), poisoned(3), station.site(1)];
        let pushed = reply(&site.push(1, &frame(&station.cut(&changes))).await);
        assert_eq!(pushed.rejected.len(), 3, "{kind:?} {pushed:?}");
        assert_eq!(site.look("fleet").await["stations"][0]["rejects_open"], 3);
        let first = site.look("rejects?limit=2").await;
        let ids = |page: &Json| -> Vec<String> {
            page["rejects"].as_array().unwrap().iter().map(|reject| reject["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!((ids(&first), &first["more"]), (vec!["1-3".to_owned(), "1-2".to_owned()], &json!(true)), "{first}");
        let rest = site.look("rejects?limit=2&before=1-2&station=1").await;
        assert_eq!((ids(&rest), &rest["more"]), (vec!["1-1".to_owned()], &json!(false)), "{kind:?}");
        assert_eq!(rest["rejects"][0]["station_name"], "station 1");
        assert_eq!(ids(&site.look("rejects?code=clock").await), Vec::<String>::new());
        let one = site.look("rejects/1-2").await;
        assert_eq!((&one["table"], &one["image"]["note"]), (&json!("reading"), &json!(POISON)), "{kind:?} {one}");
        let replay = site.act("rejects/replay", &json!({ "ids": ["1-1", "1-9", "odd"] })).await;
        let outcomes = |settled: &Json| -> Vec<String> {
            let results = settled["results"].as_array().unwrap().iter();
            results.map(|result| result["outcome"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(outcomes(&replay), ["open", "unknown", "unknown"], "{kind:?} {replay}");
        assert!(replay["results"][0]["message"].as_str().unwrap().len() > 3, "{replay}");
        site.store.allow_poison().await;
        let replay = site.act("rejects/replay", &json!({ "ids": ["1-1"] })).await;
        assert_eq!(outcomes(&replay), ["replayed"], "{kind:?} {replay}");
        let given_up = json!({ "ids": ["1-2", "1-1"], "reason": "measured twice" });
        assert_eq!(outcomes(&site.act("rejects/discard", &given_up).await), ["discarded", "settled"], "{kind:?}");
        assert_eq!(ids(&site.look("rejects?state=discarded").await), ["1-2"]);
        assert_eq!(ids(&site.look("rejects?state=all").await).len(), 3);
        let acts = site.look("stations/1").await["audit"].clone();
        assert_eq!(acts[0]["detail"], "changes 2, 1: discarded 1: measured twice", "{acts}");
        assert_eq!(acts[1]["detail"], "changes 1: replayed 1, superseded 0, still open 0", "{acts}");
        assert_eq!(site.look("stations/1").await["rejects"].as_array().unwrap().len(), 3);
    }
}
