//! The settings of this program, and what may be shown of them.

use clap::Command;
use tidemark_settings::{Program, Setting, Table};

use crate::config::hide_password;

/// What SIGHUP applies to a running server. Everything else needs a restart.
pub(super) const LIVE: &[&str] = &[
    "log",
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
    "applies_max",
    "attempts_max",
    "body_rate_min",
    "head_timeout",
    "anyone_timeout",
    "write_timeout",
    "body_timeout",
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
        ],
        alternatives: &[&["database", "database_url_file"]],
        secret_files: &["database_url_file", "database_password_file"],
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
        _ if setting.is_secret() && !value.is_empty() => "***".to_owned(),
        _ => value.to_owned(),
    }
}
