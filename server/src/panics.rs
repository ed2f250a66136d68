//! Panics of this program, caught where a request or a task ends: told, counted, and answered as a fault.

use std::any::Any;
use std::fmt::Display;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use tidemark_core::protocol::{Problem, ProblemCode};
use tokio::task::JoinError;

/// Runs a future to its end, or to the panic that ended it. What it held is dropped by then; whether that leaves
/// anything behind is for guards to see to.
///
/// # Errors
/// The message of a panic.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The panics since the program started.
#[derive(Debug, Default)]
pub struct Panics(AtomicU64);

/// The answer to a client for a panic, and for every other fault. What only the operator may know goes to the log.
#[must_use]
pub fn fault() -> Problem {
    Problem::new(ProblemCode::Internal, "a fault of the server; its log says more")
}

impl Panics {
    /// Their number.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one, and tells what the program was doing and for whom; returns the panic's own words.
    pub fn caught(&self, doing: impl Display, station: Option<&dyn Display>, panic: &(dyn Any + Send)) -> String {
        let panics = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a word").to_owned();
        let station = station.map_or_else(|| "none".to_owned(), ToString::to_string);
        tracing::error!(%station, panics, "a panic, which is a fault of this program, while {doing}: {text}. Nothing of it is left behind");
        text
    }

    /// The result of a request's task. One that panicked is told here, so that nobody need wait for it.
    ///
    /// # Errors
    /// When it panicked, or the program ends.
    pub fn joined<T>(
        &self,
        doing: impl Display,
        station: &dyn Display,
        ended: Result<T, JoinError>,
    ) -> Result<T, Problem> {
        ended.map_err(|error| {
            match error.try_into_panic() {
                Ok(panic) => drop(self.caught(doing, Some(station), &*panic)),
                Err(error) => tracing::error!(%station, "{doing} ended: {error}"),
            }
            fault()
        })
    }
}
