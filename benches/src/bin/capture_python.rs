//! What capture costs a program in Python: the rows of the shrinkage system's widest table, written by its SQLAlchemy
//! models and by the driver alone, in bulk and row by row, into the same table without triggers and with them.
//!
//! `TIDEMARK_TEST_PYTHON=… cargo run -p tidemark-benches --bin capture_python [-- ROUNDS [ROWS]]`, default 7 rounds
//! of 20,000 rows. The SQLite is that of the Python, and so is all that is measured: `benches/python/capture.py`. It
//! prints a line of JSON per way of writing: medians of both in µs of CPU per row, and of the ratio of each pair.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tidemark_benches::{Bench, make_file};

fn main() -> Result<()> {
    let python = std::env::var_os("TIDEMARK_TEST_PYTHON").context("TIDEMARK_TEST_PYTHON is not set")?;
    let folder = tempfile::tempdir()?;
    let (plain, captured) = (folder.path().join("plain.db"), folder.path().join("captured.db"));
    for (path, is_captured) in [(&plain, false), (&captured, true)] {
        let db = make_file(path, &Bench::shrinkage(), is_captured)?;
        // So that the file alone can be copied.
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/capture.py");
    let run = Command::new(python)
        .arg(script)
        .args([&plain, &captured])
        .arg(folder.path())
        .args(std::env::args().skip(1))
        .env("PYTHONUTF8", "1")
        .status()?;
    ensure!(run.success(), "the script failed");
    Ok(())
}
