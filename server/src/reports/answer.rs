//! From a question to a report: names matched, the store's roll-ups read, means and trend computed.

use std::collections::BTreeMap;

use tidemark_core::timestamp::{self, DAY_US};

use super::names::Names;
use super::question::{DAYS_MAX, Noun, Question, ReportError, TOP_MAX};
use super::report::{Body, Means, Point, Report, TrendReport};
use super::trend::trend_of;
use crate::upstream::reports::{DayRow, ModelRow, ReportStore, Total};

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
