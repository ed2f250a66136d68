//! The good stations: they push small batches at a steady pace for the whole siege, and what they live through is the
//! measure of every attack. Half of them keep their connection, as `tidemark run` does between two batches, and half
//! come anew each time, as whoever pushes seldom.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::station::{Delivery, Station};
use crate::world::now;

/// What good stations push, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Rows of a batch.
    pub rows: u64,
    /// From the beginning of one batch to that of the next, unless the first takes longer.
    pub every: Duration,
}

/// What the good stations have lived through so far.
#[derive(Debug, Default)]
struct Books {
    delivered: Vec<Delivery>,
    /// By station: since when it waits for the acknowledgement of its batch.
    waiting: Vec<Option<Instant>>,
    failures: Vec<String>,
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The good stations while they run.
#[derive(Debug)]
pub struct Good {
    books: Arc<Mutex<Books>>,
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<Station>>,
}

/// What the good stations lived through in a stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Lived {
    /// Rows acknowledged per second.
    pub rows_per_s: f64,
    /// How long batches took that were begun in it, in order.
    pub took: Vec<Duration>,
    /// Requests beyond one per batch.
    pub repeated: u64,
}

impl Lived {
    /// The time that a share of the batches did not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        quantile(&self.took, share)
    }
}

/// The value below which a share of sorted values lies.
#[must_use]
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

impl Good {
    /// Lets the stations run, on the runtime that this is called in.
    #[must_use]
    pub fn start(stations: Vec<Station>, pace: Pace) -> Self {
        let books = Arc::new(Mutex::new(Books { waiting: vec![None; stations.len()], ..Books::default() }));
        let (stop, _) = watch::channel(false);
        let count = u32::try_from(stations.len()).unwrap_or(u32::MAX);
        let numbered = (0_u32..).zip(stations);
        let run = |(n, station)| {
            // Not all of them at once.
            let offset = pace.every * n / count;
            tokio::spawn(run(station, n as usize, offset, pace, Arc::clone(&books), stop.subscribe()))
        };
        let running = numbered.map(run).collect();
        Self { books, stop, running }
    }

    /// Whether a batch that was begun before `at` still waits.
    #[must_use]
    pub fn waits_since_before(&self, at: Instant) -> bool {
        lock(&self.books).waiting.iter().flatten().any(|since| *since < at)
    }

    /// What they lived through from one moment to another.
    #[must_use]
    pub fn lived(&self, from: Instant, to: Instant) -> Lived {
        let books = lock(&self.books);
        let within = |at: Instant| at >= from && at < to;
        let rows: u64 = books.delivered.iter().filter(|it| within(it.began + it.took)).map(|it| it.rows).sum();
        let begun = || books.delivered.iter().filter(|it| within(it.began));
        let mut took: Vec<Duration> = begun().map(|it| it.took).collect();
        took.sort_unstable();
        let repeated = begun().map(|it| u64::from(it.requests - 1)).sum();
        Lived { rows_per_s: rows as f64 / (to - from).as_secs_f64(), took, repeated }
    }

    /// What no honest station may hear, and was heard.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        lock(&self.books).failures.clone()
    }

    /// Lets each finish its batch, and gives them back.
    ///
    /// # Errors
    /// When one panicked.
    pub async fn end(self) -> Result<Vec<Station>> {
        self.stop.send_replace(true);
        let mut stations = Vec::new();
        for station in self.running {
            stations.push(station.await.map_err(|error| anyhow!("BUG: a good station panicked: {error}"))?);
        }
        Ok(stations)
    }
}

async fn run(
    mut station: Station,
    n: usize,
    offset: Duration,
    pace: Pace,
    books: Arc<Mutex<Books>>,
    stop: watch::Receiver<bool>,
) -> Station {
    tokio::time::sleep(offset).await;
    while !*stop.borrow() {
        let began = now();
        lock(&books).waiting[n] = Some(began);
        let pushed = station.push(pace.rows).await;
        {
            let mut books = lock(&books);
            books.waiting[n] = None;
            match pushed {
                Ok(delivery) => books.delivered.push(delivery),
                Err(error) => {
                    books.failures.push(format!("{error:#}"));
                    return station;
                }
            }
        }
        if n.is_multiple_of(2) {
            station.hang_up();
        }
        tokio::time::sleep(pace.every.saturating_sub(began.elapsed())).await;
    }
    station
}
