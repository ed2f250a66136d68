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
mod migrate;
mod reader;
mod rejects;
mod report;
mod serve;
mod station;
mod window;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tidemark_core::printable::{one_line, printable};
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
    Info(admin::InfoArgs),
    /// Whether a server could work with the database, point by point; exits 1 when not.
    Test(Place),
    /// The extension, hypertables with their dimensions, chunks.
    #[command(alias = "timescaledb")]
    Timescale(Place),
    /// Make hypertables of plain tables, with their rows and while stations push; renew statistics.
    Optimize(admin::OptimizeArgs),
    /// Give back room that deleted rows left; renew statistics.
    Vacuum(admin::VacuumArgs),
    /// Copy the database to a file while it is written to, once or every so many hours, and check the copy.
    Backup(backup::BackupArgs),
    /// Put a backup back: whole or not at all.
    Restore(backup::RestoreArgs),
}

/// Which database, and which schema.
#[derive(Args)]
struct Place {
    /// The database: sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host:port/database.
    #[arg(long, env = "TIDEMARK_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database: Option<String>,
    /// The schema file; the shipped schema without it.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
}

impl Place {
    fn database(&self) -> anyhow::Result<DatabaseUrl> {
        Ok(self.database.as_deref().unwrap_or(DEFAULT_DATABASE).parse()?)
    }

    /// For commands about what the database holds: without `--schema`, the schema it was migrated to.
    async fn upstream(&self) -> anyhow::Result<Arc<dyn Upstream>> {
        Ok(self.open().await?.1)
    }

    /// [`Place::upstream`], and the configuration it was opened with.
    async fn open(&self) -> anyhow::Result<(ServerConfig, Arc<dyn Upstream>)> {
        let mut config = self.config()?;
        if self.schema.is_none()
            && let Some(schema) = schema_of_database(&config.database).await?
        {
            config.schema = Arc::new(schema);
        }
        let upstream = open_upstream(&config).await?;
        Ok((config, upstream))
    }

    fn config(&self) -> anyhow::Result<ServerConfig> {
        let mut config = ServerConfig::new(self.database()?);
        config.schema = Arc::new(load_schema(self.schema.as_deref())?);
        Ok(config)
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
            Command::Info(args) => admin::show_info(args).await,
            Command::Test(place) => admin::test(place).await,
            Command::Timescale(place) => admin::timescale(place).await,
            Command::Optimize(args) => admin::optimize(args).await,
            Command::Vacuum(args) => admin::vacuum(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => backup::restore(args).await,
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
