//! The search for differences against a small upstream that leaves out, loses and lies as it is told.

use std::collections::BTreeSet;

use crate::common::upstream::{Rows, Upstream, rows_of, world};
use crate::common::{Fault, problem};
use tidemark_client::sync::{Clock as _, Config, Patience, StopKind, Transport as _};
use tidemark_client::verify::{Heard, Kind, Means, Outcome, Report, Search, Step, Wish, verify};
use tidemark_client::{Store, rusqlite};
use tidemark_core::digest::RowDigest;
use tidemark_core::identity::{Identity, Key};
use tidemark_core::limits::LISTED_ROWS_MAX;
use tidemark_core::protocol::ProblemCode;
use tidemark_core::survey::{Answer, DigestReply};
use tidemark_core::value::Value;

fn run(store: &mut Store, upstream: &mut Upstream, clock: &mut crate::common::TestClock, wish: &Wish) -> Outcome {
    let patience = Patience { failures: 4, wait_ms: 60_000 };
    let mut means = Means { transport: upstream, clock, patience, config: Config::interactive(1) };
    verify(store, &mut means, wish).unwrap()
}

#[track_caller]
fn compared(outcome: Outcome) -> Report {
    match outcome {
        Outcome::Compared { report, .. } => report,
        other => panic!("{other:?}"),
    }
}

const PUSH: Wish = Wish { table: None, push: true, repair: false, detailed: 5 };

/// Spoils some rows; what must be found.
fn spoil(rows: &mut Rows) -> BTreeSet<(usize, Identity, Kind)> {
    let all: Vec<_> = rows.keys().copied().collect();
    let mut wanted = BTreeSet::new();
    for (n, &(table, identity)) in all.iter().enumerate().filter(|(n, (table, _))| *table == 0 || n % 37 == 5) {
        let kind = [Kind::Missing, Kind::Changed, Kind::Extra][n % 3];
        match kind {
            Kind::Missing => drop(rows.remove(&(table, identity))),
            Kind::Changed => {
                *rows.get_mut(&(table, identity)).unwrap().last_mut().unwrap() = Value::Text("other".into())
            }
            Kind::Extra => {
                let Key::Integer(key) = identity.key else { panic!() };
                let extra = Identity { key: Key::Integer(key + 1_000_000), ..identity };
                rows.insert((table, extra), rows[&(table, identity)].clone());
                wanted.insert((table, extra, kind));
                continue;
            }
        }
        wanted.insert((table, identity, kind));
    }
    wanted
}

fn found(report: &Report) -> BTreeSet<(usize, Identity, Kind)> {
    let found: BTreeSet<_> = report.differences.iter().map(|row| (row.table, row.identity, row.kind)).collect();
    assert_eq!(found.len(), report.differences.len(), "each row is named once");
    found
}

#[test]
fn every_difference_is_found_whatever_a_reply_leaves_out() {
    for (answers_max, listed_max) in [(usize::MAX, LISTED_ROWS_MAX), (1, 5)] {
        let (mut store, mut upstream, mut clock, _folder) = world(1200);
        (upstream.answers_max, upstream.listed_max) = (answers_max, listed_max);
        let clean = compared(run(&mut store, &mut upstream, &mut clock, &PUSH));
        assert!(clean.is_equal() && clean.agreed == Some(upstream.server.cursor), "{clean:?}");
        assert_eq!(
            (clean.tables[1].rows, clean.tables[1].ranges),
            (1200, 25),
            "two years, begun in the middle of a month"
        );
        let wanted = spoil(&mut upstream.rows);
        assert!(wanted.len() > 30);
        let report = compared(run(&mut store, &mut upstream, &mut clock, &PUSH));
        assert_eq!(found(&report), wanted, "answers {answers_max}, listed {listed_max}");
        let detailed = report.differences.iter().filter(|row| !row.cells.is_empty()).count();
        assert!(detailed >= 1, "cells of the first ones are named");
        if listed_max == LISTED_ROWS_MAX {
            assert!(report.requests < 10, "{} requests", report.requests);
        }
    }
}

#[test]
fn rows_upstream_where_the_station_has_none_are_found() {
    let (mut store, mut upstream, mut clock, _folder) = world(100);
    let row = upstream.rows.iter().find(|((table, _), _)| *table == 1).unwrap().1.clone();
    let far = |time_us, key| (1, Identity { time_us, key: Key::Integer(key) });
    let ends = [far(i64::MIN, i64::MIN), far(-1, 0), far(4_000_000_000_000_000, 7), far(i64::MAX, i64::MAX)];
    upstream.rows.extend(ends.map(|place| (place, row.clone())));
    let report = compared(run(&mut store, &mut upstream, &mut clock, &PUSH));
    assert_eq!(found(&report), ends.into_iter().map(|(table, id)| (table, id, Kind::Extra)).collect());
    // A station without a row.
    store.connection().execute_batch("DROP TRIGGER tidemark_reading_after_delete; DELETE FROM reading").unwrap();
    let report = compared(run(&mut store, &mut upstream, &mut clock, &PUSH));
    assert_eq!((report.tables[1].rows, report.tables[1].extra), (0, 104));
}

#[test]
fn what_is_lost_is_asked_again() {
    let (mut store, mut upstream, mut clock, _folder) = world(500);
    let wanted = spoil(&mut upstream.rows);
    for n in 0..12 {
        // The first request asks where the server stands.
        upstream.server.faults = (0..n).map(|_| Fault::None).collect();
        upstream.server.faults.extend([
            Fault::LoseRequest,
            Fault::Timeout,
            Fault::Answer(problem(ProblemCode::Unavailable)),
        ]);
        let report = compared(run(&mut store, &mut upstream, &mut clock, &PUSH));
        assert_eq!(found(&report), wanted, "faults from request {n} on");
    }
}

#[test]
fn a_server_that_does_not_answer_or_answers_nonsense_is_given_up() {
    let nonsense: [fn(&mut DigestReply); 5] = [
        |reply| reply.answers.clear(),
        |reply| reply.answers.push(Answer::Digests(Vec::new())),
        |reply| reply.answers.iter_mut().for_each(|answer| *answer = Answer::Found(Vec::new())),
        |reply| reply.answers.iter_mut().for_each(|answer| *answer = Answer::Digests(vec![RowDigest::default(); 9999])),
        |reply| reply.answers = vec![Answer::Rows { rows: Vec::new(), more: false }],
    ];
    for twist in nonsense {
        let (mut store, mut upstream, mut clock, _folder) = world(50);
        upstream.twist = Box::new(twist);
        let outcome = run(&mut store, &mut upstream, &mut clock, &PUSH);
        let Outcome::Unreachable(message) = outcome else { panic!("{outcome:?}") };
        assert!(message.contains("something else than it was asked"), "{message}");
    }
    let (mut store, mut upstream, mut clock, _folder) = world(50);
    upstream.server.faults =
        [Fault::None, Fault::LoseReply, Fault::LoseReply, Fault::LoseReply, Fault::LoseReply].into();
    let before = clock.now_ms();
    assert!(matches!(run(&mut store, &mut upstream, &mut clock, &PUSH), Outcome::Unreachable(_)));
    assert!(clock.now_ms() > before, "it waited in between");
    for (code, kind) in [(ProblemCode::Revoked, StopKind::Revoked), (ProblemCode::NotFound, StopKind::Refused)] {
        upstream.server.faults = [Fault::None, Fault::Answer(problem(code))].into();
        let outcome = run(&mut store, &mut upstream, &mut clock, &PUSH);
        assert!(matches!(&outcome, Outcome::Stopped(stop) if stop.kind() == kind), "{outcome:?}");
    }
}

#[test]
fn another_history_is_a_fork_and_never_equal() {
    let (mut store, mut upstream, mut clock, _folder) = world(50);
    upstream.server.cursor.chain.0[0] ^= 1;
    let outcome = run(&mut store, &mut upstream, &mut clock, &PUSH);
    assert!(matches!(&outcome, Outcome::Stopped(stop) if stop.kind() == StopKind::Forked), "{outcome:?}");
    // A reply that follows another history than the cursor the server names when asked: one of both is wrong.
    let (mut store, mut upstream, mut clock, _folder) = world(50);
    upstream.twist = Box::new(|reply| reply.chain.0[0] ^= 1);
    let outcome = run(&mut store, &mut upstream, &mut clock, &PUSH);
    assert!(matches!(&outcome, Outcome::Unreachable(message) if message.contains("contradict")), "{outcome:?}");
}

#[test]
fn rows_written_meanwhile_are_on_their_way_and_no_difference() {
    let (mut store, mut upstream, mut clock, folder) = world(400);
    let path = folder.path().join("field.db");
    let mut turn = 0;
    upstream.meanwhile = Box::new(move || {
        turn += 1;
        let program = rusqlite::Connection::open(&path).unwrap();
        program.execute("UPDATE reading SET n = n + 1 WHERE id % 40 = ?1 % 40", [turn]).unwrap();
        program.execute("DELETE FROM reading WHERE id = ?1", [turn * 7]).unwrap();
        program.execute("INSERT INTO reading (site_id, at, n) VALUES (1, '2024-05-05', ?1)", [turn]).unwrap();
    });
    // One row differs all the time, and no change is of it.
    let lost = upstream.rows.keys().copied().find(|(table, _)| *table == 0).unwrap();
    upstream.rows.remove(&lost);
    (upstream.meanwhile)();
    let mut search = Search::new(&store, None, 0).unwrap();
    while let Step::Send(request) = search.ask(&mut store).unwrap() {
        let reply = upstream.send(&request).unwrap();
        assert_eq!(search.hear(&mut store, request.id, &reply).unwrap(), Heard::Progress);
    }
    let report = search.report();
    assert_eq!(found(&report), [(lost.0, lost.1, Kind::Missing)].into());
    assert!(report.tables[1].pending >= 12, "{report:?}");
    let wish = Wish { push: false, ..PUSH };
    let outcome = run(&mut store, &mut upstream, &mut clock, &wish);
    assert!(matches!(outcome, Outcome::Waiting(pending) if pending > 10), "{outcome:?}");
}

#[test]
fn rejected_rows_and_rows_that_cannot_travel_are_known() {
    let (mut store, mut upstream, mut clock, _folder) = world(60);
    store.execute("UPDATE reading SET n = 'many' WHERE id = 4", []).unwrap();
    store.execute("INSERT INTO reading (at, n) VALUES ('2024-01-01', 'none')", []).unwrap();
    store.execute("UPDATE reading SET n = 5 WHERE id = 9", []).unwrap();
    upstream.server.reject = vec![66];
    let report = compared(run(&mut store, &mut upstream, &mut clock, &PUSH));
    assert_eq!(report.differences, []);
    let table = &report.tables[1];
    assert_eq!((table.known, table.unsendable, table.rows), (2, 2, 59), "{table:?}");
}

#[test]
fn a_repair_is_logged_and_pushed_like_any_change() {
    let (mut store, mut upstream, mut clock, _folder) = world(300);
    let wanted = spoil(&mut upstream.rows);
    let before = store.last_seq().unwrap();
    let rows = rows_of(store.connection());
    let out_of_reach = (1, Identity { time_us: 0, key: Key::Integer(12) });
    let row = rows.values().last().unwrap().clone();
    upstream.rows.insert(out_of_reach, row);
    // The fake server applies nothing, so what was wrong stays so, and the repair is not tried for ever.
    let outcome = run(&mut store, &mut upstream, &mut clock, &Wish { repair: true, ..PUSH });
    let Outcome::Compared { report, repaired: Some(repaired) } = outcome else { panic!("{outcome:?}") };
    let extra = wanted.iter().filter(|(_, _, kind)| *kind == Kind::Extra).count() as u64;
    let sent = wanted.len() as u64 - extra;
    assert_eq!((repaired.rewritten, repaired.removed, repaired.out_of_reach), (sent, extra, 1));
    assert_eq!((store.last_seq().unwrap(), upstream.server.cursor.seq), (before + sent + extra, before + sent + extra));
    assert_eq!(report.found(), repaired.differences);
    assert_eq!(rows_of(store.connection()), rows, "no row of the station changed");
}
