//! An act and its row of the audit are one: neither is kept without the other, whatever comes between them.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tidemark_server::fleet::acts::{Bearer, COMMAND_LINE};
use tidemark_server::ledger::rejects::RejectState;
use tidemark_server::rejoin::ReplacementOutcome;
use tidemark_server::stations::{NewStation, secret_hash};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::NOON_MS;
use crate::common::client::request_with;
use crate::common::cluster::connect;
use crate::common::site::{Held, Site, reply, word};
use crate::common::station::{frame, text};
use crate::common::stores::{Kind, POISON, Store};
use crate::fleet::{KINDS, OPERATOR, operated, operator};

/// Nothing goes into the audit from now on.
async fn refuse_audit(store: &Store) {
    match &store.url {
        None => {
            let sql = "CREATE TRIGGER no_audit BEFORE INSERT ON tidemark_audit
                       BEGIN SELECT raise(ABORT, 'the audit is full'); END";
            store.embedded().execute_batch(sql).unwrap();
        }
        Some(url) => {
            let sql = "CREATE FUNCTION public.no_audit() RETURNS trigger LANGUAGE plpgsql AS $$
                           BEGIN RAISE EXCEPTION 'the audit is full'; END $$;
                       CREATE TRIGGER no_audit BEFORE INSERT ON tidemark.audit
                           FOR EACH ROW EXECUTE FUNCTION public.no_audit()";
            connect(url).await.batch_execute(sql).await.unwrap();
        }
    }
}

/// A station whose first change was rejected, and could be applied by now.
async fn rejected(site: &Site, n: u8) {
    let mut station = site.join(n).await;
    let poisoned = station.reading(1, NOON_MS * 1000, &[("note", text(POISON))]);
    let pushed = reply(&site.push(n, &frame(&station.cut(&[poisoned]))).await);
    assert_eq!(pushed.rejected.len(), 1, "{pushed:?}");
}

fn invitation(name: &str) -> NewStation {
    NewStation {
        name: name.to_owned(),
        code_hash: *blake3::hash(name.as_bytes()).as_bytes(),
        code_expires_at_ms: NOON_MS + 1,
        now_ms: NOON_MS,
    }
}

/// What acts change, as far as anybody can see.
async fn state(site: &Site) -> String {
    let upstream = site.store.upstream.as_ref();
    let mut stations = upstream.stations().await.unwrap();
    stations.iter_mut().for_each(|station| station.updated_at_ms = None);
    let rejects = upstream.rejects(None, 10).await.unwrap();
    let (operators, readers) = {
        let mut ledger = upstream.ledger();
        (ledger.operators().await.unwrap(), ledger.readers().await.unwrap())
    };
    format!("{stations:#?} {rejects:#?} {operators:#?} {readers:#?}")
}

#[tokio::test]
async fn what_cannot_be_noted_is_not_done() {
    for kind in KINDS {
        let site = operated(kind).await;
        rejected(&site, 1).await;
        site.store.allow_poison().await;
        let upstream = site.store.upstream.as_ref();
        assert!(upstream.add_bearer(Bearer::Reader, "1C", [5; 32], COMMAND_LINE, NOON_MS).await.unwrap());
        let own = ("Tidemark-Admin", "1");
        let begin = async || {
            let token = json!({ "token": word(OPERATOR) }).to_string();
            request_with(site.addr, "POST", "/v1/admin/session", &[own], token.as_bytes()).await
        };
        let cookie = begin().await.header("set-cookie");
        let cookie = ("Cookie", cookie.split(';').next().unwrap());
        refuse_audit(&site.store).await;
        let before = state(&site).await;

        // Over HTTP.
        for (path, body) in [
            ("stations", json!({ "name": "north", "url": "https://hq.example" })),
            ("stations/1/rename", json!({ "name": "north" })),
            ("stations/1/rotate", json!({})),
            ("stations/1/revoke", json!({})),
            ("rejects/replay", json!({ "ids": ["1-1"] })),
            ("rejects/discard", json!({ "ids": ["1-1"] })),
        ] {
            let answer = site.admin("POST", path, &body).await;
            assert_eq!(answer.status, 500, "{kind:?} {path}: {}", String::from_utf8_lossy(&answer.body));
            assert_eq!(state(&site).await, before, "{kind:?} {path}");
        }
        let refused = begin().await;
        assert_eq!((refused.status, refused.header("set-cookie").as_str()), (500, ""), "{kind:?}");
        let signed_out = request_with(site.addr, "DELETE", "/v1/admin/session", &[own, cookie], b"").await;
        assert_eq!(signed_out.status, 500, "{kind:?}");
        let still = request_with(site.addr, "GET", "/v1/admin/session", &[cookie], b"").await;
        assert_eq!(still.status, 200, "{kind:?}: the session goes on");

        // By the command line.
        let (by, now_ms, hash) = (COMMAND_LINE, NOON_MS, secret_hash(&[6; 32]));
        let name = "station 1";
        upstream.invite_station(&invitation("north"), by).await.unwrap_err();
        upstream.invite_replacement(&invitation("north"), name, by).await.unwrap_err();
        upstream.rename_station(name, "north", by, now_ms).await.unwrap_err();
        upstream.rotate_station_by(&invitation(name), by).await.unwrap_err();
        upstream.revoke_station_by(name, by, now_ms).await.unwrap_err();
        for (bearer, known) in [(Bearer::Operator, "anna"), (Bearer::Reader, "1C")] {
            upstream.add_bearer(bearer, "boris", hash, by, now_ms).await.unwrap_err();
            upstream.revoke_bearer(bearer, known, by, now_ms).await.unwrap_err();
        }
        assert_eq!(state(&site).await, before, "{kind:?}");
    }
}

#[tokio::test]
async fn every_act_of_the_command_line_is_noted_and_follows_its_station() {
    for kind in KINDS {
        let site = operated(kind).await;
        rejected(&site, 1).await;
        let upstream = site.store.upstream.as_ref();
        let (by, now_ms) = (COMMAND_LINE, NOON_MS);
        for bearer in [Bearer::Operator, Bearer::Reader] {
            assert!(upstream.add_bearer(bearer, "boris", [6; 32], by, now_ms).await.unwrap());
            assert!(!upstream.add_bearer(bearer, "boris", [7; 32], by, now_ms).await.unwrap(), "the name is taken");
            assert!(upstream.revoke_bearer(bearer, "boris", by, now_ms).await.unwrap());
            assert!(!upstream.revoke_bearer(bearer, "nobody", by, now_ms).await.unwrap());
        }
        let added = upstream.invite_replacement(&invitation("two"), "station 1", by).await.unwrap();
        assert_eq!(added, ReplacementOutcome::Added);
        let discarded = async || upstream.discard(invited_number(1), &[1, 7], "", by, now_ms).await.unwrap();
        assert_eq!((discarded().await, discarded().await), (vec![1], vec![]), "{kind:?}");
        assert_eq!(upstream.rejects(None, 10).await.unwrap()[0].state, RejectState::Discarded);
        assert_eq!(
            acts(&site.look("audit").await["acts"]),
            [
                "rejects-discard changes 1, 7: discarded 1",
                "station-add two, to replace station 1",
                "reader-revoke boris",
                "reader-add boris",
                "operator-revoke boris",
                "operator-add boris",
            ],
            "{kind:?}"
        );

        // What was done to a station before it had a number, or had another name, stands on its page.
        let invited = site.act("stations", &json!({ "name": "north", "url": "https://hq.example" })).await;
        site.act("stations/north/rename", &json!({ "name": "north hut" })).await;
        site.act("stations", &json!({ "name": "north", "url": "https://hq.example" })).await;
        let so_far = ["station-rename north → north hut", "station-add north"];
        assert_eq!(acts(&site.look("stations/north%20hut").await["audit"]), so_far, "{kind:?}");
        assert_eq!(acts(&site.look("stations/north").await["audit"]), ["station-add north"], "{kind:?}: another one");
        let code = tidemark_core::joincode::JoinCode::decode(invited["code"].as_str().unwrap()).unwrap();
        let mut ask = site.ask(9, 9, 9);
        ask.secret = tidemark_core::value::hex(&code.secret);
        assert_eq!(site.post_join(&ask).await.status, 200, "{kind:?}");
        assert_eq!(acts(&site.look("stations/2").await["audit"]), so_far, "{kind:?}: it has joined");
        site.act("stations/2/rename", &json!({ "name": "hut" })).await;
        let page = acts(&site.look("stations/2").await["audit"]);
        assert_eq!(page, ["station-rename north hut → hut", so_far[0], so_far[1]], "{kind:?}");
    }
}

fn invited_number(number: u32) -> tidemark_core::ids::StationNumber {
    tidemark_core::ids::StationNumber::new(number).unwrap()
}

fn acts(list: &Json) -> Vec<String> {
    let text = |act: &Json, name: &str| act[name].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|act| format!("{} {}", text(act, "act"), text(act, "detail"))).collect()
}

#[tokio::test]
async fn signing_out_is_an_act() {
    for kind in KINDS {
        let site = operated(kind).await;
        operator(&site, "boris", 98).await;
        let own = ("Tidemark-Admin", "1");
        let token = json!({ "token": word(98) }).to_string();
        let begun = request_with(site.addr, "POST", "/v1/admin/session", &[own], token.as_bytes()).await;
        let cookie = begun.header("set-cookie");
        let cookie = ("Cookie", cookie.split(';').next().unwrap());
        assert_eq!(request_with(site.addr, "DELETE", "/v1/admin/session", &[own, cookie], b"").await.status, 204);
        let audit = site.look("audit").await;
        let seen: Vec<_> =
            audit["acts"].as_array().unwrap().iter().map(|act| (&act["operator"], &act["act"])).collect();
        let boris = json!("boris");
        assert_eq!(seen, [(&boris, &json!("session-end")), (&boris, &json!("session-begin"))], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_leaves_no_act_half_done() {
    let site = operated(Kind::PlainPostgres).await;
    let first = site.join(1).await;
    let mut first = first;
    let poisoned = first.reading(1, NOON_MS * 1000, &[("note", text(POISON))]);
    reply(&site.push(1, &frame(&first.cut(&[poisoned]))).await);
    rejected(&site, 2).await;
    site.store.allow_poison().await;
    let held = Held::cursor(&site, &first).await;
    let body = json!({ "ids": ["1-1", "2-1"] }).to_string();
    let ask = format!(
        "POST /v1/admin/rejects/replay HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
        word(OPERATOR),
        body.len()
    );
    let mut stream = TcpStream::connect(site.addr).await.unwrap();
    stream.write_all(ask.as_bytes()).await.unwrap();
    held.is_wanted().await;
    drop(stream);
    // The server has heard that nobody waits any more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    held.release().await;
    let mut states = Vec::new();
    for _ in 0..100 {
        let rejects = site.store.upstream.rejects(None, 10).await.unwrap();
        states = rejects.iter().map(|reject| reject.state).collect();
        if states.iter().all(|state| *state == RejectState::Replayed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(states, [RejectState::Replayed; 2]);
    let seen = acts(&site.look("audit").await["acts"]);
    assert_eq!(seen, ["rejects-replay changes 1: replayed 1, superseded 0, still open 0"; 2]);
}
