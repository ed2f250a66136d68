//! Batches that were applied and are not written yet: a bounded queue that never waits. When the database is away for
//! long the oldest are forgotten; the figures of what came in stay whole.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::fleet::{Ingested, Pushed};

/// Most batches that wait to be written.
const WAITING_MAX: usize = 10_000;
/// Most minutes that wait to be written: a day.
const MINUTES_MAX: usize = 1_440;
/// Most rows of one station in one write; what goes beyond is added to the last.
const ROWS_MAX: usize = 8;
const MINUTE_MS: i64 = 60_000;

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Pushed>,
    minutes: BTreeMap<i64, Ingested>,
}

/// What is to be written of batches.
#[derive(Debug, Default)]
pub(super) struct Pushes(Mutex<Inner>);

fn add(minutes: &mut BTreeMap<i64, Ingested>, some: Ingested) {
    let minute = minutes.entry(some.at_ms).or_insert(Ingested { at_ms: some.at_ms, ..Ingested::default() });
    minute.batches += some.batches;
    minute.changes += some.changes;
    minute.rejected += some.rejected;
    minute.bytes += some.bytes;
    while minutes.len() > MINUTES_MAX {
        minutes.pop_first();
    }
}

/// The batches of each station in few rows: those behind the first few, where they follow each other, as one.
fn few(waiting: VecDeque<Pushed>) -> Vec<Pushed> {
    let mut rows: Vec<Pushed> = Vec::with_capacity(waiting.len());
    let mut last: HashMap<u32, (usize, usize)> = HashMap::new();
    for push in waiting {
        let entry = last.entry(push.station.get()).or_insert((0, 0));
        if entry.0 >= ROWS_MAX && rows[entry.1].last_seq + 1 == push.first_seq {
            let row = &mut rows[entry.1];
            (row.at_ms, row.last_seq) = (push.at_ms, push.last_seq);
            row.applied += push.applied;
            row.rejected += push.rejected;
            row.bytes += push.bytes;
            row.ms += push.ms;
        } else {
            *entry = (entry.0 + 1, rows.len());
            rows.push(push);
        }
    }
    rows
}

impl Pushes {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a batch.
    pub(super) fn note(&self, push: Pushed) {
        let mut inner = self.inner();
        let at_ms = push.at_ms - push.at_ms.rem_euclid(MINUTE_MS);
        let Pushed { applied: changes, rejected, bytes, .. } = push;
        add(&mut inner.minutes, Ingested { at_ms, batches: 1, changes, rejected, bytes });
        inner.waiting.push_back(push);
        if inner.waiting.len() > WAITING_MAX {
            inner.waiting.pop_front();
        }
    }

    /// Takes the rows that are to be written.
    pub(super) fn take_rows(&self) -> Vec<Pushed> {
        let waiting = std::mem::take(&mut self.inner().waiting);
        few(waiting)
    }

    /// Takes the minutes that are to be written.
    pub(super) fn take_minutes(&self) -> Vec<Ingested> {
        std::mem::take(&mut self.inner().minutes).into_values().collect()
    }

    /// Takes back rows that could not be written.
    pub(super) fn put_back_rows(&self, rows: Vec<Pushed>) {
        let mut inner = self.inner();
        for row in rows.into_iter().rev().take(WAITING_MAX.saturating_sub(inner.waiting.len())).collect::<Vec<_>>() {
            inner.waiting.push_front(row);
        }
    }

    /// Takes back minutes that could not be written.
    pub(super) fn put_back_minutes(&self, minutes: Vec<Ingested>) {
        let mut inner = self.inner();
        minutes.into_iter().for_each(|minute| add(&mut inner.minutes, minute));
    }
}

#[cfg(test)]
mod tests {
    use tidemark_core::ids::StationNumber;

    use super::*;

    fn push(number: u32, first_seq: u64, at_ms: i64) -> Pushed {
        let station = StationNumber::new(number).unwrap();
        Pushed { station, at_ms, first_seq, last_seq: first_seq + 9, applied: 9, rejected: 1, bytes: 100, ms: 5 }
    }

    #[test]
    fn many_batches_of_a_station_are_few_rows_and_nothing_of_the_sums_is_lost() {
        let pushes = Pushes::default();
        for n in 0..100 {
            pushes.note(push(1, 1 + 10 * n, 1_000));
            pushes.note(push(2, 1 + 20 * n, 61_000));
        }
        let rows = pushes.take_rows();
        let of = |number| rows.iter().filter(move |row| row.station.get() == number);
        assert_eq!((of(1).count(), of(2).count()), (ROWS_MAX, 100), "what does not follow stays apart");
        assert_eq!(of(1).map(|row| row.applied + row.rejected).sum::<u64>(), 1_000);
        assert_eq!(of(1).next_back().unwrap().last_seq, 1_000);
        let minutes = pushes.take_minutes();
        assert_eq!(
            minutes.iter().map(|minute| (minute.at_ms, minute.batches)).collect::<Vec<_>>(),
            [(0, 100), (60_000, 100)]
        );
        assert!(pushes.take_rows().is_empty() && pushes.take_minutes().is_empty());
        pushes.put_back_minutes(minutes.clone());
        pushes.note(push(1, 1, 1_000));
        assert_eq!(pushes.take_minutes()[0].batches, 101);
    }

    #[test]
    fn memory_is_bounded_and_order_stays_while_the_database_is_away() {
        let pushes = Pushes::default();
        for n in 0..3 * WAITING_MAX as u64 {
            pushes.note(push(1, 1 + 1_000 * n, n as i64 * MINUTE_MS));
        }
        let rows = pushes.take_rows();
        assert_eq!(rows.len(), WAITING_MAX);
        pushes.note(push(1, 7, 0));
        pushes.put_back_rows(rows.clone());
        let again = pushes.take_rows();
        assert_eq!((again.len(), again[WAITING_MAX - 1].first_seq, again[0]), (WAITING_MAX, 7, rows[1]));
        assert!(pushes.take_minutes().len() <= MINUTES_MAX);
    }
}
