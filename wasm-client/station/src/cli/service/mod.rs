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
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

#[cfg(windows)]
use self::args::Act;
pub(super) use self::args::Args;
use super::fatal::Fatal;
use super::trust::TrustArgs;

/// What the service does until the flag is raised. What happens is told as lines of stderr are.
pub(super) type Work = Box<dyn FnOnce(&AtomicBool) -> Result<(), Fatal>>;
/// Makes the work of the words that it was installed with; or says what is wrong with them.
pub(super) type Prepare = fn(&[OsString]) -> Result<Work, String>;

/// The station that a service is of, as its commands name it.
#[cfg_attr(not(windows), expect(dead_code, reason = "these services are Windows'"))]
pub(super) struct Of {
    pub db: PathBuf,
    /// The file of settings, if one is named.
    pub config: Option<PathBuf>,
    pub trust: TrustArgs,
}

#[cfg(windows)]
pub(super) fn run(of: &Of, args: &Args, prepare: Prepare) -> Result<(), Fatal> {
    match &args.act {
        Act::Install(install) => manage::install(&args.name, of, install, prepare),
        Act::Start => manage::start(&args.name),
        Act::Stop => manage::stop(&args.name),
        Act::Status(status) => manage::status(&args.name, status.json),
        Act::Remove => manage::remove(&args.name),
        Act::Host(host) => host::run(&args.name, host, prepare),
    }
}

#[cfg(not(windows))]
pub(super) fn run(_: &Of, _: &Args, _: Prepare) -> Result<(), Fatal> {
    Err(Fatal::new(
        "services of this kind are Windows'. Here, systemd starts `tidemark run`: its unit is in deploy/systemd",
    ))
}
