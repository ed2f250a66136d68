//! Proves that upstream holds what the station holds: the log by its chain, the rows by digests, down to the exact rows
//! that differ.
//!
//! ```text
//! ranges of both sides ─ digests differ ─▶ smaller ranges ─ … ─▶ few rows: both sides listed
//!  (a month, or a span of keys)                                  ─▶ suspects ─▶ judged one by one
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `search` | the state machine: which question comes next, what an answer leads to |
//! | `request` | the request that asks the server |
//! | `ranges` | a table cut into ranges, and ranges into smaller ones, with the station's digest of each |
//! | `pruned` | the days of pruned rows that a listing showed, compared in the end |
//! | `judge` | whether a suspect differs, in one snapshot of the station at a known change of its log |
//! | `repair` | writes what differs into the log again |
//! | `report` | what was found |
//! | `drive` | pushes, searches, repairs, searches again, on a blocking transport |
//!
//! Programs may write, and daemons push, while this runs: the search may then take rows for suspect that are only on
//! their way, and judging them says so. **A row is a difference only when** one reply, read by the server in one
//! snapshot at change C of the station's log, and one snapshot of the station's file, at change L ≥ C, say different
//! things about it; the log up to C has the same chain on both sides; no change after C is of that row; and no reject
//! is kept of it.
//!
//! **Pruned rows** are upstream and not here. Their digests, kept by UTC day, are added to the station's own, so a
//! clean file is proved as ever. Where the sums differ, days with pruned rows are not cut further but listed, and what
//! upstream has of pruned ids there is summed up and compared: such a day differs as a whole. Nothing of it is
//! repaired, since the rows are not here.

mod drive;
mod judge;
mod pruned;
mod ranges;
mod repair;
mod report;
mod request;
mod search;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use drive::Ended;
pub use drive::{Means, Outcome, Repaired, Wish, verify};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use judge::{Standing, stands};
pub use report::{ChangedCell, DIFFERENCES_MAX, Difference, Kind, PrunedDifference, Report, TableReport};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use request::request_of;
pub use search::{Heard, Search, Step};
