//! Copies of a station's file every so many hours: each put back to check it before it counts, old ones taken away.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use tidemark_client::{Store, backup};
use tidemark_core::rotation::{Due, FAILED, PART, Series, hours_ms};

use crate::bell::Bell;
use crate::cli::fatal::Fatal;
use crate::cli::{file, show};
use crate::clock::{now_ms, steady_ms};
use crate::ending;

/// A series of copies.
pub(in crate::cli) struct Schedule {
    db: PathBuf,
    series: Series,
    folder: PathBuf,
    every_ms: i64,
    keep: usize,
}

impl Schedule {
    /// The copies of a station's file. Stations may share a folder: the name holds the beginning of the uuid.
    pub(in crate::cli) fn new(
        db: &Path,
        uuid: &str,
        folder: &Path,
        every_hours: f64,
        keep: usize,
    ) -> Result<Self, Fatal> {
        std::fs::create_dir_all(folder)
            .map_err(|error| Fatal::new(format!("{}: cannot make the folder for copies: {error}", folder.display())))?;
        let stem = db.file_stem().unwrap_or_default().to_string_lossy();
        let series = Series::new(&format!("{stem}-{}", uuid.get(..8).unwrap_or(uuid)), "db");
        let every_ms = hours_ms(every_hours);
        Ok(Self { db: db.to_owned(), series, folder: folder.to_owned(), every_ms, keep })
    }

    fn names(&self) -> Result<Vec<String>, Fatal> {
        let read = std::fs::read_dir(&self.folder)
            .map_err(|error| Fatal::new(format!("{}: cannot read the folder: {error}", self.folder.display())))?;
        Ok(read.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }

    /// Makes one copy, puts it back into a scratch file, and takes away what is too many; returns where it is, and its
    /// rows. One that cannot be put back is kept apart, and nothing is taken away then.
    pub(super) fn make(&self) -> Result<(PathBuf, u64), Fatal> {
        let to = self.folder.join(self.series.name(now_ms()));
        let with = |suffix: &str| {
            let mut name = to.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        if to.exists() {
            return Err(Fatal::new(format!("{}: exists already; a copy was made within this second", to.display())));
        }
        let part = with(PART);
        let unwritable = |error| Fatal::new(format!("{}: cannot write the copy: {error}", to.display()));
        if part.exists() {
            std::fs::remove_file(&part).map_err(unwritable)?;
        }
        backup::back_up(&self.db, &part)?;
        let rows = match check(&part) {
            Ok(rows) => rows,
            Err(error) => {
                let failed = with(FAILED);
                std::fs::rename(&part, &failed).map_err(unwritable)?;
                let message = error.message;
                return Err(Fatal::new(format!(
                    "the copy cannot be put back and is kept as {}: {message}",
                    failed.display()
                )));
            }
        };
        std::fs::rename(&part, &to).map_err(unwritable)?;
        file::sync_folder(&self.folder).map_err(unwritable)?;
        let names = self.names()?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in self.series.surplus(&names, self.keep, now_ms()) {
            let path = self.folder.join(name);
            if let Err(error) = std::fs::remove_file(&path) {
                show::error(&format!("tidemark: {}: cannot take it away: {error}", path.display()));
            }
        }
        Ok((to, rows))
    }

    /// Makes copies until SIGTERM or SIGINT, the first one when it is due. What goes wrong is told, and tried again.
    pub(super) fn run(&self) -> Result<(), Fatal> {
        let bell = Bell::default();
        let end = ending::listen(&bell).map_err(|error| Fatal::new(format!("cannot listen for signals: {error}")))?;
        let ending = || end.load(Ordering::Relaxed);
        let tell = |text: &str| show::error(&format!("{} {}", show::time(now_ms()), show::one_line(text)));
        let every = self.every_ms as f64 / 3_600_000.0;
        tell(&format!(
            "copies of {}: every {every} h into {}, {} stay",
            self.db.display(),
            self.folder.display(),
            self.keep
        ));
        let mut due = Due::default();
        while !ending() {
            bell.wait(self.step(&mut due, &tell), ending);
        }
        tell("ended");
        Ok(())
    }

    /// Makes a copy if one is due; how long to wait then, in milliseconds.
    pub(in crate::cli) fn step(&self, due: &mut Due, tell: &dyn Fn(&str)) -> u64 {
        let by_names = || {
            let (now, names) = (now_ms(), self.names().unwrap_or_default());
            self.series.due_ms(names.iter().map(String::as_str), self.every_ms, now).saturating_sub(now)
        };
        let began_ms = steady_ms();
        if let Some(wait_ms) = due.wait_ms(began_ms, self.every_ms, by_names) {
            return wait_ms;
        }
        let made = self.make();
        due.tried(if made.is_ok() { began_ms } else { steady_ms() }, self.every_ms, made.is_ok());
        match made {
            Ok((to, rows)) => {
                tell(&format!("copied to {}, put back to check it: {}", to.display(), show::count(rows, "row")));
            }
            Err(error) => tell(&format!("{}; trying again", error.message)),
        }
        0
    }
}

/// Puts a copy back into a scratch file and opens that as a station's; returns its rows.
fn check(copy: &Path) -> Result<u64, Fatal> {
    let folder = tempfile::tempdir().map_err(|error| Fatal::new(format!("no room to check the copy: {error}")))?;
    let scratch = folder.path().join("check.db");
    backup::restore(copy, &scratch, folder.path().join("kept.db"))?;
    Ok(Store::open(&scratch)?.row_counts()?.iter().map(|(_, rows)| *rows).sum())
}
