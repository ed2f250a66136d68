//! A report as one HTML page with its charts: no script, no other file, nothing fetched.

use std::collections::BTreeMap;

use tidemark_core::timestamp::{self, DAY_US};

use super::chart::{Bar, Series, bars, escape, lines};
use super::{Body, Means, Report, TrendReport, sheet};
use crate::upstream::reports::{ModelRow, ProductRow};

/// Most bars of a chart; the table has all rows.
const BARS_MAX: usize = 40;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2733; --soft: #5b6b7a; --line: #d9e0e6; --paper: #fff;
  --c0: #1f77b4; --c1: #d1495b; --c2: #2a9d6f; --c3: #b8860b; --c4: #7b5ea7; --c5: #4a5a68; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa9b7; --line: #33404c; --paper: #11181f;
  --c0: #6cb4ee; --c1: #f08a97; --c2: #63cfa2; --c3: #e3b84c; --c4: #b9a0e0; --c5: #a9b8c5; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.05rem; margin: 1.75rem 0 .25rem }
.soft, figcaption { color: var(--soft) } .figures { display: flex; flex-wrap: wrap; gap: .25rem 2rem; margin: 1rem 0 }
.figures b { display: block; font-size: 1.3rem; font-weight: 600 }
svg { width: 100%; height: auto; display: block } .grid { stroke: var(--line) } .tick, .name { fill: var(--soft); font-size: 12px } .name { fill: var(--ink); font-size: 13px }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
.legend span { margin-right: 1.25rem; white-space: nowrap } .legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line) } .n { text-align: right }
th { color: var(--soft); font-weight: 600; white-space: nowrap }
@media print { body { max-width: none; margin: 0 } }
";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let (title, figures, charts) = match &report.body {
        Body::Product { products } => ("Products".to_owned(), products_figures(products), product_bars(products)),
        Body::Top { products } => {
            (format!("Top {} products", products.len()), products_figures(products), product_bars(products))
        }
        Body::Models { models, best } => {
            let best = best.as_deref().map(|best| ("best model", best.to_owned()));
            ("Models".to_owned(), best.into_iter().collect(), model_bars(models))
        }
        Body::Trend(trend) => (trend.product.clone(), trend_figures(trend), trend_lines(trend)),
    };
    let colours: String = (0..super::chart::COLOURS)
        .map(|at| format!(".c{at} {{ stroke: var(--c{at}) }} rect.c{at}, circle.c{at} {{ fill: var(--c{at}); stroke: none }} i.c{at} {{ background: var(--c{at}) }}\n"))
        .collect();
    let figures: String = figures
        .iter()
        .map(|(name, value)| format!("<div><b>{}</b><span class=\"soft\">{name}</span></div>", escape(value)))
        .collect();
    let sheet = sheet::of(report);
    let notes: String = sheet.notes.iter().map(|note| format!("<p class=\"soft\">{}</p>\n", escape(note))).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title><style>{STYLE}{colours}</style></head><body>\n<h1>{title}</h1>\n{as_of}\n<div class=\"figures\">{figures}</div>\n{charts}\n\
         {notes}<div class=\"scroll\">{table}</div>\n</body></html>\n",
        title = escape(&title),
        as_of = as_of(report),
        table = table(&sheet),
    )
}

fn as_of(report: &Report) -> String {
    let Some(ms) = report.freshness.refreshed_at_ms else { return String::new() };
    format!("<p class=\"soft\">as of {} UTC</p>", &timestamp::format(ms.saturating_mul(1000))[..19])
}

fn table(sheet: &sheet::Sheet) -> String {
    let class = |at: usize| {
        let number = sheet.rows.first().is_some_and(|row| row[at].is_number());
        if number { " class=\"n\"" } else { "" }
    };
    let head: String =
        sheet.head.iter().enumerate().map(|(at, name)| format!("<th{}>{name}</th>", class(at))).collect();
    let rows: String = sheet
        .rows
        .iter()
        .map(|row| {
            let cells =
                row.iter().enumerate().map(|(at, cell)| format!("<td{}>{}</td>", class(at), escape(&cell.shown())));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        })
        .collect();
    format!("<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>")
}

fn products_figures(products: &[ProductRow]) -> Vec<(&'static str, String)> {
    let sum = |of: fn(&ProductRow) -> u64| products.iter().map(of).sum::<u64>().to_string();
    vec![
        ("products", products.len().to_string()),
        ("calculations", sum(|row| row.calculations)),
        ("validation errors", sum(|row| row.validation_errors)),
    ]
}

fn product_bars(products: &[ProductRow]) -> String {
    let mut most: Vec<&ProductRow> = products.iter().collect();
    most.sort_by_key(|row| std::cmp::Reverse(row.calculations));
    most.truncate(BARS_MAX);
    let bar = |row: &&ProductRow| Bar {
        name: row.product.clone(),
        value: row.calculations as f64,
        shown: row.calculations.to_string(),
    };
    bars("Calculations", &most.iter().map(bar).collect::<Vec<_>>())
}

fn model_bars(models: &[ModelRow]) -> String {
    let mut known: Vec<&ModelRow> = models.iter().filter(|row| row.mean_accuracy.is_some()).collect();
    known.sort_by(|one, other| other.mean_accuracy.unwrap_or(0.0).total_cmp(&one.mean_accuracy.unwrap_or(0.0)));
    known.truncate(BARS_MAX);
    let accuracy = |row: &&ModelRow| {
        let value = row.mean_accuracy.unwrap_or(0.0);
        Bar { name: row.model.clone(), value: value.max(0.0), shown: format!("{value:.4}") }
    };
    let calculations = |row: &&ModelRow| Bar {
        name: row.model.clone(),
        value: row.calculations as f64,
        shown: row.calculations.to_string(),
    };
    let by_accuracy = bars("Mean accuracy, R²", &known.iter().map(accuracy).collect::<Vec<_>>());
    by_accuracy + &bars("Calculations", &known.iter().map(calculations).collect::<Vec<_>>())
}

fn trend_figures(trend: &TrendReport) -> Vec<(&'static str, String)> {
    let shown = |value: Option<f64>| sheet::Cell::Number(value, 4).shown();
    vec![
        ("accuracy", trend.trend.as_str().to_owned()),
        ("calculations", trend.means.calculations.to_string()),
        ("mean accuracy, R²", shown(trend.means.accuracy)),
        ("mean a", shown(trend.means.a)),
        ("mean b", shown(trend.means.b)),
        ("mean c", shown(trend.means.c)),
    ]
}

fn trend_lines(trend: &TrendReport) -> String {
    let line = |of: fn(&Means) -> Option<f64>| {
        let mut by_model: BTreeMap<&str, Vec<(i64, f64)>> = BTreeMap::new();
        for point in &trend.points {
            let day = timestamp::parse(point.day.as_bytes()).map(|us| us.div_euclid(DAY_US));
            if let (Ok(day), Some(value)) = (day, of(&point.means)) {
                by_model.entry(point.model.as_deref().unwrap_or("no model")).or_default().push((day, value));
            }
        }
        let series = by_model.into_iter().map(|(name, points)| Series { name: name.to_owned(), points });
        series.collect::<Vec<_>>()
    };
    lines("Accuracy, R²", &line(|means| means.accuracy))
        + &lines("Coefficient a", &line(|means| means.a))
        + &lines("Coefficient b", &line(|means| means.b))
        + &lines("Coefficient c", &line(|means| means.c))
}
