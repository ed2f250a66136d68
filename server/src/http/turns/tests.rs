//! Who goes before whom.

use std::collections::BTreeSet;

use tidemark_core::ids::StationNumber;

use super::line::OVERTAKEN_MAX;
use super::*;

fn want(station: u32, cost: u64, tables: &[usize]) -> Want {
    Want { station: StationNumber::new(station).unwrap(), cost, bytes: 1, tables: tables.into() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn brief() -> Instant {
    Instant::now() + Duration::from_millis(5)
}

/// Lets everybody ask in this order for the one slot that is taken, and returns in which order they get it.
async fn order(turns: &Arc<Turns>, wants: &[Want]) -> Vec<u32> {
    let first = turns.turn(want(1_000, 0, &[]), soon()).await.unwrap();
    let (told, mut going) = tokio::sync::mpsc::unbounded_channel();
    for want in wants {
        let (turns, want, told) = (Arc::clone(turns), want.clone(), told.clone());
        tokio::spawn(async move {
            let number = want.station.get();
            let _turn = turns.turn(want, soon()).await.unwrap();
            told.send(number).unwrap();
        });
        tokio::task::yield_now().await;
    }
    drop((first, told));
    let mut order = Vec::new();
    while let Some(number) = going.recv().await {
        order.push(number);
    }
    order
}

#[tokio::test]
async fn a_small_request_is_not_behind_those_of_a_station_that_sends_much() {
    let turns = Turns::new(1, usize::MAX);
    let mut wants = vec![want(1, 8 << 20, &[]), want(2, 8 << 20, &[])];
    // One after the other, for a station has one turn at a time anyway.
    wants.extend([want(1, 8 << 20, &[]), want(2, 8 << 20, &[])]);
    wants.extend((3..8).map(|station| want(station, 1_000, &[])));
    let order = order(&turns, &wants).await;
    let place = |n| order.iter().position(|&station| station == n).unwrap();
    let last_of_large = order.iter().rposition(|&station| station <= 2).unwrap();
    assert_eq!(last_of_large, 8, "{order:?}");
    assert!((3..8).all(|station| place(station) <= 6), "{order:?}");
}

#[tokio::test]
async fn a_station_has_one_turn_at_a_time_and_those_who_left_cost_nothing() {
    let turns = Turns::new(4, usize::MAX);
    let first = turns.turn(want(1, 1, &[]), soon()).await.unwrap();
    for _ in 0..50 {
        let until = Instant::now() + Duration::from_millis(1);
        assert_eq!(turns.turn(want(1, 1 << 30, &[]), until).await.unwrap_err(), NoTurn::Busy);
    }
    let _other = turns.turn(want(2, 1, &[]), soon()).await.unwrap();
    assert!(turns.state().used[&StationNumber::new(1).unwrap()] < 1 << 20);
    drop(first);
    let _second = turns.turn(want(1, 1, &[]), soon()).await.unwrap();
}

#[tokio::test]
async fn those_who_write_the_same_take_half_of_the_slots_and_a_locked_table_is_tried_by_one() {
    let turns = Turns::new(4, usize::MAX);
    let first = turns.turn(want(1, 1, &[7]), soon()).await.unwrap();
    let second = turns.turn(want(2, 1, &[7]), soon()).await.unwrap();
    assert_eq!(turns.turn(want(3, 1, &[7]), brief()).await.unwrap_err(), NoTurn::Busy);
    assert_eq!(turns.turn(want(3, 1, &[7, 8]), brief()).await.unwrap_err(), NoTurn::Busy);
    drop(turns.turn(want(3, 1, &[8]), soon()).await.unwrap());
    // It turns out to be locked: who waits for it is told so, and so is who comes, while one tries.
    let waiting = {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move { turns.turn(want(4, 1, &[7]), soon()).await.map(drop) })
    };
    while turns.state().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    first.was_locked();
    assert_eq!(waiting.await.unwrap(), Err(NoTurn::Locked));
    assert_eq!(turns.turn(want(4, 1, &[7]), soon()).await.unwrap_err(), NoTurn::Locked);
    drop((first, second));
    let trying = turns.turn(want(4, 1, &[7]), soon()).await.unwrap();
    assert_eq!(turns.turn(want(5, 1, &[7, 8]), soon()).await.unwrap_err(), NoTurn::Locked);
    drop(turns.turn(want(5, 1, &[8]), soon()).await.unwrap());
    trying.went_through();
    let _also = turns.turn(want(5, 1, &[7]), soon()).await.unwrap();
}

#[tokio::test]
async fn a_locked_table_does_not_take_with_it_those_that_are_written_beside_it() {
    let turns = Turns::new(8, usize::MAX);
    let mut both = Vec::new();
    for station in 1..=4 {
        both.push(turns.turn(want(station, 1, &[7, 8]), soon()).await.unwrap());
    }
    assert_eq!(turns.turn(want(5, 1, &[7, 8]), brief()).await.unwrap_err(), NoTurn::Busy);
    let mut one = Vec::new();
    for station in 11..=12 {
        one.push(turns.turn(want(station, 1, &[7]), soon()).await.unwrap());
    }
    assert_eq!(turns.turn(want(13, 1, &[7]), brief()).await.unwrap_err(), NoTurn::Busy, "three quarters need it");
    let through = turns.turn(want(20, 1, &[8]), soon()).await.unwrap();
    through.went_through();
    drop(through);
    // It was the seventh: the eighth was written meanwhile.
    both[0].was_locked();
    assert_eq!(turns.state().locked, BTreeSet::from([7]));
    assert_eq!(turns.turn(want(13, 1, &[7]), soon()).await.unwrap_err(), NoTurn::Locked);
    drop(turns.turn(want(20, 1, &[8]), soon()).await.unwrap());
    drop((both, one));
    // Of both nobody knows: who needs less than the one that tries finds out, too.
    let trying = turns.turn(want(1, 1, &[7, 8]), soon()).await.unwrap();
    trying.was_locked();
    assert_eq!(turns.state().locked, BTreeSet::from([7, 8]));
    let less = turns.turn(want(20, 1, &[8]), soon()).await.unwrap();
    assert_eq!(turns.turn(want(21, 1, &[8]), soon()).await.unwrap_err(), NoTurn::Locked, "one of them");
    less.went_through();
    drop(turns.turn(want(21, 1, &[8]), soon()).await.unwrap());
}

#[tokio::test]
async fn small_ones_pass_one_that_waits_for_much_room_and_none_waits_behind_one_that_left() {
    let turns = Turns::new(4, 6_400);
    let of = |station, bytes| Want { bytes, ..want(station, 1, &[]) };
    let first = turns.turn(of(1, 4_000), soon()).await.unwrap();
    let large = {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move { turns.turn(of(2, 5_000), soon()).await.map(drop) })
    };
    while turns.state().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    for waiting in &mut turns.state().waiting {
        waiting.since -= OVERTAKEN_MAX;
    }
    drop(turns.turn(of(3, 100), soon()).await.unwrap());
    let behind = {
        let turns = Arc::clone(&turns);
        tokio::spawn(async move { turns.turn(of(4, 2_000), soon()).await.map(drop) })
    };
    while turns.state().waiting.len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(turns.turn(of(5, 2_000), brief()).await.unwrap_err(), NoTurn::Busy, "the room is kept");
    large.abort();
    assert_eq!(behind.await.unwrap(), Ok(()));
    drop(first);
}

#[tokio::test]
async fn what_has_no_room_waits_and_what_is_too_large_for_all_of_it_goes_alone() {
    let turns = Turns::new(4, 100);
    let of = |station, bytes| Want { bytes, ..want(station, 1, &[]) };
    let mut first = turns.turn(of(1, 60), soon()).await.unwrap();
    assert_eq!(turns.turn(of(2, 50), brief()).await.unwrap_err(), NoTurn::Busy);
    let small = turns.turn(of(3, 40), soon()).await.unwrap();
    first.leave_slot();
    assert_eq!(turns.turn(of(2, 50), brief()).await.unwrap_err(), NoTurn::Busy, "its memory is still taken");
    drop((first, small));
    let mut all = turns.turn(of(2, 5_000), soon()).await.unwrap();
    assert_eq!(turns.turn(of(1, 1), brief()).await.unwrap_err(), NoTurn::Busy);
    all.set_bytes(10);
    drop(turns.turn(of(1, 1), soon()).await.unwrap());
}
