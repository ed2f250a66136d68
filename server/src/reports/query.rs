//! A question as a program asks it over HTTP: the report's name is the end of the path, the rest is the query.

use percent_encoding::percent_decode_str;

use super::answer::ask;
use super::question::{Question, ReportError};
use super::render::{Format, render};
use super::words::Lang;
use crate::upstream::StoreError;
use crate::upstream::reports::ReportStore;

/// A trend goes back so many days unless told otherwise.
const DAYS: u32 = 30;
/// So many products are the top ones unless told otherwise.
const TOP: u32 = 10;

/// A report as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The report.
    pub text: String,
    /// Its form.
    pub format: Format,
    /// Its language.
    pub lang: Lang,
}

/// The reason that a query is not answered.
#[derive(Debug)]
pub enum QueryError {
    /// It is no question.
    Bad(String),
    /// There is no such product, model, or no report at all in this database.
    Missing(String),
    /// The store failed.
    Store(StoreError),
}

/// A report of this name exists.
#[must_use]
pub fn is_report(name: &str) -> bool {
    matches!(name, "product" | "models" | "trend" | "top")
}

/// Answers the query of a report.
///
/// # Errors
/// See [`QueryError`].
pub async fn answer(store: &dyn ReportStore, name: &str, query: &str, now_ms: i64) -> Result<Answered, QueryError> {
    let (question, format, lang) = question(name, query).map_err(QueryError::Bad)?;
    let report = ask(store, &question, now_ms).await.map_err(|error| match error {
        ReportError::Days(_) | ReportError::Count(_) | ReportError::Day(_) => QueryError::Bad(lang.error(&error)),
        ReportError::Unknown(_) | ReportError::OtherSchema => QueryError::Missing(lang.error(&error)),
        ReportError::Store(error) => QueryError::Store(error),
    })?;
    Ok(Answered { text: render(&report, format, lang), format, lang })
}

/// The words of a query, each taken once.
struct Words(Vec<(String, String)>);

impl Words {
    fn parse(query: &str) -> Result<Self, String> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| "the query is not UTF-8".to_owned())
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let words = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(words.collect::<Result<_, String>>()?))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(word, _)| word == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn number(&mut self, name: &str, default: u32) -> Result<u32, String> {
        let Some(word) = self.take(name) else { return Ok(default) };
        word.parse().map_err(|_| format!("{name}={word:?} is no number"))
    }

    /// Nothing may be left.
    fn end(self) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("{name:?} is not asked for here, or stands there twice")),
            None => Ok(()),
        }
    }
}

/// A report's name and query as a question, and the form and language of its answer.
fn question(report: &str, query: &str) -> Result<(Question, Format, Lang), String> {
    let mut words = Words::parse(query)?;
    let format = words.take("format").map_or(Ok(Format::Json), |word| word.parse())?;
    let lang = words.take("lang").map_or(Ok(Lang::En), |word| word.parse())?;
    let question = match report {
        "product" => Question::Product { name: words.take("name") },
        "models" => Question::Models,
        "trend" => Question::Trend {
            product: words.take("product").ok_or("name the product: ?product=NAME")?,
            days: words.number("days", DAYS)?,
            until: words.take("until"),
            model: words.take("model"),
        },
        _ => Question::Top { count: words.number("n", TOP)? },
    };
    words.end()?;
    Ok((question, format, lang))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_strictly() {
        let ask = |report, query| question(report, query);
        let trend = ask("trend", "product=%D0%A1%D0%B8%D0%BD%D0%B5%D1%86+1&days=7&format=csv").unwrap();
        let wanted = Question::Trend { product: "Синец 1".into(), days: 7, until: None, model: None };
        assert_eq!(trend, (wanted, Format::Csv, Lang::En));
        assert_eq!(ask("top", "").unwrap(), (Question::Top { count: TOP }, Format::Json, Lang::En));
        assert_eq!(ask("models", "lang=ru&format=html").unwrap(), (Question::Models, Format::Html, Lang::Ru));
        for (report, query) in [
            ("trend", ""),
            ("top", "n=-1"),
            ("top", "n=5&n=6"),
            ("top", "m=5"),
            ("models", "format=pdf"),
            ("models", "lang=de"),
            ("models", "lang=ru&lang=en"),
            ("product", "name=%FF"),
        ] {
            assert!(ask(report, query).is_err(), "{report}?{query}");
        }
    }
}
