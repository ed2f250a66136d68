//! A report as rows: for people in columns, for spreadsheets as CSV.

use tidemark_core::printable::{csv_cell, one_line};

use super::report::{Body, Means, Report, TrendReport};
use super::words::{Heading, Lang};
use crate::columns::columns;
use crate::upstream::reports::{ModelRow, ProductRow};

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A day, `YYYY-MM-DD`.
    Day(Option<String>),
    /// A number of things.
    Count(u64),
    /// A measure, shown with so many significant digits.
    Number(Option<f64>, usize),
    /// A fraction, shown as per cent.
    Percent(Option<f64>),
    /// A mass in kilograms.
    Kilograms(Option<f64>),
}

/// A report as rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// In which language.
    pub lang: Lang,
    /// The head of each column.
    pub head: Vec<Heading>,
    /// Its rows.
    pub rows: Vec<Vec<Cell>>,
    /// The lines beside the rows, for people.
    pub notes: Vec<String>,
}

/// The rows of a report.
#[must_use]
pub fn of(report: &Report, lang: Lang) -> Sheet {
    let words = lang.words();
    let mut sheet = match &report.body {
        Body::Product { products } | Body::Top { products } => Sheet {
            lang,
            head: words.product_head.to_vec(),
            rows: products.iter().map(product).collect(),
            notes: products
                .iter()
                .find(|row| row.mean_rate.is_some() && row.loss_kg.is_none())
                .map_or_else(Vec::new, |_| vec![lang.no_masses().to_owned()]),
        },
        Body::Models { models, best } => Sheet {
            lang,
            head: words.model_head.to_vec(),
            rows: models.iter().map(|row| model(row, lang)).collect(),
            notes: best.iter().map(|best| lang.best_model(best)).collect(),
        },
        Body::Trend(trend) => trend_sheet(trend, lang),
    };
    if report.freshness.behind {
        let time = report.freshness.refreshed_at_ms.map(shown_time);
        sheet.notes.push(lang.behind(time.as_deref()));
    }
    sheet
}

/// `YYYY-MM-DD hh:mm:ss` of milliseconds since 1970.
pub(super) fn shown_time(ms: i64) -> String {
    tidemark_core::timestamp::format(ms.saturating_mul(1000))[..19].to_owned()
}

fn product(row: &ProductRow) -> Vec<Cell> {
    vec![
        Cell::Text(row.product.clone()),
        Cell::Count(row.stations),
        Cell::Count(row.calculations),
        Cell::Number(row.mean_accuracy, 4),
        Cell::Count(row.validation_errors),
        Cell::Percent(row.mean_rate),
        Cell::Kilograms(row.mean_loss_kg),
        Cell::Kilograms(row.loss_kg),
        Cell::Day(row.first_day.clone()),
        Cell::Day(row.last_day.clone()),
    ]
}

fn model(row: &ModelRow, lang: Lang) -> Vec<Cell> {
    vec![
        Cell::Text(row.model.clone()),
        Cell::Text(lang.model_type(row.model_type.as_deref().unwrap_or_default()).to_owned()),
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

fn trend_sheet(trend: &TrendReport, lang: Lang) -> Sheet {
    let rows = trend.points.iter().map(|point| {
        let mut row = vec![Cell::Day(Some(point.day.clone())), Cell::Text(point.model.clone().unwrap_or_default())];
        row.extend(means(&point.means));
        row
    });
    let notes = if trend.points.is_empty() {
        vec![trend.product.clone(), nothing_in(trend, lang)]
    } else {
        let slope = trend.slope_per_day.map(|slope| lang.number(format!("{slope:+.6}")));
        vec![
            lang.trend_of(&trend.product, &trend.since, &trend.until),
            lang.means(&means(&trend.means).map(|cell| cell.shown(lang))),
            lang.goes(trend.trend, slope.as_deref()),
        ]
    };
    Sheet { lang, head: lang.words().trend_head.to_vec(), rows: rows.collect(), notes }
}

/// That there is nothing in a trend's days, and where there is.
fn nothing_in(trend: &TrendReport, lang: Lang) -> String {
    let elsewhere = trend.elsewhere.as_ref().map(|days| (days.first_day.as_str(), days.last_day.as_str()));
    lang.empty(&trend.since, &trend.until, elsewhere)
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

/// A fraction as per cent: two decimals, more where it is small.
pub(super) fn percent(fraction: f64, lang: Lang) -> String {
    let percent = fraction * 100.0;
    let digits = if (0.1..1e7).contains(&percent.abs()) { format!("{percent:.2}") } else { significant(percent, 2) };
    format!("{} %", lang.number(digits))
}

/// A mass in kilograms.
pub(super) fn kilograms(kg: f64, lang: Lang) -> String {
    format!("{} {}", lang.number(significant(kg, 4)), lang.words().kg)
}

impl Cell {
    /// For people.
    #[must_use]
    pub fn shown(&self, lang: Lang) -> String {
        match self {
            Self::Text(text) => one_line(&text.replace(['\n', '\r', '\t'], " ")).into_owned(),
            Self::Day(day) => day.clone().unwrap_or_default(),
            Self::Count(count) => count.to_string(),
            Self::Number(None, _) | Self::Percent(None) | Self::Kilograms(None) => "-".to_owned(),
            Self::Number(Some(value), digits) => lang.number(significant(*value, *digits)),
            Self::Percent(Some(value)) => percent(*value, lang),
            Self::Kilograms(Some(value)) => kilograms(*value, lang),
        }
    }

    /// It is set to the right.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_) | Self::Day(_))
    }

    /// For a spreadsheet: numbers without loss, in the unit that the head names, with a decimal point in every
    /// language; and no text that it would compute.
    fn csv(&self) -> String {
        let exact = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        match self {
            Self::Text(text) => csv_cell(text).into_owned(),
            Self::Day(day) => day.clone().unwrap_or_default(),
            Self::Count(count) => count.to_string(),
            Self::Number(value, _) | Self::Kilograms(value) => exact(*value),
            Self::Percent(value) => exact(value.map(|value| value * 100.0)),
        }
    }
}

impl Sheet {
    /// In columns, numbers to the right, the notes below.
    #[must_use]
    pub fn to_table(&self) -> String {
        let shown = |row: &Vec<Cell>| row.iter().map(|cell| cell.shown(self.lang)).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(shown).collect();
        let right: Vec<bool> = self.rows.first().into_iter().flatten().map(Cell::is_number).collect();
        let head: Vec<&str> = self.head.iter().map(|heading| heading.shown).collect();
        let mut out = columns(&head, &rows, &right);
        for note in &self.notes {
            out.push_str(&format!("{}\n", one_line(note)));
        }
        out
    }

    /// As CSV, numbers without loss, no notes.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let written = writer
            .write_record(self.head.iter().map(|heading| heading.csv))
            .and_then(|()| self.rows.iter().try_for_each(|row| writer.write_record(row.iter().map(Cell::csv))));
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
    fn rates_are_per_cent_and_masses_kilograms() {
        for (rate, en, ru) in [
            (0.07, "7.00 %", "7,00 %"),
            (-0.0123, "-1.23 %", "-1,23 %"),
            (0.0, "0 %", "0 %"),
            (0.000_123, "0.012 %", "0,012 %"),
            (1e90, "1.0e92 %", "1,0e92 %"),
        ] {
            assert_eq!((percent(rate, Lang::En).as_str(), percent(rate, Lang::Ru).as_str()), (en, ru));
        }
        assert_eq!(kilograms(-0.179, Lang::En), "-0.1790 kg");
        assert_eq!(kilograms(1234.5, Lang::Ru), "1234 кг");
        assert_eq!(Cell::Kilograms(None).shown(Lang::Ru), "-");
    }

    fn sheet(rows: Vec<Vec<Cell>>) -> Sheet {
        let head = vec![Lang::En.words().product_head[0], Lang::En.words().product_head[3]];
        Sheet { lang: Lang::En, head, rows, notes: vec!["not in it".into()] }
    }

    #[test]
    fn csv_is_quoted_and_exact() {
        let sheet = sheet(vec![
            vec![Cell::Text("Икра, \"красная\"\n".into()), Cell::Number(Some(0.1 + 0.2), 4)],
            vec![Cell::Text("х".into()), Cell::Number(None, 4)],
        ]);
        assert_eq!(
            sheet.to_csv(),
            "product,mean_accuracy\r\n\"Икра, \"\"красная\"\"\n\",0.30000000000000004\r\nх,\r\n"
        );
        assert!(sheet.to_table().contains("Икра, \"красная\" "));
    }

    #[test]
    fn no_name_becomes_a_formula_and_numbers_stay_numbers() {
        for name in ["=HYPERLINK(\"http://x\")", "+1", "-1", "@A1", "\t=1", "\r=1", " =1"] {
            let text = sheet(vec![vec![Cell::Text(name.into()), Cell::Number(Some(-0.5), 4)]]).to_csv();
            let mut rows = csv::ReaderBuilder::new().from_reader(text.as_bytes());
            let row = rows.records().next().unwrap().unwrap();
            assert!(row[0].starts_with('\'') && !row[0].contains('\r'), "{row:?}");
            assert_eq!(&row[1], "-0.5");
        }
    }
}
