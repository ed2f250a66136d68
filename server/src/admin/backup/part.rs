//! The file of a copy, until it is whole.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tidemark_core::rotation::PART;

use crate::files;

/// Gives a copy its name, once it is on disk.
pub(super) fn publish(part: &Path, to: &Path) -> anyhow::Result<()> {
    let unwritable = || format!("cannot write the backup {}", to.display());
    files::sync(part).with_context(unwritable)?;
    std::fs::rename(part, to).with_context(unwritable)?;
    files::sync_name(to).with_context(unwritable)
}

pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(PART);
    part.into()
}

/// A file for a copy that only its owner may read: it holds everything. What a killed process left under this name is
/// replaced.
pub(super) fn make_part(part: &Path) -> anyhow::Result<()> {
    // An older one may be open to others.
    if part.exists() {
        std::fs::remove_file(part).with_context(|| format!("cannot write the backup {}", part.display()))?;
    }
    files::make_private(part, true).with_context(|| format!("cannot write the backup {}", part.display()))
}
