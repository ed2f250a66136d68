//! The made-up program.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tidemark_settings::{Loaded, Program, Setting, Table, World};

/// A program.
#[derive(Parser)]
#[command(name = "tide")]
pub struct Cli {
    #[arg(id = "config", long = "config", global = true)]
    _config: Option<PathBuf>,
    /// The file.
    #[arg(long, global = true, env = "TIDEMARK_DB", default_value = "t.db")]
    pub db: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serves.
    Serve(Box<Serve>),
    /// Shares some settings.
    Look(Look),
    /// Makes copies.
    Backup(Backup),
}

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    pub place: Place,
    /// A number.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub many: u32,
    /// Hours.
    #[arg(long)]
    pub hours: Option<f64>,
    /// A list.
    #[arg(long, value_delimiter = ',')]
    pub origin: Vec<String>,
    /// One of two.
    #[arg(long, value_parser = ["text", "json"], default_value = "text")]
    pub form: String,
    /// Given or not.
    #[arg(long)]
    pub quiet: bool,
    /// Goes with the key.
    #[arg(long, requires = "key")]
    pub cert: Option<PathBuf>,
    /// Goes with the certificate.
    #[arg(long, requires = "cert")]
    pub key: Option<PathBuf>,
}

#[derive(Args)]
pub struct Place {
    /// The database.
    #[arg(long, env = "TIDEMARK_DATABASE_URL", hide_env_values = true)]
    pub database: Option<String>,
    /// The same in a file.
    #[arg(long)]
    pub database_url_file: Option<PathBuf>,
}

#[derive(Args)]
pub struct Look {
    #[command(flatten)]
    pub place: Place,
    /// Another number.
    #[arg(long, default_value_t = 1)]
    pub many: u32,
}

#[derive(Args)]
pub struct Backup {
    /// How many stay.
    #[arg(long, default_value_t = 7)]
    pub keep: usize,
    /// Everything older than that.
    #[arg(long, value_name = "SPAN")]
    pub older_than: String,
}

fn shown(setting: &Setting, value: &str) -> String {
    if setting.is_secret() { "***".to_owned() } else { value.to_owned() }
}

pub const PROGRAM: Program = Program {
    name: "tide",
    file: "tide.toml",
    command: Cli::command,
    tables: &[
        Table { name: "", command: &[] },
        Table { name: "", command: &["serve"] },
        Table { name: "backup", command: &["backup"] },
    ],
    aliases: &[("file", "db"), ("database_url", "database")],
    alternatives: &[&["database", "database_url_file"]],
    secret_files: &["database_url_file"],
    live: &["many"],
    without: &[],
    stays: &["serve"],
    foreign: &["TIDEMARK_OTHER"],
    shown,
};

/// Loads it with a file, variables and words.
pub fn load(file: &str, variables: &[(&str, &str)], words: &str) -> Result<Loaded, Box<clap::Error>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tide.toml");
    std::fs::write(&path, file).unwrap();
    let mut variables: Vec<(OsString, OsString)> =
        variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    variables.push(("TIDEMARK_CONFIG".into(), path.into()));
    PROGRAM.load(&World {
        words: std::iter::once("tide").chain(words.split_whitespace()).map(Into::into).collect(),
        variables,
    })
}
