//! One point of the list, and what several of them say.

use std::time::Duration;

use serde::Serialize;
use tidemark_core::schema::Schema;

/// So often the way to the database and back is taken; the median is told.
pub(super) const ROUND_TRIPS: usize = 11;

/// One point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Its name.
    #[serde(rename = "check")]
    pub name: &'static str,
    /// A server can work with what was found.
    #[serde(rename = "ok")]
    pub good: bool,
    /// It can, and should not as it is.
    pub warns: bool,
    /// The finding.
    #[serde(rename = "says")]
    pub found: String,
    /// The SQL that mends it, where one statement does.
    #[serde(rename = "do")]
    pub sql: Option<String>,
}

pub(super) fn good(name: &'static str, found: impl Into<String>) -> Point {
    Point { name, good: true, warns: false, found: found.into(), sql: None }
}

pub(super) fn warns(name: &'static str, found: impl Into<String>) -> Point {
    Point { warns: true, ..good(name, found) }
}

pub(super) fn bad(name: &'static str, found: impl Into<String>) -> Point {
    Point { name, good: false, warns: false, found: found.into(), sql: None }
}

pub(super) fn matches(schema: &Schema) -> String {
    format!("matches {} version {}", schema.name(), schema.version())
}

pub(super) fn median(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    format!("{:.3} ms, median of {}", times[times.len() / 2].as_secs_f64() * 1000.0, times.len())
}
