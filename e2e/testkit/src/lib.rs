//! What the tests of several packages need of the world, and nothing of Tidemark's.
//!
//! | module | what lives there |
//! |---|---|
//! | [`contract`] | one suite of tests for several implementations |
//! | [`postgres`] | PostgreSQL clusters, with TimescaleDB or without: private ones that can be killed, and shares of the run's |
//! | [`shared`] | the two clusters of a whole run |
//! | [`world`] | the one place that reads the clock, waits, or draws anything by chance |

pub mod contract;
pub mod postgres;
pub mod shared;
pub mod world;
