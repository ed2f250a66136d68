//! Pushing in the background: notices what other programs commit, pushes it, waits when the network is away, ends cleanly.
//!
//! The process may be killed at any moment: whatever it was doing is done again by the next one, once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tidemark_client::sync::{Action, Config, Engine, Event, Failure, Reply, Request, Stop, Transport};
use tidemark_client::{Error, Result, Store};

use crate::clock::{now_ms, sleep_ms};
use crate::station::StationError;

/// How often the file is looked at.
const POLL_MS: u64 = 200;
/// How often the engine is asked while nothing is committed: it asks the server now and then what became of rejects.
const IDLE_MS: i64 = 60_000;
/// How long a request in flight may take once the process is asked to end.
const GRACE_MS: i64 = 3_000;
/// How soon a stop that time may heal is tried again.
const RETRY_STOPPED_MS: u64 = 300_000;

/// What the daemon tells whoever watches it.
#[derive(Debug)]
pub enum News<'a> {
    /// An event of the engine.
    Event(&'a Event),
    /// The file was locked for longer than we wait, or its disk is full; it is tried again.
    Busy(&'a Error),
    /// Capture had to be repaired.
    Repaired(&'a tidemark_client::capture::Repair),
    /// Stopped; tried again after a while.
    StoppedForNow(&'a Stop),
}

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
}

/// Runs until `end` is raised or the engine stops for good.
///
/// # Errors
/// What the store says, but for a file that is only locked.
pub fn run(
    store: &mut Store,
    seed: u64,
    transport: impl Transport + Send + 'static,
    end: &AtomicBool,
    watch: &mut dyn FnMut(News<'_>),
) -> std::result::Result<Ended, StationError> {
    let ending = || end.load(Ordering::Relaxed);
    while !ending() && unless_locked(store.backfill(&mut |_| ()), watch)?.is_none() {}
    let mut engine = Engine::new(Config::daemon(seed));
    engine.resume(store)?;
    let courier = Courier::start(transport);
    let mut in_flight = false;
    let mut ending_since = None;
    let mut seen = None;
    loop {
        if ending() {
            let since = *ending_since.get_or_insert_with(now_ms);
            if !in_flight || now_ms() - since > GRACE_MS {
                unless_locked(engine.settle(store), watch)?;
                return Ok(Ended::Asked);
            }
        }
        if in_flight {
            match courier.outcomes.recv_timeout(Duration::from_millis(POLL_MS)) {
                Ok((id, outcome)) => {
                    in_flight = false;
                    let landed = match &outcome {
                        Ok(reply) => engine.on_reply(store, now_ms(), id, reply),
                        Err(failure) => engine.on_failure(store, now_ms(), id, failure),
                    };
                    if let Some(event) = unless_locked(landed, watch)? {
                        watch(News::Event(&event));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("BUG: the courier outlives the loop"),
            }
            continue;
        }
        // Look only when somebody committed, or when there was something to do.
        let version = store.data_version()?;
        if seen != Some(version) {
            seen = Some(version);
            unless_locked(store.check_capture(), watch)?;
            store.take_repairs().iter().for_each(|repair| watch(News::Repaired(repair)));
        }
        match unless_locked(engine.next(store, now_ms()), watch)? {
            Some(Action::Send(request)) => {
                in_flight = courier.requests.send(request).is_ok();
                // What went wrong is met again when the batch is due.
                drop(engine.look_ahead(store, now_ms()));
            }
            Some(Action::WaitUntil(at_ms)) => {
                let left = u64::try_from(at_ms.saturating_sub(now_ms())).unwrap_or(0);
                sleep_ms(left.min(POLL_MS), ending);
            }
            Some(Action::Idle) => {
                let idle_since = now_ms();
                // Our own commits do not change the number, others' do.
                while !ending()
                    && store.data_version()? == version
                    && (idle_since..idle_since + IDLE_MS).contains(&now_ms())
                {
                    sleep_ms(POLL_MS, ending);
                }
            }
            Some(Action::Stopped(stop)) if stop.is_final() => return Ok(Ended::Stopped(stop)),
            Some(Action::Stopped(stop)) => {
                watch(News::StoppedForNow(&stop));
                sleep_ms(RETRY_STOPPED_MS, ending);
                engine.resume(store)?;
            }
            None => sleep_ms(POLL_MS, ending),
        }
    }
}

/// A file locked for long and a full disk are told and tried again; other errors end the daemon.
fn unless_locked<T>(result: Result<T>, watch: &mut dyn FnMut(News<'_>)) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.can_retry() => {
            watch(News::Busy(&error));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
