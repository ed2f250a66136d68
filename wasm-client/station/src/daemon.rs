//! Pushing in the background: drives [`Daemon`] with this machine's clock, network and signals.
//!
//! The process may be killed at any moment: whatever it was doing is done again by the next one, once.

use std::path::Path;
use std::time::Duration;

pub use tidemark_client::sync::daemon::News;
use tidemark_client::sync::daemon::{BUSY_MS, Daemon, Step, Watch, unless_busy};
use tidemark_client::sync::{Beside as _, Config, Outcome, Stop};
use tidemark_client::{Result, Store};

use crate::cli::words;
use crate::clock::{now_ms, sleep_ms, steady_ms};
use crate::courier::Courier;
use crate::disk::free_disk_bytes;
use crate::station::StationError;
use crate::transport::HttpTransport;

/// How often the file is looked at.
const POLL_MS: u64 = BUSY_MS as u64;
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

/// The outcome of the request of this number; `None` when the process is to end and it took too long.
fn outcome(courier: &mut Courier, id: u64, ending: &dyn Fn() -> bool) -> Option<Outcome> {
    let mut ending_since = None;
    loop {
        if ending() && steady_ms() - *ending_since.get_or_insert_with(steady_ms) > GRACE_MS {
            return None;
        }
        if let Some(outcome) = courier.outcome(id, Duration::from_millis(POLL_MS)) {
            return Some(outcome);
        }
    }
}

/// Runs until `ending` says so or the engine stops for good.
///
/// # Errors
/// When the store fails, but for a file that is only locked.
pub fn run(
    store: &mut Store,
    config: Config,
    transport: HttpTransport,
    ending: &dyn Fn() -> bool,
    watch: Watch<'_>,
) -> std::result::Result<Ended, StationError> {
    while !ending() && unless_busy(store.backfill(&mut |_| ()), watch)?.is_none() {}
    let mut daemon = Daemon::start(Config { words: words::KEPT, ..config }, store)?;
    let mut courier = Courier::start(transport);
    let stopped = steps(store, &mut daemon, &mut courier, ending, watch)?;
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
    ending: &dyn Fn() -> bool,
    watch: Watch<'_>,
) -> Result<Option<Stop>> {
    let mut looked_ms = None;
    while !ending() {
        let now = now_ms();
        if looked_ms.is_none_or(|at_ms: i64| !(at_ms..at_ms.saturating_add(DISK_MS)).contains(&now)) {
            looked_ms = Some(now);
            daemon.note_free_disk(free_disk_bytes(Path::new(store.file())));
        }
        match daemon.next(store, now_ms(), watch)? {
            Step::Send(request) => {
                let id = request.id;
                courier.begin(request);
                if !hear(store, daemon, courier, id, ending, watch)? {
                    break;
                }
            }
            Step::UnderWay(id) => {
                if !hear(store, daemon, courier, id, ending, watch)? {
                    break;
                }
            }
            Step::Wait(until_ms) | Step::Idle(until_ms) | Step::Rest(until_ms, _) => {
                let left = u64::try_from(until_ms.saturating_sub(now_ms())).unwrap_or(0);
                sleep_ms(left.min(POLL_MS), ending);
            }
            Step::Ended(stop) => return Ok(Some(stop)),
        }
    }
    Ok(None)
}

/// While the request of this number is under way: what need not wait for its answer. Then its answer; `false` when the
/// process is to end and there was none in time.
fn hear(
    store: &mut Store,
    daemon: &mut Daemon,
    courier: &mut Courier,
    id: u64,
    ending: &dyn Fn() -> bool,
    watch: Watch<'_>,
) -> Result<bool> {
    daemon.look_ahead(store, now_ms());
    if courier.has_room(id)
        && let Some(early) = daemon.early(store, now_ms())
    {
        courier.begin(early);
    }
    let Some(outcome) = outcome(courier, id, ending) else { return Ok(false) };
    daemon.hear(store, now_ms(), id, &outcome, watch)?;
    Ok(true)
}
