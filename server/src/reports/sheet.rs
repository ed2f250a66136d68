//! A report as rows: for people in columns, for spreadsheets as CSV.

use super::{Body, Means, Report, TrendReport};
use crate::columns::columns;
use crate::upstream::reports::{ModelRow, ProductRow};

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A number of things.
    Count(u64),
    /// A measure, shown with so many significant digits.
    Number(Option<f64>, usize),
}

/// A report as rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// What the columns are.
    pub head: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// What is said beside the rows, for people.
    pub notes: Vec<String>,
}

/// The rows of a report.
#[must_use]
pub fn of(report: &Report) -> Sheet {
    let mut sheet = match &report.body {
        Body::Product { products } | Body::Top { products } => Sheet {
            head: vec![
                "product",
                "stations",
                "calculations",
                "mean accuracy",
                "validation errors",
                "mean rate",
                "first day",
                "last day",
            ],
            rows: products.iter().map(product).collect(),
            notes: Vec::new(),
        },
        Body::Models { models, best } => Sheet {
            head: vec!["model", "type", "calculations", "products", "mean accuracy"],
            rows: models.iter().map(model).collect(),
            notes: best.iter().map(|best| format!("best model: {best}")).collect(),
        },
        Body::Trend(trend) => trend_sheet(trend),
    };
    if report.freshness.behind {
        sheet.notes.push(match report.freshness.refreshed_at_ms {
            Some(ms) => format!(
                "rows that came after {} UTC are not in it yet",
                &tidemark_core::timestamp::format(ms.saturating_mul(1000))[..19]
            ),
            None => "the roll-ups were never refreshed: start the server, or leave --no-refresh out".to_owned(),
        });
    }
    sheet
}

fn text(word: Option<&String>) -> Cell {
    Cell::Text(word.cloned().unwrap_or_default())
}

fn product(row: &ProductRow) -> Vec<Cell> {
    vec![
        Cell::Text(row.product.clone()),
        Cell::Count(row.stations),
        Cell::Count(row.calculations),
        Cell::Number(row.mean_accuracy, 4),
        Cell::Count(row.validation_errors),
        Cell::Number(row.mean_rate, 4),
        text(row.first_day.as_ref()),
        text(row.last_day.as_ref()),
    ]
}

fn model(row: &ModelRow) -> Vec<Cell> {
    vec![
        Cell::Text(row.model.clone()),
        text(row.model_type.as_ref()),
        Cell::Count(row.calculations),
        Cell::Count(row.products),
        Cell::Number(row.mean_accuracy, 4),
    ]
}

fn means(means: &Means) -> [Cell; 5] {
    let number = |value| Cell::Number(value, 6);
    [
        Cell::Count(means.calculations),
        Cell::Number(means.accuracy, 4),
        number(means.a),
        number(means.b),
        number(means.c),
    ]
}

fn trend_sheet(trend: &TrendReport) -> Sheet {
    let rows = trend.points.iter().map(|point| {
        let mut row = vec![Cell::Text(point.day.clone()), text(point.model.as_ref())];
        row.extend(means(&point.means));
        row
    });
    let [calculations, accuracy, a, b, c] = means(&trend.means).map(|cell| cell.shown());
    let slope = trend.slope_per_day.map(|slope| format!(", {slope:+.6} of accuracy per day")).unwrap_or_default();
    Sheet {
        head: vec!["day", "model", "calculations", "accuracy", "a", "b", "c"],
        rows: rows.collect(),
        notes: vec![
            format!("{} from {} to {}", trend.product, trend.since, trend.until),
            format!("means of {calculations} calculations: accuracy {accuracy}, a {a}, b {b}, c {c}"),
            format!("accuracy is {}{slope}", trend.trend.as_str()),
        ],
    }
}

/// A number with so many digits after its leading zeros.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&size) {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    let places = (digits as f64 - 1.0 - size).clamp(0.0, 12.0) as usize;
    format!("{value:.places$}")
}

impl Cell {
    /// For people.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            Self::Count(count) => count.to_string(),
            Self::Number(None, _) => "-".to_owned(),
            Self::Number(Some(value), digits) => significant(*value, *digits),
        }
    }

    /// Whether it is set to the right.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    /// Without loss.
    fn exact(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(value, _) => value.map(|value| value.to_string()).unwrap_or_default(),
        }
    }
}

impl Sheet {
    /// In columns, numbers to the right, the notes below.
    #[must_use]
    pub fn to_table(&self) -> String {
        let shown: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        let right: Vec<bool> = self.rows.first().into_iter().flatten().map(Cell::is_number).collect();
        let mut out = columns(&self.head, &shown, &right);
        for note in &self.notes {
            out.push_str(&format!("{note}\n"));
        }
        out
    }

    /// As CSV, numbers without loss, no notes.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let head = self.head.iter().map(|name| name.replace(' ', "_"));
        let written = writer
            .write_record(head)
            .and_then(|()| self.rows.iter().try_for_each(|row| writer.write_record(row.iter().map(Cell::exact))));
        written.expect("BUG: every row has the head's columns, and memory takes them");
        let bytes = writer.into_inner().expect("BUG: memory takes them");
        String::from_utf8(bytes).expect("BUG: text was written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        for (value, digits, shown) in [
            (0.951_234, 4, "0.9512"),
            (0.000_123_456_7, 6, "0.000123457"),
            (12.5, 6, "12.5000"),
            (1_234_567.0, 4, "1234567"),
            (1e-9, 4, "1.000e-9"),
            (0.0, 4, "0"),
            (-0.09, 4, "-0.09000"),
        ] {
            assert_eq!(significant(value, digits), shown);
        }
    }

    #[test]
    fn csv_is_quoted_and_exact() {
        let sheet = Sheet {
            head: vec!["product", "mean accuracy"],
            rows: vec![
                vec![Cell::Text("Икра, \"красная\"\n".into()), Cell::Number(Some(0.1 + 0.2), 4)],
                vec![Cell::Text("х".into()), Cell::Number(None, 4)],
            ],
            notes: vec!["not in it".into()],
        };
        assert_eq!(
            sheet.to_csv(),
            "product,mean_accuracy\r\n\"Икра, \"\"красная\"\"\n\",0.30000000000000004\r\nх,\r\n"
        );
        assert!(sheet.to_table().contains("Икра, \"красная\" "));
    }
}
