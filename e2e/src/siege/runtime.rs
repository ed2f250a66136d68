//! The runtimes of the siege: good stations and hostile peers have one each.

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

/// A runtime with one thread.
///
/// # Errors
/// The system's.
pub fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}
