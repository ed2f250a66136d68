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
//! | [`ids`], [`idmap`] | station numbers and upstream ids; which local id is which upstream id |
//! | [`identity`], [`image`] | what identifies a row upstream; the image of a rejected change, as JSON |
//! | [`batch`], [`columns`] | a contiguous range of changes, by columns |
//! | [`frame`], [`wire`] | a batch as bytes |
//! | [`chain`], [`digest`] | hashes over a log and over rows |
//! | [`decision`] | what the server does with a batch |
//! | [`protocol`], [`rejoin`], [`joincode`] | messages around the frame |
//! | [`bundle`], [`receipt`], [`sealed`] | a log carried by hand, and the answer to it |
//! | [`formulas`] | shrinkage: rates, models, forecasts |
//! | [`secret`] | secrets as a server keeps them |
//! | [`survey`] | questions about the rows that are upstream, and their answers |
//! | [`limits`] | every bound, in one place |
//! | [`amount`] | amounts as people read them: plurals, rates, sizes |
//! | [`printable`] | text from outside, fit for a terminal and a spreadsheet |
//! | `rotation` | a series of backups: names, which go, when the next is due; not in a browser |
//! | [`planted`] | bugs on purpose, absent from every ordinary build: the simulation's test of itself |

pub mod amount;
pub mod batch;
pub mod bundle;
pub mod capture;
pub mod chain;
pub mod columns;
pub mod convert;
pub mod decision;
pub mod digest;
pub mod formulas;
pub mod frame;
pub mod identity;
pub mod idmap;
pub mod ids;
#[cfg(feature = "image")]
pub mod image;
pub mod joincode;
pub mod limits;
pub mod planted;
pub mod postgres;
pub mod printable;
pub mod protocol;
pub mod receipt;
pub mod reject;
pub mod rejoin;
#[cfg(not(target_arch = "wasm32"))]
pub mod rotation;
pub mod schema;
pub mod sealed;
pub mod secret;
pub mod sqlite;
pub mod survey;
pub mod timestamp;
pub mod value;
pub mod wire;
