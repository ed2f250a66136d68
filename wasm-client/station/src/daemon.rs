//! Pushing in the background: drives [`Daemon`] with this machine's clock, network and signals.
//!
//! The process may be killed at any moment: whatever it was doing is done again by the next one, once.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

pub use tidemark_client::sync::daemon::News;
use tidemark_client::sync::daemon::{Daemon, Step, Watch, unless_busy};
use tidemark_client::sync::{Config, Failure, Reply, Request, Stop, Transport};
use tidemark_client::{Result, Store};

use crate::bell::Bell;
use crate::cli::words;
use crate::clock::now_ms;
use crate::disk::free_disk_bytes;
use crate::station::StationError;

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

/// Performs requests in a thread of its own, so that a slow one does not keep the process from ending.
struct Courier {
    requests: Sender<Request>,
    outcomes: Receiver<(u64, std::result::Result<Reply, Failure>)>,
}

impl Courier {
    fn start(mut transport: impl Transport + Send + 'static, bell: Bell) -> Self {
        let (requests, todo) = channel::<Request>();
        let (done, outcomes) = channel();
        std::thread::spawn(move || {
            for request in todo {
                let outcome = transport.send(&request);
                if done.send((request.id, outcome)).is_err() {
                    break;
                }
                bell.ring();
            }
        });
        Self { requests, outcomes }
    }

    fn send(&self, request: Request) {
        self.requests.send(request).expect("BUG: the courier outlives the loop");
    }

    /// The outcome of the request that was sent; `None` when the process is to end and it took too long.
    fn wait(&self, waits: Waits<'_>) -> Option<(u64, std::result::Result<Reply, Failure>)> {
        let landed = OnceCell::new();
        let is_landed = || match self.outcomes.try_recv() {
            Ok(outcome) => landed.set(outcome).is_ok(),
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => unreachable!("BUG: the courier outlives the loop"),
        };
        waits.bell.wait(u64::MAX, || is_landed() || (waits.ending)());
        if landed.get().is_none() {
            waits.bell.wait(GRACE_MS, is_landed);
        }
        landed.into_inner()
    }
}

/// Runs until it is to end or the engine stops for good.
///
/// # Errors
/// When the store fails, but for a file that is only locked.
pub fn run(
    store: &mut Store,
    config: Config,
    transport: impl Transport + Send + 'static,
    waits: Waits<'_>,
    watch: Watch<'_>,
) -> std::result::Result<Ended, StationError> {
    while !(waits.ending)() && unless_busy(store.backfill(&mut |_| ()), watch)?.is_none() {}
    let mut daemon = Daemon::start(Config { words: words::KEPT, ..config }, store)?;
    let courier = Courier::start(transport, waits.bell.clone());
    let stopped = steps(store, &mut daemon, &courier, waits, watch)?;
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
        match daemon.next(store, now_ms(), watch)? {
            Step::Send(request) => {
                courier.send(request);
                daemon.look_ahead(store, now_ms());
                let Some((id, outcome)) = courier.wait(waits) else { break };
                daemon.hear(store, now_ms(), id, &outcome, watch)?;
            }
            Step::Idle(until_ms) => bell.wait(left_ms(until_ms).min(poll_ms), || ending() || bell.is_written()),
            // A write is no reason to try sooner.
            Step::Wait(until_ms) | Step::Rest(until_ms, _) => bell.wait(left_ms(until_ms).min(poll_ms), ending),
            Step::Ended(stop) => return Ok(Some(stop)),
        }
    }
    Ok(None)
}

fn left_ms(until_ms: i64) -> u64 {
    u64::try_from(until_ms.saturating_sub(now_ms())).unwrap_or(0)
}
