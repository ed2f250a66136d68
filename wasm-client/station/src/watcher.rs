//! The system's word that a station's file was written: by any program, on this machine.
//!
//! It is a hint. There is none where a network drive is written by another machine, where the system watches no more,
//! or where it lost some: so the loop of `tidemark run` looks by itself, too, and this only makes it look sooner.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use thiserror::Error;

use crate::bell::Bell;

/// Why the system gives no word of writes.
#[derive(Debug, Error)]
pub enum Unwatched {
    /// It watches as many files as it may.
    #[error("the system watches as many files as it may")]
    Limit,
    /// The folder that was watched is gone.
    #[error("the folder is gone")]
    Gone,
    /// Its own reason.
    #[error("{0}")]
    System(notify::Error),
}

impl From<notify::Error> for Unwatched {
    fn from(error: notify::Error) -> Self {
        match error.kind {
            notify::ErrorKind::MaxFilesWatch => Self::Limit,
            notify::ErrorKind::PathNotFound | notify::ErrorKind::WatchNotFound => Self::Gone,
            _ => Self::System(error),
        }
    }
}

/// Rings a bell when a file is written, until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    /// Watches as long as it lives.
    _system: RecommendedWatcher,
}

impl Watcher {
    /// Watches a database's file with its journals. `lost` hears, once, that no more word will come; where none comes
    /// from the first there is no watcher either.
    pub fn start(file: &Path, bell: &Bell, lost: impl Fn(&Unwatched) + Send + Clone + 'static) -> Option<Self> {
        Self::try_start(file, bell.clone(), lost.clone()).map_err(|why| lost(&why)).ok()
    }

    fn try_start(file: &Path, bell: Bell, lost: impl Fn(&Unwatched) + Send + 'static) -> Result<Self, Unwatched> {
        // SQLite's journals lie beside the file that a link leads to.
        let file = file.canonicalize().map_err(notify::Error::io)?;
        let (Some(folder), Some(name)) = (file.parent().map(Path::to_owned), file.file_name()) else {
            return Err(Unwatched::Gone);
        };
        let names = ["", "-wal", "-journal"].map(|end| join(name, end));
        let watched = folder.clone();
        let mut lost = Some(lost);
        let mut system = notify::recommended_watcher(move |told: notify::Result<Event>| {
            let why = match told {
                Ok(event) if event.kind.is_remove() && event.paths.contains(&watched) => Unwatched::Gone,
                Ok(event) => {
                    if event.need_rescan() || is_write(event.kind) && is_of(&event, &names) {
                        bell.written();
                    }
                    return;
                }
                Err(error) => error.into(),
            };
            // What was written at last may have gone unsaid.
            bell.written();
            if let Some(lost) = lost.take() {
                lost(&why);
            }
        })?;
        // The folder, for a journal comes and goes.
        system.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(Self { _system: system })
    }
}

fn join(name: &OsStr, end: &str) -> OsString {
    let mut joined = name.to_owned();
    joined.push(end);
    joined
}

/// Whether something was written, as far as the system says: opening and closing, by us too, is nothing to look at.
const fn is_write(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)))
}

fn is_of(event: &Event, names: &[OsString]) -> bool {
    event.paths.iter().any(|path| path.file_name().is_some_and(|name| names.iter().any(|of| of == name)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const LONG_MS: u64 = 60_000;

    fn watch(file: &Path) -> (Option<Watcher>, Bell, Receiver<String>) {
        let (bell, (said, heard)) = (Bell::default(), channel());
        let watcher = Watcher::start(file, &bell, move |why| said.send(why.to_string()).unwrap());
        (watcher, bell, heard)
    }

    fn is_rung(bell: &Bell) -> bool {
        bell.wait(LONG_MS, || bell.is_written());
        bell.take_written()
    }

    #[test]
    fn writes_to_the_file_and_to_its_journals_ring_and_reading_or_another_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kola.db");
        fs::write(&file, "1").unwrap();
        let (_watcher, bell, heard) = watch(&file);
        fs::read(&file).unwrap();
        fs::write(folder.path().join("other.db"), "1").unwrap();
        bell.wait(300, || bell.is_written());
        assert!(!bell.is_written(), "nothing of it is a write to the file");
        for end in ["", "-wal", "-journal"] {
            fs::write(folder.path().join(format!("kola.db{end}")), "2").unwrap();
            assert!(is_rung(&bell), "{end:?}");
            // One write may be said more than once.
            bell.wait(100, || false);
            let _ = bell.take_written();
        }
        assert!(heard.try_recv().is_err());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (there, here) = (folder.path().join("there"), folder.path().join("here.db"));
        fs::create_dir(&there).unwrap();
        fs::write(there.join("kola.db"), "1").unwrap();
        std::os::unix::fs::symlink(there.join("kola.db"), &here).unwrap();
        let (_watcher, bell, _heard) = watch(&here);
        fs::write(there.join("kola.db-wal"), "1").unwrap();
        assert!(is_rung(&bell));
    }

    #[test]
    fn a_file_that_is_not_there_and_a_folder_that_goes_are_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gone/kola.db");
        let (watcher, _, heard) = watch(&file);
        assert!(watcher.is_none());
        heard.try_recv().unwrap();
        fs::create_dir(folder.path().join("gone")).unwrap();
        fs::write(&file, "1").unwrap();
        let (_watcher, bell, heard) = watch(&file);
        fs::remove_dir_all(folder.path().join("gone")).unwrap();
        assert_eq!(heard.recv().unwrap(), "the folder is gone");
        assert!(is_rung(&bell));
        assert!(heard.recv_timeout(std::time::Duration::from_millis(100)).is_err(), "told once");
    }
}
