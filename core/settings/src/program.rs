//! A program: its words, parsed together with what its file and its environment say.

use std::ffi::OsString;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command};

use crate::file;
use crate::layers::{Layers, Said};
use crate::origin::Origin;
use crate::place::{candidates, find, readable};
use crate::problem::Problem;
use crate::secret;
use crate::setting::{Setting, Table, setting_of, settings};
use crate::value::typed;
use crate::variables::{Variables, unknown};
use crate::words::Words;

/// A program with settings.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The name of its file.
    pub file: &'static str,
    /// Its command line.
    pub command: fn() -> Command,
    /// The commands whose flags are settings.
    pub tables: &'static [Table],
    /// Other keys in the file, with the key of each.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Settings that say the same thing in different ways.
    pub alternatives: &'static [&'static [&'static str]],
    /// Settings that name a file with a secret.
    pub secret_files: &'static [&'static str],
    /// Settings that SIGHUP applies.
    pub live: &'static [&'static str],
    /// Commands that go without settings.
    pub without: &'static [&'static str],
    /// Commands that stay, and tell of every variable that nobody reads; others only of those that look mistyped.
    pub stays: &'static [&'static str],
    /// Variables of other programs.
    pub foreign: &'static [&'static str],
    /// How a value of a key may be shown.
    pub shown: fn(&Setting, &str) -> String,
}

/// What a process was started with.
#[derive(Debug, Clone)]
pub struct World {
    /// Its words, its name first.
    pub words: Vec<OsString>,
    /// Its environment.
    pub variables: Vec<(OsString, OsString)>,
}

impl World {
    /// This process's.
    #[must_use]
    pub fn of_process() -> Self {
        Self { words: std::env::args_os().collect(), variables: std::env::vars_os().collect() }
    }
}

/// A program's words, with its settings.
#[derive(Debug)]
pub struct Loaded {
    /// The words that were typed.
    pub words: Words,
    /// All settings.
    pub layers: Layers,
    /// What clap made of all; `None` where it made nothing of it, for a reason that is among the problems.
    pub matches: Option<ArgMatches>,
}

impl Loaded {
    /// The command's name.
    #[must_use]
    pub fn command(&self) -> &str {
        self.words.path.first().map_or("", String::as_str)
    }
}

impl Program {
    /// Everything that may be set.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        settings(&(self.command)(), self.tables, self.aliases)
    }

    /// Its command line, with the variable of each setting beside it.
    #[must_use]
    pub fn command_with_variables(&self) -> Command {
        let settings = self.settings();
        each(&settings, (self.command)(), &mut Vec::new(), &|arg, setting| match arg.get_env() {
            // clap keeps names that last: this is asked for once, for help or a manual page.
            None => arg.env(&*setting.variables[0].clone().leak()).hide_env_values(true),
            Some(_) => arg,
        })
    }

    /// Its command line, whose settings come from the words alone.
    fn command_of_words(&self, settings: &[Setting]) -> Command {
        let command = (self.command)().mut_arg("config", |arg| arg.env(Resettable::Reset));
        each(settings, command, &mut Vec::new(), &|arg, _| arg.env(Resettable::Reset))
    }

    /// Reads everything anew: the file, and the words and variables the process was started with.
    ///
    /// # Errors
    /// What clap says to words that it does not take, and to those that ask for help.
    pub fn load(&self, world: &World) -> Result<Loaded, Box<clap::Error>> {
        let settings = self.settings();
        let command = self.command_of_words(&settings);
        let typed_alone = match command.clone().try_get_matches_from(&world.words) {
            Ok(matches) => Some(matches),
            Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => None,
            Err(error) if !error.use_stderr() => {
                let helped = self.command_with_variables().try_get_matches_from(&world.words);
                return Err(Box::new(helped.err().unwrap_or(error)));
            }
            Err(error) => return Err(Box::new(error)),
        };
        let words = Words::read(&command, &world.words);
        let mut loaded = Loaded { words, layers: Layers { settings, ..Layers::default() }, matches: None };
        if self.without.contains(&loaded.command()) {
            loaded.matches = typed_alone;
            return Ok(loaded);
        }
        let declared = (self.command)();
        let concerned = loaded.words.concerned(&declared, &loaded.layers.settings);
        self.read(&command, &concerned, world, &mut loaded);
        let all = words_of_all(&concerned, world, &loaded);
        match command.clone().try_get_matches_from(all) {
            Ok(matches) => loaded.matches = Some(matches),
            Err(error) if typed_alone.is_none() && error.kind() == ErrorKind::MissingRequiredArgument => {
                return Err(Box::new(error));
            }
            Err(error) => {
                let problem = together(&error, &loaded.layers);
                loaded.layers.problems.push(problem);
            }
        }
        Ok(loaded)
    }

    fn read(&self, command: &Command, concerned: &[(usize, &Arg)], world: &World, loaded: &mut Loaded) {
        let Loaded { words, layers, .. } = loaded;
        let mut entries = Vec::new();
        match find(&candidates(self.file, words.value("config"), &world.variables)) {
            Ok(None) => {}
            Ok(Some((path, text))) => {
                let (said, problems) = file::read(&path, &text, &layers.settings);
                (entries, layers.problems) = (said, problems);
                layers.file = Some(path);
            }
            Err(problem) => layers.problems.push(*problem),
        }
        let holds_secret = |entry: &file::Entry| {
            let setting = &layers.settings[entry.setting];
            setting.is_secret() && entry.values.iter().any(|value| (self.shown)(setting, value) != *value)
        };
        if let Some(file) = layers.file.as_ref().filter(|_| entries.iter().any(holds_secret)) {
            layers.warnings.extend(readable(file));
        }
        let (alternatives, shown) = (self.alternatives, self.shown);
        let concerned: Vec<_> = concerned.iter().map(|(at, arg)| (*at, arg.get_id().to_string())).collect();
        let concerned = &concerned[..];
        layers.put_together(&Said {
            program: command,
            concerned,
            entries,
            variables: &world.variables,
            words,
            alternatives,
            shown,
        });
        for key in self.secret_files {
            let Some(said) = layers.of(key).and_then(|(_, effective)| effective.values.first()) else { continue };
            let path = secret::path(said.as_ref(), &world.variables);
            layers.warnings.extend(readable(&path));
        }
        layers.warnings.extend(self.unknown_variables(&world.variables, layers, words));
    }

    fn unknown_variables(&self, variables: &Variables, layers: &Layers, words: &Words) -> Vec<crate::Warning> {
        let all = unknown(variables, &layers.settings, &(self.command)(), self.foreign);
        let stays = words.path.first().is_some_and(|command| self.stays.contains(&command.as_str()));
        let is_near =
            |warning: &crate::Warning| matches!(warning, crate::Warning::UnknownVariable { near: Some(_), .. });
        all.into_iter().filter(|warning| stays || is_near(warning)).collect()
    }
}

/// The words as if file and variables had been typed, too.
fn words_of_all(concerned: &[(usize, &Arg)], world: &World, loaded: &Loaded) -> Vec<OsString> {
    let Loaded { words, layers, .. } = loaded;
    let (before, after) = world.words.split_at(words.flags_at.min(world.words.len()));
    let mut all = before.to_vec();
    for (at, arg) in concerned {
        let (setting, effective) = (&layers.settings[*at], &layers.effective[*at]);
        if matches!(effective.origin, Origin::File(_) | Origin::Variable(_)) && !effective.is_wrong {
            all.extend(typed(arg.get_long().unwrap_or_default(), setting.kind, &effective.values));
        }
    }
    all.extend_from_slice(after);
    all
}

/// Changes each argument that is a setting, in every command.
fn each(
    settings: &[Setting],
    command: Command,
    path: &mut Vec<String>,
    change: &dyn Fn(clap::Arg, &Setting) -> clap::Arg,
) -> Command {
    let before = command.clone();
    let here: &[String] = path;
    let mut command = command.mut_args(|arg| match setting_of(settings, here, &before, &arg) {
        Some(at) => change(arg, &settings[at]),
        None => arg,
    });
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    for name in names {
        path.push(name.clone());
        command = command.mut_subcommand(&name, |below| each(settings, below, path, change));
        path.pop();
    }
    command
}

/// What clap says to settings that do not go together.
fn together(error: &clap::Error, layers: &Layers) -> Problem {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    let why = lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned();
    let mut named = String::new();
    for kind in [ContextKind::InvalidArg, ContextKind::PriorArg] {
        match error.get(kind) {
            Some(ContextValue::String(one)) => named.push_str(&format!(" {one} ")),
            Some(ContextValue::Strings(some)) => named.push_str(&format!(" {} ", some.join(" "))),
            _ => {}
        }
    }
    let is_named = |flag: &str| named.split([' ', '=']).any(|word| word == flag);
    let of = layers.settings.iter().zip(&layers.effective);
    let of = of.filter(|(setting, now)| now.origin != Origin::Default && is_named(&setting.flag()));
    Problem::Together { why, of: of.map(|(setting, now)| (setting.key.clone(), now.origin.clone())).collect() }
}
