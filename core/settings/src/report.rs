//! `config check`: every value with its origin, and what is wrong, for people and for programs.

use serde_json::{Value as Json, json};

use crate::layers::{Effective, Layers};
use crate::origin::Origin;
use crate::problem::Problem;
use crate::program::Program;
use crate::setting::{Kind, Setting};

/// Longest value that others are lined up with.
const VALUE_CHARS_MAX: usize = 44;

/// The values of a setting, as they may be shown.
#[must_use]
pub fn shown(program: &Program, setting: &Setting, effective: &Effective) -> Vec<String> {
    let show = |value: &str| (program.shown)(setting, value);
    let values = effective.values.iter().map(|value| value.to_string_lossy().into_owned());
    match setting.arg.get_value_delimiter() {
        Some(mark) => values
            .flat_map(|value| value.split(mark).map(|part| part.trim().to_owned()).collect::<Vec<_>>())
            .filter(|part| !part.is_empty())
            .map(|part| show(&part))
            .collect(),
        None => values.map(|value| show(&value)).collect(),
    }
}

/// Every value with its origin, a line for each.
#[must_use]
pub fn table(program: &Program, layers: &Layers) -> String {
    let rows: Vec<[String; 3]> = layers
        .settings
        .iter()
        .zip(&layers.effective)
        .map(|(setting, now)| {
            let values = shown(program, setting, now).join(", ");
            let value = if values.is_empty() { "-".to_owned() } else { values };
            let mark = if now.is_wrong { "  (wrong)" } else { "" };
            [setting.key.clone(), value, format!("{}{mark}", now.origin)]
        })
        .collect();
    let width = |at: usize, max: usize| {
        rows.iter().map(|row| row[at].chars().count()).filter(|chars| *chars <= max).max().unwrap_or_default()
    };
    let (keys, values) = (width(0, usize::MAX), width(1, VALUE_CHARS_MAX));
    let file = layers.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let mut text = format!("file: {file}\n");
    for [key, value, origin] in &rows {
        text.push_str(&format!("{key:<keys$}  {value:<values$}  {origin}\n"));
    }
    text
}

/// What should be looked at, and what is wrong: a line each.
#[must_use]
pub fn complaints(layers: &Layers) -> Vec<String> {
    let warnings = layers.warnings.iter().map(|warning| format!("warning: {warning}"));
    warnings.chain(layers.problems.iter().map(ToString::to_string)).collect()
}

/// The files that settings name, by the word FILE in the help, and that cannot be read; but for those of these keys.
#[must_use]
pub fn missing_files(layers: &Layers, but: &[&str]) -> Vec<Problem> {
    let variables: Vec<_> = std::env::vars_os().collect();
    let mut found = Vec::new();
    for (setting, now) in layers.settings.iter().zip(&layers.effective) {
        let is_file = setting.arg.get_value_names().is_some_and(|names| names.iter().any(|name| *name == "FILE"));
        if !is_file || now.origin == Origin::Default || but.contains(&setting.key.as_str()) {
            continue;
        }
        for file in &now.values {
            let file = crate::secret::path(file.as_ref(), &variables);
            if let Err(error) = std::fs::File::open(&file) {
                let why = format!("{}: {error}", file.display());
                found.push(Problem::Unfit { origin: now.origin.clone(), key: setting.key.clone(), why });
            }
        }
    }
    found
}

/// The same, for programs.
#[must_use]
pub fn json(program: &Program, layers: &Layers) -> Json {
    let settings = layers.settings.iter().zip(&layers.effective).map(|(setting, now)| {
        let mut facts = json!({
            "key": setting.key,
            "value": value(program, setting, now),
            "origin": now.origin.word(),
            "ok": !now.is_wrong,
            "on_sighup": if program.live.contains(&setting.key.as_str()) { "applied" } else { "needs-restart" },
        });
        match &now.origin {
            Origin::File(at) => facts["line"] = at.line.into(),
            Origin::Variable(name) => facts["variable"] = name.as_str().into(),
            Origin::Default | Origin::Flag(_) => {}
        }
        facts
    });
    let settings: Vec<Json> = settings.collect();
    let problems: Vec<Json> = layers
        .problems
        .iter()
        .map(|problem| json!({ "key": problem.key(), "line": problem.line(), "message": problem.to_string() }))
        .collect();
    let warnings: Vec<String> = layers.warnings.iter().map(ToString::to_string).collect();
    let ok = layers.problems.is_empty();
    json!({ "ok": ok, "file": layers.file, "settings": settings, "problems": problems, "warnings": warnings })
}

fn value(program: &Program, setting: &Setting, now: &Effective) -> Json {
    let values: Vec<Json> = shown(program, setting, now)
        .into_iter()
        .map(|text| match setting.kind {
            Kind::Whole => text.parse::<i64>().map_or_else(|_| text.as_str().into(), Json::from),
            Kind::Number => text.parse::<f64>().map_or_else(|_| text.as_str().into(), Json::from),
            Kind::Flag => (text == "true").into(),
            Kind::Path | Kind::Text | Kind::Word => text.into(),
        })
        .collect();
    if setting.is_list() { Json::Array(values) } else { values.into_iter().next().unwrap_or(Json::Null) }
}
