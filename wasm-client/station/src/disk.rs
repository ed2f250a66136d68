//! Free room on the disk of a file: the one place that asks the system.

use std::path::Path;

/// Free room for this process on the disk of a file, in bytes; `None` where it is not known.
#[cfg(unix)]
#[must_use]
pub fn free_disk_bytes(file: &Path) -> Option<u64> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Free room for this process on the disk of a file, in bytes; `None` where it is not known.
#[cfg(not(unix))]
#[must_use]
pub fn free_disk_bytes(_: &Path) -> Option<u64> {
    None
}
