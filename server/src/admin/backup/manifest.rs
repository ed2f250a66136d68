//! The content of a database when it was copied, the check of a copy, and what was put back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use tidemark_core::amount::count;

/// The content of a table when it was copied: how many rows, and a digest over them that does not depend on their
/// order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Rows.
    pub rows: u64,
    /// Digest.
    pub digest: String,
}

/// The content of a database at the moment of its copy, by table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest(pub BTreeMap<String, Content>);

impl Manifest {
    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.values().map(|content| content.rows).sum()
    }

    /// Says where another one differs.
    pub(super) fn compare(&self, other: &Self) -> anyhow::Result<()> {
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let differ: Vec<String> = names
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .map(|name| {
                let rows = |manifest: &Self| {
                    manifest.0.get(name).map_or_else(|| "no table".to_owned(), |it| count(it.rows, "row"))
                };
                format!("{name}: {} were copied, {} came back", rows(self), rows(other))
            })
            .collect();
        if differ.is_empty() {
            Ok(())
        } else {
            bail!("what was restored differs from what was copied: {}", differ.join("; "))
        }
    }
}

/// The check that a backup passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Restored into a database of its own: every row came back.
    Restored,
    /// Read from its first to its last byte: each table has its rows. Why it was not restored.
    Read(String),
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its place.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The check that it passed.
    pub checked: Checked,
}

/// A copy that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The copy of what was there before, if anything was.
    pub kept: Option<PathBuf>,
    /// Rows that are there now.
    pub rows: u64,
    /// Notes for the operator.
    pub notes: Vec<String>,
}
