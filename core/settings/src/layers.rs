//! Which value holds, and where it is from: flags outweigh variables, these the file, that the defaults.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Command;

use crate::file::Entry;
use crate::origin::Origin;
use crate::problem::{Problem, Warning};
use crate::setting::{Kind, Setting};
use crate::value::judge;
use crate::variables::{Variables, value};
use crate::words::Words;

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// None when it is not set; several of a list.
    pub values: Vec<OsString>,
    /// Where it is from.
    pub origin: Origin,
    /// It is not taken, for a reason that is among the problems.
    pub is_wrong: bool,
}

/// All settings and their values.
#[derive(Debug, Default)]
pub struct Layers {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What may be set.
    pub settings: Vec<Setting>,
    /// The value of each.
    pub effective: Vec<Effective>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What should be looked at.
    pub warnings: Vec<Warning>,
}

/// What the layers are made of.
pub struct Said<'s> {
    /// The program's command line, without variables.
    pub program: &'s Command,
    /// The settings that concern the command, each with the id of its flag there.
    pub concerned: &'s [(usize, String)],
    /// What the file says.
    pub entries: Vec<Entry>,
    /// The environment.
    pub variables: &'s Variables,
    /// The words that were typed.
    pub words: &'s Words,
    /// Settings that say the same thing in different ways: of these the one that outweighs the others holds.
    pub alternatives: &'s [&'s [&'s str]],
    /// How a value of a key may be shown.
    pub shown: fn(&Setting, &str) -> String,
}

impl Layers {
    /// Puts the layers together.
    pub fn put_together(&mut self, said: &Said<'_>) {
        let mut effective = Vec::new();
        for (at, setting) in self.settings.iter().enumerate() {
            let flag = said.concerned.iter().find(|(concerned, _)| *concerned == at).map(|(_, id)| id.as_str());
            let found = flag
                .and_then(|id| of_words(said.words, id, setting))
                .or_else(|| of_variables(said, setting, &mut self.problems))
                .or_else(|| of_file(said, at, setting, &mut self.problems));
            let mut found = found.unwrap_or_else(|| of_nothing(setting));
            if matches!(found.origin, Origin::Variable(_) | Origin::File(_)) {
                let refused: Vec<Problem> = found
                    .values
                    .iter()
                    .filter_map(|value| {
                        let refusal = judge(said.program, setting, value).err()?;
                        let value = (said.shown)(setting, &value.to_string_lossy());
                        let value = if setting.kind == Kind::Whole { value } else { format!("{value:?}") };
                        let (origin, key) = (found.origin.clone(), setting.key.clone());
                        Some(Problem::Value { origin, key, value, why: refusal.why, allowed: refusal.allowed })
                    })
                    .collect();
                found.is_wrong = !refused.is_empty();
                self.problems.extend(refused);
            }
            effective.push(found);
        }
        self.effective = effective;
        for group in said.alternatives {
            self.choose(group);
        }
    }

    /// Of settings that say the same thing those that are outweighed are not set.
    fn choose(&mut self, group: &[&str]) {
        let of: Vec<usize> =
            (0..self.settings.len()).filter(|at| group.contains(&self.settings[*at].key.as_str())).collect();
        let highest = of.iter().map(|at| self.effective[*at].origin.rank()).max().unwrap_or_default();
        let said: Vec<usize> = of.iter().copied().filter(|at| self.effective[*at].origin.rank() == highest).collect();
        if highest == 0 {
            return;
        }
        if let [one, other, ..] = said[..] {
            let named = |at: usize| (self.settings[at].key.clone(), self.effective[at].origin.clone());
            self.problems.push(Problem::Twice { one: named(one), other: named(other) });
        }
        for at in of.into_iter().filter(|at| !said.contains(at)) {
            let outweighed = std::mem::replace(&mut self.effective[at], of_nothing(&self.settings[at]));
            let holds = said.first().map(|by| (self.settings[*by].key.clone(), self.effective[*by].origin.clone()));
            // A flag was typed just now, by somebody who knows the file; a variable may be a service's.
            if let Some(by) = holds.filter(|(_, origin)| matches!(origin, Origin::Variable(_)))
                && outweighed.origin != Origin::Default
            {
                let setting = (self.settings[at].key.clone(), outweighed.origin);
                self.warnings.push(Warning::Outweighed { setting, by });
            }
        }
    }

    /// The value of a key.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<(&Setting, &Effective)> {
        self.settings.iter().zip(&self.effective).find(|(setting, _)| setting.key == key)
    }

    /// Of these keys the values are others' from now on.
    pub fn take(&mut self, from: &Self, keys: &[&str]) {
        for (setting, now) in self.settings.iter().zip(&mut self.effective) {
            if let Some((_, other)) = from.of(&setting.key).filter(|_| keys.contains(&setting.key.as_str())) {
                *now = other.clone();
            }
        }
    }

    /// The keys whose values differ from those of others.
    #[must_use]
    pub fn changed<'l>(&'l self, before: &Self) -> Vec<&'l str> {
        let differs = |(setting, now): &(&Setting, &Effective)| {
            before.of(&setting.key).is_none_or(|(_, before)| before.values != now.values)
        };
        self.settings.iter().zip(&self.effective).filter(differs).map(|(setting, _)| setting.key.as_str()).collect()
    }
}

fn of_nothing(setting: &Setting) -> Effective {
    let values = setting.defaults().into_iter().map(OsString::from).collect();
    Effective { values, origin: Origin::Default, is_wrong: false }
}

fn of_words(words: &Words, id: &str, setting: &Setting) -> Option<Effective> {
    let mut said = words.flags.iter().filter(|(flag, _)| flag == id).peekable();
    said.peek()?;
    let values = match setting.kind {
        Kind::Flag => vec!["true".into()],
        _ => said.flat_map(|(_, values)| values.clone()).collect(),
    };
    Some(Effective { values, origin: Origin::Flag(setting.flag()), is_wrong: false })
}

fn of_variables(said: &Said<'_>, setting: &Setting, problems: &mut Vec<Problem>) -> Option<Effective> {
    let set = |name: &String| Some((name.clone(), value(said.variables, name)?.clone()));
    let mut found = setting.variables.iter().filter_map(set);
    let (name, value) = found.next()?;
    if let Some((other, _)) = found.find(|(_, other)| *other != value) {
        let named = |name: &str| (setting.key.clone(), Origin::Variable(name.to_owned()));
        problems.push(Problem::Twice { one: named(&name), other: named(&other) });
    }
    Some(Effective { values: vec![value], origin: Origin::Variable(name), is_wrong: false })
}

fn of_file(said: &Said<'_>, at: usize, setting: &Setting, problems: &mut Vec<Problem>) -> Option<Effective> {
    let mut found = said.entries.iter().filter(|entry| entry.setting == at);
    let first = found.next()?;
    if let Some(other) = found.next() {
        let named = |entry: &Entry| (entry.key.clone(), Origin::File(entry.at.clone()));
        problems.push(Problem::Twice { one: named(first), other: named(other) });
    }
    let values = first.values.iter().map(OsString::from).collect();
    let is_wrong = setting.kind == Kind::Flag && first.values.is_empty();
    Some(Effective { values, origin: Origin::File(first.at.clone()), is_wrong })
}
