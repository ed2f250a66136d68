//! Pushing in the background: drives [`Daemon`] with this machine's clock, network and signals.
//!
//! The process may be killed at any moment: whatever it was doing is done again by the next one, once.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

pub use tidemark_client::sync::daemon::News;
use tidemark_client::sync::daemon::{BUSY_MS, Daemon, Step, Watch, unless_busy};
use tidemark_client::sync::{Config, Failure, Reply, Request, Stop, Transport};
use tidemark_client::{Result, Store};

use crate::cli::words;
use crate::clock::{now_ms, sleep_ms, steady_ms};
use crate::disk::free_disk_bytes;
use crate::station::StationError;

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

/// Performs requests in a thread of its own, so that a slow one does not keep the process from ending.
struct Courier {
    requests: Sender<Request>,
    outcomes: Receiver<(u64, std::result::Result<Reply, Failure>)>,
}

impl Courier {
    fn start(mut transport: impl Transport + Send + 'static) -> Self {
        let (requests, todo) = channel::<Request>();
        let (done, outcomes) = channel();
        std::thread::spawn(move || {
            for request in todo {
                let outcome = transport.send(&request);
                if done.send((request.id, outcome)).is_err() {
                    break;
                }
            }
        });
        Self { requests, outcomes }
    }

    fn send(&self, request: Request) {
        self.requests.send(request).expect("BUG: the courier outlives the loop");
    }

    /// The outcome of the request that was sent; `None` when the process is to end and it took too long.
    fn wait(&self, ending: &dyn Fn() -> bool) -> Option<(u64, std::result::Result<Reply, Failure>)> {
        let mut ending_since = None;
        loop {
            if ending() && steady_ms() - *ending_since.get_or_insert_with(steady_ms) > GRACE_MS {
                return None;
            }
            match self.outcomes.recv_timeout(Duration::from_millis(POLL_MS)) {
                Ok(outcome) => return Some(outcome),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("BUG: the courier outlives the loop"),
            }
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
    transport: impl Transport + Send + 'static,
    ending: &dyn Fn() -> bool,
    watch: Watch<'_>,
) -> std::result::Result<Ended, StationError> {
    while !ending() && unless_busy(store.backfill(&mut |_| ()), watch)?.is_none() {}
    let mut daemon = Daemon::start(Config { words: words::KEPT, ..config }, store)?;
    let courier = Courier::start(transport);
    let stopped = steps(store, &mut daemon, &courier, ending, watch)?;
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
    courier: &Courier,
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
                courier.send(request);
                daemon.look_ahead(store, now_ms());
                let Some((id, outcome)) = courier.wait(ending) else { break };
                daemon.hear(store, now_ms(), id, &outcome, watch)?;
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
