//! The settings of this program: which there are, and what SIGHUP applies to `tidemark run`.

use clap::Command;
use tidemark_settings::{Program, Setting, Table};

/// What SIGHUP applies to `tidemark run`. The station's file alone needs a restart.
const LIVE: &[&str] = &[
    "server",
    "ca",
    "client_cert",
    "client_key",
    "contact_every",
    "wait_max",
    "away_wait_max",
    "backup_every",
    "backup_keep",
    "backup_dir",
    "prune_older_than",
    "prune_every",
];

/// The program, as its settings see it.
pub(super) const fn program(command: fn() -> Command) -> Program {
    Program {
        name: "tidemark",
        file: "tidemark.toml",
        command,
        tables: &[Table { name: "", command: &[] }, Table { name: "", command: &["run"] }],
        // The last two are the names of the system that Tidemark takes over from.
        aliases: &[
            ("file", "db"),
            ("database_backup_path", "backup_dir"),
            ("database_backup_interval", "backup_every"),
        ],
        alternatives: &[],
        secret_files: &["client_key"],
        live: LIVE,
        without: &["completions", "man"],
        stays: &["run", "config"],
        foreign: &["TIDEMARK_LOG", "TIDEMARK_DATABASE_URL", "TIDEMARK_PG_BIN"],
        shown,
    }
}

/// A value without what is secret in it: no setting of a station is.
fn shown(setting: &Setting, value: &str) -> String {
    if setting.is_secret() && !value.is_empty() { "***".to_owned() } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use tidemark_settings::show;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_flag_of_run_and_of_all_commands_is_a_setting_and_sighup_applies_all_but_the_file() {
        let (program, command) = (program(Cli::command), Cli::command());
        let (settings, file) = (program.settings(), show::file(&program, None));
        let run = command.find_subcommand("run").unwrap();
        let flags = command.get_arguments().chain(run.get_arguments()).filter_map(clap::Arg::get_long);
        let flags: Vec<&str> = flags.filter(|flag| *flag != "config").collect();
        assert!(flags.len() > 7, "{flags:?}");
        for flag in flags {
            let key = flag.replace('-', "_");
            let setting = settings.iter().find(|setting| setting.key == key);
            let setting = setting.unwrap_or_else(|| panic!("--{flag} is no setting"));
            assert!(setting.variables.contains(&format!("TIDEMARK_{}", key.to_ascii_uppercase())), "{setting:?}");
            assert!(file.contains(&format!("\n#{key} = ")), "{key}");
            assert_eq!(LIVE.contains(&key.as_str()), key != "db", "{key}");
        }
    }
}
