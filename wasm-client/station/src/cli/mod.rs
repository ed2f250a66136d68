//! The command line: one file per verb. Exit codes: 0 ok, 1 error, 2 usage, 75 the server cannot be reached (nothing is lost).

mod import;
mod info;
mod init;
mod join;
mod log;
mod push;
mod rejects;
mod run;
mod show;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidemark_client::Store;

use crate::station::StationError;

/// `EX_TEMPFAIL` of sysexits.h: try again later.
pub const EXIT_UNREACHABLE: u8 = 75;

#[derive(Debug, Parser)]
#[command(name = "tidemark", version, about = "Records offline into SQLite, pushes when there is a network.")]
struct Cli {
    /// The station's file.
    #[arg(long, global = true, env = "TIDEMARK_DB", default_value = "tidemark.db", value_name = "FILE")]
    db: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a station's file from a schema.
    Init(init::Args),
    /// Join the server that made a join code.
    Join(join::Args),
    /// Import a CSV file into a table: all of it or nothing.
    Import(import::Args),
    /// Push everything that is in the log now. Exits 75 when the server cannot be reached.
    Push,
    /// Push in the background until SIGTERM or SIGINT.
    Run,
    /// Show where the station stands.
    Status(status::Args),
    /// Show the last changes that are not upstream yet.
    Log(log::Args),
    /// Show changes that could not be applied; repair, send again or give up.
    Rejects(rejects::Args),
    /// Show schema, tables, sizes and capture.
    Info(info::Args),
}

/// An error that ends the program.
#[derive(Debug)]
struct Fatal {
    code: u8,
    message: String,
}

impl<E: Into<StationError>> From<E> for Fatal {
    fn from(error: E) -> Self {
        let error = error.into();
        let code = if matches!(error, StationError::Unreachable(_)) { EXIT_UNREACHABLE } else { 1 };
        Self { code, message: error.to_string() }
    }
}

impl Fatal {
    fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let db = cli.db;
    let done = match cli.verb {
        Verb::Init(args) => init::run(&db, &args),
        Verb::Join(args) => join::run(&db, &args),
        Verb::Import(args) => import::run(&db, &args),
        Verb::Push => push::run(&db),
        Verb::Run => run::run(&db),
        Verb::Status(args) => status::run(&db, &args),
        Verb::Log(args) => log::run(&db, &args),
        Verb::Rejects(args) => rejects::run(&db, &args),
        Verb::Info(args) => info::run(&db, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            show::error(&format!("tidemark: {}", fatal.message));
            ExitCode::from(fatal.code)
        }
    }
}

/// Opens the file, and says on stderr what had to be repaired.
fn open(db: &std::path::Path) -> Result<Store, Fatal> {
    let mut store = Store::open(db)?;
    for repair in store.take_repairs() {
        show::error(&format!("tidemark: {}: {repair}", db.display()));
    }
    Ok(store)
}
