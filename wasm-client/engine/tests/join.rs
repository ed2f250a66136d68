//! Joining: single-use codes, lost replies, slips.

use crate::common::{FakeServer, Fault, World, answer, code, problem};
use tidemark_client::sync::join::{self, Begin, JoinError};
use tidemark_client::sync::{Reply, Transport as _};
use tidemark_client::{Secret, State};
use tidemark_core::joincode::JoinCode;
use tidemark_core::protocol::{JoinRequest, ProblemCode};

fn ask(world: &mut World, fresh: u8) -> JoinRequest {
    match join::begin(&mut world.store, &code(), None, Secret([fresh; 32])).unwrap() {
        Begin::Ask(request) => serde_json::from_slice(&request.body).unwrap(),
        Begin::Joined(membership) => panic!("{membership:?}"),
    }
}

#[test]
fn after_a_lost_reply_the_same_words_are_asked_again() {
    let mut world = World::new();
    let mut server = FakeServer::new();
    server.faults.push_back(Fault::LoseReply);
    let Begin::Ask(request) = join::begin(&mut world.store, &code(), None, Secret([1; 32])).unwrap() else { panic!() };
    server.send(&request).unwrap_err();
    assert_eq!(world.store.status().unwrap().state, State::NotJoined);
    world.restart();
    let again = ask(&mut world, 2);
    assert_eq!(again.token, "01".repeat(32), "the token of the first attempt");
    let Begin::Ask(request) = join::begin(&mut world.store, &code(), None, Secret([3; 32])).unwrap() else { panic!() };
    let joined = join::finish(&mut world.store, 5, &server.send(&request).unwrap()).unwrap();
    assert_eq!((joined.number.get(), joined.name.as_str()), (3, "alpha"));
    // And once more: nothing to ask.
    assert!(
        matches!(join::begin(&mut world.store, &code(), None, Secret([4; 32])).unwrap(), Begin::Joined(m) if m == joined)
    );
}

#[test]
fn another_code_gets_another_token_and_a_joined_station_refuses_it() {
    let mut world = World::new();
    assert_eq!(ask(&mut world, 1).token, "01".repeat(32));
    let other = JoinCode { url: "http://127.0.0.1:2".into(), secret: [8; 32] }.encode();
    let Begin::Ask(request) = join::begin(&mut world.store, &other, None, Secret([2; 32])).unwrap() else { panic!() };
    let asked: JoinRequest = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((asked.token, request.url.as_str()), ("02".repeat(32), "http://127.0.0.1:2/v1/join"));
    let mut world = World::joined();
    match join::begin(&mut world.store, &other, None, Secret([2; 32])).unwrap_err() {
        JoinError::Already { server, number: 3, name } => {
            assert_eq!((server.as_str(), name.as_str()), ("http://127.0.0.1:1", "alpha"))
        }
        error => panic!("{error}"),
    }
    assert_eq!(world.store.meta().unwrap().server.as_deref(), Some("http://127.0.0.1:1"));
}

#[test]
fn slips_in_code_and_url_change_nothing() {
    let mut world = World::new();
    for (code, server) in [
        ("hello".to_owned(), None),
        (code().replace('0', "1"), None),
        (code(), Some("ftp://x")),
        (code(), Some("127.0.0.1:8787")),
        (JoinCode { url: "postgresql://u:p@h/d".into(), secret: [9; 32] }.encode(), None),
    ] {
        assert!(matches!(
            join::begin(&mut world.store, &code, server, Secret([1; 32])),
            Err(JoinError::Code(_) | JoinError::Url(_))
        ));
    }
    assert_eq!(world.store.meta().unwrap().token, None);
    let Begin::Ask(request) = join::begin(&mut world.store, &code(), Some("http://sea/x/"), Secret([1; 32])).unwrap()
    else {
        panic!()
    };
    assert_eq!(request.url, "http://sea/x/v1/join");
}

#[test]
fn what_the_server_says_is_told_and_the_station_stays_as_it_was() {
    let reply = |status, body: &str| Reply { status, retry_after: None, body: body.as_bytes().to_vec() };
    for (reply, refused, says) in [
        (problem(ProblemCode::JoinCodeUsed), true, "because"),
        (problem(ProblemCode::JoinCodeExpired), true, "because"),
        (problem(ProblemCode::JoinCodeUnknown), true, "because"),
        (problem(ProblemCode::StationsExhausted), true, "because"),
        (problem(ProblemCode::UnknownSchema), true, "tidemark-server migrate up"),
        (problem(ProblemCode::BadRequest), true, "because"),
        (problem(ProblemCode::Unavailable), false, "cannot answer now"),
        (problem(ProblemCode::Internal), false, "cannot answer now"),
        (reply(200, "<html>"), false, "not a Tidemark server's"),
        (reply(200, r#"{"station":0,"name":"x","limits":{}}"#), false, "not a Tidemark server's"),
        (reply(502, ""), false, "HTTP status 502"),
    ] {
        let mut world = World::new();
        ask(&mut world, 1);
        let error = join::finish(&mut world.store, 0, &reply).unwrap_err();
        assert_eq!(matches!(error, JoinError::Refused(_)), refused, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(world.store.status().unwrap().state, State::NotJoined);
    }
}

#[test]
fn a_name_from_the_server_is_bounded_and_printable() {
    let mut world = World::new();
    ask(&mut world, 1);
    let name = format!("\u{1b}[31m{}", "n".repeat(100_000));
    let limits = tidemark_core::limits::FrameLimits::DEFAULT;
    let reply = answer(200, &serde_json::json!({ "station": 9, "name": name, "limits": limits }));
    let joined = join::finish(&mut world.store, 0, &reply).unwrap();
    assert!(joined.name.chars().count() <= 200 && !joined.name.contains('\u{1b}'));
    assert_eq!(world.store.status().unwrap().membership, Some(joined));
}
