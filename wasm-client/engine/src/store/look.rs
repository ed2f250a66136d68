//! Opens a station's file only to look at it: nothing is written, neither to the file nor beside it. So a person who
//! watches a station needs no right to write, and leaves no file that the station's own programs could not open.
//!
//! A file in write-ahead mode is the work of three files, and which of them are there says how it can be read:
//!
//! ```text
//! -wal     -shm      read how
//! none     any       nobody has it open: as it lies there (`immutable`); and again, when it was changed meanwhile
//! there    there     with the index that those who have it open share; for reading only (`readonly_shm`) by a user who
//!                    may not write it
//! there    none      a program died, or only two of three files were copied: the index has to be made: that is writing
//! ```

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

use super::Store;
use crate::capture;
use crate::catalog::Catalog;
use crate::connect::{OpenOptions, check_path};
use crate::error::{Error, Result};
use crate::format;
use crate::meta;

/// The number of attempts to open or read a file that others open, write and close meanwhile, with a pause in between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(5);
/// Longer than the step of the clock that files' times are taken from: who writes later than that is seen by it.
const STEP: Duration = Duration::from_millis(12);

/// The way in which a file can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// With SQLite's locks, which need no write permission: a file that is not in write-ahead mode.
    Locked,
    /// With the index that is there.
    Shared,
    /// Without locks, since nobody has it open.
    Still,
    /// Only by making the index.
    Recovered,
}

impl Store {
    /// Opens a station's file only to look at it, and hands it to `read`; calls that again when the file was changed
    /// meanwhile in a way that no lock held off. A file of an older format is brought up to date first, as
    /// [`Store::open`] does it, where it can be written.
    ///
    /// # Errors
    /// See [`Error`]: [`Error::Unreadable`] when this user may not read it or, to read it, something would have to be
    /// written; and what `read` returns.
    pub fn look<T, E: From<Error>>(
        path: impl AsRef<Path>,
        mut read: impl FnMut(&mut Self) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let path = path.as_ref();
        let mut tries = TRIES;
        loop {
            tries -= 1;
            let before = Stamp::of(path);
            let (way, opened) = open(path)?;
            let mut store = match opened {
                Ok(Some(store)) => store,
                Ok(None) => open_older(path)?,
                // Somebody came or went between the look at the three files and their opening.
                Err(_) if tries > 0 && Stamp::of(path) != before => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let found = read(&mut store);
            if way != Way::Still || Stamp::of(path) == before {
                return found;
            }
            if tries == 0 {
                return Err(Error::Locked { file: store.file().to_owned() }.into());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Tells whether every change to the schema's tables is captured: all triggers of ours are there and as they should
    /// be.
    ///
    /// # Errors
    /// When the tables are not the schema's any more; SQLite's.
    pub fn is_captured(&self) -> Result<bool> {
        capture::check_tables(self.connection(), self.file(), self.schema())?;
        capture::is_intact(self.connection(), self.file(), self.schema())
    }
}

/// Opens a file for reading, whoever has it open. `None` inside: it has an older format.
fn open(path: &Path) -> Result<(Way, Result<Option<Store>>)> {
    let options = OpenOptions::default();
    let file = check_path(path, false)?;
    let unreadable = |detail: String| Error::Unreadable { file: file.clone(), detail };
    let header = read_header(path).map_err(|error| {
        unreadable(match error.kind() {
            ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
            _ => error.to_string(),
        })
    })?;
    let way = way_of(path, &header);
    if way == Way::Still {
        std::thread::sleep(STEP);
    }
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let (flags, uri) = match way {
        // For reading and writing if this user may, else SQLite takes it for reading: a transaction that a writer broke
        // off, or that its reader meets in the moment of its end, is then no obstacle. `query_only` keeps everything
        // else from being written.
        Way::Locked => (flags | OpenFlags::SQLITE_OPEN_READ_WRITE, uri(path, "")),
        Way::Shared => {
            // Who may not write the index may not make it either, should it go this moment. Who may shares it as any
            // reader does: SQLite keeps one per process, and a program's own connections write to it.
            let may_write = File::options().write(true).open(beside(path, "-shm")).is_ok();
            let options = if may_write { "" } else { "?readonly_shm=1" };
            (flags | OpenFlags::SQLITE_OPEN_READ_ONLY, uri(path, options))
        }
        Way::Still => (flags | OpenFlags::SQLITE_OPEN_READ_ONLY, uri(path, "?immutable=1")),
        Way::Recovered => (flags | OpenFlags::SQLITE_OPEN_READ_WRITE, uri(path, "")),
    };
    let opened = Connection::open_with_flags(&uri, flags).and_then(|db| {
        db.busy_timeout(Duration::from_millis(options.busy_timeout_ms))?;
        db.pragma_update(None, "query_only", true)?;
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(db)
    });
    let opened = opened.map_err(|error| match (way, error.sqlite_error_code()) {
        (_, Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseBusy)) => {
            Error::sqlite(&file, "read the file", error)
        }
        (Way::Recovered, _) => unreadable(format!(
            "a program that wrote to it ended without closing it, or its -shm file was not copied with it; to read what is in {file}-wal, this user \
             would have to write. Run a command of `tidemark` as the user who owns the file, or look while a program has it open"
        )),
        (Way::Locked, Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)) => unreadable(
            "a transaction was broken off and must be taken back first, for which this user would have to write; run a command of \
             `tidemark` as the user who owns the file"
                .to_owned(),
        ),
        (_, Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)) => {
            unreadable(format!("this user may not read the files {file}-wal and {file}-shm beside it"))
        }
        _ => Error::sqlite(&file, "read the file", error),
    });
    Ok((way, opened.and_then(|db| stored(db, file))))
}

/// `None` when the file has an older format.
fn stored(db: Connection, file: String) -> Result<Option<Store>> {
    match format::check(&db, &file)? {
        None => return Err(Error::NotTidemark { file }),
        Some(found) if found < format::FORMAT => return Ok(None),
        Some(_) => {}
    }
    let catalog = Catalog::read(&db, &file)?;
    // Reads the whole row once, as opening does.
    meta::read(&db, &file)?;
    Ok(Some(Store::new(db, file, catalog)))
}

/// A file of an older format: it is brought up to date, where that can be done.
fn open_older(path: &Path) -> Result<Store> {
    Store::open(path).map_err(|error| match error {
        Error::ReadOnly { file } => Error::Unreadable {
            file,
            detail: "an older Tidemark wrote it, and it has to be brought up to date before it can be read; run a command of `tidemark` as the \
                     user who owns it"
                .to_owned(),
        },
        other => other,
    })
}

/// The first bytes of a file; fewer of a shorter one.
fn read_header(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut header = Vec::new();
    File::open(path)?.take(20).read_to_end(&mut header)?;
    Ok(header)
}

fn way_of(path: &Path, header: &[u8]) -> Way {
    // The versions that read and write it: 2 is write-ahead mode
    // (<https://www.sqlite.org/fileformat2.html#file_format_version_numbers>).
    if header.get(19) != Some(&2) {
        return Way::Locked;
    }
    let wal = std::fs::metadata(beside(path, "-wal")).ok().map(|wal| wal.len());
    let has_index = beside(path, "-shm").exists();
    match (wal, has_index) {
        (None, _) | (Some(0), false) => Way::Still,
        (Some(_), true) => Way::Shared,
        (Some(_), false) => Way::Recovered,
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The marks of a file that change when it is written, or opened by somebody who will write.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    file: Option<(u64, Option<SystemTime>)>,
    wal_bytes: Option<u64>,
    has_index: bool,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let data = |metadata: Metadata| (metadata.len(), metadata.modified().ok());
        Self {
            file: std::fs::metadata(path).ok().map(data),
            wal_bytes: std::fs::metadata(beside(path, "-wal")).ok().map(|wal| wal.len()),
            has_index: beside(path, "-shm").exists(),
        }
    }
}

/// A path as SQLite's URIs name it: every byte but plain ones is escaped.
fn uri(path: &Path, options: &str) -> String {
    let mut uri = "file:".to_owned();
    for &byte in bytes_of(path.as_os_str()).as_ref() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            _ => {
                // Writing to a String does not fail.
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri.push_str(options);
    uri
}

#[cfg(unix)]
fn bytes_of(path: &OsStr) -> std::borrow::Cow<'_, [u8]> {
    std::os::unix::ffi::OsStrExt::as_bytes(path).into()
}

#[cfg(not(unix))]
fn bytes_of(path: &OsStr) -> std::borrow::Cow<'_, [u8]> {
    let text = path.to_string_lossy();
    if cfg!(windows) {
        // With backslashes, which are escaped, no path begins with the two slashes that would make its first part the
        // name of a host (`\\server\share\…`); and `\\?\C:\…` knows no others.
        return text.replace('/', "\\").into_bytes().into();
    }
    text.into_owned().into_bytes().into()
}
