//! The test kit: what the tests of several packages share.
//!
//! | module | what lives there | feature |
//! |---|---|---|
//! | [`world`] | the one place that reads the clock, waits, or draws anything by chance | |
//! | [`schemas`] | schemas with every type | |
//! | [`contract!`] | one suite of tests for several implementations | |
//! | [`words`] | rules that every command line keeps | |
//! | [`python`] | the Python of the tests | |
//! | [`prometheus`] | a Prometheus that scrapes a test's servers | `prometheus` |
//! | [`certificates`] | of a server, of its clients, and of who vouches for them | `certificates` |
//! | [`varied`] | random rows of the schema of every type | `varied` |
//! | [`postgres`] | PostgreSQL clusters with TimescaleDB or without, private or shared by a run | `postgres` |
//!
//! A package takes the features that it needs: the station's tests build no PostgreSQL driver.

#[cfg(feature = "certificates")]
pub mod certificates;
pub mod contract;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "prometheus")]
pub mod prometheus;
pub mod python;
pub mod schemas;
#[cfg(feature = "varied")]
pub mod varied;
pub mod words;
pub mod world;
