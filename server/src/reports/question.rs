//! The questions that reports answer, and why one is not answered.

use crate::upstream::StoreError;

/// Most days a trend looks back.
pub const DAYS_MAX: u32 = 36_500;
/// Most products that `top` lists.
pub const TOP_MAX: u32 = 10_000;

/// A question.
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

/// The kind of thing that a name is of.
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
    /// The kind that was looked for.
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

/// The reason that there is no answer. [`super::words::Lang::error`] has the words; as an error it speaks English.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportError {
    /// A number of days that is not 1 to [`DAYS_MAX`].
    Days(u32),
    /// A number of products that is not 1 to [`TOP_MAX`].
    Count(u32),
    /// A text that is no day.
    Day(String),
    /// There is no such product or model.
    Unknown(Unknown),
    /// The database holds other tables.
    OtherSchema,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for ReportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
