//! The command line of `tidemark-server`.

/// One line to stdout, as `println!`, which panics where this does not: see [`line`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::line(&format!($($text)*))
    };
}

mod admin;
mod backup;
mod export;
mod import;
mod invitation;
mod manual;
mod migrate;
mod reader;
mod rejects;
mod report;
mod serve;
mod station;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use tidemark_core::printable::{one_line, printable};
use tidemark_core::schema::Schema;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::columns::columns;
use crate::config::{DEFAULT_DATABASE, DatabaseUrl, ServerConfig, load_schema};
use crate::server::{open_upstream, schema_of_database};
use crate::upstream::Upstream;

/// Longest name of a station or a reader, in bytes.
const NAME_BYTES_MAX: usize = 200;

#[derive(Parser)]
#[command(name = "tidemark-server", version, about = "Takes what field stations recorded, exactly once and in order.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve stations.
    Serve(serve::ServeArgs),
    /// Make, check or take away the database's tables.
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Invite, list and revoke stations.
    #[command(subcommand)]
    Station(station::StationCommand),
    /// Apply a bundle that a station exported, and write the receipt for it.
    Import(import::ImportArgs),
    /// Write all rows into a new SQLite file, as the system without Tidemark keeps them.
    Export(export::ExportArgs),
    /// Changes that could not be applied.
    #[command(subcommand)]
    Rejects(rejects::RejectsCommand),
    /// Reports on the shrinkage tables, as a table, JSON, CSV or a page with charts.
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Let programs read reports over HTTP.
    #[command(subcommand)]
    Reader(reader::ReaderCommand),
    /// What is in the database, and how large it is.
    Info(Look),
    /// Whether a server could work with the database, point by point; exits 1 when not.
    Test(Look),
    /// The extension, hypertables with their dimensions, chunks.
    #[command(alias = "timescaledb")]
    Timescale(Look),
    /// Make hypertables of plain tables, with their rows and while stations push; renew statistics.
    Optimize(admin::OptimizeArgs),
    /// Give back room that deleted rows left; renew statistics.
    Vacuum(admin::VacuumArgs),
    /// Copy the database to a file while it is written to, once or every so many hours, and check the copy.
    Backup(backup::BackupArgs),
    /// Put a backup back: whole or not at all.
    Restore(backup::RestoreArgs),
    /// Print a shell's completions of this program.
    Completions(manual::CompletionsArgs),
    /// Print the manual page of this program, or write those of all its commands into a folder.
    Man(manual::ManArgs),
}

/// Which database, and which schema.
#[derive(Args)]
struct Place {
    /// The database: sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host:port/database.
    #[arg(long, env = "TIDEMARK_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
    /// The schema file; without it, the schema the database was migrated to, and for a new one the shipped schema.
    #[arg(long, env = "TIDEMARK_SCHEMA", value_name = "FILE")]
    schema: Option<PathBuf>,
}

/// Of a command that prints facts.
#[derive(Args)]
struct Look {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Where a schema was found.
enum Origin<'o> {
    /// In the file that was named.
    File(&'o Path),
    /// In the database.
    Database,
    /// In this program: nothing was named, and the database is new.
    Shipped,
}

impl Place {
    fn database(&self) -> anyhow::Result<DatabaseUrl> {
        Ok(self.database.as_deref().unwrap_or(DEFAULT_DATABASE).parse()?)
    }

    /// The upstream, opened by the schema to go by.
    async fn upstream(&self) -> anyhow::Result<Arc<dyn Upstream>> {
        Ok(self.open().await?.1)
    }

    /// [`Place::upstream`], and the configuration it was opened with.
    async fn open(&self) -> anyhow::Result<(ServerConfig, Arc<dyn Upstream>)> {
        let config = self.config().await?;
        let upstream = open_upstream(&config).await?;
        Ok((config, upstream))
    }

    async fn config(&self) -> anyhow::Result<ServerConfig> {
        let mut config = ServerConfig::new(self.database()?);
        config.schema = Arc::new(self.schema(&config.database).await?.0);
        Ok(config)
    }

    /// The schema to go by, and where it was found: the named file, else the schema the database was migrated to, else the shipped one.
    async fn schema(&self, database: &DatabaseUrl) -> anyhow::Result<(Schema, Origin<'_>)> {
        if let Some(file) = &self.schema {
            return Ok((load_schema(file)?, Origin::File(file)));
        }
        Ok(match schema_of_database(database).await? {
            Some(recorded) => (recorded, Origin::Database),
            None => (tidemark_core::schema::shrinkage(), Origin::Shipped),
        })
    }
}

/// Runs the program: 0 when it did what was asked, 1 when not, 2 when it was asked wrongly.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start its threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(args).await,
            Command::Migrate(command) => migrate::run(command).await,
            Command::Station(command) => station::run(command).await,
            Command::Import(args) => import::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Rejects(command) => rejects::run(command).await,
            Command::Report(command) => report::run(command).await,
            Command::Reader(command) => reader::run(command).await,
            Command::Info(look) => admin::show_info(look).await,
            Command::Test(look) => admin::test(look).await,
            Command::Timescale(look) => admin::timescale(look).await,
            Command::Optimize(args) => admin::optimize(args).await,
            Command::Vacuum(args) => admin::vacuum(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => backup::restore(args).await,
            Command::Completions(args) => manual::completions(&args),
            Command::Man(args) => manual::man(&args),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The log goes to stderr; TIDEMARK_LOG says how much of it (`info`, `debug`, `tidemark_server=debug`).
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIDEMARK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .fmt_fields(logged_fields())
        .try_init();
}

/// The fields of a log line, each on that line and nothing in it that a terminal would obey: names and messages come from stations.
fn logged_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let field = |writer: &mut Writer<'_>, field: &Field, value: &dyn std::fmt::Debug| {
        let value = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", one_line(&value)),
            name => write!(writer, "{name}={}", one_line(&value)),
        }
    };
    tracing_subscriber::fmt::format::debug_fn(field).delimited(" ")
}

/// A time for people.
fn shown_ms(ms: Option<i64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| tidemark_core::timestamp::format(ms.saturating_mul(1000))[..19].to_owned())
}

/// Prints text, with what would disturb a terminal shown as escapes: everything this program prints goes through here, through [`ask`] and
/// [`complain`], or is logged ([`start_log`]). Who closed the pipe has read enough.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(printable(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// Says on stderr what went wrong, or what else there is to know.
fn complain(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "tidemark-server: {}", printable(text));
}

/// Puts a question on stderr.
fn ask(question: &str) {
    use std::io::Write as _;
    let _ = write!(std::io::stderr(), "{}", printable(question));
}

/// Prints text that is all a command has to say, or a secret that is said once: what is in the way ends the program.
fn print_or_end(text: &str) {
    if let Err(error) = print(text) {
        complain(&format!("{error:#}"));
        std::process::exit(1);
    }
}

/// Prints a line. Who closed the pipe has read enough; the work goes on.
fn line(text: &str) {
    print_or_end(&format!("{text}\n"));
}

/// Prints facts for programs: one JSON object on a line.
fn print_json(facts: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(facts)?);
    Ok(())
}

/// Prints rows in columns.
fn print_table(head: &[&str], rows: &[Vec<String>]) {
    print_or_end(&columns(head, rows, &[]));
}

/// A name that an operator gives to a station or a reader.
fn checked_name<'n>(whose: &str, name: &'n str) -> anyhow::Result<&'n str> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        anyhow::bail!("a {whose}'s name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    /// The commands that print JSON, as a reader types them.
    fn with_json(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        if command.get_arguments().any(|argument| argument.get_long() == Some("json")) {
            found.push(format!("{path} --json"));
        }
        for verb in command.get_subcommands() {
            with_json(verb, format!("{path} {}", verb.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_command_that_prints_json_is_documented() {
        let mut found = Vec::new();
        with_json(&super::Cli::command(), "", &mut found);
        assert!(found.len() >= 10, "{found:?}");
        let page = include_str!("../../docs/SCRIPTING.md");
        let (_, page) = page.split_once("`tidemark-server` prints an object").unwrap();
        for command in found {
            assert!(page.contains(&format!("`{command}`")), "docs/SCRIPTING.md does not tell what {command} prints");
        }
    }
}
