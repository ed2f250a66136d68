//! File descriptors: as many as the connections need, as far as the system lets.

use std::io;

use crate::bounds::HttpLimits;

/// Descriptors besides connections: files, the log, the listener, the runtime's own, and some to spare.
const OTHERS: u64 = 64;
/// Fewer connections than that are not served: let the system refuse.
const CONNECTIONS_MIN: usize = 16;

/// Raises the limit of open files as far as a server with these bounds needs. Where the system does not let, says
/// so and lowers the number of connections, so that there is a descriptor for each.
pub fn provide(http: &mut HttpLimits, pool_max: usize) {
    let others = OTHERS + pool_max as u64;
    let needed = http.connections_max as u64 + others;
    let Some(limit) = raised(needed).filter(|limit| *limit < needed) else { return };
    let fit = usize::try_from(limit.saturating_sub(others)).unwrap_or(usize::MAX).max(CONNECTIONS_MIN);
    tracing::warn!(
        "this process may have {limit} open files, and {needed} are needed for {} connections: it takes {fit}. Raise the hard limit \
         (LimitNOFILE={needed} in systemd, `ulimit -Hn {needed}` in a shell), or say --connections-max {fit}",
        http.connections_max
    );
    http.connections_max = fit;
    http.unknown_connections_max = http.unknown_connections_max.min(fit.div_ceil(2));
}

/// The limit of open files, raised to `needed` if that is more and may be; `None`: there is none.
#[cfg(unix)]
fn raised(needed: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    if current >= needed {
        return Some(current);
    }
    let wanted = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
        Ok(()) => Some(wanted),
        Err(error) => {
            tracing::warn!("cannot raise the limit of open files from {current} to {wanted}: {error}");
            Some(current)
        }
    }
}

/// Windows has no such limit: handles are bounded by memory.
#[cfg(not(unix))]
fn raised(_: u64) -> Option<u64> {
    None
}

/// Whether something failed because no descriptor is left, to this process or to the system.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
    }
    #[cfg(not(unix))]
    {
        // ERROR_TOO_MANY_OPEN_FILES and WSAEMFILE.
        matches!(error.raw_os_error(), Some(4 | 10024))
    }
}
