//! The fuzz targets: bytes from outside, one function per kind of input.
//!
//! | target | what comes from outside |
//! |---|---|
//! | [`frame`] | a frame in a request or a bundle |
//! | [`schema`] | a schema file |
//! | [`convert`] | what programs write into a station's tables |
//! | [`bundle`], [`receipt`] | files on a stick |
//! | [`csv`] | CSV files |
//! | [`contact`] | what a station says of itself |
//! | [`replies`] | what a server, or whoever sits between, answers to a push |
//! | [`verify`] | and to questions about rows |
//!
//! A target takes any bytes and panics when a promise is broken. `scripts/fuzz` runs the targets under libFuzzer with
//! bounds of time and memory; `cargo test -p tidemark-fuzz` runs the kept corpus through the same functions.

pub mod bundle;
pub mod contact;
pub mod convert;
pub mod csv;
pub mod frame;
pub mod receipt;
pub mod replies;
mod rows;
pub mod schema;
mod seal;
mod station;
pub mod verify;

/// A target: takes any bytes, and panics when a promise is broken.
pub type Target = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("frame", frame::run),
    ("schema", schema::run),
    ("convert", convert::run),
    ("bundle", bundle::run),
    ("contact", contact::run),
    ("receipt", receipt::run),
    ("csv", csv::run),
    ("replies", replies::run),
    ("verify", verify::run),
];
