//! `tidemark export`

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::NamedTempFile;
use tidemark_client::bundle;
use tidemark_core::amount;

use super::fatal::Fatal;
use super::{show, words};
use crate::clock::now_ms;
use crate::station::StationError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the bundle goes, for `tidemark-server import FILE`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace FILE if it exists.
    #[arg(long)]
    force: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::file::open_whole(db)?;
    let shown = args.file.display();
    let unwritable = |error: io::Error| Fatal::new(format!("{shown}: cannot write it: {error}"));
    let exists = || {
        Fatal::new(format!("{shown} exists already; it was left alone. Name another file, or replace it with --force"))
    };
    if !args.force && args.file.exists() {
        return Err(exists());
    }
    let folder = super::file::folder_of(&args.file);
    let mut written = NamedTempFile::new_in(folder).map_err(unwritable)?;
    let pending = store.status()?.pending;
    let bar = show::bar(Some(pending), "{bar:30} {percent:>3} %  exported {pos}, in all {len}  {rate}, {eta} left");
    let mut out = BufWriter::new(written.as_file_mut());
    let exported = bundle::export(&mut store, now_ms(), &mut out, |changes| bar.set_position(changes));
    bar.finish_and_clear();
    let exported = exported.map_err(|error| {
        let error = words::error(&StationError::from(error));
        Fatal::new(format!("{error}. No bundle was made, the changes stay in the log"))
    })?;
    let Some(exported) = exported else {
        if args.json {
            show::json(&json!({ "bundle": null, "changes": 0 }));
            return Ok(());
        }
        let left = if args.file.exists() { ", and the one that is there was left alone" } else { "" };
        show::line(&format!(
            "nothing is pending: everything is upstream. No bundle was made{left}; there is nothing to import at the server"
        ));
        return Ok(());
    };
    out.flush().map_err(unwritable)?;
    drop(out);
    // A bundle is there whole or not at all, also after a power cut.
    written.as_file().sync_all().map_err(unwritable)?;
    let bytes = written.as_file().metadata().map_err(unwritable)?.len();
    if args.force {
        written.persist(&args.file).map_err(|error| unwritable(error.error))?;
    } else {
        written.persist_noclobber(&args.file).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => unwritable(error.error),
        })?;
    }
    super::file::sync_folder(folder).map_err(unwritable)?;
    let count = exported.last_seq - exported.first_seq + 1;
    if args.json {
        show::json(&json!({
            "bundle": args.file,
            "changes": count,
            "first_seq": exported.first_seq,
            "last_seq": exported.last_seq,
            "rejected_here": exported.rejected_here,
            "bytes": bytes,
        }));
        return Ok(());
    }
    let rejected = match exported.rejected_here {
        0 => String::new(),
        count => format!(", {count} of them cannot travel and are only counted"),
    };
    show::line(&format!(
        "{shown}: {} ({} to {}) in {}{rejected}. At the server: tidemark-server import FILE; then here: tidemark import-receipt FILE.receipt. \
         Until then the changes stay in the log",
        show::count(count, "change"),
        exported.first_seq,
        exported.last_seq,
        amount::bytes(bytes)
    ));
    Ok(())
}
