//! The settings of this program, and what may be shown of them.

use clap::Command;
use tidemark_settings::{Program, Setting, Table};

use crate::config::hide_password;

/// What SIGHUP applies to a running server. Everything else needs a restart.
pub(super) const LIVE: &[&str] = &[
    "log_level",
    "log_format",
    "metrics_token_file",
    "allow_origin",
    "reports_every",
    "keep",
    "backup_every",
    "backup_keep",
    "backup_dir",
    "connections_max",
    "address_connections_max",
    "station_connections_max",
    "memory_max",
    "station_bodies_max",
    "decodes_max",
    "applies_max",
    "surveys_max",
    "attempts_max",
    "body_rate_min",
    "head_timeout",
    "anyone_timeout",
    "write_timeout",
    "body_idle_timeout",
    "body_timeout",
    "turn_timeout",
    "request_timeout",
    "drain_grace",
    "drain_timeout",
];

/// The program, as its settings see it.
pub(super) const fn program(command: fn() -> Command) -> Program {
    Program {
        name: "tidemark-server",
        file: "tidemark-server.toml",
        command,
        tables: &[Table { name: "", command: &[] }, Table { name: "", command: &["serve"] }],
        // The names that these have in the system that Tidemark takes over from.
        aliases: &[
            ("database_url", "database"),
            ("database_backup_path", "backup_dir"),
            ("database_backup_interval", "backup_every"),
            // How the variable has always been called.
            ("log", "log_level"),
        ],
        alternatives: &[&["database", "database_url_file"]],
        secret_files: &["database_url_file", "database_password_file", "tls_key", "metrics_token_file"],
        live: LIVE,
        without: &["completions", "man"],
        stays: &["serve", "config"],
        foreign: &["TIDEMARK_DB", "TIDEMARK_SERVER", "TIDEMARK_PG_BIN"],
        shown,
    }
}

/// A value without what is secret in it.
fn shown(setting: &Setting, value: &str) -> String {
    match setting.key.as_str() {
        "database" => hide_password(value),
        _ => setting.shown(value),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use tidemark_settings::show;
    use tidemark_settings::whole::lacking;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_flag_of_serve_is_a_setting_with_a_variable_and_stands_in_the_default_file() {
        let (flags, lacking) = lacking(&program(Cli::command));
        assert!(flags > 25 && lacking.is_empty(), "{flags}: {lacking:?}");
    }

    #[test]
    fn what_sighup_applies_are_settings_and_the_file_says_so() {
        let program = program(Cli::command);
        let (settings, file) = (program.settings(), show::file(&program, None));
        for key in LIVE {
            assert!(settings.iter().any(|setting| setting.key == *key), "{key} is no setting");
        }
        let said = file
            .split_whitespace()
            .filter(|word| *word != "#")
            .collect::<Vec<_>>()
            .join(" ")
            .matches("SIGHUP applies it")
            .count();
        assert_eq!(said, LIVE.len());
    }

    #[test]
    fn no_two_settings_have_one_key_or_one_variable() {
        let settings = program(Cli::command).settings();
        let mut names: Vec<&str> = settings.iter().map(|setting| setting.key.as_str()).collect();
        names.extend(settings.iter().flat_map(|setting| setting.variables.iter().map(String::as_str)));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
