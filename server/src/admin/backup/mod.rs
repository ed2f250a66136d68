//! Copies of a database: made while it is written to, checked by restoring them, kept in a series, put back.
//!
//! | module | what lives there |
//! |---|---|
//! | `sqlite` | the embedded database: SQLite's online backup |
//! | `postgres` | PostgreSQL: pg_dump of one snapshot |
//! | `archive` | what such a dump holds, read through pg_restore |
//! | `counted` | what a PostgreSQL database holds |
//! | `restore` | a dump put back in one transaction |
//! | `manifest`, `part` | what a copy holds and how far it was checked; its file before it is whole |
//! | `programs` | PostgreSQL's own programs: found, started, ended |
//! | `record` | a copy that was made, noted in the database |
//! | [`series`] | backups every so many hours |

mod archive;
mod counted;
mod manifest;
mod part;
mod postgres;
mod programs;
mod record;
mod restore;
pub mod series;
mod sqlite;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

pub use self::manifest::{Checked, Content, Made, Manifest, Restored};
use self::part::{part_of, publish};
pub use self::record::record;
use crate::database::DatabaseUrl;

/// The ending of the names of a database's copies.
#[must_use]
pub const fn extension(database: &DatabaseUrl) -> &'static str {
    match database {
        DatabaseUrl::Sqlite(_) => "db",
        DatabaseUrl::Postgres(_) => "dump",
    }
}

/// Writes a copy of a database as it is at one moment, while it is written to. What is in `part` is whole only when
/// this returns.
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

/// Copies a database to a file, which is there whole and checked or not at all. With `restore`, it is restored into a
/// database of its own and compared.
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

/// The way a copy is put back.
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

/// Nothing of Tidemark is in the database.
async fn is_empty(database: &DatabaseUrl) -> anyhow::Result<bool> {
    match database {
        DatabaseUrl::Sqlite(path) => sqlite::is_empty(path),
        DatabaseUrl::Postgres(config) => restore::is_empty(&super::connect(config).await?).await,
    }
}
