//! One place to wait for whatever ends a wait: a reply, a write to the file, a wish of a person or of the system.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::steady_ms;

/// Who waits looks at least this often what is so, should nobody ring.
const LOOK_MS: u64 = 1_000;

/// Rung by any thread, heard by the one that waits. It carries nothing: who is woken looks at what is so, and a bell
/// rung many times before anybody listens wakes once.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rung: Mutex<bool>,
    heard: Condvar,
    written: AtomicBool,
}

impl Bell {
    /// Wakes who waits, or who is about to.
    pub fn ring(&self) {
        *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.heard.notify_all();
    }

    /// Says that the file was written, or is being written. However often it is said, it wakes once until
    /// [`Bell::take_written`].
    pub fn written(&self) {
        if !self.0.written.swap(true, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// Whether the file was said to be written.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.0.written.load(Ordering::SeqCst)
    }

    /// The same, and forgets it.
    #[must_use]
    pub fn take_written(&self) -> bool {
        self.0.written.swap(false, Ordering::SeqCst)
    }

    /// Waits up to `ms` milliseconds, or until `over` says so; it is asked at each ring, and now and then.
    pub fn wait(&self, ms: u64, over: impl Fn() -> bool) {
        let until_ms = steady_ms().saturating_add(ms);
        while !over() {
            let left_ms = until_ms.saturating_sub(steady_ms());
            if left_ms == 0 {
                return;
            }
            let rung = self.0.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let waited =
                self.0.heard.wait_timeout_while(rung, Duration::from_millis(left_ms.min(LOOK_MS)), |rung| !*rung);
            *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_MS: u64 = 600_000;

    #[test]
    fn a_ring_before_the_wait_and_one_during_it_are_heard() {
        let (bell, over) = (Bell::default(), Arc::new(AtomicBool::new(false)));
        bell.written();
        bell.wait(LONG_MS, || bell.is_written());
        assert!(bell.take_written() && !bell.take_written());
        let (ringer, raised) = (bell.clone(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            // Rings that mean nothing to who waits do not end the wait.
            (0..3).for_each(|_| ringer.ring());
            raised.store(true, Ordering::SeqCst);
            ringer.ring();
        });
        bell.wait(LONG_MS, || over.load(Ordering::SeqCst));
        thread.join().unwrap();
        assert!(over.load(Ordering::SeqCst));
    }

    #[test]
    fn what_nobody_rings_ends_by_itself() {
        let bell = Bell::default();
        bell.ring();
        bell.wait(5, || false);
        assert!(!bell.is_written());
    }
}
