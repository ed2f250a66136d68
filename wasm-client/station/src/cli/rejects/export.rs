//! `tidemark rejects export FILE`

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use tidemark_client::Reject;
use tidemark_core::printable::csv_cell;

use super::super::fatal::Fatal;
use super::super::show;
use super::facts::to_json;

/// The columns of a CSV file; `image` is JSON.
const CSV_COLUMNS: [&str; 10] =
    ["seq", "at_ms", "table", "op", "code", "message", "origin", "rejected_at_ms", "state", "image"];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write; it must not exist yet.
    file: PathBuf,
    /// As CSV with the images as JSON, instead of JSON lines.
    #[arg(long)]
    csv: bool,
    /// What was done as JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let store = super::super::file::open(db)?;
    let name = args.file.display();
    let failed = |error: std::io::Error| Fatal::new(format!("{name}: {error}"));
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    // Rows of the file, which its owner alone may read.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&args.file).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return Fatal::new(format!("{name}: exists already; nothing is overwritten, choose another name"));
        }
        failed(error)
    })?;
    let mut out = Format::new(BufWriter::new(file), args.csv).map_err(failed)?;
    let mut count = 0;
    store.rejects::<Fatal>(0, u64::MAX, |reject| {
        count += 1;
        out.write(&reject).map_err(failed)
    })?;
    out.finish().map_err(failed)?;
    if args.json {
        show::json(&json!({ "file": args.file, "rejects": count }));
        return Ok(());
    }
    show::line(&format!("{} written to {name}", show::count(count, "rejected change")));
    Ok(())
}

type File = BufWriter<std::fs::File>;

enum Format {
    Csv(Box<csv::Writer<File>>),
    Lines(File),
}

impl Format {
    fn new(file: File, csv: bool) -> std::io::Result<Self> {
        if !csv {
            return Ok(Self::Lines(file));
        }
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(CSV_COLUMNS)?;
        Ok(Self::Csv(Box::new(csv)))
    }

    fn write(&mut self, reject: &Reject) -> std::io::Result<()> {
        let json = to_json(reject);
        match self {
            Self::Lines(file) => writeln!(file, "{json}"),
            Self::Csv(csv) => {
                let field = |name: &str| match &json[name] {
                    serde_json::Value::String(text) => csv_cell(text).into_owned(),
                    other => other.to_string(),
                };
                Ok(csv.write_record(CSV_COLUMNS.map(field))?)
            }
        }
    }

    /// Everything is on the disk when this returns.
    fn finish(self) -> std::io::Result<()> {
        let file = match self {
            Self::Csv(csv) => csv.into_inner().map_err(|error| error.into_error())?,
            Self::Lines(file) => file,
        };
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    }
}
