//! A report as one HTML page with its charts: no script, no other file, nothing fetched.

use std::collections::BTreeMap;

use tidemark_core::timestamp::{self, DAY_US};

use super::chart::{Bar, STYLE as CHART_STYLE, Series, bars, escape, lines};
use super::report::{Body, Means, Report, TrendReport};
use super::sheet::{self, Cell};
use super::words::Lang;
use crate::upstream::reports::{ModelRow, ProductRow};

/// Most bars of a chart; the table has all rows.
const BARS_MAX: usize = 40;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2733; --soft: #5b6b7a; --line: #d9e0e6; --paper: #fff;
  --c0: #1f77b4; --c1: #d1495b; --c2: #2a9d6f; --c3: #b8860b; --c4: #7b5ea7; --c5: #4a5a68; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa9b7; --line: #33404c; --paper: #11181f;
  --c0: #6cb4ee; --c1: #f08a97; --c2: #63cfa2; --c3: #e3b84c; --c4: #b9a0e0; --c5: #a9b8c5; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere } h2 { font-size: 1.05rem; margin: 1.75rem 0 .25rem }
.soft { color: var(--soft); overflow-wrap: anywhere } .figures { display: flex; flex-wrap: wrap; gap: .25rem 2rem; margin: 1rem 0 }
.figures b { display: block; font-size: 1.3rem; font-weight: 600; overflow-wrap: anywhere }
.scroll { overflow-x: auto; margin-top: 1.5rem } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line) } td:first-child { min-width: 8rem } td { overflow-wrap: break-word }
.n { text-align: right } td.n, .d { white-space: nowrap } th { color: var(--soft); font-weight: 600; vertical-align: bottom }
@media print { body { max-width: none; margin: 0 } }
";

/// The page.
#[must_use]
pub fn page(report: &Report, lang: Lang) -> String {
    let words = lang.words();
    let (title, figures, charts) = match &report.body {
        Body::Product { products } => {
            (words.products.to_owned(), products_figures(products, lang), product_bars(products, lang))
        }
        Body::Top { products } => {
            (lang.top(products.len()), products_figures(products, lang), product_bars(products, lang))
        }
        Body::Models { models, best } => {
            let best = best.iter().map(|best| (words.best_model.to_owned(), best.clone())).collect();
            (words.models.to_owned(), best, model_bars(models, lang))
        }
        Body::Trend(trend) => (trend.product.clone(), trend_figures(trend, lang), trend_lines(trend, lang)),
    };
    let colours: String = (0..super::chart::COLOURS)
        .map(|at| format!(".c{at} {{ stroke: var(--c{at}) }} rect.c{at} {{ fill: var(--c{at}); stroke: none }} i.c{at} {{ background: var(--c{at}) }}\n"))
        .collect();
    let figures: String = figures
        .iter()
        .map(|(name, value)| format!("<div><b>{}</b><span class=\"soft\">{name}</span></div>", escape(value)))
        .collect();
    let sheet = sheet::of(report, lang);
    let notes: String =
        sheet.notes.iter().map(|note| format!("<p class=\"soft\">{}</p>\n", with_whole_days(&escape(note)))).collect();
    format!(
        "<!doctype html>\n<html lang=\"{tag}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title><style>{STYLE}{CHART_STYLE}{colours}</style></head><body>\n<h1>{title}</h1>\n{as_of}\n<div class=\"figures\">{figures}</div>\n{charts}\n\
         {notes}<div class=\"scroll\">{table}</div>\n</body></html>\n",
        tag = words.tag,
        title = escape(&title),
        as_of = as_of(report, lang),
        table = table(&sheet),
    )
}

fn as_of(report: &Report, lang: Lang) -> String {
    let Some(ms) = report.freshness.refreshed_at_ms else { return String::new() };
    format!("<p class=\"soft\">{}</p>", with_whole_days(&lang.as_of(&sheet::shown_time(ms))))
}

/// Text in which a day, `YYYY-MM-DD`, is not broken at the end of a line.
fn with_whole_days(escaped: &str) -> String {
    let is_day = |text: &str| {
        let shape = |(at, c): (usize, char)| if matches!(at, 4 | 7) { c == '-' } else { c.is_ascii_digit() };
        text.len() == 10 && text.char_indices().all(shape)
    };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(next) = rest.chars().next() {
        match rest.get(..10).filter(|begin| is_day(begin)) {
            Some(day) => {
                out.push_str(&format!("<span class=\"d\">{day}</span>"));
                rest = &rest[10..];
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

fn table(sheet: &sheet::Sheet) -> String {
    if sheet.rows.is_empty() {
        return String::new();
    }
    let class = |at: usize| match sheet.rows.first().map(|row| &row[at]) {
        Some(Cell::Day(_)) => " class=\"d\"",
        Some(cell) if cell.is_number() => " class=\"n\"",
        _ => "",
    };
    let head: String =
        sheet.head.iter().enumerate().map(|(at, name)| format!("<th{}>{}</th>", class(at), name.shown)).collect();
    let rows: String = sheet
        .rows
        .iter()
        .map(|row| {
            let cells = row
                .iter()
                .enumerate()
                .map(|(at, cell)| format!("<td{}>{}</td>", class(at), escape(&cell.shown(sheet.lang))));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        })
        .collect();
    format!("<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>")
}

/// A value that a page says in large letters, and the words beside it.
type Figures = Vec<(String, String)>;

fn products_figures(products: &[ProductRow], lang: Lang) -> Figures {
    let words = lang.words();
    let sum = |of: fn(&ProductRow) -> u64| products.iter().map(of).sum::<u64>().to_string();
    let losses: Vec<f64> = products.iter().filter_map(|row| row.loss_kg).collect();
    let mut figures = vec![
        (words.products.to_owned(), products.len().to_string()),
        (words.calculations.to_owned(), sum(|row| row.calculations)),
        (words.validation_errors.to_owned(), sum(|row| row.validation_errors)),
    ];
    if !losses.is_empty() {
        figures.push((words.loss.to_owned(), sheet::kilograms(losses.iter().sum(), lang)));
    }
    figures
}

fn product_bars(products: &[ProductRow], lang: Lang) -> String {
    let words = lang.words();
    let mut most: Vec<&ProductRow> = products.iter().collect();
    most.sort_by_key(|row| std::cmp::Reverse(row.calculations));
    most.truncate(BARS_MAX);
    let bar = |row: &ProductRow, value, shown| Bar { name: row.product.clone(), value, shown };
    let calculations =
        most.iter().map(|row| bar(row, row.calculations as f64, row.calculations.to_string())).collect::<Vec<_>>();
    let measured = |of: fn(&ProductRow) -> Option<f64>, shown: fn(f64, Lang) -> String| {
        most.iter().filter_map(|row| of(row).map(|value| bar(row, value, shown(value, lang)))).collect::<Vec<_>>()
    };
    bars(words.calculations, &calculations)
        + &bars(words.mean_rate, &measured(|row| row.mean_rate, sheet::percent))
        + &bars(words.loss, &measured(|row| row.loss_kg, sheet::kilograms))
}

fn model_bars(models: &[ModelRow], lang: Lang) -> String {
    let words = lang.words();
    let mut known: Vec<(&ModelRow, f64)> =
        models.iter().filter_map(|row| row.mean_accuracy.map(|accuracy| (row, accuracy))).collect();
    known.sort_by(|one, other| other.1.total_cmp(&one.1));
    known.truncate(BARS_MAX);
    let accuracy = |&(row, value): &(&ModelRow, f64)| Bar {
        name: row.model.clone(),
        value,
        shown: lang.number(format!("{value:.4}")),
    };
    let calculations = |(row, _): &(&ModelRow, f64)| Bar {
        name: row.model.clone(),
        value: row.calculations as f64,
        shown: row.calculations.to_string(),
    };
    let by_accuracy = bars(words.mean_accuracy_r2, &known.iter().map(accuracy).collect::<Vec<_>>());
    by_accuracy + &bars(words.calculations, &known.iter().map(calculations).collect::<Vec<_>>())
}

fn trend_figures(trend: &TrendReport, lang: Lang) -> Figures {
    if trend.points.is_empty() {
        return Vec::new();
    }
    let words = lang.words();
    let shown = |value: Option<f64>| Cell::Number(value, 4).shown(lang);
    let mean = |letter: char| format!("{} {letter}", words.mean);
    vec![
        (words.accuracy.to_owned(), lang.trend(trend.trend).to_owned()),
        (words.calculations.to_owned(), trend.means.calculations.to_string()),
        (words.mean_accuracy_r2.to_owned(), shown(trend.means.accuracy)),
        (mean('a'), shown(trend.means.a)),
        (mean('b'), shown(trend.means.b)),
        (mean('c'), shown(trend.means.c)),
    ]
}

fn trend_lines(trend: &TrendReport, lang: Lang) -> String {
    let words = lang.words();
    let chart = |title: &str, of: fn(&Means) -> Option<f64>| {
        let mut by_model: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
        for point in &trend.points {
            let day = timestamp::parse(point.day.as_bytes()).map(|us| us.div_euclid(DAY_US));
            if let (Ok(day), Some(value)) = (day, of(&point.means)) {
                by_model.entry(point.model.as_deref().unwrap_or(words.no_model)).or_default().push((day, value));
            }
        }
        let series = by_model.into_iter().map(|(name, points)| Series { name: name.to_owned(), points });
        lines(title, &series.collect::<Vec<_>>(), &|text| lang.number(text))
    };
    let coefficient = |letter: char| format!("{} {letter}", words.coefficient);
    chart(words.accuracy_r2, |means| means.accuracy)
        + &chart(&coefficient('a'), |means| means.a)
        + &chart(&coefficient('b'), |means| means.b)
        + &chart(&coefficient('c'), |means| means.c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::reports::Freshness;

    fn product(name: &str, mean_rate: f64) -> ProductRow {
        ProductRow {
            product: name.to_owned(),
            stations: 1,
            calculations: 3,
            mean_accuracy: Some(-0.5),
            validation_errors: 0,
            mean_rate: Some(mean_rate),
            mean_loss_kg: Some(mean_rate * 2.0),
            loss_kg: Some(mean_rate * 6.0),
            first_day: Some("2026-01-01".to_owned()),
            last_day: Some("2026-01-04".to_owned()),
        }
    }

    #[test]
    fn a_page_speaks_its_language_and_breaks_no_day() {
        let freshness = Freshness { refreshed_at_ms: Some(0), behind: true, made_at_ms: None };
        let products = vec![product("a<b", 0.07), product("\u{202e}c", -0.03)];
        let report = Report { freshness, body: Body::Top { products } };
        let [en, ru] = [Lang::En, Lang::Ru].map(|lang| page(&report, lang));
        assert!(en.contains("<html lang=\"en\">") && en.contains("Top 2 products") && en.contains("-3.00 %"), "{en}");
        assert!(
            ru.contains("<html lang=\"ru\">") && ru.contains("Первые 2 продукта") && ru.contains("-3,00 %"),
            "{ru}"
        );
        assert!(ru.contains("-0,1800 кг") && en.contains("-0.1800 kg"), "{ru}");
        for page in [&en, &ru] {
            assert!(page.contains("a&lt;b") && page.contains("\\u202ec") && !page.contains('\u{202e}'), "{page}");
            assert!(page.contains("<td class=\"d\">2026-01-04</td>"), "{page}");
            assert!(page.contains("<span class=\"d\">1970-01-01</span> 00:00:00 UTC"), "{page}");
            assert!(page.contains("class=\"below\""), "what is negative is drawn: {page}");
        }
        // English words, none of which is markup or style.
        let body = ru.split_once("</style>").unwrap().1;
        for word in ["alculation", "ccuracy", "roduct", "days", "rows", "kg"] {
            assert!(!body.contains(word), "{word} in {body}");
        }
    }

    #[test]
    fn a_day_in_text_is_one_piece() {
        assert_eq!(
            with_whole_days("с 2026-01-02 по 9999-12-31."),
            "с <span class=\"d\">2026-01-02</span> по <span class=\"d\">9999-12-31</span>."
        );
        assert_eq!(with_whole_days("2026-1-02 ё"), "2026-1-02 ё");
    }
}
