//! Joining: single-use codes, lost replies, slips.

use crate::common::{FakeServer, Fault, World, answer, code, problem};
use tidemark_client::sync::join::{self, Begin, JoinError};
use tidemark_client::sync::rejoin::{self, Manner};
use tidemark_client::sync::{RefusalKind, Reply, Transport as _};
use tidemark_client::{Secret, State};
use tidemark_core::joincode::JoinCode;
use tidemark_core::protocol::{JoinRequest, Problem, ProblemCode};

fn ask(world: &mut World, fresh: u8) -> JoinRequest {
    ask_with(world, &code(), fresh)
}

fn ask_with(world: &mut World, code: &str, fresh: u8) -> JoinRequest {
    match join::ask(&mut world.store, code, None, Secret([fresh; 32])).unwrap() {
        Begin::Ask(request) => serde_json::from_slice(&request.body).unwrap(),
        Begin::Joined(membership) => panic!("{membership:?}"),
    }
}

#[test]
fn after_a_lost_reply_the_same_words_are_asked_again() {
    let mut world = World::new();
    let mut server = FakeServer::new();
    server.faults.push_back(Fault::LoseReply);
    let Begin::Ask(request) = join::ask(&mut world.store, &code(), None, Secret([1; 32])).unwrap() else { panic!() };
    server.send(&request).unwrap_err();
    assert_eq!(world.store.status().unwrap().state, State::NotJoined);
    world.restart();
    let again = ask(&mut world, 2);
    assert_eq!(again.token, "01".repeat(32), "the token of the first attempt");
    let Begin::Ask(request) = join::ask(&mut world.store, &code(), None, Secret([3; 32])).unwrap() else { panic!() };
    let joined = join::hear(&mut world.store, 5, &server.send(&request).unwrap()).unwrap();
    assert_eq!((joined.number.get(), joined.name.as_str()), (3, "alpha"));
    // And once more: nothing to ask.
    assert!(
        matches!(join::ask(&mut world.store, &code(), None, Secret([4; 32])).unwrap(), Begin::Joined(m) if m == joined)
    );
}

#[test]
fn another_code_gets_another_token_and_a_joined_station_stays_what_it_is() {
    let mut world = World::new();
    assert_eq!(ask(&mut world, 1).token, "01".repeat(32));
    let other = JoinCode { url: "http://127.0.0.1:2".into(), secret: [8; 32], pin: None }.encode();
    let Begin::Ask(request) = join::ask(&mut world.store, &other, None, Secret([2; 32])).unwrap() else { panic!() };
    let asked: JoinRequest = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((asked.token, request.url.as_str()), ("02".repeat(32), "http://127.0.0.1:2/v1/join"));
    // A file that has joined asks for nothing but another token, and stays what it is when the code is not for that.
    let mut world = World::joined();
    let before = world.store.meta().unwrap();
    for code in [ProblemCode::JoinCodeUsed, ProblemCode::JoinCodeUnknown] {
        let asked = ask_with(&mut world, &other, 2);
        assert_eq!(asked.station.map(|number| number.get()), Some(3));
        match join::hear(&mut world.store, 0, &problem(code)).unwrap_err() {
            JoinError::Already { server, number: 3, name, said, .. } => {
                assert_eq!((server.as_str(), name.as_str(), said.as_str()), ("http://127.0.0.1:1", "alpha", "because"))
            }
            error => panic!("{error}"),
        }
        assert_eq!(world.store.meta().unwrap(), before);
    }
    // As another station it would push what that one has not.
    let limits = tidemark_core::limits::FrameLimits::DEFAULT;
    let stranger = answer(200, &serde_json::json!({ "station": 4, "name": "beta", "limits": limits }));
    assert!(matches!(join::hear(&mut world.store, 0, &stranger), Err(JoinError::NotNow(_))));
    assert_eq!(world.store.meta().unwrap(), before);
}

#[test]
fn another_token_is_kept_beside_the_old_one_until_it_is_in_force() {
    let mut world = World::joined();
    let old = world.store.meta().unwrap();
    let rotated = JoinCode { url: "http://127.0.0.1:1".into(), secret: [8; 32], pin: None }.encode();
    world.server.token = None;
    world.server.faults.push_back(Fault::LoseReply);
    let Begin::Ask(request) = join::ask(&mut world.store, &rotated, None, Secret([2; 32])).unwrap() else { panic!() };
    world.server.send(&request).unwrap_err();
    assert_eq!(world.store.meta().unwrap(), old, "nothing is lost by a code that is for nothing");
    world.restart();
    let again = ask_with(&mut world, &rotated, 3);
    assert_eq!(again.token, "02".repeat(32), "the token of the first attempt");
    let Begin::Ask(request) = join::ask(&mut world.store, &rotated, None, Secret([4; 32])).unwrap() else { panic!() };
    let reply = world.server.send(&request).unwrap();
    let joined = join::hear(&mut world.store, 5, &reply).unwrap();
    assert_eq!((joined.number.get(), joined.name.as_str()), (3, "alpha"));
    let new = world.store.meta().unwrap();
    assert_eq!(new.token, Some(Secret([2; 32])));
    assert_eq!((new.membership, new.tidemark, new.sent_seq), (old.membership, old.tidemark, old.sent_seq));
    // A second process that asked at the same time ends with the same; and once more there is nothing to ask.
    join::hear(&mut world.store, 6, &reply).unwrap();
    assert_eq!(world.store.meta().unwrap().token, Some(Secret([2; 32])));
    assert!(matches!(
        join::ask(&mut world.store, &rotated, None, Secret([5; 32])).unwrap(),
        Begin::Joined(m) if m == joined
    ));
    world.write(2);
    world.push();
    world.assert_in_sync();
}

#[test]
fn a_code_that_was_tried_with_the_wrong_command_first_is_good_for_the_right_one() {
    let kept = |world: &World| -> (Vec<u8>, Vec<u8>) {
        let sql = "SELECT station_uuid, token FROM tidemark_rejoin";
        world.store.connection().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let fresh = |n: u8| ([n; 16], Secret([n; 32]));
    let code = JoinCode { url: "http://127.0.0.1:1".into(), secret: [8; 32], pin: None }.encode();
    // With `rejoin`, and it gives another token: the one that is asked for is the one that is in force then.
    let mut world = World::joined();
    drop(rejoin::begin(&mut world.store, &code, None, fresh(4), Manner::Anew).unwrap());
    let asked = ask_with(&mut world, &code, 5);
    world.server.token = None;
    let Begin::Ask(request) = join::ask(&mut world.store, &code, None, Secret([6; 32])).unwrap() else { panic!() };
    join::hear(&mut world.store, 5, &world.server.send(&request).unwrap()).unwrap();
    let token = world.store.meta().unwrap().token.unwrap();
    assert_eq!((token.to_hex(), world.server.token.clone()), (asked.token.clone(), Some(asked.token)));
    // The other way round: the new station's uuid is not the one the file has.
    let mut world = World::joined();
    ask_with(&mut world, &code, 5);
    assert_eq!(kept(&world).0, world.store.uuid());
    for n in [4, 6] {
        drop(rejoin::begin(&mut world.store, &code, None, fresh(n), Manner::Forced).unwrap());
        assert_eq!(kept(&world), (vec![4; 16], vec![4; 32]), "and both stay what they are");
    }
}

#[test]
fn slips_in_code_and_url_change_nothing() {
    let mut world = World::new();
    for (code, server) in [
        ("hello".to_owned(), None),
        (code().replace('0', "1"), None),
        (code(), Some("ftp://x")),
        (code(), Some("127.0.0.1:8787")),
        (JoinCode { url: "postgresql://u:p@h/d".into(), secret: [9; 32], pin: None }.encode(), None),
    ] {
        assert!(matches!(
            join::ask(&mut world.store, &code, server, Secret([1; 32])),
            Err(JoinError::Code(_) | JoinError::Url(_))
        ));
    }
    assert_eq!(world.store.meta().unwrap().token, None);
    let Begin::Ask(request) = join::ask(&mut world.store, &code(), Some("http://sea/x/"), Secret([1; 32])).unwrap()
    else {
        panic!()
    };
    assert_eq!(request.url, "http://sea/x/v1/join");
}

#[test]
fn what_the_server_says_is_told_and_the_station_stays_as_it_was() {
    let reply = |status, body: &str| Reply { status, retry_after: None, body: body.as_bytes().to_vec() };
    let before = Problem::new(ProblemCode::JoinCodeUsed, "because").joined_before();
    for (reply, refused, says) in [
        (problem(ProblemCode::JoinCodeUsed), Some(RefusalKind::CodeUsed), "because"),
        (answer(403, &before), Some(RefusalKind::JoinedBefore), "because"),
        (problem(ProblemCode::JoinCodeExpired), Some(RefusalKind::CodeExpired), "because"),
        (problem(ProblemCode::JoinCodeUnknown), Some(RefusalKind::CodeUnknown), "because"),
        (problem(ProblemCode::CannotRejoin), Some(RefusalKind::OtherFile), "because"),
        (problem(ProblemCode::Revoked), Some(RefusalKind::Revoked), "because"),
        (problem(ProblemCode::StationsExhausted), Some(RefusalKind::NumbersExhausted), "because"),
        (problem(ProblemCode::UnknownSchema), Some(RefusalKind::Schema), "give the server this station's schema"),
        (problem(ProblemCode::BadRequest), Some(RefusalKind::Other), "because"),
        (problem(ProblemCode::Unavailable), None, "cannot answer now"),
        (problem(ProblemCode::Internal), None, "cannot answer now"),
        (reply(200, "<html>"), None, "not a Tidemark server's"),
        (reply(200, r#"{"station":0,"name":"x","limits":{}}"#), None, "not a Tidemark server's"),
        (reply(502, ""), None, "HTTP status 502"),
    ] {
        let mut world = World::new();
        ask(&mut world, 1);
        let error = join::hear(&mut world.store, 0, &reply).unwrap_err();
        let kind = if let JoinError::Refused(refusal) = &error { Some(refusal.kind) } else { None };
        assert_eq!(kind, refused, "{error}");
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
    let joined = join::hear(&mut world.store, 0, &reply).unwrap();
    assert!(joined.name.chars().count() <= 200 && !joined.name.contains('\u{1b}'));
    assert_eq!(world.store.status().unwrap().membership, Some(joined));
}
