//! Tidemark's server: takes frames over HTTP and applies them upstream, exactly once and in order.
//!
//! | module | what lives there |
//! |---|---|
//! | [`server`] | a running server, in this process or as a program |
//! | [`http`] | the endpoint: requests in, problems or replies out |
//! | [`tls`] | the certificate that it shows, kept up to date |
//! | [`plain`] | where plain HTTP may be spoken |
//! | [`ingest`] | from a frame to rows: decoded, judged, planned, applied |
//! | [`sneakernet`] | bundles carried by hand |
//! | [`export`] | the way back: all rows in a SQLite file of the old form |
//! | [`upstream`] | the database, as the rest of the server sees it |
//! | [`ledger`] | what it keeps of stations beside their rows: cursors, lineage, rejects, tokens |
//! | [`stores`] | the databases: PostgreSQL, embedded SQLite |
//! | [`fleet`] | the stations as operators see them, and what operators do |
//! | [`survey`] | what is gathered from a station's rows for `POST /v1/digest` |
//! | [`reports`] | the shrinkage domain: reports on its tables |
//! | [`stations`], [`rejoin`] | invitations, numbers, tokens; files that go on under another number |
//! | [`admin`] | what an operator does with the database besides serving |
//! | [`panics`] | this program's own faults, caught and counted |
//! | [`supervision`] | tasks that stay: begun again after a panic |
//! | [`notices`] | the log of refusals: one line for each cause and minute |
//! | [`metrics`] | what is counted and measured, for Prometheus |
//! | [`config`], [`database`], [`bounds`] | the configuration, the URL of a database, what is bounded |
//! | [`live`] | values that may change while the server runs |
//! | [`clock`] | time and randomness |
//! | [`cli`] | the command line |

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what is printed goes through `cli`, which lets nothing at a terminal"
)]

pub mod admin;
pub mod bounds;
pub mod cli;
pub mod clock;
mod columns;
pub mod config;
pub mod database;
mod descriptors;
pub mod export;
mod files;
pub mod fleet;
pub mod http;
pub mod ingest;
pub mod ledger;
pub mod live;
pub mod metrics;
pub mod notices;
mod offload;

pub mod panics;
pub mod plain;
pub mod rejoin;
pub mod reports;
pub mod server;
pub mod sneakernet;
mod spans;
pub mod stations;
pub mod stores;
pub mod supervision;
pub mod survey;
pub mod tls;
pub mod upkeep;
pub mod upstream;

pub use config::ServerConfig;
pub use database::DatabaseUrl;
pub use server::{RunningServer, Server};
