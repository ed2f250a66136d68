//! Tidemark's client, free of any platform: the SQLite store that captures changes, and the engine that pushes them.
//!
//! Time, randomness and the network are arguments, so the same code runs in a station, in a browser's worker and in a simulation.
//!
//! | module | what lives there |
//! |---|---|
//! | [`Store`] (`store`, `open`, `evolve`, `status`, `log`, `rejects`, `repair`, `renumber`, `rows`) | a station's file |
//! | `look` | the same file, only looked at: nothing is written |
//! | [`attach`], `lacking` | capture on a file that another system made, and what such a file has not |
//! | `backup`, [`private`] | copies of a file, made and put back while programs have it open; who may read file and copies |
//! | [`format`](mod@format) | the formats a file has had, and the way from each to the next |
//! | [`capture`] | the triggers on a real file: checked at open, repaired |
//! | `parting`, `switch`, `former` | a file whose history parted from its number's: where, going on under another number, its rows before |
//! | [`outbox`], [`ack`] | batches out of the log; the transaction of an acknowledgement |
//! | [`bundle`] | the log carried by hand, and the receipt for it |
//! | [`sync`] | the engine: events in, actions out |
//! | `prune`, `pruned` | rows that are upstream leave the file; what is kept of them |
//! | [`verify`] | proves that upstream equals the station, and repairs what differs |

pub mod ack;
#[cfg(not(target_arch = "wasm32"))] // a browser's files are its own
pub mod attach;
#[cfg(not(target_arch = "wasm32"))]
pub mod backup;
pub mod bundle;
pub mod capture;
mod error;
mod evolve;
pub mod format;
mod former;
pub mod halt;
mod lacking;
mod log;
#[cfg(not(target_arch = "wasm32"))]
mod look;
pub mod meta;
mod open;
pub mod outbox;
mod parting;
pub mod private;
#[cfg(not(target_arch = "wasm32"))]
pub mod prune;
mod pruned;
mod rejects;
mod renumber;
mod repair;
mod rows;
mod status;
mod store;
mod switch;
pub mod sync;
pub mod verify;

pub use error::{Error, RejectProblem, Result, Secret, printable};
pub use evolve::Evolved;
pub use former::FormerStation;
pub use log::{ImageRow, show_value};
pub use open::{BUSY_TIMEOUT_MS, OpenOptions};
pub use rejects::{Origin, Reject, RejectState};
pub use renumber::Renumbered;
pub use repair::{Chosen, Requeued};
pub use rows::TableDigest;
pub use status::{State, Status};
pub use store::{Store, insert_statement};

/// The SQLite binding of this build, so that callers use the same one.
pub use rusqlite;
