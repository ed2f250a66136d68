//! A report, as facts.

use serde::Serialize;

use super::trend::Trend;
use crate::upstream::reports::{Days, Freshness, ModelRow, ProductRow};

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How old it is.
    #[serde(flatten)]
    pub freshness: Freshness,
    /// Its facts.
    #[serde(flatten)]
    pub body: Body,
}

/// The facts of a report.
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
    /// The direction in which accuracy goes.
    pub trend: Trend,
    /// Change of accuracy per day on the straight line through all values; `None` when unknown.
    pub slope_per_day: Option<f64>,
    /// The days of the first and the last calculation at all, when there is none in this time; `None` also when there
    /// is none anywhere.
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
    pub(super) const fn new(calculations: u64, accuracy: Option<f64>, [a, b, c]: [Option<f64>; 3]) -> Self {
        Self { calculations, accuracy, a, b, c }
    }
}
