//! Contacts in memory. Stations that push all the time are written now and then, and idle ones as often as they call:
//! what is written costs one row for each, however many requests they send.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidemark_core::ids::StationNumber;

use crate::ledger::fleet::Contact;

/// A contact without a report is noted when the last one that was is so long ago, in milliseconds.
const HEARD_EVERY_MS: i64 = 30_000;

#[derive(Debug, Default)]
struct Inner {
    /// What is not written yet.
    unwritten: HashMap<StationNumber, Contact>,
    /// When each station was noted last.
    noted_at_ms: HashMap<StationNumber, i64>,
}

/// What was heard of stations and is not written yet.
#[derive(Debug, Default)]
pub(super) struct Contacts(Mutex<Inner>);

impl Contacts {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a station asked for something, unless that was noted just now.
    pub(super) fn heard(&self, station: StationNumber, now_ms: i64) {
        let inner = self.inner();
        let noted_at_ms = inner.noted_at_ms.get(&station).copied();
        drop(inner);
        if noted_at_ms.is_none_or(|at_ms| !(at_ms..at_ms.saturating_add(HEARD_EVERY_MS)).contains(&now_ms)) {
            self.note(Contact { station, contact_at_ms: now_ms, report: None });
        }
    }

    /// Notes a contact.
    pub(super) fn note(&self, contact: Contact) {
        let mut inner = self.inner();
        inner.noted_at_ms.insert(contact.station, contact.contact_at_ms);
        match inner.unwritten.get_mut(&contact.station) {
            Some(unwritten) => unwritten.merge(contact),
            None => drop(inner.unwritten.insert(contact.station, contact)),
        }
    }

    /// What of a station is not written.
    pub(super) fn of(&self, station: StationNumber) -> Option<Contact> {
        self.inner().unwritten.get(&station).cloned()
    }

    /// Takes some that are to be written.
    pub(super) fn take(&self, most: usize) -> Vec<Contact> {
        let mut inner = self.inner();
        let stations: Vec<StationNumber> = inner.unwritten.keys().copied().take(most).collect();
        stations.iter().filter_map(|station| inner.unwritten.remove(station)).collect()
    }

    /// Takes back what could not be written.
    pub(super) fn put_back(&self, contacts: Vec<Contact>) {
        let mut inner = self.inner();
        for contact in contacts {
            match inner.unwritten.get_mut(&contact.station) {
                Some(unwritten) => unwritten.merge(contact),
                None => drop(inner.unwritten.insert(contact.station, contact)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::fleet::Reported;

    fn station(number: u32) -> StationNumber {
        StationNumber::new(number).unwrap()
    }

    #[test]
    fn a_busy_station_costs_a_row_now_and_then_and_its_report_is_kept() {
        let contacts = Contacts::default();
        contacts.heard(station(1), 0);
        assert_eq!(contacts.take(9).len(), 1);
        for now_ms in 1..HEARD_EVERY_MS {
            contacts.heard(station(1), now_ms);
        }
        assert_eq!(contacts.take(9), []);
        contacts.heard(station(1), HEARD_EVERY_MS);
        let report = Some((HEARD_EVERY_MS + 1, Reported { pending: Some(7), ..Reported::default() }));
        let reported = Contact { station: station(1), contact_at_ms: HEARD_EVERY_MS + 1, report };
        contacts.note(reported.clone());
        contacts.heard(station(1), 5);
        let taken = contacts.take(9);
        assert_eq!(taken, [reported], "a clock that was set back makes nothing older");
    }

    #[test]
    fn what_could_not_be_written_comes_back_and_gives_way_to_what_is_newer() {
        let contacts = Contacts::default();
        for number in 1..=5 {
            contacts.heard(station(number), 0);
        }
        let taken = contacts.take(3);
        assert_eq!((taken.len(), contacts.take(9).len()), (3, 2));
        let first = taken[0].station;
        contacts.heard(first, HEARD_EVERY_MS);
        contacts.put_back(taken);
        let mut again = contacts.take(9);
        again.sort_unstable_by_key(|contact| contact.contact_at_ms);
        assert_eq!((again.len(), again[2].station, again[2].contact_at_ms), (3, first, HEARD_EVERY_MS));
    }
}
