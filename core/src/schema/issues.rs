//! The faults of a schema file, collected with their places while it is read.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{NameOf, name_problem};
use super::real::parse_real;

/// One thing that is wrong with a schema file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaIssue {
    /// The line, from 1.
    pub line: usize,
    /// The place in the file's structure, such as `tables.reading.columns.note`; empty for the file as a whole.
    pub path: String,
    /// The words: what is wrong and what to do.
    pub message: String,
}

/// Everything that is wrong with a schema file, by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// At least one.
    pub issues: Vec<SchemaIssue>,
}

impl std::error::Error for SchemaError {}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, issue) in self.issues.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "line {}", issue.line)?;
            if !issue.path.is_empty() {
                write!(f, ", {}", issue.path)?;
            }
            write!(f, ": {}", issue.message)?;
        }
        Ok(())
    }
}

impl SchemaError {
    pub(super) fn of(text: &str, (at, path, message): (usize, String, String)) -> Self {
        Self { issues: vec![SchemaIssue { line: line_of(text, at), path, message }] }
    }
}

pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Collects all that is wrong with a file while it is read.
pub(super) struct Collector<'t> {
    pub(super) text: &'t str,
    /// By line, and those of one line as they were found. Kept so from the start: sorting is code that a browser would
    /// download for this alone.
    pub(super) issues: Vec<SchemaIssue>,
}

impl Collector<'_> {
    pub(super) fn add(&mut self, span: &Range<usize>, path: &str, message: impl Into<String>) {
        let line = line_of(self.text, span.start);
        let at = self.issues.partition_point(|before| before.line <= line);
        self.issues.insert(at, SchemaIssue { line, path: path.to_owned(), message: message.into() });
    }

    pub(super) fn table<'v, 'i>(&mut self, value: &'v Spanned<DeValue<'i>>, path: &str) -> Option<&'v DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.add(&value.span(), path, format!("expected a table, found {}", other.type_str()));
                None
            }
        }
    }

    pub(super) fn string<'v>(&mut self, value: &'v Spanned<DeValue<'_>>, path: &str) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(text) => Some(text),
            other => {
                self.add(&value.span(), path, format!("expected a string, found {}", other.type_str()));
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(truth) => Some(*truth),
            other => {
                self.add(&value.span(), path, format!("expected true or false, found {}", other.type_str()));
                None
            }
        }
    }

    pub(super) fn integer(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<i64> {
        let parsed = match value.get_ref() {
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        if parsed.is_none() {
            self.add(&value.span(), path, format!("expected a 64-bit integer, found {}", value.get_ref().type_str()));
        }
        parsed
    }

    pub(super) fn number(&mut self, value: &Spanned<DeValue<'_>>, path: &str) -> Option<f64> {
        let parsed = match value.get_ref() {
            DeValue::Float(n) => parse_real(n.as_str()),
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok().map(|n| n as f64),
            _ => None,
        };
        let finite = parsed.filter(|n| n.is_finite());
        if finite.is_none() {
            self.add(&value.span(), path, format!("expected a finite number, found {}", value.get_ref().type_str()));
        }
        finite
    }

    pub(super) fn name(&mut self, span: &Range<usize>, path: &str, name: &str, of: NameOf) {
        if let Some(problem) = name_problem(name, of) {
            self.add(span, path, problem);
        }
    }

    pub(super) fn unknown_key(&mut self, span: &Range<usize>, path: &str, key: &str, known: &str) {
        self.add(span, path, format!("unknown key {key:?}; known here: {known}"));
    }
}

/// SQLite's names do not tell case apart, so two that differ by case only are one.
pub(super) fn note_twin(
    issues: &mut Collector<'_>,
    seen: &mut BTreeMap<String, usize>,
    span: &Range<usize>,
    path: &str,
    name: &str,
) {
    let line = line_of(issues.text, span.start);
    if let Some(first) = seen.insert(name.to_ascii_lowercase(), line) {
        issues.add(
            span,
            path,
            format!("the name {name:?} is a duplicate: line {first} has it already (SQLite does not tell case apart)"),
        );
    }
}
