//! Lines of stations: files whose history parted from their number's, and that went on under another number.
//!
//! A file that is copied, or put back to an older copy, and written to since, continues another history than its number has here: it
//! is forked. It *rejoins*: it proves which number it had by that number's token, says up to which change both histories are the same
//! ([`History`] tells it), and gets a number of its own. Rows of the shared history stay in the old number's block.
//!
//! Who may write those rows is for the operator to say, by the join code:
//! - a code of `station add NAME`: the old number goes on in another copy of the file, and its rows are that copy's;
//! - a code of `station add NAME --replaces OLD`: the old number ends, and the file that rejoins owns its rows.

use tidemark_core::chain::{Chain, Print};
use tidemark_core::decision::Cursor;
use tidemark_core::ids::{LOCAL_ID_MAX, StationNumber};

use crate::stations::{JoinAsk, next_number};
use crate::upstream::{StoreError, StoreTransaction};

/// A number that a station's file had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// The number.
    pub number: StationNumber,
    /// Whether the station replaced it, and owns its rows.
    pub owned: bool,
}

/// What a station may write: whose rows, and references to whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number.
    pub station: StationNumber,
    /// The numbers its file had before.
    pub former: Vec<Former>,
    /// It was revoked: nothing of it is applied any more.
    pub revoked: bool,
}

impl Line {
    /// The line of a file that has only ever been `station`.
    #[must_use]
    pub const fn new(station: StationNumber) -> Self {
        Self { station, former: Vec::new(), revoked: false }
    }

    /// The numbers whose rows it owns: its own first, then those it replaced.
    pub fn owned(&self) -> impl Iterator<Item = u32> + '_ {
        let replaced = self.former.iter().filter(|former| former.owned).map(|former| former.number);
        std::iter::once(self.station).chain(replaced).map(StationNumber::get)
    }

    /// Whether it owns rows that `number` wrote.
    #[must_use]
    pub fn owns(&self, number: u32) -> bool {
        self.owned().any(|owned| owned == number)
    }

    /// The former number in whose block `upstream` lies.
    #[must_use]
    pub fn former_of(&self, upstream: i64) -> Option<&Former> {
        self.former.iter().find(|former| former.number.owns(upstream))
    }

    /// Whether `upstream` may stand as a reference in its rows: to its own row, one of the shared history, or one of HQ's.
    #[must_use]
    pub fn may_reference(&self, upstream: i64) -> bool {
        self.station.owns(upstream) || (1..=LOCAL_ID_MAX).contains(&upstream) || self.former_of(upstream).is_some()
    }
}

/// What is known of a station's chain after some seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Where it stands.
    pub cursor: Cursor,
    /// The seq of the first print.
    pub first_seq: u64,
    /// Prints of contiguous changes.
    pub prints: Vec<Print>,
}

/// A file asks to go on under another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejoinAsk {
    /// Code, new uuid, hash of the new token.
    pub join: JoinAsk,
    /// The number it had, proved by that number's token.
    pub former: StationNumber,
    /// And its name.
    pub former_name: String,
    /// Where the former number stood when the file compared histories.
    pub cursor: Cursor,
    /// Where the histories parted.
    pub parting: Parting,
    /// It must own the former number's rows.
    pub must_replace: bool,
}

/// Where two histories part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    /// Last seq in common.
    pub common: u64,
    /// The chain after the file's next change, if it has one: what tells apart files that part at the same seq.
    pub next: Option<Chain>,
}

/// What became of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RejoinOutcome {
    /// It goes on, now or by an earlier request with the same words.
    Rejoined {
        /// Its new number.
        number: StationNumber,
        /// Its new name.
        name: String,
        /// Whether it replaces the former number.
        replaces: bool,
    },
    /// The former number's cursor is elsewhere by now.
    Moved(Cursor),
    /// No such code.
    Unknown,
    /// Another file used the code.
    Used,
    /// The code's time is over.
    Expired,
    /// The code's station was revoked.
    Revoked,
    /// The code is for a file that replaces this station.
    ReplacesAnother(String),
    /// The file must replace its former number, and the code does not.
    MustReplace,
    /// The code is to replace a station that another file has replaced already.
    AlreadyReplaced,
    /// Another copy of this file went on from the same change already, as this station.
    Continued(String),
    /// There are no numbers left.
    Exhausted,
}

/// What a station is in its line, for `station list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineSummary {
    /// The station.
    pub station: StationNumber,
    /// The number its file had before, and whether it replaced that.
    pub former: Option<Former>,
    /// The last time a batch of it continued another history.
    pub fork: Option<Fork>,
}

/// A batch that continued another history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// Where both histories should have agreed.
    pub seq: u64,
    /// When, milliseconds since 1970 UTC.
    pub seen_at_ms: i64,
}

/// What became of an invitation to replace a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplacementOutcome {
    /// Invited.
    Added,
    /// There is a station of the new name.
    NameTaken,
    /// There is no station of the old name that has joined.
    NoSuchStation,
    /// The old station was replaced already.
    Gone,
}

/// The number that writes in a station's place: itself, or the last of those that replaced it, one after the other. The cursors of all of
/// them are locked, the oldest first, until the transaction ends. `None` where the station has no cursor.
///
/// # Errors
/// When the store fails.
pub async fn lock_writer<T: StoreTransaction + ?Sized>(
    tx: &mut T,
    station: StationNumber,
) -> Result<Option<StationNumber>, StoreError> {
    let mut writer = station;
    loop {
        if tx.lock_cursor(writer).await?.is_none() {
            return Ok(None);
        }
        // A rejoin holds the lock of the number it replaces: whoever has it knows whether there is a successor.
        match tx.successor(writer).await? {
            Some(successor) => writer = successor,
            None => return Ok(Some(writer)),
        }
    }
}

/// Lets a file go on under another number. Asking again with the same words gives the same answer.
///
/// # Errors
/// When the store fails.
pub async fn rejoin<T: StoreTransaction + ?Sized>(tx: &mut T, ask: &RejoinAsk) -> Result<RejoinOutcome, StoreError> {
    tx.lock_stations().await?;
    let Some(station) = tx.station_by_code(ask.join.code_hash).await? else { return Ok(RejoinOutcome::Unknown) };
    if station.revoked_at_ms.is_some() {
        return Ok(RejoinOutcome::Revoked);
    }
    let replaces = tx.replaces(&station.name).await?;
    if let Some(other) = replaces.clone().filter(|name| *name != ask.former_name) {
        return Ok(RejoinOutcome::ReplacesAnother(other));
    }
    let replaces = replaces.is_some();
    let same = station.uuid == Some(ask.join.uuid) && station.token_hash == Some(ask.join.token_hash);
    if station.number.is_some() && !same {
        return Ok(RejoinOutcome::Used);
    }
    if station.number.is_none() && station.code_expires_at_ms <= ask.join.now_ms {
        return Ok(RejoinOutcome::Expired);
    }
    if ask.must_replace && !replaces {
        return Ok(RejoinOutcome::MustReplace);
    }
    if replaces && station.number.is_none() && tx.successor(ask.former).await?.is_some() {
        return Ok(RejoinOutcome::AlreadyReplaced);
    }
    // Held until the end, so that no batch of the former number is applied between the comparison and this.
    match tx.lock_cursor(ask.former).await? {
        Some(cursor) if cursor == ask.cursor => {}
        Some(cursor) => return Ok(RejoinOutcome::Moved(cursor)),
        None => return Err(StoreError::Fault(format!("there is no cursor of station {}", ask.former))),
    }
    if let Some(next) = ask.parting.next
        && let Some(other) = tx.continued(ask.former, ask.parting.common, next).await?
        && other != station.name
    {
        return Ok(RejoinOutcome::Continued(other));
    }
    let number = match station.number {
        Some(number) => number,
        None => {
            let last = tx.last_number().await?;
            let Some(number) = next_number(last) else { return Ok(RejoinOutcome::Exhausted) };
            tx.assign(&station.name, number, &ask.join, Chain::start(ask.join.uuid)).await?;
            number
        }
    };
    tx.descend(number, Former { number: ask.former, owned: replaces }, ask.parting).await?;
    if replaces {
        tx.revoke(ask.former, ask.join.now_ms).await?;
    }
    Ok(RejoinOutcome::Rejoined { number, name: station.name, replaces })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_owns_what_it_replaced_and_references_all_of_it() {
        let number = |number| StationNumber::new(number).unwrap();
        let former = vec![Former { number: number(5), owned: true }, Former { number: number(2), owned: false }];
        let line = Line { former, ..Line::new(number(7)) };
        assert_eq!(line.owned().collect::<Vec<_>>(), [7, 5]);
        assert!(line.owns(5) && !line.owns(2) && !line.owns(0));
        let id = |of, local| number(of).upstream_id(local).unwrap();
        for reference in [id(7, 1), id(5, 1), id(2, LOCAL_ID_MAX), 1, LOCAL_ID_MAX] {
            assert!(line.may_reference(reference), "{reference}");
        }
        for reference in [id(3, 1), 0, -1, 7 << 32, i64::MAX, i64::MIN] {
            assert!(!line.may_reference(reference), "{reference}");
        }
        assert_eq!(line.former_of(id(2, 9)).map(|former| former.owned), Some(false));
    }
}
