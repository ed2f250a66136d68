//! What a store knows of lines of stations: the history of chains, forks, and who came from whom.

use async_trait::async_trait;
use tidemark_core::chain::{Chain, Print};
use tidemark_core::ids::StationNumber;

use super::StoreError;
use crate::lines::{Former, History, Line, LineSummary, Parting, RejoinAsk, RejoinOutcome, ReplacementOutcome};
use crate::stations::NewStation;

/// The part of a transaction that concerns lines.
#[async_trait]
pub trait LineTransaction: Send {
    /// A station's line.
    async fn line(&mut self, station: StationNumber) -> Result<Line, StoreError>;
    /// Keeps the prints of the chain after each of some changes that are applied now, from `first_seq` on.
    async fn keep_history(
        &mut self,
        station: StationNumber,
        first_seq: u64,
        prints: &[Print],
        now_ms: i64,
    ) -> Result<(), StoreError>;
    /// The print of the chain after change `seq`, if it is known.
    async fn print_at(&mut self, station: StationNumber, seq: u64) -> Result<Option<Print>, StoreError>;
    /// Notes that a batch continued another history.
    async fn note_fork(&mut self, station: StationNumber, seq: u64, now_ms: i64) -> Result<(), StoreError>;
    /// The number that replaced this one, if one did.
    async fn successor(&mut self, station: StationNumber) -> Result<Option<StationNumber>, StoreError>;
    /// The station that the invited one of this name is to replace.
    async fn replaces(&mut self, name: &str) -> Result<Option<String>, StoreError>;
    /// The station that went on from `former` after change `common` with a change after which the chain is `next`.
    async fn continued(
        &mut self,
        former: StationNumber,
        common: u64,
        next: Chain,
    ) -> Result<Option<String>, StoreError>;
    /// Puts a station in line after `former` and all that came before that. Done again, it only moves the parting.
    async fn descend(&mut self, station: StationNumber, former: Former, parting: Parting) -> Result<(), StoreError>;
    /// Takes a number's access away, if it still has it.
    async fn revoke(&mut self, station: StationNumber, now_ms: i64) -> Result<(), StoreError>;
}

/// The part of an upstream that concerns lines.
#[async_trait]
pub trait Lines: Send + Sync {
    /// Lets a file go on under another number.
    async fn rejoin(&self, ask: &RejoinAsk) -> Result<RejoinOutcome, StoreError>;
    /// Invites a station that replaces another one.
    async fn add_replacement(&self, station: &NewStation, replaces: &str) -> Result<ReplacementOutcome, StoreError>;
    /// The station that replaced this one, by name.
    async fn replaced_by(&self, station: StationNumber) -> Result<Option<String>, StoreError>;
    /// Prints of a station's chain after seq `after`, at most `limit`; none of an unknown station.
    async fn history(&self, station: StationNumber, after: u64, limit: usize) -> Result<Option<History>, StoreError>;
    /// Every station that came from another or has forked, by number.
    async fn lines(&self) -> Result<Vec<LineSummary>, StoreError>;
}

/// From stored batches to a reply: prints are contiguous, begin after `after` and are at most `limit`. `batches` come in order.
pub(super) fn prints_after(
    batches: impl IntoIterator<Item = (u64, Vec<u8>)>,
    after: u64,
    limit: usize,
) -> (u64, Vec<Print>) {
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
