//! The questions as an operator types them. The options that go with each are the command line's.

use clap::{Args, Subcommand};

use super::question::Question;

/// `report product|models|trend|top`, each with the options `C`.
#[derive(Subcommand)]
pub enum ReportCommand<C: Args> {
    /// Calculations, mean accuracy and validation errors of each product, or of one.
    Product {
        /// The product's name.
        name: Option<String>,
        /// Its options.
        #[command(flatten)]
        common: C,
    },
    /// Mean accuracy, calculations and products of each model, and the best model.
    Models {
        /// Its options.
        #[command(flatten)]
        common: C,
    },
    /// Coefficients and accuracy of a product over the last days, and whether accuracy is improving.
    Trend {
        /// The product's name.
        product: String,
        /// How many days, the last one included.
        #[arg(long, default_value_t = 30, value_name = "N")]
        days: u32,
        /// The last day, YYYY-MM-DD, UTC; today without it.
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
        /// Only coefficients of this model.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        /// Its options.
        #[command(flatten)]
        common: C,
    },
    /// The products with most calculations.
    Top {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
        count: u32,
        /// Its options.
        #[command(flatten)]
        common: C,
    },
}

impl<C: Args> ReportCommand<C> {
    /// The question, and the options.
    pub fn asked(self) -> (Question, C) {
        match self {
            Self::Product { name, common } => (Question::Product { name }, common),
            Self::Models { common } => (Question::Models, common),
            Self::Trend { product, days, until, model, common } => {
                (Question::Trend { product, days, until, model }, common)
            }
            Self::Top { count, common } => (Question::Top { count }, common),
        }
    }
}
