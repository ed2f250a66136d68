//! A station's disk: SQLite's databases in memory, which survive the processes that use them, but not a power cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};

/// Numbers the databases of this operating system process: their names must differ.
static NAMES: AtomicU64 = AtomicU64::new(0);

/// A copy of a whole file.
pub struct Image(Connection);

/// What a process's connection does when it commits.
#[derive(Debug, Clone, Default)]
pub struct Commits {
    /// Set by every commit.
    pub done: Arc<AtomicBool>,
    /// The next commit fails.
    pub refuse: Arc<AtomicBool>,
}

/// A disk with one file.
pub struct Disk {
    /// Keeps the database alive while nobody uses it.
    keeper: Connection,
    name: String,
    now_ms: Arc<AtomicI64>,
    full: bool,
}

fn open(name: &str) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("file:{name}?vfs=memdb"), flags).expect("BUG: memory can be opened")
}

fn fresh_name() -> String {
    format!("/tidemark-simulation-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

fn copy(from: &Connection, to: &mut Connection) {
    let step = Backup::new(from, to).and_then(|backup| backup.step(-1)).expect("BUG: memory can be copied");
    assert_eq!(step, StepResult::Done, "BUG: nobody holds a lock while a disk is copied");
}

impl Disk {
    /// An empty one, in a machine whose clock shows `now_ms`.
    #[must_use]
    pub fn new(now_ms: Arc<AtomicI64>) -> Self {
        let name = fresh_name();
        Self { keeper: open(&name), name, now_ms, full: false }
    }

    /// A connection as any program of the machine has it.
    #[must_use]
    pub fn connect(&self) -> Connection {
        let db = open(&self.name);
        // Nobody else runs while we would wait.
        db.busy_timeout(std::time::Duration::ZERO).expect("BUG: a timeout can be set");
        db.pragma_update(None, "foreign_keys", false).expect("BUG: a pragma can be set");
        self.show_clock(&db).expect("BUG: functions can be replaced");
        if self.full {
            limit(&db, true);
        }
        db
    }

    /// A connection of ours, whose commits are seen and can fail.
    #[must_use]
    pub fn connect_process(&self, commits: &Commits) -> Connection {
        let mut db = self.connect();
        let Commits { done, refuse } = commits.clone();
        let hook = move || {
            let refused = refuse.swap(false, Ordering::SeqCst);
            done.fetch_or(!refused, Ordering::SeqCst);
            refused
        };
        db.commit_hook(Some(hook)).expect("BUG: a connection takes a hook");
        db
    }

    /// SQLite's functions read the real clock; in this machine they read its own. Only the forms that capture and
    /// defaults use.
    fn show_clock(&self, db: &Connection) -> rusqlite::Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        let now_ms = Arc::clone(&self.now_ms);
        db.create_scalar_function("julianday", 0, flags, move |_| {
            Ok(now_ms.load(Ordering::SeqCst) as f64 / 86_400_000.0 + 2_440_587.5)
        })?;
        let now_ms = Arc::clone(&self.now_ms);
        db.create_scalar_function("strftime", 2, flags, move |_| {
            Ok(tidemark_core::timestamp::format(now_ms.load(Ordering::SeqCst) * 1000))
        })
    }

    /// From now on there is no room, or there is again. Holds for connections made later, and for those given to
    /// [`limit`].
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Whether there is no room.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.full
    }

    /// Copies the file as it is.
    #[must_use]
    pub fn image(&self) -> Image {
        let mut copied = Connection::open_in_memory().expect("BUG: memory can be opened");
        copy(&self.keeper, &mut copied);
        Image(copied)
    }

    /// Puts the file back to an older copy. No connection may be open.
    pub fn restore(&mut self, image: &Image) {
        self.name = fresh_name();
        self.keeper = open(&self.name);
        copy(&image.0, &mut self.keeper);
    }
}

/// Lets a connection's file not grow any more, or grow again.
pub fn limit(db: &Connection, full: bool) {
    let pages = if full { 1 } else { 1 << 30 };
    match db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0)) {
        // Who holds the lock now keeps the room there was.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {}
        set => drop(set.expect("BUG: a pragma can be set")),
    }
}
