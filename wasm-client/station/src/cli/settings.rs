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
    "poll",
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
        // No setting of a station is a secret.
        shown: Setting::shown,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use tidemark_settings::whole::lacking;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_flag_of_run_and_of_all_commands_is_a_setting_and_sighup_applies_all_but_the_file() {
        let program = program(Cli::command);
        let (flags, lacking) = lacking(&program);
        assert!(flags > 7 && lacking.is_empty(), "{flags}: {lacking:?}");
        for setting in program.settings() {
            assert_eq!(LIVE.contains(&setting.key.as_str()), setting.key != "db", "{setting:?}");
        }
    }
}
