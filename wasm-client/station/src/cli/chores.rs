//! What `tidemark run` does beside pushing: copies of the file, and rows that go because upstream holds them. Each has
//! a thread of its own, with the file open for itself as another program would have it. They end with the process,
//! which may be killed at any moment. One that a fault of this program ends is told of and begun again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_client::prune::Wish;
use tidemark_core::restart::Pauses;
use tidemark_core::rotation::{Due, FOLDER, KEEP, hours_ms, parse_hours, retry_ms};

use super::backup::series::Schedule;
use super::backup::{keep, uuid_of};
use super::fatal::Fatal;
use super::prune::{prune, span_ms};
use super::show;
use super::trust::TrustArgs;
use crate::clock::{now_ms, sleep_ms, steady_ms};

/// How often who waits looks whether its time is over: a machine that slept wakes no waiter.
const LOOK_MS: u64 = 10_000;

/// What is wanted beside pushing.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(next_help_heading = "Copies and old rows")]
pub(super) struct ChoreArgs {
    /// Copy the file every so many hours while it pushes; each copy is put back into a scratch file to check it. None
    /// without it.
    #[arg(long, value_name = "HOURS", value_parser = parse_hours)]
    backup_every: Option<f64>,
    /// How many of these copies stay.
    #[arg(long, value_name = "N", default_value_t = KEEP, value_parser = keep)]
    backup_keep: usize,
    /// The folder they go to.
    #[arg(long, value_name = "DIR", default_value = FOLDER, env = "TIDEMARK_BACKUP_DIR")]
    backup_dir: PathBuf,
    /// Remove rows whose time lies further back than this and that upstream holds: 90d, 12w, 36h or 2y. None go without
    /// it.
    #[arg(long, value_name = "SPAN", env = "TIDEMARK_PRUNE_OLDER_THAN", value_parser = span_ms)]
    prune_older_than: Option<i64>,
    /// Hours between two such removals; the first is when it begins.
    #[arg(long, value_name = "HOURS", default_value_t = 24.0, value_parser = parse_hours)]
    prune_every: f64,
}

/// What is wanted, and whom to trust for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub args: ChoreArgs,
    pub trust: TrustArgs,
}

/// The wishes of now, and word of others.
struct Wishes {
    now: Mutex<Wanted>,
    changed: Condvar,
}

impl Wishes {
    fn new(wanted: Wanted) -> Self {
        Self { now: Mutex::new(wanted), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, wanted: Wanted) {
        *self.lock() = wanted;
        self.changed.notify_all();
    }

    fn get(&self) -> Wanted {
        self.lock().clone()
    }

    /// Waits, but not past other wishes.
    fn wait(&self, ms: u64, before: &Wanted) {
        let until_ms = steady_ms().saturating_add(ms);
        let mut now = self.lock();
        while *now == *before {
            let left_ms = until_ms.saturating_sub(steady_ms());
            if left_ms == 0 {
                return;
            }
            let look = Duration::from_millis(left_ms.min(LOOK_MS));
            now = self.changed.wait_timeout(now, look).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The chores of a process.
pub(super) struct Chores {
    wishes: Arc<Wishes>,
}

impl Chores {
    /// Begins to do them.
    pub(super) fn start(db: &Path, wanted: Wanted) -> Self {
        let wishes = Arc::new(Wishes::new(wanted));
        let (copied, pruned) = ((db.to_owned(), Arc::clone(&wishes)), (db.to_owned(), Arc::clone(&wishes)));
        keep_doing("copying the file", move || make_copies(&copied.0, &copied.1));
        keep_doing("removing old rows", move || remove_old(&pruned.0, &pruned.1));
        Self { wishes }
    }

    /// Others are wanted from now on; one that is being done is brought to its end.
    pub(super) fn set(&self, wanted: Wanted) {
        self.wishes.set(wanted);
    }
}

fn tell(text: &str) {
    show::error(&format!("{} {}", show::time(now_ms()), show::one_line(text)));
}

/// Does a chore in a thread of its own. One that panics is begun again, after a pause that grows.
fn keep_doing(what: &'static str, chore: impl Fn() + Send + 'static) {
    std::thread::spawn(move || supervised(what, &chore, &tell, &|ms| sleep_ms(ms, || false)));
}

/// Does a chore until it ends by itself.
fn supervised(what: &str, chore: &dyn Fn(), tell: &dyn Fn(&str), pause: &dyn Fn(u64)) {
    let mut pauses = Pauses::default();
    loop {
        let began_ms = steady_ms();
        let Err(panic) = catch_unwind(AssertUnwindSafe(chore)) else { return };
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
        let pause_ms = pauses.after(steady_ms().saturating_sub(began_ms));
        tell(&format!("a panic, which is a fault of this program, while {what}: {words}; it goes on in {pause_ms} ms"));
        pause(pause_ms);
    }
}

fn make_copies(db: &Path, wishes: &Wishes) {
    let (mut due, mut told) = (Due::default(), None);
    loop {
        let now = wishes.get();
        let said = (now.args.backup_every, now.args.backup_keep, now.args.backup_dir.clone());
        let Some(every_hours) = now.args.backup_every else {
            told = None;
            wishes.wait(60_000, &now);
            continue;
        };
        if told.as_ref() != Some(&said) {
            let folder = now.args.backup_dir.display();
            tell(&format!("copies: every {every_hours} h into {folder}, {} stay", now.args.backup_keep));
            (told, due) = (Some(said), Due::default());
        }
        let schedule = uuid_of(db)
            .and_then(|uuid| Schedule::new(db, &uuid, &now.args.backup_dir, every_hours, now.args.backup_keep));
        match schedule {
            Ok(schedule) => wishes.wait(schedule.step(&mut due, &tell), &now),
            Err(error) => {
                tell(&format!("no copy is made: {}; trying again", error.message));
                wishes.wait(retry_ms(hours_ms(every_hours)).unsigned_abs(), &now);
            }
        }
    }
}

fn remove_old(db: &Path, wishes: &Wishes) {
    loop {
        let now = wishes.get();
        let Some(older_than_ms) = now.args.prune_older_than else {
            wishes.wait(60_000, &now);
            continue;
        };
        let every_ms = hours_ms(now.args.prune_every);
        let before_us = now_ms().saturating_sub(older_than_ms).saturating_mul(1000);
        let wait_ms = match prune_once(db, &Wish { before_us, table: None, dry_run: false }, &now.trust) {
            Ok(rows) => {
                tell(&format!("pruned {}; upstream has them", show::count(rows, "row")));
                every_ms
            }
            Err(error) => {
                tell(&format!("nothing was pruned: {}; trying again", error.message));
                retry_ms(every_ms)
            }
        };
        wishes.wait(wait_ms.unsigned_abs(), &now);
    }
}

/// Removes old rows as `tidemark prune` does; how many went.
fn prune_once(db: &Path, wish: &Wish, trust: &TrustArgs) -> Result<u64, Fatal> {
    Ok(prune(db, wish, trust)?.iter().map(|report| report.pruned).sum())
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn a_chore_that_panics_is_told_of_and_goes_on_after_a_pause_that_grows() {
        let (runs, told, paused) = (Cell::new(0), RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let chore = || {
            runs.set(runs.get() + 1);
            assert!(runs.get() > 2, "planted, the {}. time", runs.get());
        };
        let tell = |line: &str| told.borrow_mut().push(line.to_owned());
        supervised("copying the file", &chore, &tell, &|ms| paused.borrow_mut().push(ms));
        assert_eq!((runs.get(), paused.into_inner()), (3, vec![100, 200]));
        let told = told.into_inner();
        assert!(
            told.len() == 2 && told[1].contains("while copying the file: planted, the 2. time; it goes on"),
            "{told:?}"
        );
    }

    #[test]
    fn other_wishes_end_a_wait_at_once() {
        let wanted = |hours| Wanted {
            args: ChoreArgs {
                backup_every: hours,
                backup_keep: KEEP,
                backup_dir: PathBuf::from(FOLDER),
                prune_older_than: None,
                prune_every: 24.0,
            },
            trust: TrustArgs::default(),
        };
        let (wishes, began_ms) = (Arc::new(Wishes::new(wanted(None))), steady_ms());
        let waiting = Arc::clone(&wishes);
        let thread = std::thread::spawn(move || waiting.wait(600_000, &wanted(None)));
        sleep_ms(20, || false);
        assert!(!thread.is_finished());
        wishes.set(wanted(Some(1.0)));
        thread.join().unwrap();
        assert!(steady_ms() - began_ms < LOOK_MS / 2);
        // Those that are so already are not waited past.
        wishes.wait(600_000, &wanted(None));
    }

    #[test]
    fn the_clock_of_waits_goes_on() {
        let began_ms = steady_ms();
        sleep_ms(20, || false);
        assert!((15..60_000).contains(&(steady_ms() - began_ms)));
    }
}
