//! Pushing in the background: drives [`Daemon`] with this machine's clock, network and signals.
//!
//! The process may be killed at any moment: whatever it was doing is done again by the next one, once.

use std::path::Path;

pub use tidemark_client::sync::daemon::News;
use tidemark_client::sync::daemon::{Daemon, LOOKS_WITHIN_MS, Step, Watch, unless_busy};
use tidemark_client::sync::{Beside as _, Config, Stop};
use tidemark_client::{Result, Store};

use crate::bell::Bell;
use crate::cli::words;
use crate::clock::now_ms;
use crate::courier::Courier;
use crate::disk::free_disk_bytes;
use crate::station::StationError;
use crate::transport::HttpTransport;

/// How often the file is looked at when nothing tells of a write, unless it is said otherwise.
pub const POLL_MS: u64 = 200;
/// How often it is looked how much room the disk has.
const DISK_MS: i64 = 10_000;
/// How long a request in flight may take once the process is asked to end.
const GRACE_MS: u64 = 3_000;

/// How the daemon ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// It cannot go on.
    Stopped(Stop),
}

/// How the loop waits, and for what.
#[derive(Clone, Copy)]
pub struct Waits<'a> {
    /// Rung when the file was written and when `ending` changes.
    pub bell: &'a Bell,
    /// Whether the process is to end.
    pub ending: &'a dyn Fn() -> bool,
    /// How often the file is looked at when nothing tells of a write, in milliseconds.
    pub poll_ms: u64,
}

/// Runs until it is to end or the engine stops for good.
///
/// # Errors
/// When the store fails, but for a file that is only locked.
pub fn run(
    store: &mut Store,
    config: Config,
    transport: HttpTransport,
    waits: Waits<'_>,
    watch: Watch<'_>,
) -> std::result::Result<Ended, StationError> {
    while !(waits.ending)() && unless_busy(store.backfill(&mut |_| ()), watch)?.is_none() {}
    let mut daemon = Daemon::start(Config { words: words::KEPT, ..config }, store)?;
    let mut courier = Courier::start(transport, waits.bell.clone());
    let stopped = steps(store, &mut daemon, &mut courier, waits, watch)?;
    if let Some(stop) = stopped {
        return Ok(Ended::Stopped(stop));
    }
    daemon.end(store, watch)?;
    Ok(Ended::Asked)
}

/// Takes one step after the other, until the process is to end or, with a stop, cannot go on.
fn steps(
    store: &mut Store,
    daemon: &mut Daemon,
    courier: &mut Courier,
    waits: Waits<'_>,
    watch: Watch<'_>,
) -> Result<Option<Stop>> {
    let Waits { bell, ending, poll_ms } = waits;
    let mut looked_ms = None;
    while !ending() {
        let now = now_ms();
        if looked_ms.is_none_or(|at_ms: i64| !(at_ms..at_ms.saturating_add(DISK_MS)).contains(&now)) {
            looked_ms = Some(now);
            daemon.note_free_disk(free_disk_bytes(Path::new(store.file())));
        }
        if bell.take_written() {
            daemon.written(now_ms());
        }
        let id = match daemon.next(store, now_ms(), watch)? {
            Step::Send(request) => {
                let id = request.id;
                courier.begin(request);
                id
            }
            Step::UnderWay(id) => id,
            Step::Idle(until_ms) => {
                // A look that is due soon is waited for: while a program writes much, one word follows the other.
                let left_ms = left_ms(until_ms);
                bell.wait(left_ms.min(poll_ms), || ending() || left_ms > LOOKS_WITHIN_MS && bell.is_written());
                continue;
            }
            // A write is no reason to try sooner.
            Step::Wait(until_ms) | Step::Rest(until_ms, _) => {
                bell.wait(left_ms(until_ms).min(poll_ms), ending);
                continue;
            }
            Step::Ended(stop) => return Ok(Some(stop)),
        };
        daemon.work_beside(store, now_ms(), id, courier);
        bell.wait(u64::MAX, || courier.is_done(id) || ending());
        bell.wait(GRACE_MS, || courier.is_done(id));
        if !courier.is_done(id) {
            break;
        }
        daemon.hear(store, now_ms(), id, &courier.take(id), watch)?;
    }
    Ok(None)
}

fn left_ms(until_ms: i64) -> u64 {
    u64::try_from(until_ms.saturating_sub(now_ms())).unwrap_or(0)
}
