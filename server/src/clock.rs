//! The one place of this program that reads a clock or draws randomness; everything else takes them as arguments.

/// The source of time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970 UTC.
    fn now_ms(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the server's one reading of the real clock")]
    fn now_ms(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Milliseconds since a moment that stays the same while the program runs, by a clock that nobody sets. On Linux it
/// goes on while the machine sleeps.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the server's one reading of the clock that nobody sets")]
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

/// Random bytes from the operating system.
///
/// # Errors
/// When the operating system has none to give.
#[allow(clippy::disallowed_methods, reason = "the server's one source of real randomness")]
pub fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
