//! SIGHUP: the settings are read anew. What may change while the server runs is applied, all of it or nothing; what
//! needs a restart is named.

use std::sync::Arc;

use anyhow::Context as _;
use clap::FromArgMatches as _;
use tidemark_settings::{Layers, Program, World};

use super::backup::Backups;
use super::log::Reload;
use super::serve_args::ServeArgs;
use crate::server::RunningServer;

/// What the process was started with, and the settings it runs by.
pub(super) struct Session {
    pub program: Program,
    pub world: World,
    /// The settings of the start, with those that were applied since.
    pub running: Layers,
}

impl Session {
    /// Reads the settings anew, and applies what may be applied; the log tells what became of it.
    pub(super) fn reload(&mut self, server: &RunningServer, backups: &Backups) {
        // The files may be others although the settings are the same; what becomes of them it tells itself.
        if let Some(tls) = server.tls().map(Arc::clone) {
            drop(tokio::task::spawn_blocking(move || tls.reload()));
        }
        match self.try_reload(server, backups) {
            Ok(()) => {}
            Err(error) => {
                tracing::error!("SIGHUP: the new configuration is wrong, the one before stays in force: {error:#}");
            }
        }
    }

    fn try_reload(&mut self, server: &RunningServer, backups: &Backups) -> anyhow::Result<()> {
        let loaded = self.program.load(&self.world).map_err(|error| anyhow::anyhow!("{}", error.render()))?;
        for warning in &loaded.layers.warnings {
            tracing::warn!("{warning}");
        }
        if !loaded.layers.problems.is_empty() {
            let all: Vec<String> = loaded.layers.problems.iter().map(ToString::to_string).collect();
            anyhow::bail!("{}", all.join("; "));
        }
        let matches = loaded.matches.context("BUG: nothing is wrong, so clap took it")?;
        let matches = matches.subcommand_matches("serve").context("BUG: this is `serve`")?;
        let args = ServeArgs::from_arg_matches(matches).map_err(|error| anyhow::anyhow!("{}", error.render()))?;
        // Whatever may fail comes first; then nothing does.
        let unfit = args.unfit(&loaded.layers);
        if !unfit.is_empty() {
            let all: Vec<String> = unfit.iter().map(ToString::to_string).collect();
            anyhow::bail!("{}", all.join("; "));
        }
        let (live, schedule) = (args.live()?, args.schedule()?);
        let changed: Vec<String> = loaded.layers.changed(&self.running).into_iter().map(str::to_owned).collect();
        let (applied, left): (Vec<_>, Vec<_>) =
            changed.iter().partition(|key| self.program.live.contains(&key.as_str()));
        if let Some(log) = Reload::of_program() {
            log.set(&args.log);
        }
        server.apply(live);
        backups.set(schedule);
        self.running.take(&loaded.layers, self.program.live);
        match applied.is_empty() {
            true => tracing::info!("SIGHUP: nothing to apply has changed"),
            false => tracing::info!("SIGHUP: applied {}", names(&applied)),
        }
        if !left.is_empty() {
            tracing::warn!("SIGHUP: needs a restart: {}", names(&left));
        }
        Ok(())
    }
}

fn names(keys: &[&String]) -> String {
    keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ")
}
