//! SIGHUP: the settings are read anew. What may change while the server runs is applied, all of it or nothing; what
//! needs a restart is named.

use std::sync::Arc;

use anyhow::Context as _;
use clap::FromArgMatches as _;
use tidemark_settings::{Layers, Origin, Program, World};

use super::backup::Backups;
use super::log::Reload;
use super::serve_args::{Contents, ServeArgs};
use crate::database::DatabaseUrl;
use crate::server::RunningServer;

/// What the process was started with, and the settings it runs by.
pub(super) struct Session {
    pub program: Program,
    pub world: World,
    /// The settings of the start, with those that were applied since.
    pub running: Layers,
}

/// What a server serves until it is started anew, whatever the settings say meanwhile.
pub(super) struct Served {
    /// The database.
    pub database: DatabaseUrl,
    /// Most connections to it.
    pub pool_max: usize,
    /// What the files said that settings name, of the start or as they were applied since.
    pub contents: Contents,
}

impl Session {
    /// A setting was typed as a flag.
    pub(super) fn is_typed(&self, key: &str) -> bool {
        self.running.of(key).is_some_and(|(_, now)| matches!(now.origin, Origin::Flag(_)))
    }

    /// Reads the settings anew, and applies what may be applied; the log tells what became of it.
    pub(super) fn reload(&mut self, server: &RunningServer, backups: &Backups, served: &mut Served) {
        // The files may be others although the settings are the same; what becomes of them it tells itself.
        if let Some(tls) = server.tls().map(Arc::clone) {
            drop(tokio::task::spawn_blocking(move || tls.reload()));
        }
        match self.try_reload(server, backups, served) {
            Ok(()) => {}
            Err(error) => {
                tracing::error!("SIGHUP: the new configuration is wrong, the one before stays in force: {error:#}");
            }
        }
    }

    fn try_reload(&mut self, server: &RunningServer, backups: &Backups, served: &mut Served) -> anyhow::Result<()> {
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
        // What needs a restart stays as it is, and so does what depends on it.
        let (contents, live) = (args.contents()?, args.live(served.pool_max)?);
        let schedule = args.backups.schedule(served.database.clone())?;
        let (settings, files) = (loaded.layers.changed(&self.running), contents.changed(&served.contents));
        let keys = loaded.layers.settings.iter().map(|setting| setting.key.as_str());
        let changed = keys.filter(|key| settings.contains(key) || files.contains(key));
        let (applied, left): (Vec<&str>, Vec<&str>) = changed.partition(|key| self.program.live.contains(key));
        if let Some(log) = Reload::of_program() {
            log.set(&args.log);
        }
        server.apply(live);
        backups.set(schedule);
        served.contents.take(&contents, self.program.live);
        self.running.take(&loaded.layers, self.program.live);
        match applied.is_empty() {
            true => tracing::info!("SIGHUP: nothing to apply has changed"),
            false => tracing::info!("SIGHUP: applied {}", applied.join(", ")),
        }
        if !left.is_empty() {
            tracing::warn!("SIGHUP: needs a restart: {}", left.join(", "));
        }
        Ok(())
    }
}
