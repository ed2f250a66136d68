//! `tidemark vacuum`

use std::path::Path;

use serde_json::json;
use tidemark_client::Error;

use super::fatal::Fatal;
use super::show;

pub(super) fn run(db: &Path, as_json: bool) -> Result<(), Fatal> {
    let store = super::file::open_whole(db)?;
    let file = store.file().to_owned();
    let pages = |what: &str| -> Result<u64, Fatal> {
        let count = store.connection().query_row(&format!("PRAGMA {what}"), [], |row| row.get::<_, i64>(0));
        Ok(count.map_err(|error| Error::sqlite(&file, "read the file's size", error))?.unsigned_abs())
    };
    let size = pages("page_size")?;
    let before = pages("page_count")? * size;
    store.connection().execute_batch("VACUUM").map_err(|error| Error::sqlite(&file, "rebuild the file", error))?;
    let after = pages("page_count")? * size;
    if as_json {
        show::json(&json!({ "file": file, "bytes_before": before, "bytes": after }));
        return Ok(());
    }
    show::line(&format!("{}: {} KiB, was {} KiB", db.display(), after.div_ceil(1024), before.div_ceil(1024)));
    Ok(())
}
