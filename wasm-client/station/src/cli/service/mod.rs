//! `tidemark service`: a station as a service of Windows.
//!
//! | file | what lives there |
//! |---|---|
//! | `manage.rs` | what a person asks of the service manager: install, start, stop, status, remove |
//! | `host.rs` | what the service manager starts: `tidemark run` without a console |
//! | `log.rs` | the service's log, a file that does not grow for ever |

#[cfg(windows)]
mod host;
#[cfg(any(windows, test))]
mod log;
#[cfg(windows)]
mod manage;

use std::path::{Path, PathBuf};

use super::fatal::Fatal;

/// An account with few rights, which every Windows has. Services name it so in every language of the system.
const LOCAL_SERVICE: &str = r"NT AUTHORITY\LocalService";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The service's name; a machine with several stations has a service for each.
    #[arg(long, global = true, env = "TIDEMARK_SERVICE", default_value = "tidemark", value_name = "NAME")]
    name: String,
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Make the service; `start` starts it, and so does the next start of the machine. Needs an administrator.
    Install(InstallArgs),
    /// Start the service, and wait until it runs. Needs an administrator.
    Start,
    /// Stop the service, and wait until it has ended. Needs an administrator.
    Stop,
    /// Show whether the service runs, as whom, and with what.
    Status(StatusArgs),
    /// Stop the service and take it away. The station's file and the log stay. Needs an administrator.
    Remove,
    /// What the service manager starts.
    #[command(hide = true)]
    Host(HostArgs),
}

#[derive(Debug, clap::Args)]
struct InstallArgs {
    /// The account that the service runs as.
    #[arg(long, default_value = LOCAL_SERVICE, value_name = "ACCOUNT")]
    account: String,
    /// The file whose first line is the account's password. Accounts of the system have none.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The service's log. Without it, the file's name with .service.log instead of its extension, beside the file.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The size at which the log is put aside as FILE.1, whose predecessor goes, in bytes.
    #[arg(long, default_value_t = 4 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1024..))]
    log_bytes_max: u64,
    /// Start the service only when somebody asks for it, and not with the machine.
    #[arg(long)]
    manual_start: bool,
    /// Leave the rights of the file's folder as they are. Else the account may read and write there (icacls).
    #[arg(long)]
    keep_rights: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct HostArgs {
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    #[arg(long, value_name = "BYTES")]
    log_bytes_max: u64,
}

#[cfg(windows)]
pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    match &args.act {
        Act::Install(install) => manage::install(&args.name, db, install),
        Act::Start => manage::start(&args.name),
        Act::Stop => manage::stop(&args.name),
        Act::Status(status) => manage::status(&args.name, status.json),
        Act::Remove => manage::remove(&args.name),
        Act::Host(host) => host::run(&args.name, db, host),
    }
}

#[cfg(not(windows))]
pub(super) fn run(_: &Path, _: &Args) -> Result<(), Fatal> {
    Err(Fatal::new(
        "services of this kind are Windows'. Here, systemd starts `tidemark run`: its unit is in deploy/systemd",
    ))
}
