//! Copies of a file, made and put back while programs have it open.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::connect::{OpenOptions, connect};
use crate::error::{Error, Result};
use crate::format;
use crate::private;

/// The number of attempts to put a copy back while a program has a transaction open, with a pause of 100 ms in between.
const TRIES: u32 = 100;

/// Copies a file as it is at this moment, while programs write to it. The copy is checked, and is there whole or not at
/// all.
///
/// # Errors
/// When the copy exists already, cannot be written, or the file is damaged.
pub fn back_up(path: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (db, file) = connect(path.as_ref(), OpenOptions::default(), false)?;
    let copy = to.as_ref().display().to_string();
    if to.as_ref().exists() {
        return Err(Error::Schema(format!("{copy}: exists already; move it away, or name another file for the copy")));
    }
    let part = format!("{copy}.part");
    let written = write_copy(&db, &file, &part)
        .and_then(|()| std::fs::rename(&part, to.as_ref()).map_err(|error| unwritable(&copy, &error)));
    if written.is_err() {
        // It may never have been made.
        drop(std::fs::remove_file(&part));
    }
    written
}

fn unwritable(copy: &str, error: &std::io::Error) -> Error {
    Error::Schema(format!("{copy}: cannot write the copy: {error}"))
}

/// Writes a copy, checks it, and waits until it is on disk.
fn write_copy(db: &Connection, file: &str, copy: &str) -> Result<()> {
    let sql = |error| Error::sqlite(copy, "write the copy", error);
    if Path::new(copy).exists() {
        std::fs::remove_file(copy).map_err(|error| unwritable(copy, &error))?;
    }
    private::make(Path::new(copy)).map_err(|error| unwritable(copy, &error))?;
    db.execute("VACUUM INTO ?1", [copy]).map_err(sql)?;
    check(&Connection::open(copy).map_err(sql)?, file)?;
    let synced = std::fs::File::options().write(true).open(copy).and_then(|copy| copy.sync_all());
    synced.map_err(|error| unwritable(copy, &error))
}

/// Checks every page and index.
fn check(db: &Connection, file: &str) -> Result<()> {
    let found: String = db
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| Error::sqlite(file, "check the file", error))?;
    if found == "ok" { Ok(()) } else { Err(Error::Corrupt { file: file.to_owned(), detail: found }) }
}

/// Opens a copy. It may lie where nobody may write.
fn open_copy(from: &Path) -> Result<(Connection, String)> {
    let file = from.display().to_string();
    let none = |detail| Error::NoCopy { file: file.clone(), detail };
    if !from.exists() {
        return Err(none("no such file"));
    }
    if from.is_dir() {
        return Err(none("a folder, and no file"));
    }
    match connect(from, OpenOptions::default(), false) {
        Ok(opened) => Ok(opened),
        Err(Error::NotSqlite { .. }) => Err(none("not an SQLite database")),
        Err(Error::ReadOnly { .. }) => {
            let sql = |error| Error::sqlite(&file, "read the copy", error);
            Ok((Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sql)?, file.clone()))
        }
        Err(error) => Err(error),
    }
}

/// Puts a copy of a station's file back in its place, in one transaction: programs that have the file open see the
/// copy's rows from then on. The file that was there is copied to `kept` first.
///
/// # Errors
/// When the copy is damaged or no station's, `kept` exists already, or a program holds the file; nothing is changed
/// then.
pub fn restore(from: impl AsRef<Path>, path: impl AsRef<Path>, kept: impl AsRef<Path>) -> Result<()> {
    let (copy, copy_name) = open_copy(from.as_ref())?;
    check(&copy, &copy_name)?;
    if format::check(&copy, &copy_name)?.is_none() {
        return Err(Error::NoCopy { file: copy_name, detail: "an SQLite database, but not a Tidemark file" });
    }
    if path.as_ref().exists() {
        back_up(path.as_ref(), kept)?;
    }
    let (mut db, file) = connect(path.as_ref(), OpenOptions::default(), true)?;
    let sql = |error| Error::sqlite(&file, "put the copy back", error);
    private::close(path.as_ref()).map_err(|error| Error::Exposed { file: file.clone(), detail: error.to_string() })?;
    let backup = Backup::new(&copy, &mut db).map_err(sql)?;
    for _ in 0..TRIES {
        match backup.step(-1).map_err(sql)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    Err(Error::Locked { file: file.clone() })
}
