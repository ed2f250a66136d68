//! A value that may change while the server runs: who needs it asks for it each time, or waits for the next one.

use std::sync::Arc;

use tokio::sync::watch;

/// Such a value; its clones are one.
#[derive(Debug)]
pub struct Live<T>(Arc<watch::Sender<T>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Live<T> {
    /// What it is now.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.borrow().clone()
    }

    /// Is another from now on.
    pub fn set(&self, value: T) {
        self.0.send_replace(value);
    }

    /// Waits for as long as `wait` says of each value, from one change to the next.
    pub async fn wait(&self, wait: impl Fn(&T) -> Option<std::time::Duration>) {
        let mut values = self.0.subscribe();
        loop {
            let time = wait(&values.borrow_and_update());
            let passed = async {
                match time {
                    Some(time) => tokio::time::sleep(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                changed = values.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl<T> From<T> for Live<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(watch::Sender::new(value)))
    }
}
