//! `config check`, `config show`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidemark_core::amount::count;
use tidemark_settings::{Loaded, Program, report, show};

use super::serve_args::ServeArgs;
use super::terminal::{complain, print, print_json};

#[derive(Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every setting, its value and where that is from; exits 1 when something is wrong. Takes the options of
    /// `serve`, too.
    Check(Box<CheckArgs>),
    /// Print the file of settings as they are, explained.
    Show(ShowArgs),
}

#[derive(Args)]
pub(super) struct CheckArgs {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The file as it is when nothing is set.
    #[arg(long)]
    default: bool,
}

/// Runs `config`, also where what is set is wrong.
pub(super) fn run(program: &Program, mut loaded: Loaded, command: Option<ConfigCommand>) -> ExitCode {
    let has = |flag: &str| loaded.words.flags.iter().any(|(name, _)| name == flag);
    let done = if loaded.words.path.get(1).is_some_and(|command| command == "show") {
        print(&show::file(program, (!has("default")).then_some(&loaded.layers)))
    } else {
        if let Some(ConfigCommand::Check(args)) = command {
            let (unfit, doubts) = args.serve.unfit_whole(&loaded.layers);
            loaded.layers.problems.extend(unfit);
            loaded.layers.warnings.extend(doubts);
        }
        let printed = if has("json") {
            print_json(&report::json(program, &loaded.layers))
        } else {
            print(&report::table(program, &loaded.layers))
        };
        tell(&loaded);
        printed.and_then(|()| match loaded.layers.problems.len() {
            0 => Ok(()),
            wrong => anyhow::bail!("{} in the configuration", count(wrong as u64, "mistake")),
        })
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says everything that is wrong, and what should be looked at.
pub(super) fn tell(loaded: &Loaded) {
    report::complaints(&loaded.layers).iter().for_each(|complaint| complain(complaint));
}
