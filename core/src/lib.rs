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
//! | `restart` | the pauses of a task that a fault has ended; not in a browser |
//! | [`planted`] | bugs on purpose, absent from every ordinary build: the simulation's test of itself |
//!
//! # The way of one change
//!
//! ```
//! use tidemark_core::batch::{BatchBuilder, LogRow};
//! use tidemark_core::chain::Chain;
//! use tidemark_core::decision::{Cursor, Decision, decide};
//! use tidemark_core::frame::{Compression, decode, encode};
//! use tidemark_core::ids::StationNumber;
//! use tidemark_core::limits::FrameLimits;
//! use tidemark_core::schema::Schema;
//! use tidemark_core::value::SqliteValue;
//!
//! let schema = Schema::parse(
//!     r#"
//!     name = "weather"
//!     version = 1
//!     [tables.site.columns]
//!     id = { type = "integer" }
//!     name = { type = "text", required = true }
//!     "#,
//! )?;
//! // Station 3 cuts the first change of its log as a batch, and sends it as a frame.
//! let start = Chain::start([7; 16]);
//! let mut builder = BatchBuilder::new(&schema, StationNumber::new(3)?, 1, start);
//! let values = [SqliteValue::Integer(1), SqliteValue::Text(b"pond")];
//! builder.push(&LogRow { seq: 1, at_ms: 0, table: b"site", op: b"I", values: &values });
//! let frame = encode(&builder.finish(0), Compression::Deflate)?;
//!
//! // The server decodes it, which proves its chain, and decides by the station's cursor.
//! let batch = decode(&frame, &schema, &FrameLimits::DEFAULT)?;
//! let cursor = Cursor { seq: 0, chain: start };
//! let decision = decide(&cursor, &batch.span(), |seq| batch.chain_at(&schema, seq));
//! assert_eq!(decision, Decision::Apply { skip: 0 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
mod names;
pub mod planted;
pub mod postgres;
pub mod printable;
pub mod protocol;
pub mod receipt;
pub mod reject;
pub mod rejoin;
#[cfg(not(target_arch = "wasm32"))]
pub mod restart;
#[cfg(not(target_arch = "wasm32"))]
pub mod rotation;
pub mod schema;
pub mod sealed;
pub mod secret;
pub mod sqlite;
pub mod survey;
pub mod timestamp;
pub mod url;
pub mod value;
pub mod wire;
