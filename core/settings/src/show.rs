//! `config show`: the file with every setting, explained by the help of its flag.

use std::fmt::Write as _;

use crate::layers::{Effective, Layers};
use crate::origin::Origin;
use crate::program::Program;
use crate::report::shown;
use crate::setting::{Kind, Setting};

/// Width of a comment, in characters.
const COLUMNS: usize = 100;

/// The file of a program. Settings stand there as comments with their defaults; with layers, those that are set to
/// something else stand as they are set.
#[must_use]
pub fn file(program: &Program, layers: Option<&Layers>) -> String {
    let mut text = String::new();
    let head = format!(
        "{}: the settings of `{}`. A line that begins with #key = shows the default; take the # away to set it. Flags \
         outweigh variables (TIDEMARK_…), and these outweigh this file. `{} config check` prints every value that holds, \
         where it is from, and what is wrong.",
        program.file, program.name, program.name
    );
    comment(&mut text, &head);
    let settings = program.settings();
    let (mut table, mut heading) = ("", String::new());
    for setting in &settings {
        if setting.table.name != table {
            table = setting.table.name;
            heading.clear();
            let _ = write!(text, "\n[{table}]\n");
        }
        let now = setting.arg.get_help_heading().unwrap_or("Options").to_owned();
        if now != heading && table.is_empty() {
            let _ = write!(text, "\n# ---- {now} {}\n", "-".repeat(COLUMNS.saturating_sub(now.chars().count() + 8)));
        }
        heading = now;
        text.push('\n');
        comment(&mut text, &about(program, setting));
        let effective = layers.and_then(|layers| layers.of(&setting.key)).map(|(_, effective)| effective);
        match effective.filter(|now| now.origin != Origin::Default) {
            Some(now) => set(&mut text, program, setting, now),
            None => unset(&mut text, setting),
        }
    }
    text
}

/// What the help says, and the other ways to set it.
fn about(program: &Program, setting: &Setting) -> String {
    let help = setting.arg.get_long_help().or_else(|| setting.arg.get_help());
    let help = help.map_or_else(String::new, ToString::to_string);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = if help.is_empty() || help.ends_with(['.', '!', '?']) { "" } else { "." };
    let live = if program.live.contains(&setting.key.as_str()) { ", SIGHUP applies it" } else { "" };
    format!("{help}{end} ({}, {}{live})", setting.flag(), setting.variables.join(", "))
}

fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS && line.len() > 1 {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

fn unset(text: &mut String, setting: &Setting) {
    let defaults = setting.defaults();
    let _ = match &defaults[..] {
        [] => {
            let names = setting.arg.get_value_names().unwrap_or_default();
            let name = names.first().map_or("VALUE", |name| name.as_str());
            let quoted = if matches!(setting.kind, Kind::Whole | Kind::Number) {
                name.to_owned()
            } else {
                literal(Kind::Text, name)
            };
            writeln!(text, "#{} = {quoted}", setting.name())
        }
        some => writeln!(text, "#{} = {}", setting.name(), literals(setting, some)),
    };
}

fn set(text: &mut String, program: &Program, setting: &Setting, now: &Effective) {
    let values = shown(program, setting, now);
    let is_hidden =
        values.iter().zip(&now.values).any(|(shown, value)| setting.is_secret() && value.to_str() != Some(shown));
    // A secret that is not shown would be loaded as it stands here.
    let mark = if is_hidden { "#" } else { "" };
    let _ = writeln!(text, "{mark}{} = {}", setting.name(), literals(setting, &values));
}

fn literals(setting: &Setting, values: &[String]) -> String {
    let all: Vec<String> = values.iter().map(|value| literal(setting.kind, value)).collect();
    if setting.is_list() { format!("[{}]", all.join(", ")) } else { all.into_iter().next().unwrap_or_default() }
}

fn literal(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Flag | Kind::Whole | Kind::Number => value.to_owned(),
        Kind::Path | Kind::Text | Kind::Word => serde_json::Value::from(value).to_string(),
    }
}
