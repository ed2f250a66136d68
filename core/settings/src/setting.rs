//! What may be set: out of a clap command, so that nothing is declared twice.

use std::any::TypeId;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, Command};

/// The commands whose flags are settings, and where these stand in the file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The table of the file; "" for what stands above all tables.
    pub name: &'static str,
    /// The command, below the program; the program itself when it is empty.
    pub command: &'static [&'static str],
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Given or not.
    Flag,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// A file or a folder.
    Path,
    /// Any text.
    Text,
    /// Text or a number of a form of its own, such as `180d`.
    Word,
}

/// What may be set.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its key in the file; with its table, where it has one: `backup.keep`.
    pub key: String,
    /// Its table in the file.
    pub table: Table,
    /// The other keys by which it may stand in the file.
    pub aliases: Vec<&'static str>,
    /// Its variables: any of them.
    pub variables: Vec<String>,
    /// The structs of arguments it may be declared in, which other commands may take in, too.
    pub declared_in: Vec<String>,
    /// As clap has it.
    pub arg: Arg,
    /// The form of its values.
    pub kind: Kind,
}

impl Setting {
    /// Its key within its table.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or(&self.key)
    }

    /// Its flag, with the hyphens.
    #[must_use]
    pub fn flag(&self) -> String {
        format!("--{}", self.arg.get_long().unwrap_or_default())
    }

    /// Whether it may have several values.
    #[must_use]
    pub fn is_list(&self) -> bool {
        is_list(&self.arg)
    }

    /// Whether its value is a secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.arg.is_hide_env_values_set()
    }

    /// A value of it as it may be shown: nothing of a secret.
    #[must_use]
    pub fn shown(&self, value: &str) -> String {
        if self.is_secret() && !value.is_empty() { "***".to_owned() } else { value.to_owned() }
    }

    /// Its values when nothing is said.
    #[must_use]
    pub fn defaults(&self) -> Vec<String> {
        match self.kind {
            Kind::Flag => vec!["false".to_owned()],
            _ => self.arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect(),
        }
    }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some()
}

/// The command below a program.
#[must_use]
pub fn command_of<'c>(program: &'c Command, path: &[impl AsRef<str>]) -> Option<&'c Command> {
    path.iter().try_fold(program, |command, name| command.find_subcommand(name.as_ref()))
}

/// Everything that may be set.
///
/// # Panics
/// When the program has no such command.
#[must_use]
pub fn settings(program: &Command, tables: &[Table], aliases: &[(&'static str, &'static str)]) -> Vec<Setting> {
    let mut found = Vec::new();
    for &table in tables {
        let command = command_of(program, table.command).expect("BUG: the tables name commands of the program");
        found.extend(command.get_arguments().filter(|arg| may_be_set(arg)).map(|arg| {
            let name = arg.get_long().unwrap_or_default().replace('-', "_");
            let key = if table.name.is_empty() { name } else { format!("{}.{name}", table.name) };
            let aliases: Vec<&str> = aliases.iter().filter(|(_, of)| *of == key).map(|(alias, _)| *alias).collect();
            let own = arg.get_env().map(|name| name.to_string_lossy().into_owned());
            let mut variables: Vec<String> = own.into_iter().collect();
            for name in [key.as_str()].into_iter().chain(aliases.iter().copied()) {
                let variable = format!("TIDEMARK_{}", name.replace('.', "_").to_ascii_uppercase());
                if !variables.contains(&variable) {
                    variables.push(variable);
                }
            }
            let declared_in = declared_in(command, arg);
            Setting { key, table, aliases, variables, declared_in, kind: kind_of(arg), arg: arg.clone() }
        }));
    }
    found
}

/// Flags with a long name, but for those that say what to do and where the settings are.
fn may_be_set(arg: &Arg) -> bool {
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue);
    takes && !arg.is_hide_set() && arg.get_long().is_some_and(|long| !NEVER.contains(&long))
}

/// What is said anew each time: the file of settings itself, the form of an answer, an act, and its confirmation.
const NEVER: [&str; 8] = ["config", "json", "help", "version", "dry-run", "yes", "check", "force"];

fn kind_of(arg: &Arg) -> Kind {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Kind::Flag;
    }
    let of = arg.get_value_parser().type_id();
    let is = |types: &[TypeId]| types.iter().any(|id| of == *id);
    let whole = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
    ];
    match () {
        () if is(&whole) && !has_unit(arg) => Kind::Whole,
        () if is(&[TypeId::of::<f64>(), TypeId::of::<f32>()]) => Kind::Number,
        () if is(&[TypeId::of::<PathBuf>()]) => Kind::Path,
        () if is(&[TypeId::of::<String>()]) => Kind::Text,
        () => Kind::Word,
    }
}

/// A number that is written with its unit, such as `90d`.
fn has_unit(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| *name == "SPAN" || *name == "TIME"))
}

/// The struct an argument was declared in, as far as clap knows: it makes a group of each, with the arguments in it;
/// but of a struct that takes in others the group is empty, so an argument in no group may be of any of these.
fn declared_in(command: &Command, arg: &Arg) -> Vec<String> {
    let has = |group: &&ArgGroup| group.get_args().any(|id| id == arg.get_id());
    let is_empty = |group: &&ArgGroup| group.get_args().next().is_none();
    let name = |group: &ArgGroup| group.get_id().to_string();
    let mut of: Vec<String> = command.get_groups().filter(has).map(name).collect();
    if of.is_empty() {
        of = command.get_groups().filter(is_empty).map(name).collect();
    }
    of
}

/// The setting that an argument of any command is: by its place, by the struct it was declared in, or by its variable.
#[must_use]
pub fn setting_of(settings: &[Setting], path: &[String], command: &Command, arg: &Arg) -> Option<usize> {
    let is_at = |setting: &Setting| setting.table.command.iter().copied().eq(path.iter().map(String::as_str));
    let same = |setting: &Setting| setting.arg.get_id() == arg.get_id();
    let here = declared_in(command, arg);
    let is_shared = |setting: &Setting| setting.declared_in.iter().any(|group| here.contains(group));
    settings.iter().position(|setting| same(setting) && (is_at(setting) || is_shared(setting))).or_else(|| {
        let variable = arg.get_env()?;
        settings.iter().position(|setting| setting.arg.get_env() == Some(variable))
    })
}
