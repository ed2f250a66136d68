//! `tidemark config check` and `tidemark config show`

use std::path::Path;
use std::process::ExitCode;

use tidemark_client::sync::ServerUrl;
use tidemark_settings::{Layers, Loaded, Origin, Problem, Program, report, show as file};

use super::json::JsonArgs;
use super::show;

#[derive(Debug, clap::Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every setting, its value and where that is from; exits 1 when something is wrong.
    Check(JsonArgs),
    /// Print the file of settings as they are, explained.
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The file as it is when nothing is set.
    #[arg(long)]
    default: bool,
}

/// Runs `config`, also where what is set is wrong.
pub(super) fn run(program: &Program, mut loaded: Loaded) -> ExitCode {
    let has = |flag: &str| loaded.words.flags.iter().any(|(name, _)| name == flag);
    if loaded.words.path.get(1).is_some_and(|command| command == "show") {
        show::line(file::file(program, (!has("default")).then_some(&loaded.layers)).trim_end());
        return ExitCode::SUCCESS;
    }
    let unfit = unfit(&loaded.layers);
    loaded.layers.problems.extend(unfit);
    if has("json") {
        show::json(&report::json(program, &loaded.layers));
    } else {
        show::line(report::table(program, &loaded.layers).trim_end());
    }
    tell(&loaded.layers);
    match loaded.layers.problems.len() {
        0 => ExitCode::SUCCESS,
        wrong => {
            show::error(&format!("tidemark: {} in the configuration", show::count(wrong as u64, "mistake")));
            ExitCode::FAILURE
        }
    }
}

/// Says everything that is wrong, and what should be looked at.
pub(super) fn tell(layers: &Layers) {
    report::complaints(layers).iter().for_each(|complaint| show::error(&format!("tidemark: {complaint}")));
}

/// What cannot be used although it is well formed: a file that is not there, a folder that is none.
pub(super) fn unfit(layers: &Layers) -> Vec<Problem> {
    let mut found = report::missing_files(layers, &["db"]);
    if let Some((setting, now)) = layers.of("backup_dir").filter(|(_, now)| now.origin != Origin::Default) {
        let in_the_way = |value: &&std::ffi::OsString| Path::new(value).exists() && !Path::new(value).is_dir();
        found.extend(now.values.iter().filter(in_the_way).map(|folder| Problem::Unfit {
            origin: now.origin.clone(),
            key: setting.key.clone(),
            why: format!("{} is no folder", Path::new(folder).display()),
        }));
    }
    if let Some((setting, now)) = layers.of("server") {
        let wrong = now.values.iter().filter_map(|url| ServerUrl::parse(&url.to_string_lossy()).err());
        found.extend(wrong.map(|error| Problem::Unfit {
            origin: now.origin.clone(),
            key: setting.key.clone(),
            why: error.to_string(),
        }));
    }
    found
}
