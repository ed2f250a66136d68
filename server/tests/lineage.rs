//! The contract of lines of stations, run against every store: history, forks, and files that go on under another
//! number.

use crate::common::station::{Change, Station, day, text};
use crate::common::stores::{POISON, Store};
use crate::common::{NOON_MS, contract};
use tidemark_core::batch::Op;
use tidemark_core::chain::Print;
use tidemark_core::decision::Cursor;
use tidemark_core::protocol::{ProblemCode, Remedy};
use tidemark_core::value::Value;
use tidemark_server::config::ClockWindow;
use tidemark_server::ingest::replay::replay_all;
use tidemark_server::ledger::lineage::{Former, Parting};
use tidemark_server::ledger::rejects::{RejectFilter, RejectState};
use tidemark_server::rejoin::{RejoinAsk, RejoinOutcome, ReplacementOutcome};
use tidemark_server::stations::{JoinAsk, JoinOutcome, NewStation, RotateOutcome};

contract! {
    every_applied_change_leaves_its_print_once,
    forks_are_seen_and_kept_even_wholly_before_the_tidemark,
    rejoining_is_idempotent_and_says_what_is_in_the_way,
    a_file_beside_its_original_references_shared_rows_and_writes_none,
    a_file_that_replaces_owns_what_its_line_wrote,
    a_row_the_lost_life_moved_in_time_is_there_once,
    a_row_the_lost_life_moved_stays_whole_beside_rows_that_are_refused,
    a_replaced_number_writes_nothing_more,
    rejects_of_a_replaced_number_are_its_successors_to_write,
    what_a_successor_wrote_makes_its_lines_rejects_old,
    a_token_ends_at_once_and_the_station_takes_another,
    a_revoked_number_can_be_replaced_or_let_in_again_and_a_replaced_one_not,
}

fn hash(of: &str) -> [u8; 32] {
    *blake3::hash(of.as_bytes()).as_bytes()
}

fn invitation(name: &str) -> NewStation {
    NewStation {
        name: name.to_owned(),
        code_hash: hash(&format!("code of {name}")),
        code_expires_at_ms: NOON_MS + 1000,
        now_ms: NOON_MS,
    }
}

/// What the file of `old` asks, having parted from it where `old` stands here.
fn ask(old: &Station, old_name: &str, server: Cursor, common: u64, new: &str) -> RejoinAsk {
    RejoinAsk {
        join: JoinAsk {
            code_hash: hash(&format!("code of {new}")),
            uuid: hash(&format!("uuid of {new}"))[..16].try_into().unwrap(),
            token_hash: hash(&format!("token of {new}")),
            now_ms: NOON_MS,
        },
        former: old.number,
        former_name: old_name.to_owned(),
        cursor: server,
        parting: Parting { common, next: None },
        must_replace: false,
    }
}

const fn cursor(station: &Station) -> Cursor {
    Cursor { seq: station.seq, chain: station.chain }
}

/// The file of `old` goes on as a new station, from where `old` stands here.
async fn rejoined(store: &Store, old: &Station, old_name: &str, new: &str, replaces: bool) -> Station {
    if replaces {
        let outcome = store.upstream.add_replacement(&invitation(new), old_name).await.unwrap();
        assert_eq!(outcome, ReplacementOutcome::Added);
    } else {
        assert!(store.upstream.add_station(&invitation(new)).await.unwrap());
    }
    let ask = ask(old, old_name, cursor(old), old.seq, new);
    match store.upstream.rejoin(&ask).await.unwrap() {
        RejoinOutcome::Rejoined { number, replaces: said, .. } if said == replaces => {
            Station::new(&store.schema, number.get(), ask.join.uuid)
        }
        other => panic!("{other:?}"),
    }
}

async fn every_applied_change_leaves_its_print_once(store: &Store) {
    let mut station = store.join("north").await;
    let mut prints: Vec<Print> = Vec::new();
    let mut remember = |station: &mut Station, sites: std::ops::RangeInclusive<i64>| {
        let changes: Vec<_> = sites.map(|site| station.site(site)).collect();
        let batch = station.cut(&changes);
        prints.extend(batch.prints(&station.schema).0);
        batch
    };
    let before = station.clone();
    let first = remember(&mut station, 1..=3);
    store.pushed(&first).await;
    let second = remember(&mut station, 4..=8);
    store.pushed(&second).await;
    // Again, and again with more behind.
    store.pushed(&second).await;
    let third = remember(&mut station, 9..=9);
    let all: Vec<_> = (1..=9).map(|site| before.site(site)).collect();
    store.pushed(&before.peek(&all)).await;
    assert_eq!(third.chain_after, station.chain);
    let page = async |after, limit| store.upstream.history(station.number, after, limit).await.unwrap().unwrap();
    let whole = page(0, 100).await;
    assert_eq!((whole.cursor, whole.first_seq, &whole.prints), (cursor(&station), 1, &prints));
    for (after, limit) in [(0, 2), (2, 3), (3, 100), (5, 1), (8, 100)] {
        let page = page(after, limit).await;
        let from = after as usize;
        assert_eq!(page.first_seq, after + 1);
        assert_eq!(page.prints[..], prints[from..from + page.prints.len()], "{after}");
        assert!(!page.prints.is_empty() && page.prints.len() <= limit);
    }
    assert_eq!(page(9, 100).await.prints, Vec::<Print>::new());
    assert_eq!(page(i64::MAX as u64 - 1, 100).await.prints, Vec::<Print>::new());
    let nobody = tidemark_core::ids::StationNumber::new(77).unwrap();
    assert_eq!(store.upstream.history(nobody, 0, 100).await.unwrap(), None);
}

async fn forks_are_seen_and_kept_even_wholly_before_the_tidemark(store: &Store) {
    let mut station = store.join("north").await;
    let mut other = station.clone();
    store.pushed(&station.cut(&[station.site(1), station.site(2), station.site(3)])).await;
    assert_eq!(store.upstream.lineages().await.unwrap(), []);
    let elapsed = std::cell::Cell::new(0);
    let fork = async |batch| {
        let problem = store.push(&batch).await.unwrap_err();
        assert_eq!((problem.code, problem.tidemark), (ProblemCode::Forked, Some(3)));
        let lines = store.upstream.lineages().await.unwrap();
        let fork = lines[0].fork.unwrap();
        assert_eq!((lines.len(), lines[0].former, fork.seen_at_ms), (1, None, NOON_MS + elapsed.get()));
        fork.seq
    };
    // All of it lies before the tidemark: only its prints tell.
    let early = other.cut(&[other.site(7)]);
    assert_eq!(fork(early).await, 1);
    store.clock.forward_ms(5000);
    elapsed.set(5000);
    let late = other.cut(&[other.site(8), other.site(9), other.site(10)]);
    assert_eq!(fork(late).await, 3);
    let rows: Vec<_> = (1..=3).map(|n| station.site(n).values).collect();
    store.has(&station, "site", &rows).await;
}

async fn rejoining_is_idempotent_and_says_what_is_in_the_way(store: &Store) {
    let mut station = store.join("north").await;
    store.pushed(&station.cut(&[station.site(1), station.site(2)])).await;
    let upstream = &store.upstream;
    let here = cursor(&station);
    let rejoin = async |ask: &RejoinAsk| upstream.rejoin(ask).await.unwrap();
    let replace = async |new: &str, old: &str| upstream.add_replacement(&invitation(new), old).await.unwrap();
    assert_eq!(replace("a", "nobody").await, ReplacementOutcome::NoSuchStation);
    assert_eq!(replace("a", "north").await, ReplacementOutcome::Added);
    assert_eq!(replace("a", "north").await, ReplacementOutcome::NameTaken);
    assert_eq!(replace("b", "a").await, ReplacementOutcome::NoSuchStation, "it has not joined");
    assert_eq!(replace("second", "north").await, ReplacementOutcome::Added);
    assert!(upstream.add_station(&invitation("plain")).await.unwrap());
    let mut asked = ask(&station, "north", here, 1, "a");
    asked.parting.next = Some(tidemark_core::chain::Chain([5; 32]));

    assert_eq!(rejoin(&ask(&station, "north", here, 1, "unheard of")).await, RejoinOutcome::Unknown);
    let join = JoinAsk { uuid: [3; 16], ..asked.join.clone() };
    assert_eq!(upstream.join(&join).await.unwrap(), JoinOutcome::ForRejoin("north".into()));
    let behind = Cursor { seq: 1, ..here };
    assert_eq!(rejoin(&RejoinAsk { cursor: behind, ..asked.clone() }).await, RejoinOutcome::Moved(here));
    let stranger = RejoinAsk { former_name: "south".into(), ..asked.clone() };
    assert_eq!(rejoin(&stranger).await, RejoinOutcome::ReplacesAnother("north".into()));
    let rows = RejoinAsk { must_replace: true, ..ask(&station, "north", here, 1, "plain") };
    assert_eq!(rejoin(&rows).await, RejoinOutcome::MustReplace);
    let late = JoinAsk { now_ms: NOON_MS + 1000, ..asked.join.clone() };
    assert_eq!(rejoin(&RejoinAsk { join: late, ..asked.clone() }).await, RejoinOutcome::Expired);
    assert_eq!(upstream.lineages().await.unwrap(), [], "nothing of that left a trace");

    let first = rejoin(&asked).await;
    let RejoinOutcome::Rejoined { number, ref name, replaces: true } = first else { panic!("{first:?}") };
    assert_eq!((number.get(), name.as_str()), (2, "a"));
    assert_eq!(rejoin(&asked).await, first, "a lost reply is repaired by asking again");
    let later = JoinAsk { now_ms: NOON_MS + 5000, ..asked.join.clone() };
    assert_eq!(rejoin(&RejoinAsk { join: later, ..asked.clone() }).await, first);
    let other_file = JoinAsk { uuid: [9; 16], ..asked.join.clone() };
    assert_eq!(rejoin(&RejoinAsk { join: other_file, ..asked.clone() }).await, RejoinOutcome::Used);
    assert_eq!(rejoin(&ask(&station, "north", here, 1, "second")).await, RejoinOutcome::AlreadyReplaced);
    assert_eq!(replace("c", "north").await, ReplacementOutcome::Gone);
    assert_eq!(upstream.replaced_by(station.number).await.unwrap(), Some("a".into()));
    assert_eq!(upstream.replaced_by(number).await.unwrap(), None);
    let lines = upstream.lineages().await.unwrap();
    assert_eq!((lines.len(), lines[0].station), (1, number));
    assert_eq!(lines[0].former, Some(Former { number: station.number, owned: true }));
    // Another copy may go on beside, from elsewhere or with other changes; the same changes go on once.
    let again = RejoinAsk { parting: asked.parting, ..ask(&station, "north", here, 1, "plain") };
    assert_eq!(rejoin(&again).await, RejoinOutcome::Continued("a".into()));
    let elsewhere = RejoinAsk { parting: Parting { common: 2, ..asked.parting }, ..again };
    let beside = rejoin(&elsewhere).await;
    assert!(
        matches!(beside, RejoinOutcome::Rejoined { number, replaces: false, .. } if number.get() == 3),
        "{beside:?}"
    );
    let new = upstream.cursor(number).await.unwrap().unwrap();
    assert_eq!((new.seq, new.chain), (0, tidemark_core::chain::Chain::start(asked.join.uuid)));
}

async fn a_file_beside_its_original_references_shared_rows_and_writes_none(store: &Store) {
    let mut station = store.join("north").await;
    let uid = [9; 16];
    let shared = [station.site(1), station.reading(1, day(1), &[]), station.tag(Op::Insert, uid, "shared")];
    store.pushed(&station.cut(&shared)).await;
    let mut new = rejoined(store, &station, "north", "beside", false).await;
    let own = new.reading(1, day(1), &[("site_id", station.id(1))]);
    let changes = [
        own.clone(),
        station.update("site", 1, &[("name", text("not its own"))]),
        station.delete_at("reading", 1, day(1)),
        station.site(2),
        new.tag(Op::Update, uid, "not its own"),
        new.tag(Op::Delete, uid, ""),
        new.insert("site", 5, &[("name", text("sea")), ("parent_id", station.id(1))]),
    ];
    let refused = store.pushed(&new.cut(&changes)).await;
    assert_eq!(refused, [(2, "owner"), (3, "owner"), (4, "owner"), (5, "owner"), (6, "owner")]);
    store.has(&station, "site", &[shared[0].values.clone()]).await;
    store.has(&station, "reading", &[shared[1].values.clone()]).await;
    store.has(&station, "tag", &[shared[2].values.clone()]).await;
    store.has(&new, "reading", &[own.values]).await;
    store.has(&new, "site", &[changes[6].values.clone()]).await;
    // The original goes on, and may not reference what came after.
    let theirs = [station.site(2), station.reading(2, day(1), &[("site_id", new.id(5))])];
    assert_eq!(store.pushed(&station.cut(&theirs)).await, [(5, "id-range")]);
}

async fn a_file_that_replaces_owns_what_its_line_wrote(store: &Store) {
    let mut first = store.join("first").await;
    let uid = [7; 16];
    let shared = [first.site(1), first.site(2), first.tag(Op::Insert, uid, "first")];
    store.pushed(&first.cut(&shared)).await;
    let mut second = rejoined(store, &first, "first", "second", true).await;
    let edited = first.update("site", 1, &[("name", text("edited"))]);
    let changes = [edited.clone(), first.delete("site", 2), second.tag(Op::Update, uid, "second"), second.site(1)];
    assert!(store.pushed(&second.cut(&changes)).await.is_empty());
    store.has(&second, "site", &[edited.values.clone(), second.site(1).values]).await;
    store.has(&second, "tag", &[second.tag(Op::Update, uid, "second").values]).await;
    store.has(&first, "site", &[]).await;
    // And so on: who replaces the second owns the first's rows, too; who goes on beside it owns neither's.
    let mut third = rejoined(store, &second, "second", "third", true).await;
    let again = first.update("site", 1, &[("name", text("again"))]);
    let changes = [again.clone(), second.delete("site", 1), third.tag(Op::Delete, uid, "")];
    assert!(store.pushed(&third.cut(&changes)).await.is_empty());
    store.has(&third, "site", &[again.values]).await;
    let mut beside = rejoined(store, &third, "third", "beside", false).await;
    let changes = [
        first.update("site", 1, &[("name", text("no"))]),
        second.site(1),
        beside.reading(1, day(1), &[("site_id", first.id(1))]),
    ];
    assert_eq!(store.pushed(&beside.cut(&changes)).await, [(1, "owner"), (2, "owner")]);
}

async fn a_row_the_lost_life_moved_in_time_is_there_once(store: &Store) {
    let mut station = store.join("north").await;
    let written = [1, 2, 3].map(|n| station.reading(n, day(1), &[]));
    store.pushed(&station.cut(&written)).await;
    let moves: Vec<_> =
        (1..=3).flat_map(|n| [station.delete_at("reading", n, day(1)), station.reading(n, day(-40), &[])]).collect();
    assert!(store.pushed(&station.cut(&moves)).await.is_empty());
    let mut new = rejoined(store, &station, "north", "again", true).await;
    // The file knows nothing of that: it edits one where it was, moves one elsewhere, and deletes one.
    let edited = station.reading(1, day(1), &[("count", Value::Integer(5))]);
    let moved = station.reading(2, day(-80), &[]);
    let changes = [
        Change { op: Op::Update, ..edited.clone() },
        station.delete_at("reading", 2, day(1)),
        moved.clone(),
        station.delete_at("reading", 3, day(1)),
    ];
    assert!(store.pushed(&new.cut(&changes)).await.is_empty());
    store.has(&new, "reading", &[edited.values, moved.values]).await;
    store.has(&station, "reading", &[]).await;
}

async fn a_row_the_lost_life_moved_stays_whole_beside_rows_that_are_refused(store: &Store) {
    let mut station = store.join("north").await;
    let written = [1, 2, 3].map(|n| station.reading(n, day(1), &[]));
    store.pushed(&station.cut(&written)).await;
    let moves: Vec<_> =
        (1..=3).flat_map(|n| [station.delete_at("reading", n, day(1)), station.reading(n, day(-40), &[])]).collect();
    store.pushed(&station.cut(&moves)).await;
    let mut new = rejoined(store, &station, "north", "again", true).await;
    let poisoned = |n| station.reading(n, day(1), &[("note", text(POISON))]);
    let edited = station.reading(1, day(1), &[("count", Value::Integer(5))]);
    // Beside a row that the database refuses, the moved one comes back to its place; refused itself, it stays where it
    // was moved.
    let batch = new.cut(&[
        Change { op: Op::Update, ..edited.clone() },
        new.reading(9, day(2), &[("note", text(POISON))]),
        Change { op: Op::Update, ..poisoned(2) },
        station.delete_at("reading", 5, day(3)),
    ]);
    assert_eq!(store.pushed(&batch).await, [(2, "constraint"), (3, "constraint")]);
    let alone = new.cut(&[Change { op: Op::Update, ..poisoned(3) }]);
    assert_eq!(store.pushed(&alone).await, [(5, "constraint")]);
    store.has(&new, "reading", &[edited.values]).await;
    store.has(&station, "reading", &[2, 3].map(|n| station.reading(n, day(-40), &[]).values)).await;
    // And the store goes on.
    let mut south = store.join("south").await;
    assert!(store.pushed(&south.cut(&[south.site(1)])).await.is_empty());
}

async fn a_replaced_number_writes_nothing_more(store: &Store) {
    let mut station = store.join("north").await;
    store.pushed(&station.cut(&[station.site(1)])).await;
    let _new = rejoined(store, &station, "north", "again", true).await;
    // On its way when that happened: the server had let it in.
    let problem = store.push(&station.cut(&[station.site(2)])).await.unwrap_err();
    assert_eq!(problem.code, ProblemCode::Revoked);
    assert!(problem.detail.contains("\"again\""), "{problem:?}");
    assert_eq!(problem.remedy.as_deref(), Some(&Remedy::RejoinBeside { station: "again".into() }), "{problem:?}");
    store.has(&station, "site", &[station.site(1).values]).await;
}

/// Replays every reject of a number: how many were applied, and why the others were not.
async fn replayed(store: &Store, of: &Station) -> (u64, Vec<(u64, String)>) {
    let all = RejectFilter { station: Some(of.number), ..RejectFilter::default() };
    let upstream = store.upstream.as_ref();
    let done =
        replay_all(upstream, &store.schema, &all, Some(ClockWindow::DEFAULT), "anna", NOON_MS + 5000).await.unwrap();
    (done.applied, done.still_open.into_iter().map(|open| (open.seq, open.code)).collect())
}

/// Seq and state of a number's rejects.
async fn reject_states(store: &Store, of: &Station) -> Vec<(u64, RejectState)> {
    store.rejects(of.number).await.iter().map(|reject| (reject.seq, reject.state)).collect()
}

async fn rejects_of_a_replaced_number_are_its_successors_to_write(store: &Store) {
    let mut north = store.join("north").await;
    let maker = north.clone();
    let bad = |n: i64| maker.reading(n, day(1), &[("note", text(POISON))]);
    let remark = maker.insert("remark", 1, &[("reading_id", maker.id(1))]);
    let lost = north.cut(&[bad(1), remark.clone(), bad(2)]);
    assert_eq!(store.pushed(&lost).await, [(1, "constraint"), (2, "parent"), (3, "constraint")]);
    let second = rejoined(store, &north, "north", "second", true).await;
    let mut third = rejoined(store, &second, "second", "third", true).await;
    assert!(store.pushed(&third.cut(&[third.site(1)])).await.is_empty());
    let stood = store.upstream.cursor(third.number).await.unwrap();
    // What the lost life alone had is not lost: it is brought in, by who writes in its place.
    assert_eq!(
        replayed(store, &north).await,
        (0, vec![(1, "constraint".to_owned()), (2, "parent".to_owned()), (3, "constraint".to_owned())])
    );
    store.allow_poison().await;
    assert_eq!(replayed(store, &north).await, (3, vec![]));
    store.has(&third, "reading", &[bad(1).values, bad(2).values]).await;
    store.has(&third, "remark", &[remark.values]).await;
    for ended in [&north, &second] {
        store.has(ended, "reading", &[]).await;
        store.has(ended, "remark", &[]).await;
    }
    assert_eq!(replayed(store, &north).await, (0, vec![]));
    assert_eq!(store.upstream.cursor(third.number).await.unwrap(), stood, "a replay moves no cursor");
    // Beside an original that lives on, rejects stay the original's.
    let mut south = store.join("south").await;
    let sites = [south.insert("site", 1, &[("name", text("pond")), ("parent_id", south.id(9))])];
    assert_eq!(store.pushed(&south.cut(&sites)).await, [(1, "reference")]);
    let _beside = rejoined(store, &south, "south", "beside", false).await;
    let parent = south.site(9);
    assert!(store.pushed(&south.cut(std::slice::from_ref(&parent))).await.is_empty());
    assert_eq!(replayed(store, &south).await, (1, vec![]));
    store.has(&south, "site", &[sites[0].values.clone(), parent.values]).await;
}

async fn what_a_successor_wrote_makes_its_lines_rejects_old(store: &Store) {
    let mut north = store.join("north").await;
    let maker = north.clone();
    let good = |n: i64| maker.reading(n, day(1), &[]);
    let bad = |n: i64| Change { op: Op::Update, ..maker.reading(n, day(1), &[("note", text(POISON))]) };
    let uid = [9; 16];
    let mut orphan = maker.tag(Op::Insert, uid, "orphan");
    orphan.values[2] = maker.id(7);
    assert!(store.pushed(&north.cut(&[good(1), good(2), good(3), good(4)])).await.is_empty());
    let refused = north.cut(&[bad(1), bad(2), bad(3), bad(4), orphan]);
    let codes = [(5, "constraint"), (6, "constraint"), (7, "constraint"), (8, "constraint"), (9, "reference")];
    assert_eq!(store.pushed(&refused).await, codes);
    let mut second = rejoined(store, &north, "north", "second", true).await;
    // The second deletes one, and moves another in time; the third, in its place, writes a third one and deletes the
    // tag.
    let moved = maker.reading(2, day(-40), &[]);
    let changes = [maker.delete_at("reading", 1, day(1)), maker.delete_at("reading", 2, day(1)), moved.clone()];
    assert!(store.pushed(&second.cut(&changes)).await.is_empty());
    let mut third = rejoined(store, &second, "second", "third", true).await;
    let edited = Change { op: Op::Update, ..maker.reading(3, day(1), &[("count", Value::Integer(5))]) };
    assert!(store.pushed(&third.cut(&[edited.clone(), maker.tag(Op::Delete, uid, "")])).await.is_empty());
    store.allow_poison().await;
    assert_eq!(replayed(store, &north).await, (1, vec![]), "only the row that none of them touched");
    let old = |seq| (seq, RejectState::Superseded);
    assert_eq!(reject_states(store, &north).await, [old(5), old(6), old(7), (8, RejectState::Replayed), old(9)]);
    store.has(&second, "reading", &[moved.values]).await;
    store.has(&third, "reading", &[edited.values, bad(4).values]).await;
    store.has(&north, "reading", &[]).await;
    for station in [&north, &second, &third] {
        store.has(station, "tag", &[]).await;
    }
}

/// Another code for a station.
fn renewal(name: &str, code: &str) -> NewStation {
    NewStation { code_hash: hash(code), ..invitation(name) }
}

async fn a_token_ends_at_once_and_the_station_takes_another(store: &Store) {
    let mut north = store.join("north").await;
    let south = store.join("south").await;
    assert!(store.pushed(&north.cut(&[north.site(1)])).await.is_empty());
    let upstream = &store.upstream;
    let old = hash("token of north");
    // Whether a token is known, and whether it opens anything.
    let opens = async |token: [u8; 32]| {
        let found = upstream.station_by_token(token).await.unwrap();
        found.map(|station| (station.number, station.takes(&token)))
    };
    assert_eq!(opens(old).await, Some((Some(north.number), true)));
    assert_eq!(upstream.rotate_station(&renewal("nobody", "x")).await.unwrap(), RotateOutcome::NoSuchStation);
    let rotated = RotateOutcome::Rotated(north.number);
    assert_eq!(upstream.rotate_station(&renewal("north", "first")).await.unwrap(), rotated);
    assert_eq!(opens(old).await, Some((Some(north.number), false)));
    // A second code ends the first.
    assert_eq!(upstream.rotate_station(&renewal("north", "second")).await.unwrap(), rotated);
    let (number, uuid) = (north.number, north.uuid);
    let ask =
        |code: &str, token: &str| JoinAsk { code_hash: hash(code), uuid, token_hash: hash(token), now_ms: NOON_MS };
    let renew = async |ask: &JoinAsk| upstream.renew(ask, number).await.unwrap();
    assert_eq!(renew(&ask("first", "new")).await, JoinOutcome::Unknown);
    let other_file = JoinAsk { uuid: south.uuid, ..ask("second", "thief") };
    assert_eq!(renew(&other_file).await, JoinOutcome::Used);
    assert_eq!(upstream.renew(&ask("second", "new"), south.number).await.unwrap(), JoinOutcome::Used);
    let late = JoinAsk { now_ms: NOON_MS + 1000, ..ask("second", "new") };
    assert_eq!(renew(&late).await, JoinOutcome::Expired);
    // The token that ended is no new one.
    renew(&ask("second", "token of north")).await;
    assert_eq!(opens(old).await, Some((Some(north.number), false)));

    let joined = JoinOutcome::Joined { number: north.number, name: "north".to_owned() };
    assert_eq!(renew(&ask("second", "new")).await, joined);
    assert_eq!(opens(hash("new")).await, Some((Some(north.number), true)));
    assert_eq!(opens(old).await, Some((Some(north.number), false)), "a copy of the file is told, and let in no more");
    assert_eq!(renew(&late).await, joined, "a lost reply is repaired by asking again");
    assert_eq!(renew(&ask("second", "thief")).await, JoinOutcome::Used);
    assert_eq!(opens(hash("thief")).await, None);
    assert!(store.pushed(&north.cut(&[north.site(2)])).await.is_empty(), "number and log are what they were");
    // A code for a new station gives no token to one that has joined, nor does one of another station.
    assert!(upstream.add_station(&invitation("plain")).await.unwrap());
    let fresh = JoinAsk { code_hash: hash("code of plain"), ..ask("", "other") };
    assert_eq!(renew(&fresh).await, JoinOutcome::ForNew("plain".to_owned()));
    assert_eq!(opens(hash("new")).await, Some((Some(north.number), true)));
    // One that never joined has a new code, too.
    assert_eq!(upstream.rotate_station(&renewal("plain", "third")).await.unwrap(), RotateOutcome::Invited);
    assert_eq!(upstream.join(&JoinAsk { uuid: [7; 16], ..fresh }).await.unwrap(), JoinOutcome::Unknown);
    let third = JoinAsk { uuid: [7; 16], ..ask("third", "token of plain") };
    assert!(matches!(upstream.join(&third).await.unwrap(), JoinOutcome::Joined { .. }));
    let ended: Vec<_> = upstream.stations().await.unwrap().into_iter().map(|of| of.record.token_ended_at_ms).collect();
    assert_eq!(ended, [None, None, None]);
}

async fn a_revoked_number_can_be_replaced_or_let_in_again_and_a_replaced_one_not(store: &Store) {
    let mut north = store.join("north").await;
    assert!(store.pushed(&north.cut(&[north.site(1)])).await.is_empty());
    let upstream = &store.upstream;
    assert!(upstream.revoke_station("north", NOON_MS).await.unwrap());
    assert_eq!(store.push(&north.peek(&[north.site(2)])).await.unwrap_err().code, ProblemCode::Revoked);
    // Let in again, and its token ended with it.
    let rotated = upstream.rotate_station(&renewal("north", "again")).await.unwrap();
    assert_eq!(rotated, RotateOutcome::Rotated(north.number));
    let summary = upstream.stations().await.unwrap().remove(0).record;
    assert_eq!((summary.revoked_at_ms, summary.token_ended_at_ms), (None, Some(NOON_MS)));
    let ask = JoinAsk { code_hash: hash("again"), uuid: north.uuid, token_hash: hash("new"), now_ms: NOON_MS };
    // Revoked meanwhile, the code gives nothing.
    assert!(upstream.revoke_station("north", NOON_MS).await.unwrap());
    assert_eq!(upstream.renew(&ask, north.number).await.unwrap(), JoinOutcome::Revoked);
    upstream.rotate_station(&renewal("north", "again")).await.unwrap();
    assert!(matches!(upstream.renew(&ask, north.number).await.unwrap(), JoinOutcome::Joined { .. }));
    assert!(store.pushed(&north.cut(&[north.site(2)])).await.is_empty());
    // Revoked once more, another takes its place and owns its rows.
    assert!(upstream.revoke_station("north", NOON_MS).await.unwrap());
    let mut second = rejoined(store, &north, "north", "second", true).await;
    let edited = north.update("site", 1, &[("name", text("edited"))]);
    assert!(store.pushed(&second.cut(std::slice::from_ref(&edited))).await.is_empty());
    store.has(&second, "site", &[edited.values]).await;
    let replaced = RotateOutcome::Replaced(second.number);
    assert_eq!(upstream.rotate_station(&renewal("north", "third")).await.unwrap(), replaced);
    assert_eq!(store.push(&north.peek(&[north.site(3)])).await.unwrap_err().code, ProblemCode::Revoked);
    let third = upstream.add_replacement(&invitation("third"), "north").await.unwrap();
    assert_eq!(third, ReplacementOutcome::Gone);
}
