//! How many files a process may have open. The siege needs thousands of connections; the server gets what it would get
//! from a shell.

use anyhow::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sets how many files this process, and those that it starts from now on, may have open.
///
/// # Errors
/// When it is more than the system's hard limit.
pub fn allow(count: u64) -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(count), maximum };
    setrlimit(Resource::Nofile, limit).with_context(|| format!("cannot have {count} files open"))
}

/// Raises it to the system's hard limit, for this process and those that it starts from now on; returns it.
///
/// # Errors
/// The system's.
pub fn allow_most() -> Result<u64> {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    allow(most)?;
    Ok(most)
}
