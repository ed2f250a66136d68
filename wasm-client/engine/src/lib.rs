//! Tidemark's client, free of any platform: the SQLite store that captures changes, and the engine that pushes them.
//!
//! Time, randomness and the network are arguments, so the same code runs in a station, in a browser's worker and in a simulation.
//!
//! | module | what lives there |
//! |---|---|
//! | [`Store`] (`store`, `open`, `status`, `log`, `rejects`, `repair`, `digest`) | a station's file |
//! | [`format`](mod@format) | the formats a file has had, and the way from each to the next |
//! | [`capture`] | the triggers on a real file: checked at open, repaired |
//! | [`outbox`], [`ack`] | batches out of the log; the transaction of an acknowledgement |
//! | [`sync`] | the engine: events in, actions out |

pub mod ack;
pub mod capture;
mod digest;
mod error;
pub mod format;
mod log;
pub mod meta;
mod open;
pub mod outbox;
mod rejects;
mod repair;
mod status;
mod store;
pub mod sync;

pub use digest::TableDigest;
pub use error::{Error, Result, Secret, printable};
pub use log::{ImageRow, show_value};
pub use open::{BUSY_TIMEOUT_MS, OpenOptions};
pub use rejects::{Origin, Reject, RejectState};
pub use repair::{Chosen, Requeued};
pub use status::{State, Status};
pub use store::{Store, insert_statement};

/// The SQLite binding of this build, so that callers use the same one.
pub use rusqlite;
