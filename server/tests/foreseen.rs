//! What is worked out of a batch before its turn, and for which part of it that is taken.

use std::sync::Arc;

use tidemark_core::batch::Batch;
use tidemark_core::ids::StationNumber;
use tidemark_server::ingest::Decoded;
use tidemark_server::ingest::decoded::Part;
use tidemark_server::ledger::lineage::{Former, Lineage};

use crate::common::station::{Change, Station, day, frame};
use crate::common::stores::{Kind, Store};

/// A batch as the server decodes it, with what is foreseen of the whole.
fn foreseen(store: &Store, batch: &Batch) -> Decoded {
    let mut job = store.ingest.decode(Arc::clone(&store.schema), &frame(batch)).unwrap();
    assert!(job.foreseen.take().is_some_and(|foreseen| foreseen.changes.len() == batch.order.len()));
    job.foreseen = job.foresee(Part::WHOLE.chunks_max);
    job
}

fn sites(station: &Station) -> [Change; 3] {
    [1, 2, 3].map(|n| station.site(n))
}

#[tokio::test]
async fn what_need_not_be_asked_about_is_planned_and_of_the_rest_it_is_known_what_to_ask() {
    let store = Store::of_field(Kind::Memory).await;
    let station = store.join("north").await;
    let lineage = Lineage::new(station.number);
    let alone = foreseen(&store, &station.peek(&sites(&station)));
    let plan = alone.foreseen(0, &Part::WHOLE, &lineage).unwrap().plan.as_ref().unwrap();
    assert_eq!((plan.applied, plan.steps.len(), plan.rejected.len()), (3, 3, 0));

    let refers = station.reading(1, day(1), &[("site_id", station.id(1))]);
    let refers = foreseen(&store, &station.peek(&[station.site(1), refers]));
    let foreseen = refers.foreseen(0, &Part::WHOLE, &lineage).unwrap();
    assert!(foreseen.plan.is_none() && !foreseen.asked.present.is_empty());
    assert!(refers.bytes() > 2 * tidemark_server::ingest::ROW_BYTES + foreseen.bytes() && foreseen.bytes() > 0);
}

#[tokio::test]
async fn it_is_taken_for_the_whole_batch_of_a_station_that_was_no_other_and_for_nothing_else() {
    let store = Store::of_field(Kind::Memory).await;
    let station = store.join("north").await;
    let lineage = Lineage::new(station.number);
    let job = foreseen(&store, &station.peek(&sites(&station)));
    assert!(job.foreseen(0, &Part { known_to: 7, ..Part::WHOLE }, &lineage).is_some());
    assert!(job.foreseen(1, &Part::WHOLE, &lineage).is_none(), "it overlaps what is upstream");
    let refuse = Some((1, "no".to_owned()));
    for part in
        [Part { rows_max: 2, ..Part::WHOLE }, Part { chunks_max: 1, ..Part::WHOLE }, Part { refuse, ..Part::WHOLE }]
    {
        assert!(job.foreseen(0, &part, &lineage).is_none(), "{part:?}");
    }
    let mut other = Lineage::new(station.number);
    other.former.push(Former { number: StationNumber::new(999).unwrap(), owned: true });
    assert!(job.foreseen(0, &Part::WHOLE, &other).is_none(), "its file was another station's");
}

#[tokio::test]
async fn a_batch_with_a_change_that_is_refused_is_not_foreseen() {
    let store = Store::of_field(Kind::Memory).await;
    let station = store.join("north").await;
    let in_a_hundred_years = station.reading(1, day(36_500), &[]);
    let batch = station.peek(&[station.site(1), in_a_hundred_years]);
    let job = store.ingest.decode(Arc::clone(&store.schema), &frame(&batch)).unwrap();
    assert!(job.foreseen.is_none());
}
