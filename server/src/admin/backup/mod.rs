//! Copies of a database: made while it is written to, checked by restoring them, kept in a series, put back.
//!
//! | module | what lives there |
//! |---|---|
//! | `sqlite` | the embedded database: SQLite's online backup |
//! | `postgres` | PostgreSQL: pg_dump of one snapshot |
//! | `archive` | what such a dump holds, read through pg_restore |
//! | `restore` | a dump put back in one transaction |
//! | `programs` | PostgreSQL's own programs: found, started, ended |
//! | [`series`] | backups every so many hours |

mod archive;
mod postgres;
mod programs;
mod restore;
pub mod series;
mod sqlite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tidemark_core::amount::count;
use tidemark_core::rotation::PART;

use crate::config::DatabaseUrl;
use crate::files;

/// What a table held when it was copied: how many rows, and a digest over them that does not depend on their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Rows.
    pub rows: u64,
    /// Digest.
    pub digest: String,
}

/// What a database held at the moment of its copy, by table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest(pub BTreeMap<String, Content>);

impl Manifest {
    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.values().map(|content| content.rows).sum()
    }

    /// Says where another one differs.
    fn compare(&self, other: &Self) -> anyhow::Result<()> {
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

/// How far a backup was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Restored into a database of its own: every row came back.
    Restored,
    /// Read from its first to its last byte: each table has its rows. Why it was not restored.
    Read(String),
}

/// What the copies of a database end with.
#[must_use]
pub const fn extension(database: &DatabaseUrl) -> &'static str {
    match database {
        DatabaseUrl::Sqlite(_) => "db",
        DatabaseUrl::Postgres(_) => "dump",
    }
}

/// Writes a copy of a database as it is at one moment, while it is written to. What is in `part` is whole only when this returns.
async fn write(database: &DatabaseUrl, part: &Path) -> anyhow::Result<Manifest> {
    let written = match database {
        DatabaseUrl::Sqlite(path) => {
            let (path, part) = (path.clone(), part.to_owned());
            tokio::task::spawn_blocking(move || sqlite::write(&path, &part)).await?
        }
        DatabaseUrl::Postgres(config) => postgres::write(config, part).await,
    };
    if written.is_err() {
        // It may never have been made.
        drop(std::fs::remove_file(part));
    }
    written
}

/// Checks a copy: by restoring it into a database of its own where that can be made, else by reading it.
async fn check(database: &DatabaseUrl, file: &Path, manifest: &Manifest, restore: bool) -> anyhow::Result<Checked> {
    match database {
        DatabaseUrl::Sqlite(_) => {
            let (file, manifest) = (file.to_owned(), manifest.clone());
            tokio::task::spawn_blocking(move || sqlite::check(&file, &manifest)).await?
        }
        DatabaseUrl::Postgres(config) => postgres::check(config, file, manifest, restore).await,
    }
}

/// Gives a copy its name, once it is on disk.
fn publish(part: &Path, to: &Path) -> anyhow::Result<()> {
    let unwritable = || format!("cannot write the backup {}", to.display());
    files::sync(part).with_context(unwritable)?;
    std::fs::rename(part, to).with_context(unwritable)?;
    files::sync_name(to).with_context(unwritable)
}

fn part_of(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(PART);
    part.into()
}

/// A file for a copy that only its owner may read: it holds everything. What a killed process left under this name is replaced.
fn make_part(part: &Path) -> anyhow::Result<()> {
    // An older one may be open to others.
    if part.exists() {
        std::fs::remove_file(part).with_context(|| format!("cannot write the backup {}", part.display()))?;
    }
    files::make_private(part, true).with_context(|| format!("cannot write the backup {}", part.display()))
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What it holds.
    pub rows: u64,
    /// How far it was checked.
    pub checked: Checked,
}

/// Copies a database to a file, which is there whole and checked or not at all. With `restore`, it is restored into a database of its own
/// and compared.
///
/// # Errors
/// When there is such a file, it cannot be written, or does not pass the check; the database is never changed.
pub async fn back_up(database: &DatabaseUrl, to: &Path, restore: bool) -> anyhow::Result<Made> {
    if to.exists() {
        bail!("{} exists already; move it away, or name another file for the backup", to.display());
    }
    let part = part_of(to);
    let manifest = write(database, &part).await?;
    let checked = check(database, &part, &manifest, restore).await;
    let published = checked.and_then(|checked| publish(&part, to).map(|()| checked));
    if published.is_err() {
        drop(std::fs::remove_file(&part));
    }
    let checked = published?;
    Ok(Made { bytes: std::fs::metadata(to)?.len(), rows: manifest.rows(), path: to.to_owned(), checked })
}

/// What was done to put a copy back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was there before, if anything was.
    pub kept: Option<PathBuf>,
    /// Rows that are there now.
    pub rows: u64,
    /// What an operator should know.
    pub notes: Vec<String>,
}

/// How a copy is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Into an empty database.
    Empty,
    /// Into an empty database, by TimescaleDB's own steps; only a superuser can.
    Exact,
    /// In the place of what is there, which is copied to this file first.
    Replace(PathBuf),
}

/// Puts a copy back: whole, in one transaction, or not at all.
///
/// # Errors
/// When the copy is none or damaged, the database holds something, or refuses; it is as it was then.
pub async fn restore(database: &DatabaseUrl, from: &Path, mode: &Mode) -> anyhow::Result<Restored> {
    if !from.is_file() {
        bail!("there is no backup {}", from.display());
    }
    let kept = if is_empty(database).await? {
        None
    } else if let Mode::Replace(keep) = mode {
        Some(back_up(database, keep, false).await.context("what is there cannot be kept, so it was not replaced")?.path)
    } else {
        bail!(
            "{database} is not empty; with --replace the backup takes the place of what is there, which is copied to a file first"
        );
    };
    let mut restored = match database {
        DatabaseUrl::Sqlite(path) => {
            let (path, from) = (path.clone(), from.to_owned());
            let rows = tokio::task::spawn_blocking(move || sqlite::restore(&from, &path)).await??;
            Restored { kept: None, rows, notes: Vec::new() }
        }
        DatabaseUrl::Postgres(config) if *mode == Mode::Exact => restore::restore_exactly(config, from).await?,
        DatabaseUrl::Postgres(config) => restore::restore(config, from, kept.is_some()).await?,
    };
    restored.kept = kept;
    Ok(restored)
}

/// Whether nothing of Tidemark is in a database.
async fn is_empty(database: &DatabaseUrl) -> anyhow::Result<bool> {
    match database {
        DatabaseUrl::Sqlite(path) => sqlite::is_empty(path),
        DatabaseUrl::Postgres(config) => restore::is_empty(&super::connect(config).await?).await,
    }
}
