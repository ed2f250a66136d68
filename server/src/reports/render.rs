//! A report as text: a table, JSON, CSV or a page.

use std::str::FromStr;

use super::report::Report;
use super::words::Lang;
use super::{html, sheet};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns of text.
    Table,
    /// One JSON object.
    Json,
    /// Comma-separated values, RFC 4180, with a head.
    Csv,
    /// A page that needs no other file.
    Html,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "csv" => Ok(Self::Csv),
            "html" => Ok(Self::Html),
            _ => Err(format!("{word:?} is no format: use table, json, csv or html")),
        }
    }
}

impl Format {
    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Table => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}

/// Writes a report, in a language; JSON is the same in all.
#[must_use]
pub fn render(report: &Report, format: Format, lang: Lang) -> String {
    match format {
        Format::Json => {
            let mut text = serde_json::to_string_pretty(report).expect("BUG: a report is text and numbers");
            text.push('\n');
            text
        }
        Format::Table => sheet::of(report, lang).to_table(),
        Format::Csv => sheet::of(report, lang).to_csv(),
        Format::Html => html::page(report, lang),
    }
}
