//! `tidemark optimize`

use std::path::Path;

use tidemark_client::Error;

use super::fatal::Fatal;
use super::show;

pub(super) fn run(db: &Path) -> Result<(), Fatal> {
    let store = super::file::open(db)?;
    // Rows read of each index: the statistics of a large file take no longer than those of a small one.
    store
        .connection()
        .execute_batch("PRAGMA analysis_limit = 1000; ANALYZE; PRAGMA optimize; PRAGMA wal_checkpoint(PASSIVE)")
        .map_err(|error| Error::sqlite(store.file(), "gather the planner's statistics", error))?;
    show::line(&format!(
        "{}: SQLite's planner has fresh statistics. Hypertables are upstream's: `tidemark-server optimize` there",
        db.display()
    ));
    Ok(())
}
