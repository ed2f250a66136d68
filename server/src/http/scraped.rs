//! The text of the metrics, made five times a second at most.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// How long a text is good.
const FRESH: Duration = Duration::from_millis(200);

/// The text that was last made.
#[derive(Debug, Default)]
pub(super) struct Scraped(Mutex<Option<(Instant, Bytes)>>);

impl Scraped {
    /// The text; one that is made anew when the last is old. Who asks while it is made waits for that.
    pub(super) fn text(&self, make: impl FnOnce() -> String) -> Bytes {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = held.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return text.clone();
        }
        let text = Bytes::from(make());
        *held = Some((Instant::now(), text.clone()));
        text
    }
}
