//! The one task that writes what was heard, every two seconds, a bounded number of rows at a time. No batch waits for
//! it and none fails by it: while the database is away, what was heard waits in memory, within bounds. When the server
//! stops, what still waits is written first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Fleet;
use crate::panics::Panics;
use crate::supervision;
use crate::upstream::Upstream;
use crate::upstream::error::StoreError;

/// Between two writes.
const EVERY: Duration = Duration::from_secs(2);
/// Between two writes of what is written last, as long as they fail.
const AGAIN: Duration = Duration::from_millis(200);
/// Most contacts of one write.
const CONTACTS_MAX: usize = 1_000;

/// What was taken out of memory to be written. Unless it was, it goes back: also when the write is not waited for any
/// more, or panics.
struct Taken<T, B: FnOnce(T)>(Option<(T, B)>);

impl<T, B: FnOnce(T)> Taken<T, B> {
    const fn new(taken: T, put_back: B) -> Self {
        Self(Some((taken, put_back)))
    }

    fn rows(&self) -> &T {
        &self.0.as_ref().expect("BUG: it is taken until it is written").0
    }

    fn written(mut self) {
        self.0 = None;
    }
}

impl<T, B: FnOnce(T)> Drop for Taken<T, B> {
    fn drop(&mut self) {
        if let Some((taken, put_back)) = self.0.take() {
            put_back(taken);
        }
    }
}

impl Fleet {
    /// Writes what was heard and is not written yet.
    ///
    /// # Errors
    /// When the store fails; it is still to be written then.
    pub async fn write(&self, upstream: &dyn Upstream) -> Result<(), StoreError> {
        loop {
            let contacts = Taken::new(self.contacts.take(CONTACTS_MAX), |contacts| self.contacts.put_back(contacts));
            if contacts.rows().is_empty() {
                break;
            }
            upstream.ledger().note_contacts(contacts.rows()).await?;
            contacts.written();
        }
        let rows = Taken::new(self.pushes.take_rows(), |rows| self.pushes.put_back_rows(rows));
        upstream.ledger().note_pushes(rows.rows()).await?;
        rows.written();
        let minutes = Taken::new(self.pushes.take_minutes(), |minutes| self.pushes.put_back_minutes(minutes));
        upstream.ledger().note_ingested(minutes.rows()).await?;
        minutes.written();
        Ok(())
    }
}

/// The task that writes.
pub(crate) struct Writer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Writes what was heard, every two seconds.
    pub(crate) fn start(fleet: &Arc<Fleet>, upstream: &Arc<dyn Upstream>, panics: &Arc<Panics>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (fleet, upstream) = (Arc::clone(fleet), Arc::clone(upstream));
        let task = supervision::spawn(panics, "writing what was heard of stations", move || {
            write_on(Arc::clone(&fleet), Arc::clone(&upstream), stopped.clone())
        });
        Self { stop, task }
    }

    /// Writes what still waits, for as long as `time`, and ends. What is just being written is brought to its end.
    pub(crate) async fn finish(&mut self, time: Duration) {
        self.stop.send_replace(true);
        if tokio::time::timeout(time, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!(
                "what was heard last of the stations is not written: the database did not take it in {time:?}"
            );
        }
    }

    /// Ends at once.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }
}

async fn write_on(fleet: Arc<Fleet>, upstream: Arc<dyn Upstream>, mut stop: watch::Receiver<bool>) {
    let mut failing = false;
    while tokio::time::timeout(EVERY, stop.wait_for(|stop| *stop)).await.is_err() {
        match fleet.write(upstream.as_ref()).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!("what operators see of the stations cannot be written now: {error}");
            }
            Err(_) => {}
        }
    }
    // Whoever stopped it says for how long this may be tried.
    while let Err(error) = fleet.write(upstream.as_ref()).await {
        tracing::debug!("what was heard last of the stations cannot be written yet: {error}");
        tokio::time::sleep(AGAIN).await;
    }
}
