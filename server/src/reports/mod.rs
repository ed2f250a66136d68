//! Reports on the shrinkage tables: per product, per model, the trend of a product, the products with most calculations.
//!
//! ```text
//! question ─ ask: names matched · rows of the store's roll-ups · means, trend ─▶ report ─ render ─▶ table, CSV, JSON, HTML page
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`names`] | names matched and sorted by the Unicode collation |
//! | [`trend`] | whether accuracy is improving |
//! | [`sheet`] | a report as rows of text: table and CSV |
//! | [`words`] | the words of table, CSV and page, in English and Russian |
//! | [`html`], [`chart`] | a report as a page of its own, with charts |
//!
//! Products and models of one name are one, whichever stations they are on.

pub mod chart;
pub mod html;
pub mod names;
pub mod sheet;
pub mod trend;
pub mod words;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;
use tidemark_core::timestamp::{self, DAY_US};

use self::names::Names;
use self::trend::{Trend, trend_of};
use self::words::Lang;
use crate::upstream::StoreError;
use crate::upstream::reports::{DayRow, Days, Freshness, ModelRow, ProductRow, ReportStore, Total};

/// Most days a trend looks back.
pub const DAYS_MAX: u32 = 36_500;
/// Most products that `top` lists.
pub const TOP_MAX: u32 = 10_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Calculations, mean accuracy and validation errors: of each product, or of one.
    Product {
        /// Its name.
        name: Option<String>,
    },
    /// Mean accuracy, calculations and products of each model, and the best model.
    Models,
    /// Coefficients and accuracy of a product over the last days.
    Trend {
        /// Its name.
        product: String,
        /// How many days, the last one included.
        days: u32,
        /// The last day, `YYYY-MM-DD`, UTC; today without it.
        until: Option<String>,
        /// Only by this model.
        model: Option<String>,
    },
    /// The products with most calculations.
    Top {
        /// How many.
        count: u32,
    },
}

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// A product.
    Product,
    /// A model.
    Model,
}

/// A name that nothing has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// What was looked for.
    pub what: Noun,
    /// Its name.
    pub wanted: String,
    /// Names that differ in nothing but case and composition, more than one.
    pub same: Vec<String>,
    /// A few names that hold the wanted one.
    pub near: Vec<String>,
    /// How many more of these there are.
    pub more: usize,
}

/// Why there is no answer. [`Lang::error`] has the words; as an error it speaks English.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReportError {
    /// A number of days that is not 1 to [`DAYS_MAX`].
    #[error("{}", Lang::En.error(self))]
    Days(u32),
    /// A number of products that is not 1 to [`TOP_MAX`].
    #[error("{}", Lang::En.error(self))]
    Count(u32),
    /// A text that is no day.
    #[error("{}", Lang::En.error(self))]
    Day(String),
    /// There is no such product or model.
    #[error("{}", Lang::En.error(self))]
    Unknown(Unknown),
    /// The database holds other tables.
    #[error("{}", Lang::En.error(self))]
    OtherSchema,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How old it is.
    #[serde(flatten)]
    pub freshness: Freshness,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "report", rename_all = "lowercase")]
pub enum Body {
    /// Per product, by name.
    Product {
        /// The rows.
        products: Vec<ProductRow>,
    },
    /// Per model, by name.
    Models {
        /// The rows.
        models: Vec<ModelRow>,
        /// The one with the highest mean accuracy.
        best: Option<String>,
    },
    /// The trend of a product.
    Trend(Box<TrendReport>),
    /// The products with most calculations, the most first.
    Top {
        /// The rows.
        products: Vec<ProductRow>,
    },
}

/// The trend of a product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrendReport {
    /// Its name.
    pub product: String,
    /// The only model looked at.
    pub model: Option<String>,
    /// First day, `YYYY-MM-DD`, UTC.
    pub since: String,
    /// Last day.
    pub until: String,
    /// By day and model.
    pub points: Vec<Point>,
    /// Over all of it.
    pub means: Means,
    /// Where accuracy goes.
    pub trend: Trend,
    /// Change of accuracy per day on the straight line through all values; `None` when unknown.
    pub slope_per_day: Option<f64>,
    /// The days of the first and the last calculation at all, when there is none in this time; `None` also when there is none anywhere.
    pub elsewhere: Option<Days>,
}

/// One day of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// The model's name; `None` for one that is not there.
    pub model: Option<String>,
    /// The values' means.
    #[serde(flatten)]
    pub means: Means,
}

/// Means of coefficients and accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Means {
    /// Number of calculations.
    pub calculations: u64,
    /// R².
    pub accuracy: Option<f64>,
    /// `coefficient_a`
    pub a: Option<f64>,
    /// `coefficient_b`
    pub b: Option<f64>,
    /// `coefficient_c`
    pub c: Option<f64>,
}

impl Means {
    const fn new(calculations: u64, accuracy: Option<f64>, [a, b, c]: [Option<f64>; 3]) -> Self {
        Self { calculations, accuracy, a, b, c }
    }
}

/// Answers a question from a store's roll-ups.
///
/// # Errors
/// See [`ReportError`].
pub async fn ask(store: &dyn ReportStore, question: &Question, now_ms: i64) -> Result<Report, ReportError> {
    let freshness = store.freshness().await?;
    let names = Names::new();
    let body = match question {
        Question::Product { name } => {
            let name = match name {
                Some(name) => Some(names.find(Noun::Product, &store.product_names().await?, name)?),
                None => None,
            };
            let mut products = store.products(name.as_deref()).await?;
            products.sort_by(|one, other| names.compare(&one.product, &other.product));
            Body::Product { products }
        }
        Question::Models => {
            let mut models = store.models().await?;
            models.sort_by(|one, other| names.compare(&one.model, &other.model));
            let best = best_model(&models).map(|model| model.model.clone());
            Body::Models { models, best }
        }
        Question::Trend { product, days, until, model } => {
            let (since, until) = window(*days, until.as_deref(), now_ms)?;
            let product = names.find(Noun::Product, &store.product_names().await?, product)?;
            let model = match model {
                Some(model) => {
                    let there: Vec<String> = store.models().await?.into_iter().map(|row| row.model).collect();
                    Some(names.find(Noun::Model, &there, model)?)
                }
                None => None,
            };
            let mut rows = store.days(&product, &since, &until).await?;
            rows.retain(|row| model.is_none() || row.model == model);
            let elsewhere = if rows.is_empty() { store.days_of(&product, model.as_deref()).await? } else { None };
            Body::Trend(Box::new(TrendReport { elsewhere, ..trend_report(product, model, since, until, &rows) }))
        }
        Question::Top { count } => {
            if !(1..=TOP_MAX).contains(count) {
                return Err(ReportError::Count(*count));
            }
            let mut products = store.products(None).await?;
            products.sort_by(|one, other| {
                let by_count = other.calculations.cmp(&one.calculations);
                by_count.then_with(|| names.compare(&one.product, &other.product))
            });
            products.truncate(*count as usize);
            Body::Top { products }
        }
    };
    Ok(Report { freshness, body })
}

/// The model with the highest mean accuracy; of equal ones that with more calculations.
fn best_model(models: &[ModelRow]) -> Option<&ModelRow> {
    let accuracy = |model: &ModelRow| model.mean_accuracy.unwrap_or(f64::NEG_INFINITY);
    models
        .iter()
        .filter(|model| model.mean_accuracy.is_some())
        .max_by(|one, other| accuracy(one).total_cmp(&accuracy(other)).then(one.calculations.cmp(&other.calculations)))
}

/// First and last day of the last `days` days.
fn window(days: u32, until: Option<&str>, now_ms: i64) -> Result<(String, String), ReportError> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(ReportError::Days(days));
    }
    let last_us = match until {
        Some(day) if day.len() == 10 => timestamp::parse(day.as_bytes()).ok(),
        Some(_) => None,
        None => Some(now_ms.saturating_mul(1000)),
    };
    let Some(last_us) = last_us else {
        return Err(ReportError::Day(until.unwrap_or_default().to_owned()));
    };
    let day = |us: i64| timestamp::format(us)[..10].to_owned();
    Ok((day(last_us - i64::from(days - 1) * DAY_US), day(last_us)))
}

fn trend_report(product: String, model: Option<String>, since: String, until: String, rows: &[DayRow]) -> TrendReport {
    let points = rows.iter().map(|row| Point {
        day: row.day.clone(),
        model: row.model.clone(),
        means: Means::new(row.calculations, row.accuracy.mean(), row.coefficients.map(Total::mean)),
    });
    let points = points.collect();
    let (mut calculations, mut accuracy, mut coefficients) = (0, Total::default(), [Total::default(); 3]);
    let mut by_day: BTreeMap<i64, Total> = BTreeMap::new();
    for row in rows {
        calculations += row.calculations;
        accuracy += row.accuracy;
        for (all, one) in coefficients.iter_mut().zip(row.coefficients) {
            *all += one;
        }
        if let Ok(us) = timestamp::parse(row.day.as_bytes()) {
            *by_day.entry(us.div_euclid(DAY_US)).or_default() += row.accuracy;
        }
    }
    let (trend, slope_per_day) = trend_of(&by_day);
    let means = Means::new(calculations, accuracy.mean(), coefficients.map(Total::mean));
    TrendReport { product, model, since, until, points, means, trend, slope_per_day, elsewhere: None }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, mean_accuracy: Option<f64>, calculations: u64) -> ModelRow {
        ModelRow { model: name.to_owned(), model_type: None, calculations, products: 1, mean_accuracy }
    }

    #[test]
    fn the_best_model_is_the_most_accurate_one() {
        let models = [model("a", Some(0.9), 3), model("b", None, 100), model("c", Some(0.95), 1)];
        assert_eq!(best_model(&models).unwrap().model, "c");
        let equal = [model("a", Some(0.9), 3), model("b", Some(0.9), 5), model("c", Some(0.9), 4)];
        assert_eq!(best_model(&equal).unwrap().model, "b");
        assert_eq!(best_model(&[model("a", None, 9)]), None);
    }

    #[test]
    fn the_last_days_end_today_or_when_told() {
        let now_ms = 1_767_225_600_000 + 5 * 3_600_000; // 2026-01-01 05:00
        let days = |days, until| window(days, until, now_ms);
        assert_eq!(days(1, None), Ok(("2026-01-01".to_owned(), "2026-01-01".to_owned())));
        assert_eq!(days(30, Some("2025-03-01")), Ok(("2025-01-31".to_owned(), "2025-03-01".to_owned())));
        for bad in ["2025-02-30", "yesterday", "2025-01-01 10:00", ""] {
            assert!(matches!(days(30, Some(bad)), Err(ReportError::Day(_))), "{bad}");
        }
        assert!(days(0, None).is_err() && days(DAYS_MAX + 1, None).is_err());
        assert_eq!(days(DAYS_MAX, Some("0001-01-01")).unwrap().0, "0001-01-01", "clamped");
    }
}
