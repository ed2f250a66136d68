//! Tasks that go on for as long as the server runs. One that panics is told of, counted, and begun again after a pause
//! that grows; it never ends in silence while the server serves on. A test of the house holds every task to it
//! (`no_task_dies_in_silence`).

use std::sync::Arc;
use std::time::Duration;

use tidemark_core::restart::Pauses;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::panics::{Panics, caught};

/// Runs a task until it ends by itself. After a panic `begin` gives it anew.
pub async fn supervised<F: Future>(panics: &Panics, doing: &str, mut begin: impl FnMut() -> F) -> F::Output {
    let mut pauses = Pauses::default();
    loop {
        let began = Instant::now();
        match caught(async { begin().await }).await {
            Ok(done) => return done,
            Err(panic) => {
                panics.caught(doing, None, &*panic);
                let lasted_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tokio::time::sleep(Duration::from_millis(pauses.after(lasted_ms))).await;
            }
        }
    }
}

/// Begins a task that is to stay. `doing` says in the log what it does: "while writing contacts".
pub fn spawn<F>(
    panics: &Arc<Panics>,
    doing: &'static str,
    begin: impl FnMut() -> F + Send + 'static,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let panics = Arc::clone(panics);
    tokio::spawn(async move { supervised(&panics, doing, begin).await })
}

/// Begins a task that ends by itself, for one connection for example: a panic ends it, and is told and counted.
pub fn spawn_once(
    panics: &Arc<Panics>,
    doing: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let panics = Arc::clone(panics);
    tokio::spawn(async move {
        if let Err(panic) = caught(task).await {
            panics.caught(doing, None, &*panic);
        }
    })
}

/// Does work that blocks, for a task that is to hear of its panic.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The program ends, and nobody waits any more.
        Err(Err(_)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_goes_on_after_a_pause_that_grows() {
        let (panics, runs) = (Arc::<Panics>::default(), Arc::<AtomicU32>::default());
        let counted = Arc::clone(&runs);
        let began = Instant::now();
        let task = spawn(&panics, "counting to four", move || {
            // Where it is begun, and where it goes on.
            let run = counted.fetch_add(1, Ordering::Relaxed) + 1;
            assert!(run != 1, "planted");
            async move {
                tokio::task::yield_now().await;
                assert!(run >= 4, "planted, too");
                run
            }
        });
        assert_eq!((task.await.unwrap(), panics.count(), runs.load(Ordering::Relaxed)), (4, 3, 4));
        assert!(began.elapsed() >= Duration::from_millis(100 + 200 + 400));
    }

    #[tokio::test]
    async fn what_ends_by_itself_is_not_begun_again() {
        let panics = Arc::<Panics>::default();
        spawn_once(&panics, "breaking", async { panic!("planted") }).await.unwrap();
        spawn_once(&panics, "working", async {}).await.unwrap();
        let blocked = async { blocking(|| panic!("planted")).await };
        spawn_once(&panics, "reading a file", blocked).await.unwrap();
        assert_eq!((panics.count(), blocking(|| 7).await), (2, 7));
        let held = Arc::new(());
        let of_task = Arc::clone(&held);
        let task = spawn(&panics, "waiting", move || {
            let held = Arc::clone(&of_task);
            async move {
                let _held = held;
                std::future::pending::<()>().await;
            }
        });
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(Arc::strong_count(&held), 1, "what it held is let go when it is ended");
    }
}
