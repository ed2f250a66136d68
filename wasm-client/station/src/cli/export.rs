//! `tidemark export`

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tidemark_client::bundle;

use super::{Fatal, show};
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
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::open_whole(db)?;
    let shown = args.file.display();
    let unwritable = |error: io::Error| Fatal::new(format!("{shown}: cannot write it: {error}"));
    let exists = || {
        Fatal::new(format!("{shown} exists already; it was left alone. Name another file, or replace it with --force"))
    };
    if !args.force && args.file.exists() {
        return Err(exists());
    }
    let folder = super::folder_of(&args.file);
    let mut written = NamedTempFile::new_in(folder).map_err(unwritable)?;
    let pending = store.status()?.pending;
    let bar = show::bar(Some(pending), "{bar:30} {percent:>3} %  {pos} of {len} changes  {per_sec}, {eta} left");
    let mut out = BufWriter::new(written.as_file_mut());
    let exported = bundle::export(&mut store, now_ms(), &mut out, |changes| bar.set_position(changes));
    bar.finish_and_clear();
    let exported = exported.map_err(|error| {
        let error = StationError::from(error);
        Fatal::new(format!("{error}. No bundle was made, the changes stay in the log"))
    })?;
    let Some(exported) = exported else {
        show::line("nothing is pending: everything is upstream. No bundle was made");
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
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    let count = exported.last_seq - exported.first_seq + 1;
    let rejected = match exported.rejected_here {
        0 => String::new(),
        count => format!(", {count} of them cannot travel and are only counted"),
    };
    show::line(&format!(
        "{shown}: {} ({} to {}) in {} KiB{rejected}. At the server: tidemark-server import FILE; then here: tidemark import-receipt FILE.receipt. \
         Until then the changes stay in the log",
        show::count(count, "change"),
        exported.first_seq,
        exported.last_seq,
        bytes.div_ceil(1024)
    ));
    Ok(())
}
