//! `tidemark import`

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::fatal::Fatal;
use super::{show, words};
use crate::import::import_csv;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The table.
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// The CSV file; `-` is standard input. Its first line names the columns; empty and NA are NULL.
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::file::open(db)?;
    let (name, input, size): (String, Box<dyn Read>, Option<u64>) = if args.file == Path::new("-") {
        ("standard input".to_owned(), Box::new(io::stdin().lock()), None)
    } else {
        let name = args.file.display().to_string();
        let file = File::open(&args.file).map_err(|error| Fatal::new(format!("{name}: cannot open it: {error}")))?;
        let size = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        (name, Box::new(BufReader::new(file)), size)
    };
    let template = match size {
        Some(_) => "{bar:30} {percent:>3} %  {msg}  {elapsed}, {eta} left",
        None => "{spinner} {msg}  {elapsed}",
    };
    let bar = show::bar(size, template);
    let imported = import_csv(&mut store, &args.table, &name, input, |rows, bytes| {
        bar.set_position(bytes);
        bar.set_message(show::count(rows, "row"));
    });
    bar.finish_and_clear();
    let rows = imported.map_err(|error| Fatal::new(format!("{}. Nothing was imported", words::import(&error))))?;
    if args.json {
        show::json(&json!({ "table": args.table, "rows": rows, "from": args.file }));
        return Ok(());
    }
    show::line(&format!("{}: {} imported from {name}", args.table, show::count(rows, "row")));
    Ok(())
}
