//! Nothing that a page shows tells a person to run a command on this device.

use rusqlite::Connection;
use tidemark_client::Secret;
use tidemark_client::sync::join::{self, Begin};
use tidemark_client::sync::{Action, Event, Reply, Stop, StopKind};
use tidemark_client::trust::Trust;
use tidemark_core::chain::Chain;
use tidemark_core::ids::StationNumber;
use tidemark_core::joincode::{JoinCode, Pin};
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{JoinReply, Problem, ProblemCode, StationReply, UnavailableReason};
use tidemark_wasm::error::{Code, Failure};
use tidemark_wasm::session::{Options, Session};
use tidemark_wasm::words;

fn session() -> Session {
    let schema =
        "name = 'weather'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\nraw = { type = 'bytes' }";
    let options =
        Options { name: "field".into(), schema: Some(schema.into()), server: None, uuid: [7; 16], seed: 1, now_ms: 0 };
    Session::open(Connection::open_in_memory().unwrap(), &options).unwrap()
}

fn answer(status: u16, body: &impl serde::Serialize) -> Reply {
    Reply { status, retry_after: None, body: serde_json::to_vec(body).unwrap() }
}

fn number() -> StationNumber {
    StationNumber::new(3).unwrap()
}

#[test]
fn a_code_with_a_pin_is_taken_and_the_pin_passed_over() {
    let mut session = session();
    let pin = Some(Pin([7; 32]));
    let code = JoinCode { url: "https://hq.example".into(), secret: [9; 32], pin }.encode();
    let Begin::Ask(request) = join::ask(&mut session.store, &code, None, Secret([5; 32])).unwrap() else { panic!() };
    assert_eq!(request.url, "https://hq.example/v1/join");
    assert_eq!(session.store.trust().unwrap(), Trust::System);
}

fn joined() -> Session {
    let mut session = session();
    let code = JoinCode { url: "http://127.0.0.1:1".into(), secret: [9; 32], pin: None }.encode();
    let Begin::Ask(_) = join::ask(&mut session.store, &code, None, Secret([5; 32])).unwrap() else { panic!() };
    let reply = JoinReply { station: number(), name: "alpha".into(), limits: FrameLimits::DEFAULT };
    join::hear(&mut session.store, 0, &answer(200, &reply)).unwrap();
    session.insert("site", &[("raw".into(), vec![0_u8; 9].into())]).unwrap();
    session
}

/// Lets the engine ask, and answers with this.
fn stop_after(mut session: Session, reply: &Reply) -> Stop {
    for now_ms in (0..).step_by(1_000_000) {
        let id = match session.engine.next(&mut session.store, now_ms).unwrap() {
            Action::Send(request) => request.id,
            Action::UnderWay(_) => unreachable!("nothing was sent early"),
            Action::Stopped(stop) => return stop,
            other => panic!("{other:?}"),
        };
        if let Event::Stopped(stop) = session.engine.on_reply(&mut session.store, now_ms, id, reply).unwrap() {
            return stop;
        }
    }
    unreachable!()
}

#[track_caller]
fn assert_said(stop: &Stop, kind: StopKind, says: &str) {
    assert_eq!(stop.kind(), kind, "{stop}");
    let said = words::stop(stop);
    assert!(said.contains(says), "{said}");
    assert!(!said.contains("`tidemark ") && !said.contains("--"), "{said}");
}

#[test]
fn stops_say_what_to_do_in_a_page() {
    use StopKind as K;
    let problem = |code: ProblemCode| answer(code.status(), &Problem::new(code, "because"));
    assert_said(&stop_after(session(), &Reply::default()), K::NotJoined, "join one with a code");
    assert_said(&stop_after(joined(), &problem(ProblemCode::Revoked)), K::Revoked, "nothing is lost");
    assert_said(&stop_after(joined(), &problem(ProblemCode::Unauthorized)), K::Unauthorized, "token");
    assert_said(&stop_after(joined(), &problem(ProblemCode::WrongStation)), K::WrongStation, "another station");
    assert_said(
        &stop_after(joined(), &problem(ProblemCode::NotFound)),
        K::Refused,
        "is the page opened with the right one?",
    );
    assert_said(&stop_after(joined(), &Reply { status: 302, ..Reply::default() }), K::Refused, "right one");
    assert_said(&stop_after(joined(), &problem(ProblemCode::BadFrame)), K::Refused, "4 times in a row");
    assert_said(&stop_after(joined(), &problem(ProblemCode::TooLarge)), K::TooLarge, "change 1 alone is more");
    let mut asked = joined();
    asked.engine.ask();
    let station = StationReply {
        station: number(),
        name: "alpha".into(),
        tidemark: 1,
        chain: Chain([1; 32]),
        limits: FrameLimits::DEFAULT,
        server_time_ms: 0,
    };
    assert_said(
        &stop_after(asked, &answer(200, &station)),
        K::Forked,
        "export the database, and ask the server's operator",
    );
    let edited = joined();
    edited.store.execute("UPDATE tidemark_log SET seq = 5", []).unwrap();
    assert_said(
        &stop_after(edited, &Reply::default()),
        K::Tampered,
        "export the database, and ask the server's operator",
    );
}

#[test]
fn a_code_that_is_not_taken_says_why_to_programs_and_to_people() {
    let problem = |code: ProblemCode| answer(code.status(), &Problem::new(code, "because"));
    let before = answer(403, &Problem::new(ProblemCode::JoinCodeUsed, "because").joined_before());
    let code = JoinCode { url: "http://127.0.0.1:1".into(), secret: [9; 32], pin: None }.encode();
    let refused = |code: &str, reply: &Reply| -> Failure {
        let mut session = session();
        match join::ask(&mut session.store, code, None, Secret([5; 32])) {
            Ok(_) => join::hear(&mut session.store, 0, reply).unwrap_err().into(),
            Err(error) => error.into(),
        }
    };
    for (failure, code, reason) in [
        (refused("nonsense", &Reply::default()), Code::Join, Some("form")),
        (refused(&code[..code.len() - 2], &Reply::default()), Code::Join, Some("damaged")),
        (refused(&code, &problem(ProblemCode::JoinCodeUnknown)), Code::Join, Some("unknown")),
        (refused(&code, &problem(ProblemCode::JoinCodeUsed)), Code::Join, Some("used")),
        (refused(&code, &problem(ProblemCode::JoinCodeExpired)), Code::Join, Some("expired")),
        (refused(&code, &problem(ProblemCode::Revoked)), Code::Join, Some("revoked")),
        (refused(&code, &problem(ProblemCode::CannotRejoin)), Code::Join, Some("other-file")),
        (refused(&code, &problem(ProblemCode::UnknownSchema)), Code::Join, Some("schema")),
        (refused(&code, &before), Code::Join, Some("joined-before")),
        (refused(&code, &problem(ProblemCode::StationsExhausted)), Code::Join, None),
        (refused(&code, &problem(ProblemCode::Unavailable)), Code::Unreachable, None),
    ] {
        assert_eq!((failure.code, failure.reason), (code, reason), "{failure}");
        assert!(!failure.message.contains("`tidemark "), "{failure}");
    }
}

#[test]
fn what_a_page_waits_for_is_said_by_its_reason() {
    use UnavailableReason as Reason;
    let said = |problem: &Problem| {
        let mut session = joined();
        let Action::Send(request) = session.engine.next(&mut session.store, 0).unwrap() else { panic!() };
        let reply = answer(problem.status, problem);
        session.engine.on_reply(&mut session.store, 0, request.id, &reply).unwrap();
        session.status().unwrap().last_error.clone().unwrap()
    };
    for (reason, word) in [
        (Reason::ServerBusy, "as much to do"),
        (Reason::ServerStopping, "being stopped"),
        (Reason::DatabaseAway, "does not reach"),
        (Reason::DatabaseStarting, "has started"),
        (Reason::DatabaseReadOnly, "takes no writes"),
        (Reason::DatabaseFull, "without room"),
        (Reason::DatabaseLocked, "lock"),
        (Reason::DatabaseBusy, "free connection"),
        (Reason::DatabaseFault, "fault of its own"),
        (Reason::DatabaseDiffers, "as its schema wants it"),
        (Reason::Other, "the server answered: because"),
    ] {
        let said = said(&Problem::unavailable(reason, "because"));
        assert!(said.contains(word) && !said.contains("`tidemark"), "{said}");
    }
    assert!(said(&Problem::new(ProblemCode::TooManyRequests, "because")).contains("asked too often"));
}

#[test]
fn the_operators_own_command_is_told() {
    let problem = answer(409, &Problem::new(ProblemCode::UnknownSchema, "because"));
    let stop = stop_after(joined(), &problem);
    let said = words::stop(&stop);
    assert!(
        said.contains("(there: `tidemark-server migrate up --schema FILE`)") && !said.contains("`tidemark "),
        "{said}"
    );
}

#[test]
fn what_a_command_line_kept_of_a_fork_is_said_in_a_page_without_a_command() {
    let session = joined();
    let kept = "forked: the server has lost changes. Nothing was sent or trimmed, all rows and changes are still here. What to do: put the file or the \
                server's database back to the state that fits, then run `tidemark push`, which asks the server again. Or let this file go on under \
                a new number: ask the server's operator for a code, made with `tidemark-server station add NAME --replaces \"alpha\"` if this is the \
                only copy in use, or with `tidemark-server station add NAME` if another copy goes on as \"alpha\", and run `tidemark rejoin CODE`";
    session.store.execute("UPDATE tidemark_station SET forked = ?1", [kept]).unwrap();
    let stop = stop_after(session, &Reply::default());
    assert_said(&stop, StopKind::Forked, "forked: the server has lost changes. Nothing was sent or trimmed");
    assert_said(&stop, StopKind::Forked, "What to do: export the database, and ask the server's operator");
}

#[test]
fn the_file_keeps_a_stop_in_the_pages_words() {
    let mut session = joined();
    let Action::Send(request) = session.engine.next(&mut session.store, 0).unwrap() else { panic!() };
    session.engine.on_reply(&mut session.store, 0, request.id, &Reply { status: 302, ..Reply::default() }).unwrap();
    let kept = session.status().unwrap().last_error.clone().unwrap();
    assert!(kept.contains("is the page opened with the right one?") && !kept.contains("`tidemark "), "{kept}");
}
