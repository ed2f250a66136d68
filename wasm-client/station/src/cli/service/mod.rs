//! `tidemark service`: a station as a service of Windows.
//!
//! | file | what lives there |
//! |---|---|
//! | `manage.rs` | what a person asks of the service manager: install, start, stop, status, remove |
//! | `host.rs` | what the service manager starts: `tidemark run` without a console |
//! | `fault.rs` | what the manager refuses, and what can be done about it |
//! | `log.rs` | the service's log, a file that does not grow for ever |
//! | `args.rs` | the arguments |

mod args;
#[cfg(windows)]
mod fault;
#[cfg(windows)]
mod host;
#[cfg(any(windows, test))]
mod log;
#[cfg(windows)]
mod manage;

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::AtomicBool;

#[cfg(windows)]
use self::args::Act;
pub(super) use self::args::Args;
use super::fatal::Fatal;
use super::trust::TrustArgs;

/// What the service does until the flag is raised; it tells what happens line by line.
pub(super) type Work = Box<dyn FnOnce(&AtomicBool, &mut dyn FnMut(&str)) -> Result<(), Fatal>>;
/// Makes the work of the words that it was installed with; or says what is wrong with them.
pub(super) type Prepare = fn(&[OsString]) -> Result<Work, String>;

#[cfg(windows)]
pub(super) fn run(db: &Path, trust: &TrustArgs, args: &Args, prepare: Prepare) -> Result<(), Fatal> {
    match &args.act {
        Act::Install(install) => manage::install(&args.name, db, trust, install, prepare),
        Act::Start => manage::start(&args.name),
        Act::Stop => manage::stop(&args.name),
        Act::Status(status) => manage::status(&args.name, status.json),
        Act::Remove => manage::remove(&args.name),
        Act::Host(host) => host::run(&args.name, host, prepare),
    }
}

#[cfg(not(windows))]
pub(super) fn run(_: &Path, _: &TrustArgs, _: &Args, _: Prepare) -> Result<(), Fatal> {
    Err(Fatal::new(
        "services of this kind are Windows'. Here, systemd starts `tidemark run`: its unit is in deploy/systemd",
    ))
}
