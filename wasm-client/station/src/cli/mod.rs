//! The command line: one file per verb. Exit codes: 0 ok, 1 error, 2 usage, 75 the server cannot be reached (nothing is lost). Of `verify`,
//! 1 says that there are differences, and 2 that the comparison could not be made.

mod attach;
mod backup;
mod detach;
mod export;
mod import;
mod import_receipt;
mod info;
mod init;
mod join;
mod log;
mod manual;
mod optimize;
mod prune;
mod push;
mod rejects;
mod rejoin;
mod run;
mod server;
mod show;
mod status;
mod test;
mod upgrade;
mod vacuum;
mod verify;
pub(crate) mod words;

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
    /// Capture the changes of another system's database, in place; what is there becomes the first changes.
    Attach(attach::Args),
    /// Take everything of Tidemark's out of an attached file.
    Detach(detach::Args),
    /// Copy the file, while programs write to it, and check the copy.
    Backup(backup::Args),
    /// Put a copy back; what it replaces is kept beside it.
    Restore(backup::RestoreArgs),
    /// Rebuild the file without the room that deleted rows left.
    Vacuum(Json),
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
    Push(Json),
    /// Push in the background until SIGTERM or SIGINT.
    Run,
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
    /// Print a shell's completions of this program.
    Completions(manual::CompletionsArgs),
    /// Print the manual page of this program, or write those of all its commands into a folder.
    Man(manual::ManArgs),
}

/// Of a command that prints facts.
#[derive(Debug, clap::Args)]
struct Json {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
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
        Self { code, message: words::error(&error) }
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
        Verb::Attach(args) => attach::run(&db, &args),
        Verb::Backup(args) => backup::run(&db, &args),
        Verb::Restore(args) => backup::restore(&db, &args),
        Verb::Vacuum(args) => vacuum::run(&db, args.json),
        Verb::Detach(args) => detach::run(&db, &args),
        Verb::Upgrade(args) => upgrade::run(&db, &args),
        Verb::Join(args) => join::run(&db, &args),
        Verb::Import(args) => import::run(&db, &args),
        Verb::Export(args) => export::run(&db, &args),
        Verb::ImportReceipt(args) => import_receipt::run(&db, &args),
        Verb::Push(args) => push::run(&db, args.json),
        Verb::Run => run::run(&db),
        Verb::Server(args) => server::run(&db, &args),
        Verb::Status(args) => status::run(&db, &args),
        Verb::Log(args) => log::run(&db, &args),
        Verb::Rejoin(args) => rejoin::run(&db, &args),
        Verb::Rejects(args) => rejects::run(&db, &args),
        Verb::Verify(args) => verify::run(&db, &args),
        Verb::Prune(args) => prune::run(&db, &args),
        Verb::Test(args) => test::run(&db, &args),
        Verb::Optimize => optimize::run(&db),
        Verb::Info(args) => info::run(&db, &args),
        Verb::Completions(args) => manual::completions(&args),
        Verb::Man(args) => manual::man(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            show::error(&format!("tidemark: {}", fatal.message));
            ExitCode::from(fatal.code)
        }
    }
}

/// The folder a file is in.
fn folder_of(file: &std::path::Path) -> &std::path::Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."))
}

/// Opens the file, and says on stderr what had to be repaired.
fn open(db: &std::path::Path) -> Result<Store, Fatal> {
    let mut store = Store::open(db)?;
    for repair in store.take_repairs() {
        show::error(&format!("tidemark: {}: {repair}", db.display()));
    }
    Ok(store)
}

/// Opens the file to send what is in it: of an attached file, all that was there has to be in the log first.
fn open_whole(db: &std::path::Path) -> Result<Store, Fatal> {
    let mut store = open(db)?;
    backfill(&mut store)?;
    Ok(store)
}

/// Logs the rows that were there when the file was attached; returns how many were still missing.
fn backfill(store: &mut Store) -> Result<u64, Fatal> {
    let open = store.backfill_open()?;
    if open == 0 {
        return Ok(0);
    }
    let bar = show::bar(Some(open), "{bar:30} {percent:>3} %  logged {pos}, in all {len}  {rate}, {eta} left");
    let done = store.backfill(&mut |now| bar.set_position(now.done));
    bar.finish_and_clear();
    Ok(done?.rows)
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
        assert!(found.len() >= 14, "{found:?}");
        let page = include_str!("../../../../docs/SCRIPTING.md");
        let (page, _) = page.split_once("| `tidemark-server` | prints | keys |").unwrap();
        for command in found {
            assert!(page.contains(&format!("`{command}`")), "docs/SCRIPTING.md does not tell what {command} prints");
        }
    }
}
