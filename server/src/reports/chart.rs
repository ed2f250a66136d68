//! Charts, drawn here: a page with them needs no script and no other file. Lines and bars are SVG that stretches with
//! the page, their labels are text beside it, so that they keep their size on a telephone.

use std::fmt::Write as _;

use tidemark_core::printable::printable;

/// A drawing's width and height, in units of its own; the page stretches it.
const SIDE: f64 = 1000.0;
/// How many characters of a name a bar shows.
const NAME_CHARS: usize = 30;
/// More points than this on a chart are drawn small.
const POINTS_LARGE_MAX: usize = 120;
/// How many colours the page has for lines.
pub const COLOURS: usize = 6;

/// The style of charts; the page's style holds it.
pub const STYLE: &str = "
svg { display: block; width: 100%; overflow: visible }
.bars { display: grid; grid-template-columns: fit-content(38%) minmax(4rem, 1fr) max-content; gap: .3rem .6rem; align-items: center; font-size: 13px }
.bar { display: contents } .bars .name { text-align: right; overflow-wrap: anywhere } .bars .n { color: var(--soft); white-space: nowrap }
.bars svg { height: 1.2rem } .axis { stroke: var(--soft); vector-effect: non-scaling-stroke } rect.below { fill: var(--c1); stroke: none }
.chart { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .5rem; margin: .5rem 0; font-size: 12px; color: var(--soft) }
.chart svg { height: 15rem } .y { position: relative; text-align: right } .y b { font-weight: normal; visibility: hidden }
.y span { position: absolute; right: 0; transform: translateY(-50%); white-space: nowrap } .x { grid-column: 2; position: relative; height: 1.4em }
.x span { position: absolute; transform: translateX(-50%); white-space: nowrap } .x .first { transform: none } .x .last { transform: translateX(-100%) }
.grid { stroke: var(--line) } .grid, polyline, .dot { vector-effect: non-scaling-stroke } polyline { fill: none; stroke-width: 2px; stroke-linejoin: round }
.dot { stroke-width: 6px; stroke-linecap: round } .many .dot { stroke-width: 3px }
.legend span { margin-right: 1.25rem; overflow-wrap: anywhere } .legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em }
@media (max-width: 40rem) { .x .more { display: none } }
";

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
    /// Its length; a negative one goes to the left of the axis.
    pub value: f64,
    /// The words beside it.
    pub shown: String,
}

/// Text as it may stand in HTML and SVG, in an attribute too; what could disturb the text around it is shown as an
/// escape.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\r' | '\t' => out.push(' '),
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

/// The scale of a drawing: the place of values and days, and what the axes say.
struct Axes {
    low: f64,
    high: f64,
    first: i64,
    last: i64,
}

impl Axes {
    /// Around all points; `None` without one that is a number.
    fn around(points: impl Iterator<Item = (i64, f64)>) -> Option<Self> {
        let mut axes: Option<Self> = None;
        for (day, value) in points {
            let so_far = axes.get_or_insert(Self { low: value, high: value, first: day, last: day });
            (so_far.low, so_far.high) = (so_far.low.min(value), so_far.high.max(value));
            (so_far.first, so_far.last) = (so_far.first.min(day), so_far.last.max(day));
        }
        let mut axes = axes?;
        let room = axes.high - axes.low;
        let margin = if room > 0.0 { room * 0.08 } else { axes.high.abs().max(1e-6) * 0.1 };
        (axes.low, axes.high) = (axes.low - margin, axes.high + margin);
        Some(axes)
    }

    fn x(&self, day: i64) -> f64 {
        if self.first == self.last {
            return SIDE / 2.0;
        }
        SIDE * (day - self.first) as f64 / (self.last - self.first) as f64
    }

    fn y(&self, value: f64) -> f64 {
        SIDE * (1.0 - (value - self.low) / (self.high - self.low))
    }

    /// The days that are written below, each once: both ends, and between them what there is room for on a wide page
    /// (`more`) or on any.
    fn days(&self) -> Vec<(i64, &'static str)> {
        let (first, room) = (self.first, self.last - self.first);
        match room {
            0 => vec![(first, "")],
            1 => vec![(first, "first"), (self.last, "last")],
            2..=3 => vec![(first, "first"), (first + room / 2, ""), (self.last, "last")],
            _ => vec![
                (first, "first"),
                (first + room / 4, "more"),
                (first + room / 2, ""),
                (first + room / 4 * 3, "more"),
                (self.last, "last"),
            ],
        }
    }
}

/// Lines over days; `number` writes the numbers of a language. Empty without a point.
#[must_use]
pub fn lines(title: &str, series: &[Series], number: &dyn Fn(String) -> String) -> String {
    let points = || series.iter().flat_map(|series| &series.points).copied().filter(|(_, value)| value.is_finite());
    let Some(axes) = Axes::around(points()) else { return String::new() };
    let title = escape(title);
    let marks: Vec<(f64, String)> =
        ticks(axes.low, axes.high, 5.0).into_iter().map(|tick| (axes.y(tick), number(label(tick)))).collect();
    let widest = marks.iter().map(|(_, text)| text.as_str()).max_by_key(|text| text.len()).unwrap_or_default();
    let many = if points().count() > POINTS_LARGE_MAX { " many" } else { "" };
    let mut out = format!("<h2>{title}</h2><div class=\"chart{many}\"><div class=\"y\"><b>{widest}</b>");
    for (at, text) in &marks {
        let _ = write!(out, "<span style=\"top:{:.1}%\">{text}</span>", at / SIDE * 100.0);
    }
    let _ = write!(
        out,
        "</div><svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{title}\">"
    );
    for (at, _) in &marks {
        let _ = write!(out, "<line class=\"grid\" x1=\"0\" x2=\"{SIDE}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
    }
    if axes.low < 0.0 && axes.high > 0.0 {
        let at = axes.y(0.0);
        let _ = write!(out, "<line class=\"axis\" x1=\"0\" x2=\"{SIDE}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>");
    }
    for (at, one) in series.iter().enumerate() {
        draw(&mut out, &axes, one, at % COLOURS, number);
    }
    out.push_str("</svg><div class=\"x\">");
    for (day, class) in axes.days() {
        let at = axes.x(day) / SIDE * 100.0;
        let _ = write!(out, "<span class=\"{class}\" style=\"left:{at:.1}%\">{}</span>", day_label(day));
    }
    out.push_str("</div></div>");
    if series.len() > 1 {
        let entry = |(at, one): (usize, &Series)| {
            format!("<span><i class=\"c{}\"></i>{}</span>", at % COLOURS, escape(&one.name))
        };
        let entries: Vec<String> = series.iter().enumerate().map(entry).collect();
        let _ = write!(out, "<p class=\"legend\">{}</p>", entries.join(" "));
    }
    out
}

fn draw(out: &mut String, axes: &Axes, series: &Series, colour: usize, number: &dyn Fn(String) -> String) {
    let points = || series.points.iter().copied().filter(|(_, value)| value.is_finite());
    let path: Vec<String> = points().map(|(day, value)| format!("{:.1},{:.1}", axes.x(day), axes.y(value))).collect();
    let _ = write!(out, "<polyline class=\"c{colour}\" points=\"{}\"/>", path.join(" "));
    let name = escape(&series.name);
    for (day, value) in points() {
        // A line of no length with round ends: a dot that does not stretch with the drawing.
        let _ = write!(
            out,
            "<path class=\"dot c{colour}\" d=\"M{:.1} {:.1}h0\"><title>{name} {}: {}</title></path>",
            axes.x(day),
            axes.y(value),
            day_label(day),
            number(format!("{value:.6}"))
        );
    }
}

/// Bars, one below the other, on one axis: what is negative goes to its left. Empty without one.
#[must_use]
pub fn bars(title: &str, bars: &[Bar]) -> String {
    if bars.is_empty() {
        return String::new();
    }
    let length = |value: f64| if value.is_finite() { value } else { 0.0 };
    let (low, high) = bars
        .iter()
        .fold((0.0_f64, 0.0_f64), |(low, high), bar| (low.min(length(bar.value)), high.max(length(bar.value))));
    // Halves, so that no sum of two finite numbers is past the largest one.
    let room = (high / 2.0 - low / 2.0).max(f64::MIN_POSITIVE);
    let x = |value: f64| SIDE * ((value / 2.0 - low / 2.0) / room);
    let axis = x(0.0);
    let mut out = format!("<h2>{}</h2><div class=\"bars\">", escape(title));
    for bar in bars {
        let end = x(length(bar.value));
        let class = if end < axis { "below" } else { "c0" };
        let mut name: String = bar.name.chars().take(NAME_CHARS).collect();
        if name.len() < bar.name.len() {
            name.push('…');
        }
        let (whole, shown) = (escape(&bar.name), escape(&bar.shown));
        let _ = write!(
            out,
            "<div class=\"bar\"><span class=\"name\" title=\"{whole}\">{}</span><svg viewBox=\"0 0 {SIDE} 1\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"{class}\" x=\"{:.1}\" y=\"0\" width=\"{:.1}\" height=\"1\"><title>{whole}: {shown}</title></rect><line class=\"axis\" x1=\"{axis:.1}\" x2=\"{axis:.1}\" y1=\"-.2\" y2=\"1.2\"/></svg><span class=\"n\">{shown}</span></div>",
            escape(&name),
            end.min(axis),
            (end - axis).abs(),
        );
    }
    out.push_str("</div>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: String) -> String {
        text
    }

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
        assert_eq!(lines("t", &series(vec![]), &plain), "");
        assert_eq!(lines("t", &series(vec![(1, f64::NAN)]), &plain), "");
        for points in [
            vec![(0, 1.0)],
            vec![(0, 1e100), (1, -1e100)],
            vec![(5, 0.0), (5, 0.0)],
            vec![(i64::MIN / 4, 0.1), (0, 0.2)],
            vec![(0, 0.1), (1, f64::INFINITY)],
        ] {
            let svg = lines("t", &series(points), &plain);
            assert!(svg.contains("<polyline") && !svg.contains("NaN") && !svg.contains("<&"), "{svg}");
        }
        let zero = bars("t", &[Bar { name: "а".repeat(99), value: 0.0, shown: "0".into() }]);
        assert!(zero.contains(&format!("{}…", "а".repeat(NAME_CHARS))) && !zero.contains("NaN"), "{zero}");
        let huge = [f64::MAX, f64::MIN, f64::NAN].map(|value| Bar { name: "x".into(), value, shown: "x".into() });
        assert!(!bars("t", &huge).contains("NaN") && !bars("t", &huge).contains("inf"), "{}", bars("t", &huge));
    }

    /// The beginning and length of bars, and the place of the axis.
    fn drawn(values: &[f64]) -> (Vec<(f64, f64)>, f64) {
        let all: Vec<Bar> =
            values.iter().map(|&value| Bar { name: "x".into(), value, shown: value.to_string() }).collect();
        let out = bars("t", &all);
        let after = |text: &str, word: &str| -> f64 {
            text.split_once(word).and_then(|(_, rest)| rest.split('"').next()).unwrap().parse().unwrap()
        };
        let rects: Vec<&str> = out.split("<rect").skip(1).collect();
        let axis = after(rects[0], " x1=\"");
        (rects.iter().map(|rect| (after(rect, " x=\""), after(rect, " width=\""))).collect(), axis)
    }

    #[test]
    fn negative_bars_go_left_of_the_axis_at_the_same_scale() {
        assert_eq!(drawn(&[3.0, -1.0]), (vec![(250.0, 750.0), (0.0, 250.0)], 250.0));
        assert_eq!(drawn(&[-1.0, -2.0]), (vec![(500.0, 500.0), (0.0, 1000.0)], 1000.0));
        assert_eq!(drawn(&[2.0, 1.0]), (vec![(0.0, 1000.0), (0.0, 500.0)], 0.0));
    }

    #[test]
    fn few_days_are_written_below_and_each_once() {
        for last in [0, 1, 2, 3, 4, 5, 700, 36_500] {
            let days = Axes { low: 0.0, high: 1.0, first: 0, last }.days();
            assert!(days.windows(2).all(|pair| pair[0].0 < pair[1].0) && days.len() <= 5, "{days:?}");
        }
    }
}
