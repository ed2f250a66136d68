//! The deterministic simulation: stations, networks, servers and their database in one thread, under one seed.
//!
//! ```text
//!             ┌────────────────────────── world: a queue of events in virtual time ──────────────────────────┐
//!             │                                                                                              │
//!  writer ──▶ disk (SQLite in memory) ◀── process (Store + Engine) ──▶ network ──▶ servers (Endpoint) ──▶ in memory
//!   FAKE        real SQLite, fake disk          REAL                     FAKE          REAL                    FAKE
//!             │                                                                                              │
//!             └──── after every event: oracle, a naive model that is told nothing but what was written ──────┘
//! ```
//!
//! **Real**, to the line, is what has to be right: capture triggers in SQLite, the store, the sync engine, frames, the
//! chain, the endpoint with its handlers and JSON, ingest, the decision and the planner. **Fake** are the programs that
//! write, the disk under SQLite, clocks, the network, and the upstream database (`MemoryUpstream`, kept honest by the
//! contract suite that every store passes).
//!
//! A run is a [`Plan`]: everything follows from its seed, so the same plan gives the same run, to the byte of its
//! trace. Each seed draws how many stations and servers there are and which [`Fault`]s happen. After a while the faults
//! stop, and the run must drain by itself: all a station gets from then on is its clock.
//!
//! | module | what lives there |
//! |---|---|
//! | [`plan`], [`faults`] | what a seed means; the kinds of faults |
//! | [`dice`], [`clock`] | randomness by purpose; virtual time and the clocks that get it wrong |
//! | [`disk`], [`writer`], [`process`] | a station: its file, the programs that write to it, the process that pushes |
//! | [`network`], [`server`] | what becomes of a message; endpoints over one database that fails at named moments |
//! | [`world`] | the queue of events: the run itself |
//! | [`oracle`] | what must be true after every event, and at the end |
//! | [`trace`], [`coverage`] | what happened, in order; what was reached at all |
//! | [`fleet`], [`shrink`](mod@shrink) | many seeds on all cores; the smallest plan that still fails |

pub mod clock;
pub mod coverage;
pub mod dice;
pub mod disk;
pub mod faults;
pub mod fleet;
pub mod names;
pub mod network;
pub mod oracle;
pub mod plan;
pub mod process;
pub mod schema;
pub mod server;
pub mod shrink;
pub mod trace;
pub mod world;
pub mod writer;

pub use coverage::Coverage;
pub use faults::{Fault, FaultSet};
pub use fleet::{Fleet, Found, run_seeds};
pub use plan::Plan;
pub use shrink::shrink;
pub use world::{Finding, Report, Simulator};
