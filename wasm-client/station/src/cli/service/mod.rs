//! `tidemark service`: a station as a service of Windows.
//!
//! | file | what lives there |
//! |---|---|
//! | `manage.rs` | what a person asks of the service manager: install, start, stop, status, remove |
//! | `host.rs` | what the service manager starts: `tidemark run` without a console |
//! | `fault.rs` | what the manager refuses, and what can be done about it |
//! | `log.rs` | the service's log, a file that does not grow for ever |
//! | `args.rs` | the arguments |
//! | `rights.rs` | what the service may read and write |
//! | `given.rs` | how it is given that, and how that is taken back |
//! | `work.rs` | what a service does, and which station it is of |

mod args;
#[cfg(windows)]
mod fault;
#[cfg(windows)]
mod given;
#[cfg(windows)]
mod host;
#[cfg(any(windows, test))]
mod log;
#[cfg(windows)]
mod manage;
#[cfg(any(windows, test))]
mod rights;
mod work;

#[cfg(windows)]
use self::args::Act;
pub(super) use self::args::Args;
pub(super) use self::work::{Of, Prepare, Work};
use super::fatal::Fatal;

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
