//! The station's file, opened for a command.

use std::path::Path;

use tidemark_client::Store;

use super::fatal::Fatal;
use super::show;

/// The folder a file is in.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Waits until the names of the files in a folder are on disk. Windows has no such wait: NTFS keeps names in a journal
/// of its own, and opens no folder for this.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Opens the file, and says on stderr what had to be repaired.
pub(super) fn open(db: &Path) -> Result<Store, Fatal> {
    let mut store = Store::open(db)?;
    for repair in store.take_repairs() {
        show::error(&format!("tidemark: {}: {repair}", db.display()));
    }
    Ok(store)
}

/// Opens the file to send what is in it: of an attached file, all that was there has to be in the log first.
pub(super) fn open_whole(db: &Path) -> Result<Store, Fatal> {
    let mut store = open(db)?;
    backfill(&mut store)?;
    Ok(store)
}

/// Logs the rows that were there when the file was attached; returns how many were still missing.
pub(super) fn backfill(store: &mut Store) -> Result<u64, Fatal> {
    let open = store.backfill_open()?;
    if open == 0 {
        return Ok(0);
    }
    let bar = show::bar(Some(open), "{bar:30} {percent:>3} %  logged {pos}, in all {len}  {rate}, {eta} left");
    let done = store.backfill(&mut |now| bar.set_position(now.done));
    bar.finish_and_clear();
    Ok(done?.rows)
}
