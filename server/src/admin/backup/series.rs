//! Backups every so many hours: each restored and compared before it counts, old ones taken away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tidemark_core::amount::{bytes, count, count_is};
use tidemark_core::rotation::{Due, FAILED, Series, hours_ms};

use super::{Made, check, extension, part_of, publish, record, write};
use crate::admin::subject;
use crate::clock::{Clock as _, SystemClock, steady_ms};
use crate::database::DatabaseUrl;
use crate::live::Live;

/// A series of backups.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The database that is backed up.
    pub database: DatabaseUrl,
    /// The folder of the backups.
    pub folder: PathBuf,
    /// Hours between two.
    pub every_hours: f64,
    /// So many stay.
    pub keep: usize,
}

/// The series of a database's backups.
#[must_use]
pub fn series(database: &DatabaseUrl) -> Series {
    Series::new(&subject(database), extension(database))
}

/// Makes sure that there is a folder for backups.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {} for backups", folder.display()))
}

fn names(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

impl Schedule {
    fn every_ms(&self) -> i64 {
        hours_ms(self.every_hours)
    }

    /// Makes one backup, restores it to check it, and takes away what is too many. One that does not pass is kept
    /// apart, and nothing is taken away then.
    ///
    /// # Errors
    /// When it cannot be made, or does not pass.
    pub async fn make(&self) -> anyhow::Result<Made> {
        let series = series(&self.database);
        make_folder(&self.folder)?;
        let to = self.folder.join(series.name(SystemClock.now_ms()));
        if to.exists() {
            bail!("{} exists already; a backup was made within this second", to.display());
        }
        let part = part_of(&to);
        let manifest = write(&self.database, &part).await?;
        let checked = match check(&self.database, &part, &manifest, true).await {
            Ok(checked) => checked,
            Err(error) => {
                let mut failed = to.into_os_string();
                failed.push(FAILED);
                let failed = PathBuf::from(failed);
                std::fs::rename(&part, &failed).with_context(|| format!("cannot set {} aside", part.display()))?;
                return Err(
                    error.context(format!("the backup did not pass its check and is kept as {}", failed.display()))
                );
            }
        };
        publish(&part, &to)?;
        let bytes = std::fs::metadata(&to)?.len();
        let names = names(&self.folder)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in series.surplus(&names, self.keep, SystemClock.now_ms()) {
            let path = self.folder.join(name);
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!("{} was taken away: {} kept", path.display(), count_is(self.keep as u64, "backup"))
                }
                Err(error) => tracing::warn!("{} cannot be taken away: {error}", path.display()),
            }
        }
        Ok(Made { path: to, bytes, rows: manifest.rows(), checked })
    }

    /// Makes backups for ever, the first one when it is due. What goes wrong is logged, and tried again.
    pub async fn run(&self) {
        let mut due = Due::default();
        loop {
            match self.wait(&mut due) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => self.make_one(&mut due, &|_| {}).await,
            }
        }
    }

    /// Makes the backups that are wanted, for as long as they are. One that is being made is brought to its end; `told`
    /// hears whether each was made and passed its check.
    pub async fn follow(wanted: Live<Option<Self>>, told: &(dyn Fn(bool) + Sync)) {
        let (mut due, mut followed) = (Due::default(), None);
        loop {
            let schedule = wanted.get();
            let pace = schedule.as_ref().map(Self::pace);
            if followed != pace {
                (due, followed) = (Due::default(), pace.clone());
            }
            let wait = match &schedule {
                Some(schedule) => match schedule.wait(&mut due) {
                    Some(wait) => Some(wait),
                    None => {
                        schedule.make_one(&mut due, told).await;
                        continue;
                    }
                },
                None => None,
            };
            wanted.wait(|now| if now.as_ref().map(Self::pace) == pace { wait } else { Some(Duration::ZERO) }).await;
        }
    }

    /// What says when the next is due.
    fn pace(&self) -> (PathBuf, i64) {
        (self.folder.clone(), self.every_ms())
    }

    /// How long to wait, not long at once; `None`: one is due.
    fn wait(&self, due: &mut Due) -> Option<Duration> {
        let by_names = || {
            let (now_ms, names) = (SystemClock.now_ms(), names(&self.folder).unwrap_or_default());
            let due_ms = series(&self.database).due_ms(names.iter().map(String::as_str), self.every_ms(), now_ms);
            due_ms.saturating_sub(now_ms)
        };
        due.wait_ms(steady_ms(), self.every_ms(), by_names).map(Duration::from_millis)
    }

    /// Makes one, and logs it.
    async fn make_one(&self, due: &mut Due, told: &(dyn Fn(bool) + Sync)) {
        let began_ms = steady_ms();
        let made = self.make().await;
        told(made.is_ok());
        due.tried(if made.is_ok() { began_ms } else { steady_ms() }, self.every_ms(), made.is_ok());
        match made {
            Ok(made) => {
                record(&self.database, &made).await;
                tracing::info!("{}", made.shown());
            }
            Err(error) => tracing::error!("backup of {}: {error:#}", self.database),
        }
    }
}

impl Made {
    /// One line for people.
    #[must_use]
    pub fn shown(&self) -> String {
        let checked = match &self.checked {
            super::Checked::Restored => "restored and compared, every row came back".to_owned(),
            super::Checked::Read(why) => format!("read to its end, every row is in it ({why})"),
        };
        let (rows, size) = (count(self.rows, "row"), bytes(self.bytes));
        format!("backup {}: {rows}, {size}; {checked}", self.path.display())
    }
}
