//! A file of settings: its text, taken apart, with the line of each key. Pure: the text comes in.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::near::nearest;
use crate::origin::At;
use crate::problem::{Problem, Wants};
use crate::setting::{Kind, Setting};

/// What a file says of one setting.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The setting, by its place among all.
    pub setting: usize,
    /// The key it stands by.
    pub key: String,
    /// Its values, as they would be typed.
    pub values: Vec<String>,
    /// Where it stands.
    pub at: At,
}

struct Reading<'r> {
    file: &'r Path,
    text: &'r str,
    settings: &'r [Setting],
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

/// Takes a file's text apart; what is wrong with it is told, and the rest taken.
#[must_use]
pub fn read(file: &Path, text: &str, settings: &[Setting]) -> (Vec<Entry>, Vec<Problem>) {
    let mut reading = Reading { file, text, settings, entries: Vec::new(), problems: Vec::new() };
    match DeTable::parse(text) {
        Ok(table) => reading.table("", table.get_ref()),
        Err(error) => {
            let at = reading.at(error.span().map_or(0, |span| span.start));
            reading.problems.push(Problem::Syntax { at, why: error.message().to_owned() });
        }
    }
    // In the order of the file.
    reading.entries.sort_by_key(|entry| entry.at.line);
    reading.problems.sort_by_key(|problem| problem.line().unwrap_or_default());
    (reading.entries, reading.problems)
}

impl Reading<'_> {
    fn at(&self, offset: usize) -> At {
        let before = self.text.get(..offset).unwrap_or(self.text);
        At { file: self.file.to_owned(), line: before.bytes().filter(|byte| *byte == b'\n').count() + 1 }
    }

    fn table(&mut self, name: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let whole = if name.is_empty() { key.get_ref().to_string() } else { format!("{name}.{}", key.get_ref()) };
            let at = self.at(key.span().start);
            let is = |setting: &Setting| setting.key == whole || setting.aliases.contains(&whole.as_str());
            match (self.settings.iter().position(is), value.get_ref()) {
                (Some(setting), _) => self.entry(setting, whole, at, value),
                (None, DeValue::Table(inner)) => self.table(&whole, inner),
                (None, _) => self.unknown(whole, at),
            }
        }
    }

    fn unknown(&mut self, key: String, at: At) {
        let known = || {
            self.settings
                .iter()
                .flat_map(|setting| [setting.key.as_str()].into_iter().chain(setting.aliases.iter().copied()))
        };
        let last = key.rsplit('.').next().unwrap_or(&key);
        // In a table that there is not: the key itself may be right.
        let near = known().find(|known| known.rsplit('.').next() == Some(last)).or_else(|| nearest(&key, known()));
        let near = near.or_else(|| nearest(last, known())).map(str::to_owned);
        self.problems.push(Problem::UnknownKey { at, key, near });
    }

    fn entry(&mut self, setting: usize, key: String, at: At, value: &Spanned<DeValue<'_>>) {
        let of = &self.settings[setting];
        let items: Vec<&DeValue<'_>> = match value.get_ref() {
            DeValue::Array(items) if of.is_list() => items.iter().map(Spanned::get_ref).collect(),
            single => vec![single],
        };
        let mut values = Vec::new();
        for item in items {
            match typed(of.kind, item) {
                Some(word) => values.push(word),
                None => {
                    let wants = Wants { kind: of.kind, list: of.is_list() };
                    let shown = if of.is_secret() { "***".to_owned() } else { shown(item) };
                    self.problems.push(Problem::Type { at, key, value: shown, is: item.type_str(), wants });
                    return;
                }
            }
        }
        self.entries.push(Entry { setting, key, values, at });
    }
}

/// A value as it would be typed, where it is of the right kind.
fn typed(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    let whole = |value: &DeValue<'_>| {
        let number = value.as_integer()?;
        i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
    };
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(is)) => Some(is.to_string()),
        (Kind::Whole, value) => whole(value),
        (Kind::Number | Kind::Word, DeValue::Integer(_)) => whole(value),
        (Kind::Number | Kind::Word, DeValue::Float(number)) => Some(number.as_str().to_owned()),
        (Kind::Word, DeValue::Boolean(is)) => Some(is.to_string()),
        (Kind::Text | Kind::Word, DeValue::Datetime(time)) => Some(time.to_string()),
        (Kind::Text | Kind::Word | Kind::Path, DeValue::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// A value as it stands in the file, in short.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(is) => is.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "[…]".to_owned(),
        DeValue::Table(_) => "{…}".to_owned(),
    }
}
