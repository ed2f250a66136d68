//! How far each station's log is durable, and the prints of its chain.

use async_trait::async_trait;
use tidemark_core::chain::Print;
use tidemark_core::decision::Cursor;
use tidemark_core::ids::StationNumber;

use crate::upstream::error::StoreError;

/// A piece of a station's chain: where the station stands, and the prints of contiguous changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The station's cursor.
    pub cursor: Cursor,
    /// The seq of the first print.
    pub first_seq: u64,
    /// The prints.
    pub prints: Vec<Print>,
}

/// A move of a station's cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// The station.
    pub station: StationNumber,
    /// The new place.
    pub cursor: Cursor,
    /// The last change before the batch that moves it.
    ///
    /// A station that sends a batch which follows change `began` has acknowledged the batch before the one before: that
    /// one was in flight while this was cut. So the station has *heard* every verdict up to where the batch before
    /// began, if that is less than `began`; the same batch again, or a further piece of it, says nothing new.
    pub began: u64,
    /// The server's clock, milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// The server's clock minus the station's, milliseconds.
    pub clock_offset_ms: i64,
}

/// The part of one station's ledger that may be thinned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinning {
    /// The station.
    pub station: StationNumber,
    /// Rejects that were settled before this, and prints of batches that were applied before it, may go; milliseconds
    /// since 1970 UTC.
    pub before_ms: i64,
    /// So many of the newest changes keep their prints, whatever their age.
    pub prints_kept: u64,
    /// At most so many rejects and so many batches' prints at a time: pushes wait no longer than that takes.
    pub rows_max: u32,
}

/// Numbers of entries that were thinned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thinned {
    /// Rejects.
    pub rejects: u64,
    /// Batches whose prints went.
    pub batches: u64,
}

/// The cursors and histories of a ledger.
#[async_trait]
pub trait CursorLedger: Send {
    /// The station's cursor: the end of what is durable of its log.
    async fn cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError>;
    /// The station's cursor, locked until the transaction ends.
    async fn lock_cursor(&mut self, station: StationNumber) -> Result<Option<Cursor>, StoreError>;
    /// Moves a cursor.
    async fn advance(&mut self, advance: &Advance) -> Result<(), StoreError>;
    /// The last change of which a station has shown to know the verdict; 0 of an unknown station.
    async fn heard(&mut self, station: StationNumber) -> Result<u64, StoreError>;
    /// Keeps the prints of the chain after each of some changes that are applied now, from `first_seq` on.
    async fn keep_history(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        prints: &[Print],
        now_ms: i64,
    ) -> Result<(), StoreError>;
    /// Prints of a station's chain after seq `after`, at most `limit`; none of an unknown station.
    async fn history(
        &mut self,
        station: StationNumber,
        after: u64,
        limit: usize,
    ) -> Result<Option<History>, StoreError>;
    /// Takes away what may go. A reject may go once it is settled, no open one hangs on it, and the station has heard
    /// the verdict: until then a repeated batch is answered with it.
    async fn thin(&mut self, thinning: &Thinning) -> Result<Thinned, StoreError>;
}

/// Puts stored batches of prints together to one page: contiguous prints that begin after `after`, at most `limit`.
/// `batches` come in order. Returns the seq of the first print as well.
pub fn prints_after(batches: impl IntoIterator<Item = (u64, Vec<u8>)>, after: u64, limit: usize) -> (u64, Vec<Print>) {
    let (mut first_seq, mut prints) = (after + 1, Vec::new());
    for (batch_seq, bytes) in batches {
        let (batch, _) = bytes.as_chunks();
        let skip = usize::try_from((after + 1).saturating_sub(batch_seq)).unwrap_or(usize::MAX);
        if skip >= batch.len() {
            continue;
        }
        let seq = batch_seq + skip as u64;
        if prints.is_empty() {
            first_seq = seq;
        } else if seq != first_seq + prints.len() as u64 {
            break;
        }
        prints.extend_from_slice(&batch[skip..]);
        if prints.len() >= limit {
            prints.truncate(limit);
            break;
        }
    }
    (first_seq, prints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_within_a_batch_and_ends_at_a_gap_or_the_limit() {
        let batch = |first: u64, count: u64| {
            (first, (first..first + count).flat_map(|seq| [seq as u8; 8]).collect::<Vec<u8>>())
        };
        let stored = [batch(1, 3), batch(4, 1), batch(5, 4), batch(11, 2)];
        let page = |after, limit| {
            let (first, prints) = prints_after(stored.clone(), after, limit);
            (first, prints.iter().map(|print| print[0]).collect::<Vec<u8>>())
        };
        assert_eq!(page(0, 100), (1, (1..=8).collect()));
        assert_eq!(page(2, 100), (3, (3..=8).collect()));
        assert_eq!(page(5, 2), (6, vec![6, 7]));
        assert_eq!(page(8, 100), (11, vec![11, 12]));
        assert_eq!(page(11, 100), (12, vec![12]));
        assert_eq!(page(12, 100), (13, vec![]));
    }
}
