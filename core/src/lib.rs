//! The part of Tidemark that both sides of the wire share: the schema, the change and its log, the frame that
//! carries changes, the chain that proves them and the decision what to do with a batch.
//!
//! Nothing here does I/O, reads a clock or a random source, or knows an SQL driver; all of it compiles for wasm32.
//!
//! | module | what lives there |
//! |---|---|
//! | [`schema`] | the schema file: parsed, checked, fingerprinted |
//! | [`sqlite`], [`capture`], [`postgres`] | SQL derived from a schema |
//! | [`value`], [`convert`] | typed values, strict conversion from SQLite's |
//! | [`ids`] | station numbers and upstream ids |
//! | [`image`] | the image of a rejected change, as JSON |
//! | [`batch`], [`columns`] | a contiguous range of changes, by columns |
//! | [`frame`], [`wire`] | a batch as bytes |
//! | [`chain`], [`digest`] | hashes over a log and over rows |
//! | [`decision`] | what the server does with a batch |
//! | [`protocol`], [`joincode`] | messages around the frame |
//! | [`limits`] | every bound, in one place |

pub mod batch;
pub mod capture;
pub mod chain;
pub mod columns;
pub mod convert;
pub mod decision;
pub mod digest;
pub mod frame;
pub mod ids;
pub mod image;
pub mod joincode;
pub mod limits;
pub mod postgres;
pub mod protocol;
pub mod reject;
pub mod schema;
pub mod sqlite;
pub mod timestamp;
pub mod value;
pub mod wire;
