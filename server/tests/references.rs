//! The contract of references, run against each store: rows, parents and owners are judged one by one, in the order of
//! the log.

use crate::common::contract;
use crate::common::station::{Change, day, text};
use crate::common::stores::Store;
use tidemark_core::batch::Op;
use tidemark_core::value::Value;

contract! {
    rows_that_reference_their_own_table,
    many_references_are_judged_one_by_one,
    a_parent_goes_only_after_its_children,
    a_uuid_belongs_to_who_wrote_it_first,
    a_uuid_of_another_stations_row_is_no_reference,
}

async fn rows_that_reference_their_own_table(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let under = |n: i64, parent: i64| maker.insert("site", n, &[("name", text("s")), ("parent_id", maker.id(parent))]);
    // A row under itself, a chain whose keys go down, and a fresh row under one that is upserted.
    let changes = [under(5, 5), station.site(4), under(3, 4), under(2, 3), under(1, 9)];
    assert_eq!(store.pushed(&station.cut(&changes)).await, [(5, "reference")]);
    let upserted = [Change { op: Op::Update, ..station.site(9) }, under(1, 9), under(8, 1)];
    assert!(store.pushed(&station.cut(&upserted)).await.is_empty());
    let rows: Vec<_> = changes[..4].iter().chain(&upserted).map(|change| change.values.clone()).collect();
    store.has(&station, "site", &rows).await;
    let deletes = [
        station.delete("site", 4), // 9: 3 is under it
        station.delete("site", 2),
        station.delete("site", 3),
        station.delete("site", 4),
        station.delete("site", 5), // only itself is under it
    ];
    assert_eq!(store.pushed(&station.cut(&deletes)).await, [(9, "referenced")]);
    let rows: Vec<_> = upserted.iter().map(|change| change.values.clone()).collect();
    store.has(&station, "site", &rows).await;
}

/// So many that a database is asked for them otherwise than one by one: keys side by side, with holes, in islands, and
/// far apart.
async fn many_references_are_judged_one_by_one(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let week = 7 * 86_400_000_000;
    let side_by_side: Vec<i64> = (1..=600).collect();
    let with_holes: Vec<i64> = (1..=100).map(|n| n * 5).collect();
    let islands: Vec<i64> = (0..4).flat_map(|island| (1..=20).map(move |n| island * 1_000_000 + n)).collect();
    let far_apart: Vec<i64> = (1..=60).map(|n| n * 1_000_000).collect();
    let mut there: Vec<i64> = [side_by_side.clone(), islands.clone(), far_apart.clone()].concat();
    there.sort_unstable();
    there.dedup();
    // Every third is not there.
    there.retain(|n| n % 3 > 0);
    let readings: Vec<Change> = there.iter().map(|&n| maker.reading(n, day(1) - n % 4 * week, &[])).collect();
    let sites: Vec<Change> = there.iter().map(|&n| maker.site(n)).collect();
    assert!(store.pushed(&station.cut(&[sites, readings].concat())).await.is_empty());
    let (mut seq, mut local) = (2 * there.len() as u64, 0);
    for keys in [side_by_side, with_holes, islands, far_apart] {
        let (mut changes, mut wanted) = (Vec::new(), Vec::new());
        for key in keys {
            local += 1;
            let reading = [("reading_id", maker.id(key))];
            let site = [("name", text("s")), ("parent_id", maker.id(key))];
            for change in [maker.insert("remark", local, &reading), maker.insert("site", 900_000_000 + local, &site)] {
                changes.push(change);
                seq += 1;
                if key % 3 == 0 {
                    wanted.push((seq, "reference"));
                }
            }
        }
        assert_eq!(store.pushed(&station.cut(&changes)).await, wanted);
    }
}

async fn a_parent_goes_only_after_its_children(store: &Store) {
    let mut station = store.join("north").await;
    let maker = station.clone();
    let tag = |op: Op, uid: u8, site: Option<i64>| {
        let mut change = maker.tag(op, [uid; 16], "t");
        if op != Op::Delete {
            change.values[2] = site.map_or(Value::Null, |site| maker.id(site));
        }
        change
    };
    let first = [station.site(1), station.site(2), tag(Op::Insert, 1, Some(1)), tag(Op::Insert, 2, Some(1))];
    assert!(store.pushed(&station.cut(&first)).await.is_empty());
    let changes = [
        station.delete("site", 1),   // 5: two tags
        tag(Op::Delete, 1, None),    // 6
        station.delete("site", 1),   // 7: one tag
        tag(Op::Update, 2, Some(2)), // 8: moved away
        station.delete("site", 1),   // 9
        station.delete("site", 2),   // 10: the tag moved here
        tag(Op::Insert, 3, Some(1)), // 11: no such site any more
        station.site(1),             // 12
        tag(Op::Insert, 3, Some(1)), // 13
        station.delete("site", 1),   // 14
    ];
    let wanted = [(5, "referenced"), (7, "referenced"), (10, "referenced"), (11, "reference"), (14, "referenced")];
    assert_eq!(store.pushed(&station.cut(&changes)).await, wanted);
    store.has(&station, "site", &[station.site(1).values, station.site(2).values]).await;
    store.has(&station, "tag", &[tag(Op::Insert, 2, Some(2)).values, tag(Op::Insert, 3, Some(1)).values]).await;
}

async fn a_uuid_belongs_to_who_wrote_it_first(store: &Store) {
    let (mut north, mut south) = (store.join("north").await, store.join("south").await);
    let uid = [7; 16];
    assert!(store.pushed(&north.cut(&[north.tag(Op::Insert, uid, "north")])).await.is_empty());
    let changes = [
        south.tag(Op::Insert, uid, "south"),
        south.tag(Op::Update, uid, "south"),
        south.tag(Op::Delete, uid, ""),
        south.tag(Op::Insert, [8; 16], "south"),
        south.reading(1, day(1), &[("tag_uid", Value::Uuid([8; 16]))]),
    ];
    assert_eq!(store.pushed(&south.cut(&changes)).await, [(1, "owner"), (2, "owner"), (3, "owner")]);
    store.has(&north, "tag", &[north.tag(Op::Insert, uid, "north").values]).await;
    store.has(&south, "tag", &[changes[3].values.clone()]).await;
    store.has(&south, "reading", &[changes[4].values.clone()]).await;
}

async fn a_uuid_of_another_stations_row_is_no_reference(store: &Store) {
    let (mut north, mut south) = (store.join("north").await, store.join("south").await);
    let (norths, souths) = ([7; 16], [8; 16]);
    assert!(store.pushed(&north.cut(&[north.tag(Op::Insert, norths, "north")])).await.is_empty());
    let refers = |n: i64, uid: [u8; 16], op: Op| {
        let reading = south.reading(n, day(1), &[("tag_uid", Value::Uuid(uid))]);
        Change { op, ..reading }
    };
    let changes = [
        south.tag(Op::Insert, souths, "south"),
        refers(1, norths, Op::Insert),
        refers(2, souths, Op::Insert),
        refers(2, norths, Op::Update),
        refers(3, souths, Op::Insert),
    ];
    assert_eq!(store.pushed(&south.cut(&changes)).await, [(2, "id-range"), (4, "id-range")]);
    store.has(&south, "reading", &[changes[2].values.clone(), changes[4].values.clone()]).await;
    // Nothing of the south's holds the north's row.
    let gone = north.tag(Op::Delete, norths, "");
    assert!(store.pushed(&north.cut(&[gone])).await.is_empty());
    store.has(&north, "tag", &[]).await;
}
