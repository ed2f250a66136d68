//! A series of backups in one folder: what they are called, which of them go, when the next one is due. Pure: the names
//! in the folder come in.
//!
//! A backup carries its name only once it was checked. While it is written, and when the check failed, it has another
//! suffix, so what is counted and kept here is always one that restores.
//!
//! Names have the time of day, by which a process that begins knows what was made before it. From then on it counts by
//! a clock that nobody sets ([`Due`]): a time of day that jumps neither stops backups nor hurries them.

use crate::timestamp;

/// The suffix of a backup that is being written or checked.
pub const PART: &str = ".part";
/// The suffix of a backup that did not pass its check.
pub const FAILED: &str = ".failed";
/// The hours between backups unless told otherwise: `database_backup_interval`.
pub const INTERVAL_HOURS: f64 = 24.0;
/// The number that is kept unless told otherwise.
pub const KEEP: usize = 7;
/// The folder that they go to unless told otherwise: `database_backup_path`.
pub const FOLDER: &str = "backups";

/// The clock is looked at so often: a machine that slept makes up for it at once.
pub const LOOK_MS: i64 = 30_000;

/// The wait until a backup that failed is tried again, unless the next one is due earlier.
const RETRY_MS: i64 = 10 * 60_000;
/// Longest part of a name that is taken from what is backed up.
const SUBJECT_BYTES_MAX: usize = 64;

/// Reads a time span in hours, up to ten years.
///
/// # Errors
/// Says what to write instead.
pub fn parse_hours(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(hours) if hours > 0.0 && hours <= 87_600.0 => Ok(hours),
        _ => Err(format!("write a number of hours above 0, {INTERVAL_HOURS} for example")),
    }
}

/// Hours in milliseconds.
#[must_use]
pub const fn hours_ms(hours: f64) -> i64 {
    (hours * 3_600_000.0) as i64
}

/// The wait until a backup that failed is tried again, where one is made every `every_ms`.
#[must_use]
pub fn retry_ms(every_ms: i64) -> i64 {
    RETRY_MS.min(every_ms).max(1000)
}

/// When the next backup of a process is due. Times are milliseconds of a clock that nobody sets, since any moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Due(Option<u64>);

impl Due {
    /// How long to wait for the next, but no longer than [`LOOK_MS`]; `None`: it is due. The first is due after
    /// `first_ms`, which is asked once: what the names in the folder say.
    pub fn wait_ms(&mut self, steady_ms: u64, every_ms: i64, first_ms: impl FnOnce() -> i64) -> Option<u64> {
        let due_ms =
            *self.0.get_or_insert_with(|| steady_ms.saturating_add_signed(first_ms().clamp(0, every_ms.max(0))));
        (due_ms > steady_ms).then(|| (due_ms - steady_ms).min(LOOK_MS.unsigned_abs()))
    }

    /// One was begun then, and made or not.
    pub fn tried(&mut self, began_ms: u64, every_ms: i64, is_made: bool) {
        let wait_ms = if is_made { every_ms } else { retry_ms(every_ms) };
        self.0 = Some(began_ms.saturating_add_signed(wait_ms));
    }
}

/// The backups of one database: `SUBJECT-YYYYMMDDTHHMMSSZ.EXTENSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    subject: String,
    extension: &'static str,
}

impl Series {
    /// The series of a database of this name; what a file's name cannot hold everywhere becomes `_`.
    #[must_use]
    pub fn new(subject: &str, extension: &'static str) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
        let subject: String = subject.chars().map(plain).take(SUBJECT_BYTES_MAX).collect();
        Self { subject: if subject.is_empty() { "database".to_owned() } else { subject }, extension }
    }

    /// The name of the backup of a moment, milliseconds since 1970 UTC.
    ///
    /// ```
    /// use tidemark_core::rotation::Series;
    /// let series = Series::new("plant 7", "db");
    /// assert_eq!(series.name(1_500), "plant_7-19700101T000001Z.db");
    /// assert_eq!(series.time_of_ms("plant_7-19700101T000001Z.db"), Some(1_000));
    /// ```
    #[must_use]
    pub fn name(&self, at_ms: i64) -> String {
        let text = timestamp::format(at_ms.saturating_mul(1000));
        let digits: String = text[..19].chars().filter(char::is_ascii_digit).collect();
        format!("{}-{}T{}Z.{}", self.subject, &digits[..8], &digits[8..], self.extension)
    }

    /// The time at which the backup of this name was made, to the second; `None` for every name this series does not
    /// give.
    #[must_use]
    pub fn time_of_ms(&self, name: &str) -> Option<i64> {
        let stamp = name.strip_prefix(&self.subject)?.strip_prefix('-')?;
        let stamp = stamp.strip_suffix(self.extension)?.strip_suffix("Z.")?;
        let (day, time) = stamp.split_once('T')?;
        if day.len() != 8 || time.len() != 6 || !stamp.is_ascii() {
            return None;
        }
        let text = format!("{}-{}-{} {}:{}:{}", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..4], &time[4..]);
        timestamp::parse(text.as_bytes()).ok().map(|us| us / 1000)
    }

    /// Those of these names that go so that the `keep` newest backups stay, at least one; and of those that failed
    /// their check all but the newest. Names of others are never among them. What claims to be of the future, by a
    /// clock that was wrong, counts as the oldest.
    #[must_use]
    pub fn surplus<'n>(&self, names: &[&'n str], keep: usize, now_ms: i64) -> Vec<&'n str> {
        let oldest = |suffix: &str, keep: usize| {
            let made = names.iter().filter_map(|name| {
                let at_ms = self.time_of_ms(name.strip_suffix(suffix)?)?;
                Some((at_ms <= now_ms, at_ms, *name))
            });
            let mut made: Vec<(bool, i64, &'n str)> = made.collect();
            made.sort_unstable();
            made.truncate(made.len().saturating_sub(keep.max(1)));
            made.into_iter().map(|(_, _, name)| name)
        };
        // One that is two days old and still not whole is of a process that was killed.
        let left = names.iter().copied().filter(|name| {
            let made = name.strip_suffix(PART).and_then(|name| self.time_of_ms(name));
            made.is_some_and(|at_ms| at_ms < now_ms.saturating_sub(2 * 86_400_000))
        });
        oldest("", keep).chain(oldest(FAILED, 1)).chain(left).collect()
    }

    /// The time at which the next backup is due: `every_ms` after the newest that is not of the future; at once when
    /// there is none.
    pub fn due_ms<'n>(&self, names: impl IntoIterator<Item = &'n str>, every_ms: i64, now_ms: i64) -> i64 {
        let made = names.into_iter().filter_map(|name| self.time_of_ms(name)).filter(|&at_ms| at_ms <= now_ms);
        made.max().map_or(now_ms, |at_ms| at_ms.saturating_add(every_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn only_names_of_the_series_are_its_own() {
        let series = Series::new("hq", "dump");
        let made = series.name(1_764_124_435_123);
        assert_eq!(made, "hq-20251126T023355Z.dump");
        assert_eq!(series.time_of_ms(&made), Some(1_764_124_435_000));
        for other in [
            "hq-20251126T023355Z.db",
            "hq-20251126T023355Z.dump.part",
            "hq-20251126T023355Z.dump.failed",
            "hq2-20251126T023355Z.dump",
            "hq-20251326T023355Z.dump",
            "hq-2025112T0233555Z.dump",
            "hq-20251126T02335\u{e9}Z.dump",
            "hq-before-the-move.dump",
            "hq.dump",
            "",
        ] {
            assert_eq!(series.time_of_ms(other), None, "{other}");
        }
    }

    #[test]
    fn the_newest_stay_and_nothing_of_others_goes() {
        let series = Series::new("hq", "dump");
        let names: Vec<String> = (0..5).map(|day| series.name(day * DAY_MS)).collect();
        let failed: Vec<String> = (0..3).map(|day| series.name(day * DAY_MS) + FAILED).collect();
        let mut all: Vec<&str> = names.iter().chain(&failed).map(String::as_str).rev().collect();
        all.extend(["hq.dump", "mine.txt", "hq-19700109T000000Z.dump.part", "mine-19700101T000000Z.dump.part"]);
        let gone = |keep| series.surplus(&all, keep, 9 * DAY_MS);
        assert_eq!(gone(3), [&names[0], &names[1], &failed[0], &failed[1]]);
        // Never all of them.
        assert_eq!(gone(0), [&names[0], &names[1], &names[2], &names[3], &failed[0], &failed[1]]);
        assert_eq!(gone(9), [&failed[0], &failed[1]]);
        let left = ["hq-19700101T000000Z.dump.part"];
        assert_eq!(series.surplus(&left, 3, 9 * DAY_MS), left);
        // Two days of a clock that was ahead push no backup of today out.
        assert_eq!(series.surplus(&all, 2, 2 * DAY_MS), [&names[3], &names[4], &names[0], &failed[0], &failed[1]]);
    }

    #[test]
    fn backups_go_on_at_their_pace_whatever_becomes_of_the_time_of_day() {
        let series = Series::new("hq", "dump");
        let mut due = Due::default();
        // The process begins half a day after a backup: what the names say counts once.
        let made = series.name(10 * DAY_MS);
        let first = |now_ms: i64| series.due_ms([made.as_str()], DAY_MS, now_ms) - now_ms;
        assert_eq!(due.wait_ms(0, DAY_MS, || first(10 * DAY_MS + DAY_MS / 2)), Some(LOOK_MS as u64));
        let never = || panic!("the time of day is asked once");
        let half = DAY_MS as u64 / 2;
        assert_eq!(due.wait_ms(half - 5, DAY_MS, never), Some(5));
        assert_eq!(due.wait_ms(half, DAY_MS, never), None);
        // One that fails is tried again in ten minutes, one that is made is followed a day later.
        due.tried(half, DAY_MS, false);
        assert_eq!(due.wait_ms(half + 599_999, DAY_MS, never), Some(1));
        assert_eq!(due.wait_ms(half + 600_000, DAY_MS, never), None);
        due.tried(half + 600_000, DAY_MS, true);
        assert_eq!(due.wait_ms(3 * half + 599_999, DAY_MS, never), Some(1));
        // A clock that is years behind, or ahead, makes the first wait a day at most, and none at least.
        assert_eq!(Due::default().wait_ms(7, DAY_MS, || 400 * DAY_MS), Some(LOOK_MS as u64));
        let mut late = Due::default();
        late.wait_ms(7, DAY_MS, || 400 * DAY_MS);
        assert_eq!(late.wait_ms(7 + DAY_MS as u64, DAY_MS, never), None);
        assert_eq!(Due::default().wait_ms(7, DAY_MS, || -400 * DAY_MS), None);
    }

    #[test]
    fn a_restart_makes_no_backup_before_its_time() {
        let series = Series::new("hq", "dump");
        let made = series.name(DAY_MS);
        assert_eq!(series.due_ms([made.as_str(), "x"], 3600, DAY_MS + 1), DAY_MS + 3600);
        assert_eq!(series.due_ms(["x"], 3600, DAY_MS), DAY_MS);
        assert_eq!(series.due_ms([made.as_str()], 3600, 5), 5);
        let ahead = series.name(9 * DAY_MS);
        assert_eq!(series.due_ms([made.as_str(), &ahead], 3600, DAY_MS + 1), DAY_MS + 3600);
    }
}
