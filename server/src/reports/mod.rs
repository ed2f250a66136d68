//! The shrinkage domain: reports on what stations measured. The rest of the server knows schemas and rows, not this.
//!
//! ```text
//! question ─ answer: names matched · the store's roll-ups · means, trend ─▶ report ─ render ─▶ table, CSV, JSON, page
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | [`question`], [`report`] | what is asked, why there is no answer; the facts of an answer |
//! | [`answer`] | from one to the other |
//! | [`names`] | names matched and sorted by the Unicode collation |
//! | [`trend`] | the direction in which accuracy goes |
//! | [`render()`] | a report as text, by the files below |
//! | [`sheet`] | a report as rows of text: table and CSV |
//! | [`words`] | the words of table, CSV and page, in English and Russian |
//! | [`html`], [`chart`] | a report as a page of its own, with charts |
//! | [`query`], [`command`] | a question as a program asks it over HTTP, and as an operator types it |
//! | [`refresh`] | the roll-ups kept up to date |
//!
//! The generic server reaches the room in these places, and in no other:
//!
//! | from | what |
//! |---|---|
//! | [`crate::upstream::Upstream::reports`] | the store's side of a report, where the database holds the tables |
//! | `http/reports.rs` | [`query::answer`], behind a reader's token |
//! | `cli/report.rs`, `cli/reader.rs` | [`ReportCommand`], [`ask`], [`render()`] |
//! | `server.rs` | `refresh::start` |
//!
//! The store's side (`upstream/reports.rs`, `upstream/*/reports.rs`) belongs to the room, too, and lies with the
//! stores for now. The formulas are [`tidemark_core::formulas`], their twins in SQL come with migrations
//! `shrinkage_reports`.
//!
//! Products and models of one name are one, whichever stations they are on.

pub mod answer;
pub mod chart;
pub mod command;
pub mod html;
pub mod names;
pub mod query;
pub mod question;
pub mod refresh;
pub mod render;
pub mod report;
pub mod sheet;
pub mod trend;
pub mod words;

pub use self::answer::ask;
pub use self::command::ReportCommand;
pub use self::question::{Noun, Question, ReportError, Unknown};
pub use self::render::{Format, render};
pub use self::report::{Body, Report};
