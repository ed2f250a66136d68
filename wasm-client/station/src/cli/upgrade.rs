//! `tidemark upgrade`

use std::path::{Path, PathBuf};

use serde_json::json;

use super::fatal::Fatal;
use super::init::read_schema;
use super::show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The newer version of the file's schema: the same with tables and nullable columns added.
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let schema = read_schema(&args.schema)?;
    let mut store = super::file::open(db)?;
    let before = store.schema().version();
    let done = store.evolve(&schema)?;
    if args.json {
        let pending = store.status()?.pending;
        let done = done.unwrap_or_default();
        show::json(&json!({
            "file": db,
            "schema": schema.name(),
            "version_before": before,
            "version": schema.version(),
            "tables": done.tables,
            "columns": done.columns,
            "without_default": done.without_default,
            "backfilled": done.backfilled,
            "pending": pending,
        }));
        return Ok(());
    }
    let Some(done) = done else {
        show::line(&format!("{}: follows {} version {before} already", db.display(), schema.name()));
        return Ok(());
    };
    let list = |what: &str, names: &[String]| match names {
        [] => format!("no new {what}s"),
        names => format!("new {what}s {}", names.join(", ")),
    };
    show::line(&format!(
        "{}: follows {} version {} now (was {before}): {}; {}",
        db.display(),
        schema.name(),
        schema.version(),
        list("table", &done.tables),
        list("column", &done.columns)
    ));
    if done.backfilled > 0 {
        show::line(&format!("{} logged for rows that were there before", show::count(done.backfilled, "change")));
    }
    if !done.without_default.is_empty() {
        show::line(&format!(
            "{}: the default is not in force in this file, SQLite would give it to the rows that are there; programs must say the value",
            done.without_default.join(", ")
        ));
    }
    let pending = store.status()?.pending;
    show::line(&format!(
        "{} waiting; the server must know this version too before it takes later ones (`tidemark-server migrate up --schema FILE`)",
        show::count(pending, "change")
    ));
    Ok(())
}
