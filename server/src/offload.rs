//! Work that computes for a while, kept from the threads that answer requests.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Fewer items than this are worked on where they are.
const FEW: usize = 500;

/// Runs work on so many items. Where the runtime has several threads, what else was to run on this one runs on another
/// meanwhile.
pub fn compute<T>(items: usize, work: impl FnOnce() -> T) -> T {
    let several = Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if items >= FEW && several { tokio::task::block_in_place(work) } else { work() }
}
