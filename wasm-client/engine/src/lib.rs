//! Tidemark's client, free of any platform: the SQLite store that captures changes, and the engine that pushes them.
//!
//! Time, randomness and the network are arguments, so the same code runs in a station, in a browser's worker and in a simulation.
//!
//! What lies on the file, from below: each module uses only those above it in this list.
//!
//! | module | what lives there |
//! |---|---|
//! | [`meta`], `log`, `rejects`, `lacking`, `lineage`, `pruned` | Tidemark's tables in a station's file, each read and written in one place |
//! | [`format`](mod@format) | the formats a file has had, and the way from each to the next |
//! | [`capture`] | the triggers on a real file: checked at open, made anew |
//! | `catalog` | the schemas of a file, and what its rows are read by |
//! | `connect`, `create`, [`private`] | connections, new files, and who may read file and copies |
//! | [`Store`] (`store`) | a station's open file: a façade over these |
//! | `repair`, `renumber`, `rows` | what a person does to rejects and keys; the rows as upstream should have them |
//! | [`attach`], `backup` | capture on a file that another system made; copies of a file, made and put back |
//! | [`outbox`], [`ack`] | batches out of the log; the transaction of an acknowledgement |
//! | `rejoin` | a file whose history parted from its number's goes on under another number |
//! | [`sync`] | the engine: events in, actions out |
//! | [`bundle`] | the log carried by hand, and the receipt for it |
//! | [`verify`], `prune` | proves that upstream equals the station; takes rows out of the file that are upstream |

pub mod ack;
#[cfg(not(target_arch = "wasm32"))] // a browser's files are its own
pub mod attach;
#[cfg(not(target_arch = "wasm32"))]
pub mod backup;
pub mod bundle;
pub mod capture;
mod catalog;
mod connect;
mod create;
mod error;
pub mod format;
mod lacking;
mod lineage;
mod log;
pub mod meta;
pub mod outbox;
pub mod private;
#[cfg(not(target_arch = "wasm32"))]
pub mod prune;
mod pruned;
mod rejects;
mod rejoin;
mod renumber;
mod repair;
mod rows;
mod store;
pub mod sync;
pub mod verify;

pub use connect::{BUSY_TIMEOUT_MS, OpenOptions};
pub use error::{Error, Result, Secret, printable};
pub use lineage::FormerStation;
pub use log::{ImageRow, show_value};
pub use rejects::{Origin, Reject, RejectState};
pub use renumber::Renumbered;
pub use repair::{Chosen, Requeued};
pub use rows::TableDigest;
pub use store::evolve::Evolved;
pub use store::status::{State, Status};
pub use store::{Store, insert_statement};

/// The SQLite binding of this build, so that callers use the same one.
pub use rusqlite;
