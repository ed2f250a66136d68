//! What is worked out of a batch before its turn, and for which part of it that is taken.

use std::sync::Arc;

use tidemark_core::batch::Batch;
use tidemark_server::ingest::Decoded;
use tidemark_server::ingest::decoded::Part;

use crate::common::station::{day, frame};
use crate::common::stores::{Kind, Store};

/// A batch as the server decodes it, worked out for the whole.
fn foreseen(store: &Store, batch: &Batch) -> Decoded {
    store.ingest.decode(Arc::clone(&store.schema), &frame(batch)).unwrap().foresee(Part::WHOLE)
}

#[tokio::test]
async fn what_need_not_be_asked_about_is_planned_and_of_the_rest_it_is_known_what_to_ask() {
    let store = Store::of_field(Kind::Memory).await;
    let station = store.join("north").await;
    let alone = foreseen(&store, &station.peek(&[1, 2, 3].map(|n| station.site(n))));
    let plan = alone.foreseen(0, &Part::WHOLE).unwrap().plan.as_ref().unwrap();
    assert_eq!((plan.applied, plan.steps.len(), plan.rejected.len()), (3, 3, 0));

    let refers = station.reading(1, day(1), &[("site_id", station.id(1))]);
    let refers = foreseen(&store, &station.peek(&[station.site(1), refers]));
    let foreseen = refers.foreseen(0, &Part::WHOLE).unwrap();
    assert!(foreseen.plan.is_none() && !foreseen.asked.present.is_empty());
}

#[tokio::test]
async fn it_is_taken_for_a_part_that_begins_and_ends_with_the_batch_and_for_no_other() {
    let store = Store::of_field(Kind::Memory).await;
    let station = store.join("north").await;
    let job = foreseen(&store, &station.peek(&[1, 2, 3].map(|n| station.site(n))));
    assert!(job.foreseen(0, &Part { known_to: 7, ..Part::WHOLE }).is_some());
    assert!(job.foreseen(1, &Part::WHOLE).is_none(), "it overlaps what is upstream");
    let refuse = Some((1, "no".to_owned()));
    for part in
        [Part { rows_max: 2, ..Part::WHOLE }, Part { chunks_max: 1, ..Part::WHOLE }, Part { refuse, ..Part::WHOLE }]
    {
        assert!(job.foreseen(0, &part).is_none(), "{part:?}");
    }
}
