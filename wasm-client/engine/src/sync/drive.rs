//! Driving an engine until everything is upstream, on a blocking transport.

use super::{Action, Engine, Event, Outcome, Request, Stop, Transport, Trouble};
use crate::error::Result;
use crate::store::Store;

/// The time.
pub trait Clock {
    /// Milliseconds since 1970 UTC.
    fn now_ms(&mut self) -> i64;
    /// Sleeps until then, or less long.
    fn sleep_until(&mut self, at_ms: i64);
}

/// When to give up.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Failures in a row.
    pub failures: u32,
    /// The longest single wait a server may ask for, in milliseconds.
    pub wait_ms: i64,
}

/// The work done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Changes that are upstream now and were not before.
    pub changes: u64,
    /// Of them rejected on this station.
    pub rejected_here: u64,
    /// Of them rejected by the server.
    pub rejected_by_server: u64,
    /// Requests made.
    pub requests: u64,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was in the log at the beginning is upstream: the server has said so just now.
    Done(Summary),
    /// The server could not be reached, or not be moved to answer; the rest stays in the log.
    Unreachable {
        /// The work done before.
        summary: Summary,
        /// Why, at last.
        why: Trouble,
    },
    /// It cannot go on by itself.
    Stopped {
        /// The work done before.
        summary: Summary,
        /// Why.
        stop: Stop,
    },
}

/// Pushes until everything that is in the log now is upstream. `watch` sees every event. Where nothing is to be pushed
/// the server is asked where it stands: whether it can be reached, still takes this station's changes and has those it
/// acknowledged is known from it alone.
///
/// # Errors
/// When the store fails.
pub fn drain(
    store: &mut Store,
    engine: &mut Engine,
    transport: &mut dyn Transport,
    clock: &mut dyn Clock,
    patience: Patience,
    watch: &mut dyn FnMut(&Event),
) -> Result<Drained> {
    let goal = store.last_seq()?;
    let reached = |event: &Event| matches!(event, Event::Acked { tidemark, .. } if *tidemark >= goal);
    let drained = drive(store, engine, transport, clock, patience, &reached, watch);
    engine.settle(store)?;
    let drained = drained?;
    if matches!(drained, Drained::Done(_)) {
        while let Some(request) = engine.ask_rejects(store, clock.now_ms())? {
            let outcome = transport.send(&request);
            watch(&hear(store, engine, clock.now_ms(), request.id, outcome)?);
        }
    }
    Ok(drained)
}

/// Tells the server how the station fares, for its operators. Whether it heard does not matter.
///
/// # Errors
/// When the store fails.
pub fn say_contact(
    store: &mut Store,
    engine: &mut Engine,
    transport: &mut dyn Transport,
    clock: &mut dyn Clock,
) -> Result<()> {
    if let Some(request) = engine.ask_contact(store, clock.now_ms())? {
        let outcome = transport.send(&request);
        hear(store, engine, clock.now_ms(), request.id, outcome)?;
    }
    Ok(())
}

/// Sends what is not under way yet, and does meanwhile what need not wait.
fn exchange(store: &mut Store, engine: &mut Engine, transport: &mut dyn Transport, now_ms: i64, todo: Todo) -> Outcome {
    let Some(beside) = transport.beside() else {
        // What goes wrong ahead of its time is met again when the batch is due.
        drop(engine.look_ahead(store, now_ms));
        return match todo {
            Todo::Send(request) => transport.send(&request),
            Todo::Hear(_) => unreachable!("BUG: nothing was begun"),
        };
    };
    let id = todo.id();
    if let Todo::Send(request) = todo {
        beside.begin(request);
    }
    drop(engine.work_beside(store, now_ms, id, beside));
    beside.finish(id)
}

/// What an engine asks for.
enum Todo {
    /// To perform this.
    Send(Request),
    /// To hear of the one of this number, which is under way.
    Hear(u64),
}

impl Todo {
    const fn id(&self) -> u64 {
        match self {
            Self::Send(request) => request.id,
            Self::Hear(id) => *id,
        }
    }
}

fn hear(store: &mut Store, engine: &mut Engine, now_ms: i64, id: u64, outcome: Outcome) -> Result<Event> {
    match outcome {
        Ok(reply) => engine.on_reply(store, now_ms, id, &reply),
        Err(failure) => engine.on_failure(store, now_ms, id, &failure),
    }
}

/// Asks the server where it stands and compares its chain with the log's, and pushes nothing.
///
/// # Errors
/// When the store fails.
pub fn agree(
    store: &mut Store,
    engine: &mut Engine,
    transport: &mut dyn Transport,
    clock: &mut dyn Clock,
    patience: Patience,
) -> Result<Drained> {
    engine.ask();
    let agreed = |event: &Event| matches!(event, Event::Agreed);
    let drained = drive(store, engine, transport, clock, patience, &agreed, &mut |_| ());
    engine.settle(store)?;
    drained
}

/// Does what the engine says until an event is the last one, or nothing is left to do and the server has been heard.
fn drive(
    store: &mut Store,
    engine: &mut Engine,
    transport: &mut dyn Transport,
    clock: &mut dyn Clock,
    patience: Patience,
    is_last: &dyn Fn(&Event) -> bool,
    watch: &mut dyn FnMut(&Event),
) -> Result<Drained> {
    let mut summary = Summary::default();
    let mut heard = false;
    loop {
        let now_ms = clock.now_ms();
        let todo = match engine.next(store, now_ms)? {
            Action::Send(request) => Todo::Send(request),
            Action::UnderWay(id) => Todo::Hear(id),
            Action::WaitUntil(at_ms) => {
                clock.sleep_until(at_ms);
                continue;
            }
            Action::Idle if heard => return Ok(Drained::Done(summary)),
            // Nothing was to be pushed, or another process did it.
            Action::Idle => {
                engine.ask();
                continue;
            }
            Action::Stopped(stop) => return Ok(Drained::Stopped { summary, stop }),
        };
        summary.requests += 1;
        let id = todo.id();
        let outcome = exchange(store, engine, transport, now_ms, todo);
        let now_ms = clock.now_ms();
        let event = hear(store, engine, now_ms, id, outcome)?;
        watch(&event);
        heard |= matches!(event, Event::Acked { .. } | Event::Agreed);
        if let Event::Acked { changes, rejected_here, rejected_by_server, .. } = &event {
            summary.changes += changes;
            summary.rejected_here += rejected_here;
            summary.rejected_by_server += rejected_by_server;
        }
        if is_last(&event) {
            return Ok(Drained::Done(summary));
        }
        match event {
            Event::Failed { why, retry_at_ms } => {
                if engine.failures() >= patience.failures || retry_at_ms - now_ms > patience.wait_ms {
                    return Ok(Drained::Unreachable { summary, why });
                }
            }
            Event::Stopped(stop) => return Ok(Drained::Stopped { summary, stop }),
            Event::Acked { .. } | Event::Agreed | Event::Settled { .. } | Event::Smaller { .. } | Event::Ignored => {}
        }
    }
}
