//! The contents of a store that reports are made from.

use async_trait::async_trait;

use super::error::StoreError;

/// A product name over all stations.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ProductRow {
    /// The name.
    pub product: String,
    /// On how many stations it is a product.
    pub stations: u64,
    /// Number of its inventory records.
    pub calculations: u64,
    /// Mean R² of its coefficients; `None` without any.
    pub mean_accuracy: Option<f64>,
    /// Number of validation errors of its records.
    pub validation_errors: u64,
    /// Mean shrinkage rate of its records, a fraction of the initial mass.
    pub mean_rate: Option<f64>,
    /// Mean mass that was lost, of the records that have a rate, in kilograms.
    pub mean_loss_kg: Option<f64>,
    /// Mass that these records lost in all, in kilograms.
    pub loss_kg: Option<f64>,
    /// Day of its first record, `YYYY-MM-DD`, UTC.
    pub first_day: Option<String>,
    /// Day of its last record.
    pub last_day: Option<String>,
}

/// A model name over all stations.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ModelRow {
    /// The name.
    pub model: String,
    /// Its form: exponential, linear, polynomial.
    pub model_type: Option<String>,
    /// Number of coefficients calculated with it.
    pub calculations: u64,
    /// Number of distinct product names among them.
    pub products: u64,
    /// Mean R² of these; `None` without any.
    pub mean_accuracy: Option<f64>,
}

/// Values and their sum.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl Total {
    /// The mean; `None` without a value.
    #[must_use]
    pub fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

impl std::ops::AddAssign for Total {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
    }
}

/// The coefficients of a product by one model on one day.
#[derive(Debug, Clone, PartialEq)]
pub struct DayRow {
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// The model's name; `None` for one that is not there.
    pub model: Option<String>,
    /// Number of coefficients.
    pub calculations: u64,
    /// R².
    pub accuracy: Total,
    /// `coefficient_a`, `coefficient_b`, `coefficient_c`.
    pub coefficients: [Total; 3],
}

/// A first and a last day, `YYYY-MM-DD`, UTC.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Days {
    /// The first.
    pub first_day: String,
    /// The last.
    pub last_day: String,
}

/// How old the roll-ups are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Freshness {
    /// When they were last brought up to date, milliseconds since 1970 UTC; `None` before the first time.
    pub refreshed_at_ms: Option<i64>,
    /// Whether rows have come since.
    pub behind: bool,
    /// When they were made, empty, milliseconds since 1970 UTC; `None` where they are no more than a view of the rows.
    #[serde(skip)]
    pub made_at_ms: Option<i64>,
}

impl Freshness {
    /// How old they are while rows have come since, in milliseconds, else 0. Before the first time they are as old as
    /// they are there.
    #[must_use]
    pub fn lag_ms(&self, now_ms: i64) -> i64 {
        let at_ms = self.refreshed_at_ms.or(self.made_at_ms).filter(|_| self.behind);
        at_ms.map_or(0, |at_ms| now_ms.saturating_sub(at_ms).max(0))
    }
}

/// A store that reports can be made from: one that holds the shrinkage tables.
#[async_trait]
pub trait ReportStore: Send + Sync {
    /// Brings the roll-ups up to date, with what was written since or with everything; returns how many notes were
    /// worked off.
    async fn refresh(&self, everything: bool) -> Result<u64, StoreError>;
    /// How old the roll-ups are.
    async fn freshness(&self) -> Result<Freshness, StoreError>;
    /// Every product name.
    async fn product_names(&self) -> Result<Vec<String>, StoreError>;
    /// Every product, or the one with this name.
    async fn products(&self, name: Option<&str>) -> Result<Vec<ProductRow>, StoreError>;
    /// Every model.
    async fn models(&self) -> Result<Vec<ModelRow>, StoreError>;
    /// The coefficients of a product from one day to another, both included, by day and model.
    async fn days(&self, product: &str, since: &str, until: &str) -> Result<Vec<DayRow>, StoreError>;
    /// The days of a product's first and last coefficients, of one model or of all; `None` when it has none.
    async fn days_of(&self, product: &str, model: Option<&str>) -> Result<Option<Days>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roll_ups_that_were_never_refreshed_are_as_old_as_they_are_there() {
        let freshness = |refreshed_at_ms, behind| Freshness { refreshed_at_ms, behind, made_at_ms: Some(1_000) };
        assert_eq!(freshness(None, true).lag_ms(5_000), 4_000);
        assert_eq!(freshness(Some(3_000), true).lag_ms(5_000), 2_000);
        assert_eq!(freshness(Some(3_000), false).lag_ms(5_000), 0, "nothing has come since");
        assert_eq!(freshness(None, false).lag_ms(5_000), 0, "there is nothing to roll up");
        assert_eq!(freshness(Some(9_000), true).lag_ms(5_000), 0, "a clock that is behind");
    }
}
