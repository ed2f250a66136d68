//! From a frame to rows, in stages, each with a type of its own.
//!
//! | stage | file | what comes out |
//! |---|---|---|
//! | decode | `decoded`, `project` | [`decoded::Decoded`]: a batch by the schema that is served |
//! | in pieces | `pieces`, `patience`, `chunks` | [`decoded::Part`]s: how much of it one transaction takes |
//! | apply | `apply` | in one transaction: cursor locked, [decided](tidemark_core::decision), and the stages below |
//! | resolve | `resolve` | [`resolve::Change`]s: row, table and operation of each, worked out once |
//! | check | `check` | [`check::Refused`]: verdicts that need nothing but the change itself |
//! | ask | `questions` | [`Questions`] about sets of rows, which the store answers as [`Facts`] |
//! | plan | `plan`, `appended` | [`plan::Plan`]: a verdict for each change, and the net effect as steps |
//! | write | `write` | [`write::Written`]: what the database took; what it refused is isolated |
//! | keep | `rejected` | the refused changes as [rejects](crate::ledger::rejects) |
//!
//! [`foreseen`] is a batch that has gone through the stages from *resolve* to *plan* before its turn.
//! [`stages`] adds up where the time of a batch goes. `intake` is where frames come in, [`Ingest`]; `problem` says what
//! a client hears of a failure. [`replay`] takes rejects through the stages from *resolve* on again.
//!
//! [`Questions`]: crate::upstream::Questions
//! [`Facts`]: crate::upstream::Facts

pub mod appended;
pub mod apply;
pub mod check;
pub mod chunks;
pub mod decoded;
pub mod foreseen;
mod intake;
pub mod patience;
mod pieces;
pub mod plan;
mod problem;
pub mod project;
pub mod questions;
mod rejected;
pub mod replay;
pub mod resolve;
pub mod stages;
pub mod write;

pub use self::decoded::{Decoded, ROW_BYTES};
pub use self::intake::Ingest;
pub use self::problem::{differs, store_problem};
