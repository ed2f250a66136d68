//! `tidemark init`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidemark_core::limits::SCHEMA_BYTES_MAX;
use tidemark_core::schema::{Schema, shrinkage};

use super::fatal::Fatal;
use super::show;
use crate::station::Station;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The schema file; without it, the shipped schema of the shrinkage system.
    #[arg(long, env = "TIDEMARK_SCHEMA", value_name = "FILE")]
    schema: Option<PathBuf>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let schema = match &args.schema {
        Some(path) => read_schema(path)?,
        None => shrinkage(),
    };
    Station::init(db, &schema)?;
    if args.json {
        let tables: Vec<&str> = schema.tables().iter().map(|table| table.name.as_str()).collect();
        show::json(&json!({ "file": db, "schema": schema.name(), "version": schema.version(), "tables": tables }));
        return Ok(());
    }
    show::line(&format!(
        "{}: made, schema {} version {}, {}. Any program may write to it now; `tidemark join CODE` connects it to a server",
        db.display(),
        schema.name(),
        schema.version(),
        show::count(schema.tables().len() as u64, "table")
    ));
    Ok(())
}

pub(super) fn read_schema(path: &Path) -> Result<Schema, Fatal> {
    let shown = path.display();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(SCHEMA_BYTES_MAX as u64 + 1).read_to_string(&mut text))
        .map_err(|error| Fatal::new(format!("{shown}: cannot read the schema file: {error}")))?;
    Schema::parse(&text).map_err(|error| Fatal::new(format!("{shown}: {error}")))
}
