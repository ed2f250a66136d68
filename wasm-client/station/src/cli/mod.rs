//! The command line: one file per verb. Exit codes: 0 ok, 1 error, 2 usage, 75 the server cannot be reached (nothing is
//! lost). Of `verify`, 1 says that there are differences, and 2 that the comparison could not be made.

mod attach;
mod backup;
mod chores;
mod config;
mod detach;
mod export;
mod fatal;
mod file;
mod import;
mod import_receipt;
mod info;
mod init;
mod join;
mod json;
mod log;
mod manual;
mod optimize;
mod prune;
mod push;
mod rejects;
mod rejoin;
mod reload;
mod run;
mod run_args;
mod server;
mod service;
mod settings;
mod show;
mod status;
mod test;
mod trust;
mod upgrade;
mod vacuum;
mod verify;
pub(crate) mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tidemark_settings::World;

pub use self::fatal::EXIT_UNREACHABLE;
use self::fatal::Fatal;
use self::json::JsonArgs;
use self::reload::Session;

/// It was asked wrongly.
const EXIT_USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "tidemark", version, about = "Records offline into SQLite, pushes when there is a network.")]
struct Cli {
    /// The file of settings, instead of tidemark.toml here or in /etc/tidemark; `config check` shows which holds.
    #[arg(id = "config", long = "config", global = true, env = "TIDEMARK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The station's file.
    #[arg(long, global = true, env = "TIDEMARK_DB", default_value = "tidemark.db", value_name = "FILE")]
    db: PathBuf,
    /// The server's URL: for `join` and `rejoin` instead of the one in the code; a file that has joined goes on there.
    #[arg(long, global = true, env = "TIDEMARK_SERVER", value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    trust: trust::TrustArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a station's file from a schema.
    Init(init::Args),
    /// Capture the changes of another system's database, in place; what is there becomes the first changes.
    Attach(attach::Args),
    /// Take everything of Tidemark's out of an attached file.
    Detach(detach::Args),
    /// Copy the file, while programs write to it, and check the copy.
    Backup(backup::Args),
    /// Put a copy back; what it replaces is kept beside it.
    Restore(backup::RestoreArgs),
    /// Rebuild the file without the room that deleted rows left.
    Vacuum(JsonArgs),
    /// Follow a newer version of the schema: tables and nullable columns are added, the log stays.
    Upgrade(upgrade::Args),
    /// Join the server that made a join code.
    Join(join::Args),
    /// Import a CSV file into a table: all of it or nothing.
    Import(import::Args),
    /// Write everything that is pending as a bundle, for a server that no network reaches.
    Export(export::Args),
    /// Take the server's receipt for a bundle, and trim the log.
    ImportReceipt(import_receipt::Args),
    /// Push everything that is in the log now. Exits 75 when the server cannot be reached.
    Push(JsonArgs),
    /// Push in the background until SIGTERM or SIGINT.
    Run(run_args::RunArgs),
    /// Run the station as a service of Windows: it starts with the machine, with nobody at a console.
    Service(service::Args),
    /// Say where the server answers now, when it has moved.
    Server(server::Args),
    /// Show where the station stands.
    Status(status::Args),
    /// Show the last changes that are not upstream yet.
    Log(log::Args),
    /// Go on under a new number: after a fork, or at a server that does not know the file any more.
    Rejoin(rejoin::Args),
    /// Show changes that could not be applied; repair, send again or give up.
    Rejects(rejects::Args),
    /// Prove that upstream equals the station; exits 1 when it does not. `--repair` sends what is missing.
    Verify(verify::Args),
    /// Remove old rows from the file that upstream holds; they stay there.
    Prune(prune::Args),
    /// Check file, capture, disk, clock and server; exits 1 when something is wrong.
    Test(test::Args),
    /// Gather fresh statistics for SQLite's planner.
    Optimize,
    /// Show schema, tables, sizes and capture.
    Info(info::Args),
    /// Settings: check what holds and where it is from, or show all there are.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a shell's completions of this program.
    Completions(manual::CompletionsArgs),
    /// Print the manual page of this program, or write those of all its commands into a folder.
    Man(manual::ManArgs),
}

/// What a service does: `tidemark run`, with the arguments that it was installed with and the settings beside them.
fn of_service(words: &[OsString]) -> Result<service::Work, String> {
    let words = std::iter::once(OsString::from("tidemark")).chain(words.iter().cloned()).collect();
    let (program, world) = (settings::program(Cli::command), World { words, ..World::of_process() });
    let loaded = program.load(&world).map_err(|error| error.to_string())?;
    let wrong: Vec<String> = loaded.layers.problems.iter().map(ToString::to_string).collect();
    let matches = loaded.matches.filter(|_| wrong.is_empty()).ok_or_else(|| wrong.join("; "))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    let Verb::Run(args) = cli.verb else { return Err("a service does `tidemark run`, and nothing else".to_owned()) };
    let session = Session { program, world, running: loaded.layers };
    config::tell(&session.running);
    Ok(Box::new(move |end, bell| {
        if let Some(url) = &cli.server {
            server::point(&file::open(&cli.db)?, url)?;
        }
        run::watch(&cli.db, args, cli.trust, session, [end, &AtomicBool::new(false)], bell)
    }))
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let (program, world) = (settings::program(Cli::command), World::of_process());
    let mut loaded = match program.load(&world) {
        Ok(loaded) => loaded,
        Err(error) => error.exit(),
    };
    if loaded.command() == "config" {
        return config::run(&program, loaded);
    }
    let Some(matches) = loaded.matches.take().filter(|_| loaded.layers.problems.is_empty()) else {
        config::tell(&loaded.layers);
        show::error("tidemark: `tidemark config check` prints every setting and where it is from");
        return ExitCode::from(EXIT_USAGE);
    };
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    config::tell(&loaded.layers);
    let session = Session { program, world, running: loaded.layers };
    match act(cli, session) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            show::error(&format!("tidemark: {}", fatal.message));
            ExitCode::from(fatal.code)
        }
    }
}

fn act(cli: Cli, session: Session) -> Result<(), Fatal> {
    let (db, url, trust) = (cli.db, cli.server, cli.trust);
    let asks = matches!(cli.verb, Verb::Push(_) | Verb::Run(_) | Verb::Verify(_) | Verb::Prune(_) | Verb::Test(_));
    if let Some(url) = url.as_ref().filter(|_| asks) {
        server::point(&file::open(&db)?, url)?;
    }
    match cli.verb {
        Verb::Init(args) => init::run(&db, &args),
        Verb::Attach(args) => attach::run(&db, &args),
        Verb::Backup(args) => backup::run(&db, &args),
        Verb::Restore(args) => backup::restore(&db, &args),
        Verb::Vacuum(args) => vacuum::run(&db, args.json),
        Verb::Detach(args) => detach::run(&db, &args),
        Verb::Upgrade(args) => upgrade::run(&db, &args),
        Verb::Join(mut args) => {
            args.server = url;
            join::run(&db, &args, &trust)
        }
        Verb::Import(args) => import::run(&db, &args),
        Verb::Export(args) => export::run(&db, &args),
        Verb::ImportReceipt(args) => import_receipt::run(&db, &args),
        Verb::Push(args) => push::run(&db, args.json, &trust),
        Verb::Run(args) => run::run(&db, args, trust, session),
        Verb::Service(args) => service::run(&service::Of { db, config: cli.config, trust }, &args, of_service),
        Verb::Server(args) => server::run(&db, &args, &trust),
        Verb::Status(args) => status::run(&db, &args),
        Verb::Log(args) => log::run(&db, &args),
        Verb::Rejoin(mut args) => {
            args.server = url;
            rejoin::run(&db, &args, &trust)
        }
        Verb::Rejects(args) => rejects::run(&db, &args),
        Verb::Verify(args) => verify::run(&db, &args, &trust),
        Verb::Prune(args) => prune::run(&db, &args, &trust),
        Verb::Test(args) => test::run(&db, &args, &trust),
        Verb::Optimize => optimize::run(&db),
        Verb::Info(args) => info::run(&db, &args),
        Verb::Config(_) => unreachable!("BUG: it was run before"),
        Verb::Completions(args) => manual::completions(&args, Cli::command()),
        Verb::Man(args) => manual::man(&args, Cli::command()),
    }
}
