//! Files that are there whole or not at all, also after a power cut.

use std::fs::File;
use std::io;
use std::path::Path;

/// The folder a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file that only its owner can read and write, from the beginning; `truncate`: what is there is thrown away,
/// else it is left as it is.
pub(crate) fn make_private(file: &Path, truncate: bool) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(truncate);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file).map(drop)
}

/// Waits until what is in a file is on disk.
pub(crate) fn sync(file: &Path) -> io::Result<()> {
    File::options().write(true).open(file)?.sync_all()
}

/// Waits until the name of a file is on disk. Windows has no such wait: NTFS keeps names in a journal of its own, and
/// opens no folder for this.
pub(crate) fn sync_name(file: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder_of(file))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
