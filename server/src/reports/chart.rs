//! Charts as SVG, drawn here: a page with them needs no script and no other file.

use std::fmt::Write as _;

/// Width of a chart, in its own units.
const WIDTH: f64 = 760.0;
/// Height of a chart of lines.
const HEIGHT: f64 = 240.0;
/// Room for the labels of the axes.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// Height of one bar with its gap.
const BAR: f64 = 26.0;
/// Room for the names of bars.
const NAMES: f64 = 220.0;
/// How many characters of a name a bar shows.
const NAME_CHARS: usize = 30;
/// How many colours the page has for lines.
pub const COLOURS: usize = 6;

/// A line of a chart: its name, and its points as (day number, value), in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points.
    pub points: Vec<(i64, f64)>,
}

/// A bar: its name, its length, and what is written at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its length, not negative.
    pub value: f64,
    /// What is written at its end.
    pub shown: String,
}

/// Text as it may stand in HTML and SVG, in an attribute too.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Round steps that cover a range: at most about `count` of them.
fn ticks(low: f64, high: f64, count: f64) -> Vec<f64> {
    let rough = ((high - low) / count).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power).into_iter().find(|&step| step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last.min(first.saturating_add(20))).map(|at| at as f64 * step).collect()
}

fn label(value: f64) -> String {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        let text = format!("{value:.6}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return if text == "-0" { "0".to_owned() } else { text.to_owned() };
    }
    format!("{value:.1e}")
}

fn day_label(day: i64) -> String {
    let us = day.saturating_mul(tidemark_core::timestamp::DAY_US);
    tidemark_core::timestamp::format(us)[..10].to_owned()
}

/// Lines over days. Empty without a point.
#[must_use]
pub fn lines(title: &str, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| series.points.iter().copied());
    let finite = points().filter(|(_, value)| value.is_finite());
    let (mut low, mut high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| (low.min(value), high.max(value)));
    let (Some(first), Some(last)) = (points().map(|(day, _)| day).min(), points().map(|(day, _)| day).max()) else {
        return String::new();
    };
    if low > high {
        return String::new();
    }
    let margin = if high > low { (high - low) * 0.08 } else { high.abs().max(1e-6) * 0.1 };
    (low, high) = (low - margin, high + margin);
    let days = (last - first).max(1) as f64;
    let x = |day: i64| {
        let at = if first == last { 0.5 } else { (day - first) as f64 / days };
        LEFT + (WIDTH - LEFT - RIGHT) * at
    };
    let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value - low) / (high - low));
    let mut svg = open(title, HEIGHT);
    for tick in ticks(low, high, 5.0) {
        let at = y(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            label(tick)
        );
    }
    let middle = first + (last - first) / 2;
    let mut marked = vec![(first, "start"), (middle, "middle"), (last, "end")];
    if last - first < 2 {
        marked = if first == last { vec![(first, "middle")] } else { vec![(first, "start"), (last, "end")] };
    }
    for (day, anchor) in marked {
        let (at, below) = (x(day), HEIGHT - 8.0);
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{at:.1}\" y=\"{below:.1}\" text-anchor=\"{anchor}\">{}</text>",
            day_label(day)
        );
    }
    for (at, one) in series.iter().enumerate() {
        let colour = at % COLOURS;
        let path: Vec<String> =
            one.points.iter().map(|&(day, value)| format!("{:.1},{:.1}", x(day), y(value))).collect();
        let _ = write!(svg, "<polyline class=\"c{colour}\" points=\"{}\"/>", path.join(" "));
        for &(day, value) in &one.points {
            let _ = write!(
                svg,
                "<circle class=\"c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\"><title>{} {}: {value:.6}</title></circle>",
                x(day),
                y(value),
                escape(&one.name),
                day_label(day)
            );
        }
    }
    svg.push_str("</svg>");
    if series.len() > 1 {
        let entry = |(at, one): (usize, &Series)| {
            format!("<span><i class=\"c{}\"></i>{}</span>", at % COLOURS, escape(&one.name))
        };
        let _ = write!(
            svg,
            "<p class=\"legend\">{}</p>",
            series.iter().enumerate().map(entry).collect::<Vec<_>>().join(" ")
        );
    }
    svg
}

/// Bars, one below the other. Empty without one.
#[must_use]
pub fn bars(title: &str, bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let most = bars.iter().map(|bar| bar.value).filter(|value| value.is_finite()).fold(0.0, f64::max);
    let room = WIDTH - NAMES - 96.0;
    let mut svg = open(title, BAR * bars.len() as f64 + 8.0);
    for (at, bar) in bars.iter().enumerate() {
        let top = BAR * at as f64 + 4.0;
        let length = if most > 0.0 { room * (bar.value / most).clamp(0.0, 1.0) } else { 0.0 };
        let mut name: String = bar.name.chars().take(NAME_CHARS).collect();
        if name.len() < bar.name.len() {
            name.push('…');
        }
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"c0\" x=\"{NAMES}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{:.1}\" rx=\"2\"><title>{}: {}</title></rect><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            NAMES - 8.0,
            top + 14.0,
            escape(&name),
            BAR - 6.0,
            escape(&bar.name),
            escape(&bar.shown),
            NAMES + length + 6.0,
            top + 14.0,
            escape(&bar.shown)
        );
    }
    svg.push_str("</svg>");
    svg
}

fn open(title: &str, height: f64) -> String {
    let title = escape(title);
    format!("<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}\">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let shown = |low, high| ticks(low, high, 5.0).into_iter().map(label).collect::<Vec<_>>();
        assert_eq!(shown(0.881, 0.969), ["0.9", "0.92", "0.94", "0.96"]);
        assert_eq!(shown(-3.0, 7.0), ["-2", "0", "2", "4", "6"]);
        assert!(ticks(1.0, 1.0, 5.0).len() <= 21);
        assert!(ticks(-1e100, 1e100, 5.0).len() <= 21);
    }

    #[test]
    fn whatever_the_points_a_chart_is_drawn() {
        let series = |points: Vec<(i64, f64)>| [Series { name: "<&\">".into(), points }];
        assert_eq!(lines("t", &series(vec![])), "");
        for points in [
            vec![(0, 1.0)],
            vec![(0, 1e100), (1, -1e100)],
            vec![(5, 0.0), (5, 0.0)],
            vec![(i64::MIN / 4, 0.1), (0, 0.2)],
        ] {
            let svg = lines("t", &series(points));
            assert!(svg.contains("<polyline") && !svg.contains("NaN") && !svg.contains("<&"), "{svg}");
        }
        let zero = bars("t", &[Bar { name: "а".repeat(99), value: 0.0, shown: "0".into() }]);
        assert!(zero.contains(&format!("{}…", "а".repeat(NAME_CHARS))) && !zero.contains("NaN"), "{zero}");
    }
}
