//! The databases behind [`crate::upstream::Upstream`], one folder each.
//!
//! To add one that speaks SQL: a folder with the store's connections, [`sql::Sql`] for them (the ledger comes with it),
//! [`Rows`](crate::upstream::Rows) within a transaction, and `Upstream`; then its URL in [`crate::config`], its way in
//! [`crate::server::open_upstream`], and its kind in the contract suite, which every store passes. One that does not
//! brings the [`Ledger`](crate::ledger::Ledger) itself, as the store in memory does that the simulation runs on.

mod last_write;
pub mod postgres;
pub mod sql;
pub mod sqlite;
