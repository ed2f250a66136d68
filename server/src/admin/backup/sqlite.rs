//! Copies of an embedded database, made and put back while a server has it open.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tidemark_core::value::hex;

use super::manifest::{Checked, Content, Manifest};
use super::part::make_part;
use crate::admin::{open_file, sqlite_tables};
use crate::stores::sqlite::{connect, damage};

/// So often a lock of another program is waited for, with a pause between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Copies a file as it is at one moment, and says what it held then.
pub(super) fn write(path: &Path, part: &Path) -> anyhow::Result<Manifest> {
    let source = open_file(path)?;
    make_part(part)?;
    // One read transaction for both: the copy is what is counted here, whatever is committed meanwhile.
    source.execute_batch("BEGIN")?;
    let manifest = manifest(&source).with_context(|| path.display().to_string())?;
    require_upstream(&source, path)?;
    let mut copy = Connection::open(part).with_context(|| format!("cannot write the backup {}", part.display()))?;
    copy_all(&source, &mut copy).with_context(|| format!("cannot write the backup {}", part.display()))?;
    source.execute_batch("COMMIT")?;
    // One file, without a write-ahead log beside it.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    whole(&copy, part)?;
    Ok(manifest)
}

/// Copies every page in one transaction.
fn copy_all(from: &Connection, to: &mut Connection) -> anyhow::Result<()> {
    let backup = Backup::new(from, to)?;
    for _ in 0..TRIES {
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(PAUSE),
        }
    }
    bail!("another program holds the file; end it, or try again later")
}

/// Every page and index is as it should be.
fn whole(connection: &Connection, path: &Path) -> anyhow::Result<()> {
    match damage(connection).with_context(|| format!("{} is no whole SQLite file", path.display()))? {
        None => Ok(()),
        Some(found) => bail!("{} is damaged: {found}", path.display()),
    }
}

fn require_upstream(connection: &Connection, path: &Path) -> anyhow::Result<()> {
    let has = |name: &str| {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
        connection.query_row(sql, [name], |row| row.get::<_, bool>(0))
    };
    if has("tidemark_log")? {
        bail!("{} is a station's file; `tidemark backup` and `tidemark restore` are for those", path.display());
    }
    if !has("tidemark_migration")? {
        bail!("{} holds no database of tidemark-server", path.display());
    }
    Ok(())
}

/// Restores a copy into a file of its own and compares what came back.
pub(super) fn check(file: &Path, manifest: &Manifest) -> anyhow::Result<Checked> {
    let folder = tempfile::tempdir().context("no room for checking the backup")?;
    let scratch = folder.path().join("check.db");
    restore(file, &scratch)?;
    manifest.compare(&self::manifest(&connect(&scratch)?)?)?;
    Ok(Checked::Restored)
}

/// The file is not there, or has no table in it.
pub(super) fn is_empty(path: &Path) -> anyhow::Result<bool> {
    if !path.exists() {
        return Ok(true);
    }
    Ok(sqlite_tables(&connect(path)?)?.is_empty())
}

/// Puts a copy in a file's place, in one transaction: servers that have it open see the copy's rows from then on.
pub(super) fn restore(from: &Path, path: &Path) -> anyhow::Result<u64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(from, flags).with_context(|| from.display().to_string())?;
    whole(&copy, from)?;
    require_upstream(&copy, from)?;
    known(&mut copy).with_context(|| from.display().to_string())?;
    let rows = manifest(&copy)?.rows();
    let mut file = connect(path)?;
    copy_all(&copy, &mut file).with_context(|| format!("cannot put the backup back to {}", path.display()))?;
    Ok(rows)
}

/// A database of a later version of this program is not put back by this one.
fn known(copy: &mut Connection) -> anyhow::Result<()> {
    let Some(schema) = tidemark_migrations::sqlite::newest_schema(copy)? else { return Ok(()) };
    tidemark_migrations::sqlite::status(copy, &tidemark_core::schema::Schema::parse(&schema)?)?;
    Ok(())
}

/// Rows and digest of every table.
fn manifest(connection: &Connection) -> anyhow::Result<Manifest> {
    let mut manifest = Manifest::default();
    for name in sqlite_tables(connection)? {
        let mut select = connection.prepare(&format!("SELECT * FROM {}", name.sql()))?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        let (mut count, mut sum) = (0, 0_u128);
        while let Some(row) = rows.next()? {
            let mut hasher = blake3::Hasher::new();
            for column in 0..columns {
                add(&mut hasher, row.get_ref(column)?);
            }
            let mut half = [0; 16];
            half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
            sum = sum.wrapping_add(u128::from_le_bytes(half));
            count += 1;
        }
        manifest.0.insert(name.table, Content { rows: count, digest: hex(&sum.to_le_bytes()) });
    }
    Ok(manifest)
}

/// A value with its type, and its length before it.
fn add(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    let (kind, bytes): (u8, &[u8]) = match &value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(v) => (1, &v.to_le_bytes()),
        ValueRef::Real(v) => (2, &v.to_bits().to_le_bytes()),
        ValueRef::Text(v) => (3, v),
        ValueRef::Blob(v) => (4, v),
    };
    hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}
