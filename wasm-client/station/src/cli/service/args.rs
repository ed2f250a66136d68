//! What the commands of `tidemark service` take. They exist on every system, and work on Windows.

use std::ffi::OsString;
use std::path::PathBuf;

/// An account with few rights, which every Windows has. Services name it so in every language of the system.
pub(super) const LOCAL_SERVICE: &str = r"NT AUTHORITY\LocalService";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The service's name; a machine with several stations has a service for each.
    #[arg(long, global = true, default_value = "tidemark", value_name = "NAME")]
    pub(super) name: String,
    #[command(subcommand)]
    pub(super) act: Act,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Act {
    /// Make the service; `start` starts it, and so does the next start of the machine. Needs an administrator.
    Install(InstallArgs),
    /// Start the service, and wait until it runs. Needs an administrator.
    Start,
    /// Stop the service, and wait until it has ended. Needs an administrator.
    Stop,
    /// Show whether the service runs, as whom, and with what.
    Status(StatusArgs),
    /// Stop the service and take it away, with the rights that `install` gave it. The station's file and the log stay.
    /// Needs an administrator.
    Remove,
    /// What the service manager starts.
    #[command(hide = true)]
    Host(HostArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    /// The account that the service runs as.
    #[arg(long, default_value = LOCAL_SERVICE, value_name = "ACCOUNT")]
    pub(super) account: String,
    /// The file whose first line is the account's password. Accounts of the system have none.
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// The service's log. Without it, the file's name with .service.log instead of its extension, beside the file.
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
    /// The size at which the log is put aside as FILE.1, whose predecessor goes, in bytes.
    #[arg(long, default_value_t = 4 << 20, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1024..))]
    pub(super) log_bytes_max: u64,
    /// Start the service only when somebody asks for it, and not with the machine.
    #[arg(long)]
    pub(super) manual_start: bool,
    /// Leave rights as they are. Else this service may read and write the files that lie beside the station's and the
    /// log, and read those that it was told to read (icacls), until it is removed.
    #[arg(long)]
    pub(super) keep_rights: bool,
    /// Further arguments of `tidemark run`, after `--`.
    #[arg(last = true, value_name = "ARG")]
    pub(super) run: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// As JSON, for programs.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    #[arg(long, value_name = "FILE")]
    pub(super) log: PathBuf,
    #[arg(long, value_name = "BYTES")]
    pub(super) log_bytes_max: u64,
    /// What it does: `--db FILE run`, with further arguments.
    #[arg(last = true, required = true, value_name = "ARG")]
    pub(super) words: Vec<OsString>,
}
