//! The log of a service, which has no console: a file that is put aside when it is full, once. So there are at most two
//! files of that size.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A log with a largest size.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    bytes_max: u64,
    /// `None` while it cannot be opened: each line tries again.
    file: Option<(File, u64)>,
}

impl Log {
    /// Goes on with the file that is there, or makes one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), bytes_max, file: Some(append(path)?) })
    }

    /// Writes one line, at once. A disk that is full or gone costs lines, and nothing else.
    pub(super) fn line(&mut self, text: &str) {
        let line = if cfg!(windows) { format!("{text}\r\n") } else { format!("{text}\n") };
        if self.file.as_ref().is_some_and(|(_, bytes)| *bytes > 0 && bytes + line.len() as u64 > self.bytes_max) {
            self.put_aside();
        }
        if self.file.is_none() {
            self.file = append(&self.path).ok();
        }
        let Some((file, bytes)) = &mut self.file else { return };
        match file.write_all(line.as_bytes()) {
            Ok(()) => *bytes += line.len() as u64,
            Err(_) => self.file = None,
        }
    }

    /// Closed before it is renamed. Where that fails, since a program has one of both files open, it is begun anew
    /// rather than to grow.
    fn put_aside(&mut self) {
        self.file = None;
        let mut old = self.path.as_os_str().to_owned();
        old.push(".1");
        if std::fs::rename(&self.path, &old).is_err() {
            self.file = File::create(&self.path).ok().map(|file| (file, 0));
        }
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().append(true).create(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_put_aside_once_and_the_newest_lines_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("station.service.log");
        for number in 0..1000 {
            // Every tenth time by a process of its own, which goes on where the last one was.
            let mut log = Log::open(&path, 4096).unwrap();
            for part in 0..10 {
                log.line(&format!("line {number}.{part}"));
            }
        }
        let old = folder.path().join("station.service.log.1");
        let (now, before) = (std::fs::read_to_string(&path).unwrap(), std::fs::read_to_string(&old).unwrap());
        assert!(now.len() <= 4096 && before.len() <= 4096, "{} and {} bytes", now.len(), before.len());
        assert!(before.len() > 4000, "{} bytes", before.len());
        assert_eq!(now.lines().next_back(), Some("line 999.9"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let both: Vec<&str> = before.lines().chain(now.lines()).collect();
        let last = (0..both.len()).map(|at| 10_000 - both.len() + at);
        assert!(both.iter().zip(last).all(|(line, number)| **line == format!("line {}.{}", number / 10, number % 10)));
    }

    #[test]
    fn where_the_old_log_cannot_be_replaced_the_new_one_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::create_dir(folder.path().join("log.1")).unwrap();
        std::fs::write(folder.path().join("log.1/kept"), "").unwrap();
        let mut log = Log::open(&path, 1024).unwrap();
        for number in 0..1000 {
            log.line(&format!("line {number}"));
        }
        let now = std::fs::read_to_string(&path).unwrap();
        assert!(now.len() <= 1024 && now.ends_with("line 999\n"), "{now}");
    }
}
