//! `migrate up|down|status|plan`.

use std::path::Path;

use clap::{Args, Subcommand};
use rusqlite::Connection;
use serde_json::json;
use tidemark_core::amount::count;
use tidemark_migrations::{Status, postgres, sqlite};

use super::place::{Look, Place};
use super::terminal::{print_json, print_table};
use crate::admin::open_file;
use crate::config::DatabaseUrl;
use crate::stores;

#[derive(Subcommand)]
pub(super) enum MigrateCommand {
    /// Apply what is missing.
    Up(Place),
    /// Take migrations away, the last first.
    Down(DownArgs),
    /// What was applied, in its order, and what is missing.
    Status(Look),
    /// The SQL that `up` would run.
    Plan(Place),
}

#[derive(Args)]
pub(super) struct DownArgs {
    #[command(flatten)]
    place: Place,
    /// How many migrations stay.
    #[arg(long, default_value_t = 0, value_name = "N")]
    to: usize,
    /// Drop tables although they hold rows.
    #[arg(long)]
    yes_drop_data: bool,
}

pub(super) async fn run(command: MigrateCommand) -> anyhow::Result<()> {
    match command {
        MigrateCommand::Up(place) => up(&place).await,
        MigrateCommand::Down(args) => down(&args).await,
        MigrateCommand::Status(look) => {
            let status = status(&look.place).await?;
            if look.json {
                return print_json(&facts(&status));
            }
            print_status(&status);
            Ok(())
        }
        MigrateCommand::Plan(place) => {
            print_plan(&status(&place).await?);
            Ok(())
        }
    }
}

async fn up(place: &Place) -> anyhow::Result<()> {
    let database = place.database()?;
    let (schema, _) = place.schema(&database).await?;
    let done = match database {
        DatabaseUrl::Sqlite(path) => sqlite::up(&mut stores::sqlite::connect(&path)?, &schema)?,
        DatabaseUrl::Postgres(config) => {
            let mut client = stores::postgres::connect(&config).await?;
            postgres::up(&mut client, &schema, &mut |line| say!("{line}")).await?
        }
    };
    for name in &done {
        say!("applied {name}");
    }
    say!("the database is up to date with schema {} version {}", schema.name(), schema.version());
    Ok(())
}

async fn down(args: &DownArgs) -> anyhow::Result<()> {
    let done = match args.place.database()? {
        DatabaseUrl::Sqlite(path) => sqlite::down(&mut open_file(&path)?, args.to, args.yes_drop_data)?,
        DatabaseUrl::Postgres(config) => {
            let mut client = stores::postgres::connect(&config).await?;
            postgres::down(&mut client, args.to, args.yes_drop_data).await?
        }
    };
    for name in &done {
        say!("took away {name}");
    }
    say!("{} taken away", count(done.len() as u64, "migration"));
    Ok(())
}

async fn status(place: &Place) -> anyhow::Result<Status> {
    let database = place.database()?;
    let (schema, _) = place.schema(&database).await?;
    Ok(match database {
        // Asking does not make the file; that it could be made is seen by its folder.
        DatabaseUrl::Sqlite(path) if !path.exists() && path.parent().is_some_and(is_folder) => {
            sqlite::status(&mut Connection::open_in_memory()?, &schema)?
        }
        DatabaseUrl::Sqlite(path) => sqlite::status(&mut stores::sqlite::connect(&path)?, &schema)?,
        DatabaseUrl::Postgres(config) => {
            let mut client = stores::postgres::connect(&config).await?;
            postgres::status(&mut client, &schema).await?
        }
    })
}

/// This is a folder; the empty path is the one the program runs in.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.is_dir()
}

fn facts(status: &Status) -> serde_json::Value {
    let applied = status.applied.iter().map(|step| json!({ "name": step.name, "at": step.applied_at }));
    let pending = status.pending.iter().map(|step| &step.name);
    json!({ "applied": applied.collect::<Vec<_>>(), "pending": pending.collect::<Vec<_>>() })
}

fn print_status(status: &Status) {
    let applied =
        status.applied.iter().map(|step| vec![step.name.clone(), "applied".to_owned(), step.applied_at.clone()]);
    let pending = status.pending.iter().map(|step| vec![step.name.clone(), "pending".to_owned(), "-".to_owned()]);
    print_table(&["migration", "state", "at"], &applied.chain(pending).collect::<Vec<_>>());
}

fn print_plan(status: &Status) {
    if status.pending.is_empty() {
        say!("-- nothing to do");
    }
    for step in &status.pending {
        say!("-- {}\nBEGIN;\n{}COMMIT;\n", step.name, step.up);
    }
}
