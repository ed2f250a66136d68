//! The words that were typed: which command they name, and which of its flags.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use crate::setting::{Setting, setting_of};

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct Words {
    /// The command, below the program.
    pub path: Vec<String>,
    /// Where its flags may begin among the words.
    pub flags_at: usize,
    /// The flags, by their id in clap, with their values.
    pub flags: Vec<(String, Vec<OsString>)>,
}

impl Words {
    /// Takes words apart, the program's name first. Words that clap will refuse are passed over.
    #[must_use]
    pub fn read(program: &Command, words: &[OsString]) -> Self {
        let mut read = Self { flags_at: words.len().min(1), ..Self::default() };
        let mut chain = vec![program];
        let mut rest = words.iter().enumerate().skip(1).peekable();
        while let Some((at, word)) = rest.next() {
            let Some(text) = word.to_str() else { continue };
            if text == "--" {
                break;
            }
            if let Some(flag) = text.strip_prefix("--") {
                let (name, joined) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
                let Some(arg) = flag_of(&chain, name) else { continue };
                let mut values: Vec<OsString> = joined.map(OsString::from).into_iter().collect();
                let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
                let may_lack = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
                if takes && joined.is_none() {
                    let is_flag = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with("--"));
                    values.extend(rest.next_if(|(_, word)| !may_lack || !is_flag(word)).map(|(_, word)| word.clone()));
                }
                read.flags.push((arg.get_id().to_string(), values));
                continue;
            }
            if let Some(command) = chain.last().and_then(|command| command.find_subcommand(text)) {
                read.path.push(command.get_name().to_owned());
                read.flags_at = at + 1;
                chain.push(command);
            }
        }
        read
    }

    /// The value of a flag that has one.
    #[must_use]
    pub fn value(&self, id: &str) -> Option<&OsString> {
        self.flags.iter().rev().find(|(flag, _)| flag == id).and_then(|(_, values)| values.first())
    }

    /// The commands from the program to the one that was named.
    #[must_use]
    pub fn chain<'c>(&self, program: &'c Command) -> Vec<&'c Command> {
        let mut chain = vec![program];
        for name in &self.path {
            chain.extend(chain.last().and_then(|command| command.find_subcommand(name)));
        }
        chain
    }

    /// The settings that concern the command, each with its argument there.
    #[must_use]
    pub fn concerned<'c>(&self, program: &'c Command, settings: &[Setting]) -> Vec<(usize, &'c Arg)> {
        let chain = self.chain(program);
        let mut found: Vec<(usize, &Arg)> = Vec::new();
        for (depth, command) in chain.iter().enumerate() {
            let is_last = depth + 1 == chain.len();
            for arg in command.get_arguments().filter(|arg| is_last || arg.is_global_set()) {
                let Some(at) = setting_of(settings, &self.path[..depth], command, arg) else { continue };
                if !found.iter().any(|(there, _)| *there == at) {
                    found.push((at, arg));
                }
            }
        }
        found
    }
}

fn flag_of<'c>(chain: &[&'c Command], name: &str) -> Option<&'c Arg> {
    let (last, above) = chain.split_last()?;
    let is = |arg: &&Arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    };
    let global = above.iter().flat_map(|command| command.get_arguments().filter(|arg| arg.is_global_set()));
    last.get_arguments().chain(global).find(is)
}
