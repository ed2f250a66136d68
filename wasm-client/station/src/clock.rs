//! The one place of this program that reads the clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemark_client::sync::Clock;

/// Milliseconds since 1970 UTC.
#[must_use]
#[allow(clippy::disallowed_methods)] // This module is the program's clock.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since a moment that stays the same while the program runs, by a clock that nobody sets. On Linux it
/// goes on while the machine sleeps.
#[must_use]
#[allow(clippy::disallowed_methods)] // This module is the program's clock.
pub fn steady_ms() -> u64 {
    #[cfg(target_os = "linux")]
    {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec.unsigned_abs().saturating_mul(1_000) + now.tv_nsec.unsigned_abs() / 1_000_000
    }
    #[cfg(not(target_os = "linux"))]
    {
        static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let passed = BEGAN.get_or_init(std::time::Instant::now).elapsed();
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// How finely a sleep looks whether it should end.
const SLICE: Duration = Duration::from_millis(50);

/// Sleeps up to `ms` milliseconds, or until `ended` says so.
pub fn sleep_ms(ms: u64, ended: impl Fn() -> bool) {
    let mut left = Duration::from_millis(ms);
    while !left.is_zero() && !ended() {
        let slice = left.min(SLICE);
        std::thread::sleep(slice);
        left -= slice;
    }
}

/// The machine's clock, whose sleeps end early when a flag is raised.
#[derive(Debug, Default)]
pub struct SystemClock<'a> {
    /// Ends sleeps.
    pub interrupted: Option<&'a AtomicBool>,
}

impl Clock for SystemClock<'_> {
    fn now_ms(&mut self) -> i64 {
        now_ms()
    }

    fn sleep_until(&mut self, at_ms: i64) {
        let ms = u64::try_from(at_ms.saturating_sub(now_ms())).unwrap_or(0);
        sleep_ms(ms, || self.interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed)));
    }
}
