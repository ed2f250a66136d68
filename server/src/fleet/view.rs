//! The fleet and one station, put together from what the database and this server know.

use std::collections::HashMap;

use serde::Serialize;
use tidemark_core::ids::StationNumber;

use super::Fleet;
use super::state::{Signs, State};
use crate::ledger::fleet::Contact;
use crate::ledger::lineage::{Fork, LineageSummary};
use crate::stations::StationSummary;
use crate::upstream::Upstream;
use crate::upstream::error::StoreError;

/// A station, as operators see it. What a station said of itself is shown as it said it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Station {
    /// Its number, once it joined.
    pub number: Option<StationNumber>,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// When it was in contact last, milliseconds since 1970 UTC by the server's clock.
    pub last_contact_ms: Option<i64>,
    /// When it pushed last; none that never did.
    pub last_push_ms: Option<i64>,
    /// Changes that were not upstream, as it said.
    pub pending: Option<u64>,
    /// When the oldest of them was captured, milliseconds since 1970 UTC by the station's clock.
    pub oldest_ms: Option<i64>,
    /// Its tidemark.
    pub tidemark: u64,
    /// The server's clock minus the station's, milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Its open rejects.
    pub rejects_open: u64,
    /// The version of its schema, as it said.
    pub schema_version: Option<u32>,
    /// The version of its program, as it said.
    pub client_version: Option<String>,
    /// Free room on its disk, in bytes, as it said.
    pub free_disk_bytes: Option<u64>,
    /// When it said so, milliseconds since 1970 UTC by the server's clock.
    pub reported_at_ms: Option<i64>,
    /// When it joined, milliseconds since 1970 UTC.
    pub joined_at_ms: Option<i64>,
    /// When it was revoked, milliseconds since 1970 UTC.
    pub revoked_at_ms: Option<i64>,
    /// Until when its code can be used, milliseconds since 1970 UTC, where it waits for one to be used.
    pub code_expires_at_ms: Option<i64>,
    /// Its token was taken away; it takes another one with its code.
    pub token_ended: bool,
    /// When a batch of it last continued another history, milliseconds since 1970 UTC.
    pub last_fork_ms: Option<i64>,
    /// The change at which that was seen.
    pub last_fork_seq: Option<u64>,
    /// The number its file had before.
    pub rejoined_from: Option<StationNumber>,
    /// It took the place of that number, and owns its rows.
    pub replaced: bool,
}

/// How many stations are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// In contact within the last hour.
    pub active: u64,
    /// Not.
    pub silent: u64,
    /// With two histories.
    pub forked: u64,
    /// Without access.
    pub revoked: u64,
    /// Not joined yet.
    pub invited: u64,
}

impl Counts {
    /// Counts stations.
    #[must_use]
    pub fn of(stations: &[Station]) -> Self {
        let mut counts = Self::default();
        for station in stations {
            let count = match station.state {
                State::Active => &mut counts.active,
                State::Silent => &mut counts.silent,
                State::Forked => &mut counts.forked,
                State::Revoked => &mut counts.revoked,
                State::Invited => &mut counts.invited,
            };
            *count += 1;
        }
        counts
    }
}

/// What the fleet knows beside one station's own record.
struct Around {
    contacts: HashMap<StationNumber, Contact>,
    lineages: HashMap<StationNumber, LineageSummary>,
    /// When files last went on from a number under another one.
    continued: HashMap<StationNumber, i64>,
}

impl Around {
    async fn read(upstream: &dyn Upstream, fleet: Option<&Fleet>, all: &[StationSummary]) -> Result<Self, StoreError> {
        let mut contacts: HashMap<StationNumber, Contact> = HashMap::new();
        let written = upstream.ledger().contacts(None).await?;
        let unwritten = |summary: &StationSummary| fleet?.unwritten(summary.record.number?);
        for contact in written.into_iter().chain(all.iter().filter_map(unwritten)) {
            match contacts.get_mut(&contact.station) {
                Some(known) => known.merge(contact),
                None => drop(contacts.insert(contact.station, contact)),
            }
        }
        let lineages = upstream.lineages().await?;
        let joined: HashMap<StationNumber, i64> =
            all.iter().filter_map(|summary| summary.record.number.zip(summary.record.joined_at_ms)).collect();
        let mut continued = HashMap::new();
        for lineage in &lineages {
            if let (Some(former), Some(&at_ms)) = (lineage.former, joined.get(&lineage.station)) {
                let last = continued.entry(former.number).or_insert(at_ms);
                *last = at_ms.max(*last);
            }
        }
        let lineages = lineages.into_iter().map(|lineage| (lineage.station, lineage)).collect();
        Ok(Self { contacts, lineages, continued })
    }

    fn station(&self, summary: StationSummary, now_ms: i64) -> Station {
        let StationSummary { record, tidemark, updated_at_ms, rejects, clock_offset_ms } = summary;
        let number = record.number;
        let contact = number.and_then(|number| self.contacts.get(&number));
        let lineage = number.and_then(|number| self.lineages.get(&number));
        let (reported_at_ms, reported) = contact.and_then(|contact| contact.report.clone()).unzip();
        let reported = reported.unwrap_or_default();
        // The cursor is made when a station joins: before its first change it tells of no push.
        let last_push_ms = updated_at_ms.filter(|_| tidemark > 0);
        let contacts = [contact.map(|contact| contact.contact_at_ms), updated_at_ms, record.joined_at_ms];
        let fork: Option<Fork> = lineage.and_then(|lineage| lineage.fork);
        let former = lineage.and_then(|lineage| lineage.former);
        let signs = Signs {
            last_contact_ms: contacts.into_iter().flatten().max(),
            last_push_ms,
            fork,
            continued_at_ms: number.and_then(|number| self.continued.get(&number)).copied(),
        };
        let waits_for_code = number.is_none() || record.token_ended_at_ms.is_some();
        Station {
            number,
            state: State::of(&record, &signs, now_ms),
            last_contact_ms: signs.last_contact_ms,
            last_push_ms,
            pending: reported.pending,
            oldest_ms: reported.oldest_ms,
            tidemark,
            clock_offset_ms: reported.clock_offset_ms.or(clock_offset_ms),
            rejects_open: rejects,
            schema_version: reported.schema_version,
            client_version: reported.client_version,
            free_disk_bytes: reported.free_disk_bytes,
            reported_at_ms,
            joined_at_ms: record.joined_at_ms,
            revoked_at_ms: record.revoked_at_ms,
            code_expires_at_ms: waits_for_code.then_some(record.code_expires_at_ms),
            token_ended: record.token_ended_at_ms.is_some(),
            last_fork_ms: fork.map(|fork| fork.seen_at_ms),
            last_fork_seq: fork.map(|fork| fork.seq),
            rejoined_from: former.map(|former| former.number),
            replaced: former.is_some_and(|former| former.owned),
            name: record.name,
        }
    }
}

/// Every station, the silent ones first, and of these the one that is silent for longest. `fleet` knows what this
/// server has heard and not written yet.
///
/// # Errors
/// When the store fails.
pub async fn stations(upstream: &dyn Upstream, fleet: Option<&Fleet>, now_ms: i64) -> Result<Vec<Station>, StoreError> {
    let all = upstream.stations().await?;
    let around = Around::read(upstream, fleet, &all).await?;
    let mut stations: Vec<Station> = all.into_iter().map(|summary| around.station(summary, now_ms)).collect();
    stations.sort_by(|a, b| {
        let silent = |station: &Station| match station.state {
            State::Silent => station.last_contact_ms.unwrap_or(i64::MIN),
            _ => 0,
        };
        (a.state.rank(), silent(a), &a.name).cmp(&(b.state.rank(), silent(b), &b.name))
    });
    Ok(stations)
}
