//! The stations as operators see them: who is in contact, what each said of itself, what came in; and what operators
//! do to them.
//!
//! | file | what lives there |
//! |---|---|
//! | `contacts` | contacts in memory, until they are written |
//! | `pushes` | batches that were applied, until they are written |
//! | `writer` | the one task that writes both, off the way of a batch |
//! | [`thinning`] | both are thinned out |
//! | [`state`] | whether a station is active, silent, forked, revoked or only invited |
//! | [`view`] | the fleet and one station, put together for those who look |
//! | [`concern`] | from when on something concerns somebody |
//! | [`acts`] | what an operator does, with the row of the audit in the same transaction |
//! | [`invitation`] | a code for a station, made once for the command line and for HTTP |
//! | [`qr`] | its page as a QR code, for a page and for a terminal |

pub mod acts;
pub mod concern;
mod contacts;
pub mod invitation;
mod pushes;
pub mod qr;
pub mod state;
pub mod thinning;
pub mod view;
mod writer;

use tidemark_core::ids::StationNumber;

use self::contacts::Contacts;
use self::pushes::Pushes;
use crate::ledger::fleet::{Contact, Pushed, Reported};

pub(crate) use self::writer::Writer;

/// What a server has heard of the stations and not written yet. Whoever notes something here waits for nothing.
#[derive(Debug)]
pub struct Fleet {
    started_at_ms: i64,
    contacts: Contacts,
    pushes: Pushes,
}

impl Fleet {
    /// Nothing was heard yet.
    #[must_use]
    pub fn new(started_at_ms: i64) -> Self {
        Self { started_at_ms, contacts: Contacts::default(), pushes: Pushes::default() }
    }

    /// When the server began, milliseconds since 1970 UTC.
    #[must_use]
    pub const fn started_at_ms(&self) -> i64 {
        self.started_at_ms
    }

    /// A station asked for something.
    pub fn heard(&self, station: StationNumber, now_ms: i64) {
        self.contacts.heard(station, now_ms);
    }

    /// A station said how it fares.
    pub fn reported(&self, station: StationNumber, now_ms: i64, reported: Reported) {
        self.contacts.note(Contact { station, contact_at_ms: now_ms, report: Some((now_ms, reported)) });
    }

    /// A batch was applied.
    pub fn pushed(&self, pushed: Pushed) {
        self.pushes.note(pushed);
    }

    /// What is known of a station and not written yet.
    #[must_use]
    pub fn unwritten(&self, station: StationNumber) -> Option<Contact> {
        self.contacts.of(station)
    }
}
