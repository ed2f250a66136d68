//! The command line of `tidemark-server`.

#[macro_use]
mod terminal;

mod address;
mod admin;
mod backup;
mod bearer;
mod config;
mod export;
mod import;
mod invitation;
mod limits;
mod listed;
mod log;
mod manual;
mod metrics;
mod migrate;
#[cfg(feature = "otel")]
mod otel;
mod place;
mod rejects;
mod reload;
mod remedy;
mod report;
mod serve;
mod serve_args;
mod settings;
mod signal;
mod span;
mod station;
mod systemd;
mod tls;
mod window;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tidemark_settings::{Layers, World, secret};

use self::place::Look;
use self::terminal::complain;
use crate::database::DatabaseUrl;

/// It was asked wrongly.
const EXIT_USAGE: u8 = 2;

#[derive(Parser)]
#[command(name = "tidemark-server", version, about = "Takes what field stations recorded, exactly once and in order.")]
struct Cli {
    /// The file of settings, instead of tidemark-server.toml here or in /etc/tidemark; `config check` shows which
    /// holds.
    #[arg(id = "config", long = "config", global = true, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    _config: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve stations.
    Serve(Box<serve_args::ServeArgs>),
    /// Make, check or take away the database's tables.
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Invite, list, rename and revoke stations.
    #[command(subcommand)]
    Station(station::StationCommand),
    /// Make an authority and a certificate of one's own, or show one.
    #[command(subcommand)]
    Tls(tls::TlsCommand),
    /// Apply a bundle that a station exported, and write the receipt for it.
    Import(import::ImportArgs),
    /// Write all rows into a new SQLite file, as the system without Tidemark keeps them.
    Export(export::ExportArgs),
    /// Changes that could not be applied.
    #[command(subcommand)]
    Rejects(rejects::RejectsCommand),
    /// Reports on the shrinkage tables, as a table, JSON, CSV or a page with charts.
    #[command(subcommand)]
    Report(report::Command),
    /// Let programs read reports over HTTP.
    #[command(subcommand)]
    Reader(bearer::ReaderCommand),
    /// Let people look at the stations and act on them, at /admin and over HTTP.
    #[command(subcommand)]
    Operator(bearer::OperatorCommand),
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
    /// Settings: check what holds and where it is from, or show all there are.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a shell's completions of this program.
    Completions(manual::CompletionsArgs),
    /// Print the manual page of this program, or write those of all its commands into a folder.
    Man(manual::ManArgs),
}

/// Runs the program: 0 when it did what was asked, 1 when not, 2 when it was asked wrongly.
#[must_use]
pub fn main() -> ExitCode {
    let (program, world) = (settings::program(Cli::command), World::of_process());
    let mut loaded = match program.load(&world) {
        Ok(loaded) => loaded,
        Err(error) => error.exit(),
    };
    let cli = loaded.matches.take().map(|matches| Cli::from_arg_matches(&matches)).transpose();
    let cli = cli.unwrap_or_else(|error| error.exit());
    if loaded.command() == "config" {
        let command = cli.and_then(|cli| if let Command::Config(command) = cli.command { Some(command) } else { None });
        return config::run(&program, loaded, command);
    }
    let Some(cli) = cli.filter(|_| loaded.layers.problems.is_empty()) else {
        config::tell(&loaded);
        complain("`tidemark-server config check` prints every setting and where it is from");
        return ExitCode::from(EXIT_USAGE);
    };
    config::tell(&loaded);
    log::start();
    let database = database_of(&loaded.layers);
    let session = reload::Session { program, world, running: loaded.layers };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start its threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(*args, session).await,
            Command::Migrate(command) => migrate::run(command).await,
            Command::Station(command) => station::run(command, session.is_typed("server_ca")).await,
            Command::Tls(command) => tls::run(&command),
            Command::Import(args) => import::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Rejects(command) => rejects::run(command).await,
            Command::Report(command) => report::run(command).await,
            Command::Reader(command) => bearer::reader(command).await,
            Command::Operator(command) => bearer::operator(command).await,
            Command::Info(look) => admin::show_info(look).await,
            Command::Test(look) => admin::test(look).await,
            Command::Timescale(look) => admin::timescale(look).await,
            Command::Optimize(args) => admin::optimize(args).await,
            Command::Vacuum(args) => admin::vacuum(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => backup::restore(args).await,
            Command::Config(_) => unreachable!("BUG: it was run above"),
            Command::Completions(args) => manual::completions(&args, &mut Cli::command()),
            Command::Man(args) => manual::man(&args, Cli::command()),
        }
    });
    #[cfg(feature = "otel")]
    otel::finish();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let helps = database.and_then(|database| remedy::of_lock(&error, &database));
            complain(&helps.map_or_else(|| format!("{error:#}"), |helps| format!("{error:#}. {helps}")));
            ExitCode::FAILURE
        }
    }
}

/// The database that a command is about, for what is said of it.
fn database_of(layers: &Layers) -> Option<DatabaseUrl> {
    let said = |key: &str| layers.of(key).and_then(|(_, now)| now.values.first()?.to_str());
    match said("database_url_file") {
        Some(file) => secret::read(Path::new(file), &std::env::vars_os().collect::<Vec<_>>()).ok()?.parse().ok(),
        None => said("database")?.parse().ok(),
    }
}
