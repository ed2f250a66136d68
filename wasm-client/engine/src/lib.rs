//! Tidemark's client, free of any platform: the SQLite store that captures changes, and the engine that pushes them.
//!
//! Time, randomness and the network are arguments, so the same code runs in a station, in a browser's worker and in a
//! simulation.
//!
//! The modules, from the file upwards: each uses only those above it in this list.
//!
//! | module | what lives there |
//! |---|---|
//! | [`meta`], `log`, `rejects`, `lacking`, `lineage`, `pruned` | Tidemark's tables in a file, each in one place |
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
//!
//! # A station in small
//!
//! A program of the platform makes the requests that the engine asks for, and tells it what came of them. Here a
//! function stands in for network and server.
//!
//! ```
//! use tidemark_client::rusqlite::Connection;
//! use tidemark_client::sync::{Action, Config, Engine, Reply, Request, join};
//! use tidemark_client::{Secret, Store};
//! use tidemark_core::frame::FrameHeader;
//! use tidemark_core::ids::StationNumber;
//! use tidemark_core::joincode::JoinCode;
//! use tidemark_core::limits::FrameLimits;
//! use tidemark_core::protocol::{JoinReply, PushReply};
//! use tidemark_core::schema::Schema;
//!
//! fn server(request: &Request) -> Reply {
//!     let limits = FrameLimits::DEFAULT;
//!     let body = if request.url.ends_with("/v1/join") {
//!         let station = StationNumber::new(3).unwrap();
//!         serde_json::to_vec(&JoinReply { station, name: "alpha".to_owned(), limits })
//!     } else {
//!         // A real server applies the changes before it says that they are durable.
//!         let frame = FrameHeader::parse(&request.body, &limits).unwrap();
//!         let tidemark = frame.first_seq + u64::from(frame.count) - 1;
//!         let (chain, applied) = (frame.chain_after, frame.count);
//!         serde_json::to_vec(&PushReply { tidemark, chain, applied, duplicate: 0, rejected: Vec::new(), limits })
//!     };
//!     Reply { status: 200, retry_after: None, body: body.unwrap() }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let schema = "name = 'weather'\nversion = 1\n\
//!     [tables.site.columns]\nid = { type = 'integer' }\nname = { type = 'text' }";
//! let db = Connection::open_in_memory()?;
//! let mut store = Store::init_connection(db, "field.db".to_owned(), &Schema::parse(schema)?, [7; 16])?;
//! store.insert("site", &[("name", "Memmert".to_owned().into())])?;
//!
//! // Once: the station joins with the code that the server's operator made.
//! let mut now_ms = 1_700_000_000_000;
//! let code = JoinCode { url: "https://tides.example".to_owned(), secret: [1; 32], pin: None }.encode();
//! if let join::Begin::Ask(request) = join::ask(&mut store, &code, None, Secret([2; 32]))? {
//!     join::hear(&mut store, now_ms, &server(&request))?;
//! }
//!
//! // Whenever the log has grown: the engine says what to do until everything is upstream.
//! let mut engine = Engine::new(Config::daemon(1));
//! loop {
//!     match engine.next(&mut store, now_ms)? {
//!         Action::Send(request) => {
//!             engine.on_reply(&mut store, now_ms, request.id, &server(&request))?;
//!         }
//!         Action::WaitUntil(at_ms) => now_ms = at_ms,
//!         Action::Idle => break,
//!         Action::UnderWay(_) => unreachable!("nothing was sent early"),
//!         Action::Stopped(stop) => return Err(stop.into()),
//!     }
//! }
//! let status = store.status()?;
//! assert_eq!((status.tidemark, status.pending), (1, 0));
//! # Ok(())
//! # }
//! ```

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
pub mod halt;
mod lacking;
mod lineage;
mod log;
pub mod meta;
mod noted;
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
pub mod trust;
pub mod verify;

pub use connect::{BUSY_TIMEOUT_MS, OpenOptions};
pub use error::{Error, RejectProblem, Result, Secret, printable};
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
