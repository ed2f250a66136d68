//! What `tidemark run` is told, by flags, environment and file: SIGHUP reads it, too.

use tidemark_client::sync::Config;
use tidemark_core::limits::CONTACT_EVERY_MS;

use super::chores::ChoreArgs;
use super::fatal::Fatal;
use crate::daemon::POLL_MS;
use crate::entropy;

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// How often the server hears from a station that has nothing to push, in seconds: so its operators see that it is
    /// well. They call a station silent that was not heard for an hour.
    #[arg(long, default_value_t = CONTACT_EVERY_MS / 1_000, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=600))]
    contact_every: u64,
    /// The longest wait after a server that refused or broke off, in seconds; the waits before it grow from one second.
    #[arg(long, default_value_t = 300, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait_max: u64,
    /// The longest wait after a server that could not be reached, in seconds.
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    away_wait_max: u64,
    /// How often the file is looked at, in milliseconds. The system tells of a write by a program of this machine,
    /// which is pushed at once; this is for those it says nothing of.
    #[arg(long, default_value_t = POLL_MS, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    poll: u64,
    #[command(flatten)]
    pub(super) chores: ChoreArgs,
}

impl RunArgs {
    /// What the engine goes by.
    pub(super) fn config(&self) -> Result<Config, Fatal> {
        let mut config = Config::daemon(entropy::seed()?).in_contact(self.contact_every * 1_000);
        config.backoff.max_ms = self.wait_max * 1_000;
        config.backoff.unreached_max_ms = self.away_wait_max * 1_000;
        Ok(config)
    }

    /// How often the file is looked at when nothing tells of a write, in milliseconds.
    pub(super) const fn poll_ms(&self) -> u64 {
        self.poll
    }
}
