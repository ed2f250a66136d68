//! The environment: the variables that are settings, and those that look like some and are none.

use std::ffi::OsString;

use clap::Command;

use crate::near::nearest;
use crate::problem::Warning;
use crate::setting::Setting;

/// The variable that names the file.
pub const FILE: &str = "TIDEMARK_CONFIG";
/// What those begin with that the project's own tests tell each other.
const OF_TESTS: &str = "TIDEMARK_TEST_";
/// What every variable of ours begins with.
pub const PREFIX: &str = "TIDEMARK_";

/// The variables of a process.
pub type Variables = [(OsString, OsString)];

/// The value of a variable.
#[must_use]
pub fn value<'v>(variables: &'v Variables, name: &str) -> Option<&'v OsString> {
    variables.iter().find(|(there, _)| there == name).map(|(_, value)| value)
}

/// The variables that begin as ours do and that nobody reads; `known` are those of other programs.
#[must_use]
pub fn unknown(variables: &Variables, settings: &[Setting], program: &Command, known: &[&str]) -> Vec<Warning> {
    let mut names: Vec<String> = settings.iter().flat_map(|setting| setting.variables.iter().cloned()).collect();
    names.push(FILE.to_owned());
    of_commands(program, &mut names);
    let mut found: Vec<Warning> = Vec::new();
    for (name, _) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let is_known = names.iter().any(|known| known == name) || known.contains(&name) || name.starts_with(OF_TESTS);
        if !is_known {
            let near =
                nearest(name.trim_start_matches(PREFIX), names.iter().map(|name| name.trim_start_matches(PREFIX)));
            let near = near.map(|near| format!("{PREFIX}{near}"));
            found.push(Warning::UnknownVariable { name: name.to_owned(), near });
        }
    }
    found.sort_by_key(ToString::to_string);
    found
}

fn of_commands(command: &Command, names: &mut Vec<String>) {
    names.extend(command.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())));
    command.get_subcommands().for_each(|below| of_commands(below, names));
}
