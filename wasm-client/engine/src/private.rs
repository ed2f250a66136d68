//! Keeps a station's file to its owner. It holds the token, and so do its copies, its journal, and its write-ahead log.
//!
//! SQLite gives a new file the mode 0644, and the files beside it the mode of the file. So a file is made here, empty,
//! before SQLite opens it.

use std::io;
use std::path::Path;

/// Makes a new, empty file that only its owner can read and write, from the beginning. One that is there is left as it
/// is.
///
/// # Errors
/// When it cannot be made.
pub fn make(path: &Path) -> io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Takes a file away from everybody but its owner, with what SQLite has beside it; a group that may write it keeps
/// that, since somebody meant it so. Where there are no such modes, or nothing is to be taken away, nothing happens.
///
/// # Errors
/// When its mode cannot be read, or changed while everybody can read it.
pub fn close(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let mode = match mode(path) {
            Ok(mode) => mode,
            // A database that is no file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let closed = if mode & 0o020 == 0 { mode & !0o077 } else { mode & !0o007 };
        if closed != mode {
            match set_mode(path, closed) {
                // Another's file, which the group may use.
                Err(error) if mode & 0o007 != 0 => return Err(error),
                _ => {}
            }
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            let mut beside = path.as_os_str().to_owned();
            beside.push(suffix);
            match set_mode(Path::new(&beside), closed) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && mode & 0o007 != 0 => return Err(error),
                _ => {}
            }
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// A file's permission bits; `None` where there are none.
#[must_use]
pub fn mode_of(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        mode(path).ok()
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}
