//! Whether a value is one that its flag takes: the flag's own parser says so.

use std::error::Error as _;
use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::setting::{Kind, Setting, command_of};

/// Why a value is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub why: String,
    /// What is allowed, where that is known.
    pub allowed: Option<String>,
}

/// The words that give a setting these values.
#[must_use]
pub fn typed(long: &str, kind: Kind, values: &[OsString]) -> Vec<OsString> {
    if kind == Kind::Flag {
        let is_set = values.first().is_some_and(|value| value == "true");
        return if is_set { vec![format!("--{long}").into()] } else { Vec::new() };
    }
    let word = |value: &OsString| {
        let mut word = OsString::from(format!("--{long}="));
        word.push(value);
        word
    };
    values.iter().map(word).collect()
}

/// Lets the flag's parser judge a value.
///
/// # Errors
/// When it does not take it.
pub fn judge(program: &Command, setting: &Setting, value: &OsString) -> Result<(), Refusal> {
    if setting.kind == Kind::Flag {
        let allowed = || Refusal { why: "it is either set or not".to_owned(), allowed: Some("true, false".to_owned()) };
        return if value == "true" || value == "false" { Ok(()) } else { Err(allowed()) };
    }
    let Err(mut refusal) = parse(program, setting, value) else { return Ok(()) };
    if setting.kind == Kind::Whole && refusal.allowed.is_none() {
        refusal = match range(program, setting) {
            Some(range) if refusal.why.ends_with(&range) => {
                Refusal { allowed: Some(range), why: "is out of range".to_owned() }
            }
            range => Refusal { why: format!("is no whole number ({})", refusal.why), allowed: range },
        };
    }
    Err(refusal)
}

fn parse(program: &Command, setting: &Setting, value: &OsString) -> Result<(), Refusal> {
    let command = command_of(program, setting.table.command).expect("BUG: a setting has its command");
    let words = typed(setting.arg.get_long().unwrap_or_default(), setting.kind, std::slice::from_ref(value));
    // Its parser alone is asked: what else is missing is none of this value's fault.
    let Err(error) = command.clone().no_binary_name(true).try_get_matches_from(words) else { return Ok(()) };
    let allowed = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => Some(valid.join(", ")),
        _ => None,
    };
    let why = match error.kind() {
        ErrorKind::ValueValidation => error.source().map_or_else(|| "is not taken".to_owned(), ToString::to_string),
        ErrorKind::InvalidValue if value.is_empty() => "is empty".to_owned(),
        ErrorKind::InvalidValue => "is none of them".to_owned(),
        ErrorKind::InvalidUtf8 => "is not UTF-8".to_owned(),
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues | ErrorKind::NoEquals => {
            "is not one value".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Refusal { why, allowed })
}

/// The range of a whole number, as its parser tells it to whoever is far out of it.
fn range(program: &Command, setting: &Setting) -> Option<String> {
    ["-1", "18446744073709551615", "0"].iter().find_map(|far| {
        let refusal = parse(program, setting, &OsString::from(far)).err()?;
        refusal.why.strip_prefix(&format!("{far} is not in ")).map(str::to_owned)
    })
}
