//! What systemd is told (`Type=notify`): ready, alive, reloading, stopping. Where nobody set `NOTIFY_SOCKET`, as
//! outside of systemd, nothing is told; a message that does not get through is a line in the log and stops nothing.

use std::time::Duration;

use crate::bounds::HttpLimits;

#[cfg(unix)]
use sd_notify::NotifyState;

/// The time that closing the database may take after the last request.
const TIDY: Duration = Duration::from_secs(10);

/// How long a stop may take: the grace time, the time of running requests, and to close the database.
pub(super) fn stop_max(limits: &HttpLimits) -> Duration {
    limits.drain_grace.saturating_add(limits.drain_timeout).saturating_add(TIDY)
}

/// It starts, and waits for its database.
pub(super) fn starting() {
    #[cfg(unix)]
    tell(&[NotifyState::Status("opening the database")]);
}

/// It serves.
pub(super) fn ready(url: &str) {
    #[cfg(unix)]
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {url}"))]);
    #[cfg(not(unix))]
    let _ = url;
}

/// It takes its files anew; it says [`ready`] when it has.
pub(super) fn reloading() {
    #[cfg(unix)]
    {
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now());
        tell(&states);
    }
}

/// It is to stop, which may take that long: systemd waits for so long, whatever the unit says.
pub(super) fn stopping(stop_max: Duration) {
    #[cfg(unix)]
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("not ready any more, running requests are finished"),
        NotifyState::Custom(&format!("EXTEND_TIMEOUT_USEC={}", stop_max.as_micros())),
    ]);
    #[cfg(not(unix))]
    let _ = stop_max;
}

/// Tells systemd that the server lives, twice as often as it wants to hear that (`WatchdogSec`), for as long as
/// `is_alive` says so. Ends at once where it wants to hear nothing.
pub(super) async fn keep_telling<F: Future<Output = bool>>(is_alive: impl Fn() -> F) {
    let Some(every) = heard_every() else { return };
    loop {
        if is_alive().await {
            alive();
        }
        tokio::time::sleep(every / 2).await;
    }
}

#[cfg(unix)]
fn heard_every() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(not(unix))]
fn heard_every() -> Option<Duration> {
    None
}

fn alive() {
    #[cfg(unix)]
    tell(&[NotifyState::Watchdog]);
}

#[cfg(unix)]
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../../deploy/systemd/tidemark-server.service");

    fn seconds(key: &str) -> u64 {
        let value = UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{key} is a number of seconds in the unit"))
    }

    #[test]
    fn the_unit_gives_a_stop_the_time_that_it_may_take() {
        let limits = super::super::limits::default_limits();
        let (given, needed) = (seconds("TimeoutStopSec"), stop_max(&limits).as_secs());
        assert!((needed..=needed + 5).contains(&given), "TimeoutStopSec={given}, and a stop may take {needed} s");
    }

    #[test]
    fn the_unit_gives_the_descriptors_and_the_memory_that_the_limits_need() {
        let limits = super::super::limits::default_limits();
        let files = seconds("LimitNOFILE") as usize;
        assert!(files >= limits.connections_max + 94, "LimitNOFILE={files}");
        let memory = UNIT.lines().find_map(|line| line.strip_prefix("MemoryMax=")?.strip_suffix('M'));
        let memory = memory.and_then(|mib| mib.parse::<usize>().ok()).expect("MemoryMax is in MiB") << 20;
        assert!(memory >= 2 * limits.memory_bytes_max, "MemoryMax={memory}");
    }
}
