//! The contract of upkeep, run against every store: what is settled goes after its time, and nothing else.

use crate::common::station::{Change, Station, day, text};
use crate::common::stores::{POISON, Store};
use crate::common::{NOON_MS, contract};
use tidemark_core::batch::Op;
use tidemark_server::ledger::cursors::{Thinned, Thinning};
use tidemark_server::ledger::rejects::RejectState;
use tidemark_server::upkeep::thin_all;

contract! {
    settled_rejects_go_after_their_time_and_the_rest_stays,
    verdicts_that_a_station_may_not_know_stay,
    old_prints_go_and_the_newest_stay,
    a_little_at_a_time_comes_to_the_same,
}

const HOUR_MS: i64 = 3_600_000;

async fn seqs(store: &Store, station: &Station) -> Vec<u64> {
    store.rejects(station.number).await.iter().map(|reject| reject.seq).collect()
}

fn bad(station: &Station, n: i64) -> Change {
    station.reading(n, day(1), &[("note", text(POISON))])
}

async fn settled_rejects_go_after_their_time_and_the_rest_stays(store: &Store) {
    let mut north = store.join("north").await;
    let maker = north.clone();
    let child = maker.insert("remark", 1, &[("reading_id", maker.id(4))]);
    let changes = [bad(&maker, 1), bad(&maker, 2), bad(&maker, 3), bad(&maker, 4), child];
    assert_eq!(store.pushed(&north.cut(&changes)).await.len(), 5);
    // Two more batches: the station knows the verdicts of the first.
    for n in [10, 11] {
        assert!(store.pushed(&north.cut(&[maker.site(n)])).await.is_empty());
    }
    // One is discarded, one superseded later, one that has an open child discarded; one stays open.
    store.upstream.close(north.number, &[1, 4], RejectState::Discarded, NOON_MS).await.unwrap();
    store.clock.forward_ms(HOUR_MS);
    let healed = Change { op: Op::Update, ..maker.reading(2, day(1), &[]) };
    assert!(store.pushed(&north.cut(std::slice::from_ref(&healed))).await.is_empty());
    let thin = async |before_ms| thin_all(store.upstream.as_ref(), before_ms, 0).await.unwrap().rejects;
    assert_eq!(thin(NOON_MS).await, 0, "what was settled just then is not older");
    assert_eq!(thin(NOON_MS + 1).await, 1);
    assert_eq!(seqs(store, &north).await, [2, 3, 4, 5]);
    assert_eq!(thin(NOON_MS + HOUR_MS + 1).await, 1);
    assert_eq!(seqs(store, &north).await, [3, 4, 5]);
    // Once nothing open hangs on it, it goes, too; open ones never.
    store.upstream.close(north.number, &[5], RejectState::Discarded, NOON_MS + HOUR_MS).await.unwrap();
    assert_eq!(thin(NOON_MS + 1000 * HOUR_MS).await, 2);
    assert_eq!(seqs(store, &north).await, [3]);
    assert_eq!(thin(NOON_MS + 1000 * HOUR_MS).await, 0);
    // Nothing of the rows went.
    store.has(&north, "reading", &[healed.values]).await;
    assert!(store.pushed(&north.cut(&[maker.site(12)])).await.is_empty());
}

async fn verdicts_that_a_station_may_not_know_stay(store: &Store) {
    let mut north = store.join("north").await;
    let maker = north.clone();
    let mut first = maker.clone();
    let batch = first.cut(&[bad(&maker, 1), maker.site(1)]);
    assert_eq!(store.pushed(&batch).await, [(1, "constraint")]);
    north.cut(&[bad(&maker, 1), maker.site(1)]);
    store.upstream.close(north.number, &[1], RejectState::Discarded, NOON_MS).await.unwrap();
    let thin = async || thin_all(store.upstream.as_ref(), NOON_MS + 1, 0).await.unwrap().rejects;
    let number = north.number;
    let heard = async || store.upstream.heard(number).await.unwrap();
    // No answer may have come: sent again, the batch is answered as it was.
    let repeated = async || {
        let reply = store.push(&batch).await.unwrap();
        reply.rejected.iter().map(|rejected| (rejected.seq, rejected.code.as_str())).collect::<Vec<_>>()
    };
    assert_eq!((thin().await, heard().await), (0, 0));
    assert_eq!(repeated().await, [(1, "constraint")]);
    // The next one was cut while the answer was on its way: that one, too, may have been lost.
    assert!(store.pushed(&north.cut(&[maker.site(2)])).await.is_empty());
    assert_eq!((thin().await, heard().await), (0, 0));
    assert_eq!(repeated().await, [(1, "constraint")]);
    // The same batch again, grown or in pieces, says no more than it did.
    let mut second = first.clone();
    assert!(store.pushed(&second.cut(&[maker.site(2), maker.site(3)])).await.is_empty());
    assert_eq!((thin().await, heard().await), (0, 0));
    north.cut(&[maker.site(3)]);
    // One from further back shows that.
    let again = maker.peek(&[bad(&maker, 1), maker.site(1), maker.site(2), maker.site(3), maker.site(6)]);
    assert_eq!(store.pushed(&again).await, [(1, "constraint")]);
    north.cut(&[maker.site(6)]);
    assert_eq!((thin().await, heard().await), (0, 0));
    for n in [4, 5] {
        assert!(store.pushed(&north.cut(&[maker.site(n)])).await.is_empty());
    }
    assert_eq!((thin().await, heard().await), (1, 5));
    assert_eq!(store.upstream.heard(tidemark_core::ids::StationNumber::new(77).unwrap()).await.unwrap(), 0);
}

async fn old_prints_go_and_the_newest_stay(store: &Store) {
    let (mut north, mut south) = (store.join("north").await, store.join("south").await);
    let before = north.clone();
    let mut batches = Vec::new();
    for n in 0..6 {
        batches.push(north.cut(&[1, 2, 3].map(|local| before.site(3 * n + local))));
        assert!(store.pushed(batches.last().unwrap()).await.is_empty());
        store.clock.forward_ms(HOUR_MS);
    }
    assert!(store.pushed(&south.cut(&[south.site(1)])).await.is_empty());
    let number = north.number;
    let first = async || {
        let history = store.upstream.history(number, 0, 100).await.unwrap().unwrap();
        assert_eq!(history.first_seq + history.prints.len() as u64, 19, "what is left is contiguous, to the end");
        history.first_seq
    };
    let thin = async |hours: i64, kept| {
        thin_all(store.upstream.as_ref(), NOON_MS + hours * HOUR_MS, kept).await.unwrap().batches
    };
    assert_eq!((thin(0, 0).await, first().await), (0, 1));
    // Two batches are old; the prints of the newest 13 changes stay, so one goes.
    assert_eq!((thin(2, 13).await, first().await), (1, 4));
    assert_eq!((thin(2, 0).await, first().await), (1, 7));
    assert_eq!((thin(100, 3).await, first().await), (3, 16));
    assert_eq!((thin(100, 3).await, first().await), (0, 16));
    // What was sent before and is sent again is still told from another history where there are prints, and harmless
    // where not.
    assert!(store.pushed(&batches[5]).await.is_empty());
    let reply = store.push(&batches[0]).await.unwrap();
    assert_eq!((reply.duplicate, reply.tidemark), (3, 18));
    let mut other = before.clone();
    other.cut(&[1, 2, 3].map(|local| before.site(100 + local)));
    for n in 1..6 {
        other.cut(&[1, 2, 3].map(|local| before.site(3 * n + local)));
    }
    assert!(store.push(&other.peek(&[before.site(50)])).await.is_err());
    assert!(store.pushed(&north.cut(&[before.site(50)])).await.is_empty());
    assert_eq!(store.upstream.history(south.number, 0, 100).await.unwrap().unwrap().first_seq, 1);
}

async fn a_little_at_a_time_comes_to_the_same(store: &Store) {
    let mut north = store.join("north").await;
    let maker = north.clone();
    for n in 0..5 {
        assert_eq!(store.pushed(&north.cut(&[bad(&maker, 2 * n + 1), bad(&maker, 2 * n + 2)])).await.len(), 2);
    }
    for n in [10, 11] {
        assert!(store.pushed(&north.cut(&[maker.site(n)])).await.is_empty());
    }
    let all: Vec<u64> = (1..=10).collect();
    store.upstream.close(north.number, &all, RejectState::Discarded, NOON_MS).await.unwrap();
    let thinning = Thinning { station: north.number, before_ms: NOON_MS + 1, prints_kept: 2, rows_max: 3 };
    let mut went = Vec::new();
    loop {
        let Thinned { rejects, batches } = store.upstream.thin(&thinning).await.unwrap();
        if rejects + batches == 0 {
            break;
        }
        went.push((rejects, batches));
        // Pushes go on in between; each makes a print that may go, too, so they end before this does.
        if went.len() <= 3 {
            assert!(store.pushed(&north.cut(&[maker.site(20 + went.len() as i64)])).await.is_empty());
        }
    }
    assert_eq!(went.iter().map(|(rejects, _)| rejects).sum::<u64>(), 10);
    assert!(went.iter().all(|(rejects, batches)| *rejects <= 3 && *batches <= 3), "{went:?}");
    assert_eq!(seqs(store, &north).await, Vec::<u64>::new());
}
