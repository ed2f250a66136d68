//! The trend of accuracy: rising, falling, or neither.
//!
//! The rule: a straight line is laid through all values of the time (least squares, by day). From the first day with
//! a value to the last, it rises by more than 0.01 of R²: improving; it falls by more than that: deteriorating; else
//! stable. With fewer than three values, or with all of them on one day: unknown.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::upstream::reports::Total;

/// The change of R² between the first day and the last that counts as one.
pub const THRESHOLD: f64 = 0.01;
/// Fewer values tell nothing.
pub const VALUES_MIN: u64 = 3;

/// The direction in which accuracy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// Up.
    Improving,
    /// Down.
    Deteriorating,
    /// Neither.
    Stable,
    /// Too few values.
    Unknown,
}

impl Trend {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Improving => "improving",
            Self::Deteriorating => "deteriorating",
            Self::Stable => "stable",
            Self::Unknown => "unknown",
        }
    }
}

/// The trend of values by day number, and the line's slope per day.
///
/// Values of one day have one place on the line, so their number and sum are enough: the result is that of all values
/// one by one.
#[must_use]
pub fn trend_of(days: &BTreeMap<i64, Total>) -> (Trend, Option<f64>) {
    let with_values = || days.iter().filter(|(_, total)| total.count > 0);
    let mut all = Total::default();
    let mut day_sum = 0.0;
    for (&day, &total) in with_values() {
        all += total;
        day_sum += day as f64 * total.count as f64;
    }
    let (Some((&first, _)), Some((&last, _))) = (with_values().next(), with_values().next_back()) else {
        return (Trend::Unknown, None);
    };
    if all.count < VALUES_MIN || first == last {
        return (Trend::Unknown, None);
    }
    let (mean_day, mean) = (day_sum / all.count as f64, all.sum / all.count as f64);
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (&day, total) in with_values() {
        let offset = day as f64 - mean_day;
        covariance += offset * (total.sum - mean * total.count as f64);
        variance += offset * offset * total.count as f64;
    }
    let slope = covariance / variance;
    let change = slope * (last - first) as f64;
    let trend = match change {
        change if change > THRESHOLD => Trend::Improving,
        change if change < -THRESHOLD => Trend::Deteriorating,
        _ => Trend::Stable,
    };
    (trend, Some(slope))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(i64, f64)]) -> (Trend, Option<f64>) {
        let mut days: BTreeMap<i64, Total> = BTreeMap::new();
        for &(day, value) in values {
            *days.entry(day).or_default() += Total { count: 1, sum: value };
        }
        trend_of(&days)
    }

    #[test]
    fn the_four_words() {
        assert_eq!(of(&[(0, 0.90), (1, 0.91), (2, 0.92)]).0, Trend::Improving);
        assert_eq!(of(&[(0, 0.92), (1, 0.91), (2, 0.90)]).0, Trend::Deteriorating);
        assert_eq!(of(&[(0, 0.900), (1, 0.904), (2, 0.901)]).0, Trend::Stable);
        assert_eq!(of(&[]), (Trend::Unknown, None));
        assert_eq!(of(&[(0, 0.1), (9, 0.9)]).0, Trend::Unknown, "two values are no trend");
        assert_eq!(of(&[(3, 0.1), (3, 0.5), (3, 0.9)]).0, Trend::Unknown, "one day is no trend");
    }

    #[test]
    fn days_weigh_by_their_values() {
        let (trend, slope) = of(&[(0, 0.5), (0, 0.5), (0, 0.5), (10, 1.0), (20, 1.0)]);
        assert_eq!(trend, Trend::Improving);
        // By hand: mean day 6, mean 0.7; covariance 3·(-6)(-0.2) + 4·0.3 + 14·0.3 = 9; variance 3·36 + 16 + 196 = 320.
        assert!((slope.unwrap() - 9.0 / 320.0).abs() < 1e-15);
    }

    #[test]
    fn a_day_without_values_counts_for_nothing() {
        let days = BTreeMap::from([
            (0, Total { count: 2, sum: 1.0 }),
            (4, Total::default()),
            (5, Total { count: 1, sum: 0.5 }),
        ]);
        assert_eq!(trend_of(&days), (Trend::Stable, Some(0.0)));
    }
}
