//! The way of log lines to stderr. A command writes each at once. A server hands them to a thread: whoever does not
//! read them, a full pipe or a terminal that is held, holds up no request. When more wait than are kept, further ones
//! are left out, and the log says how many as soon as it is read again.

use std::io::{self, Stderr, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written, at most.
const LINES_MAX: usize = 8_192;

/// Where lines go.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlet(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    way: RwLock<Way>,
    /// Lines that the thread was given, those among them that it has written, and those that it was not given because
    /// too many waited.
    given: AtomicU64,
    written: AtomicU64,
    lost: OnceLock<ErrorCounter>,
}

#[derive(Debug, Default)]
enum Way {
    /// To stderr, at once.
    #[default]
    AtOnce,
    /// To stderr, by the thread.
    Queued(NonBlocking),
    /// Nowhere: nobody reads stderr, and the program ends.
    Nowhere,
}

/// One line on its way.
pub(super) enum Line {
    AtOnce(Stderr),
    Queued(NonBlocking),
    Nowhere,
}

impl Outlet {
    /// Hands lines to a thread from now on, until what is returned is dropped.
    pub(super) fn queue(&self) -> Queue {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log");
        let (queued, guard) = builder.finish(Writing { shared: Arc::clone(&self.0), told: 0 });
        let _ = self.0.lost.set(queued.error_counter());
        self.0.go(Way::Queued(queued));
        Queue { outlet: self.clone(), guard: Some(guard) }
    }
}

impl Shared {
    fn go(&self, way: Way) {
        *self.way.write().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn lost(&self) -> u64 {
        self.lost.get().map_or(0, |lost| lost.dropped_lines() as u64)
    }

    /// Lines that wait.
    fn waiting(&self) -> u64 {
        let done = self.written.load(Ordering::Relaxed).saturating_add(self.lost());
        self.given.load(Ordering::Relaxed).saturating_sub(done)
    }
}

impl<'w> MakeWriter<'w> for Outlet {
    type Writer = Line;

    fn make_writer(&'w self) -> Line {
        match &*self.0.way.read().unwrap_or_else(PoisonError::into_inner) {
            Way::AtOnce => Line::AtOnce(io::stderr()),
            Way::Queued(queued) => {
                self.0.given.fetch_add(1, Ordering::Relaxed);
                Line::Queued(queued.clone())
            }
            Way::Nowhere => Line::Nowhere,
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::AtOnce(stderr) => stderr.write(bytes),
            Self::Queued(queued) => queued.write(bytes),
            Self::Nowhere => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::AtOnce(stderr) => stderr.flush(),
            Self::Queued(_) | Self::Nowhere => Ok(()),
        }
    }
}

/// The thread's end of the way.
struct Writing {
    shared: Arc<Shared>,
    /// Lost lines that the log has told of.
    told: u64,
}

impl Write for Writing {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write_all(line);
        self.shared.written.fetch_add(1, Ordering::Relaxed);
        let lost = self.shared.lost();
        if lost > self.told {
            tracing::warn!(lines = lost - self.told, "lines of the log are lost: nobody read it for too long");
            // That line is lost, too, when there is still no room.
            self.told = if self.shared.lost() > lost { self.told } else { lost };
        }
        written.map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The lines that are handed to the thread. Dropped, what waits is written, for a second at most; then lines are
/// written at once again.
pub(crate) struct Queue {
    outlet: Outlet,
    guard: Option<WorkerGuard>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        let shared = &self.outlet.0;
        // While as many wait as may, the guard could not say that it is the end, and would print that.
        match self.guard.take() {
            Some(guard) if shared.waiting() >= LINES_MAX as u64 => std::mem::forget(guard),
            guard => drop(guard),
        }
        shared.go(if shared.waiting() == 0 { Way::AtOnce } else { Way::Nowhere });
    }
}
