//! SIGHUP at `tidemark run`: the settings are read anew, and taken all or not at all.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::FromArgMatches as _;
use tidemark_client::Store;
use tidemark_settings::{Layers, Program, World};

use super::config::unfit;
use super::fatal::Fatal;
use super::run_args::RunArgs;
use super::server;
use super::trust::TrustArgs;
use crate::bell::Bell;
#[cfg(unix)]
use crate::ending;

/// What the process was started with, and the settings it runs by.
pub(super) struct Session {
    pub program: Program,
    pub world: World,
    /// The settings of the start, with those that were taken since.
    pub running: Layers,
}

/// Settings that were read anew.
pub(super) struct Reloaded {
    pub args: RunArgs,
    pub trust: TrustArgs,
    /// What there is to tell of them, a line each.
    pub told: Vec<String>,
}

/// A flag that each SIGHUP raises before it rings. Other systems have no such signal.
#[cfg_attr(not(unix), expect(unused_variables, reason = "nothing rings there"))]
pub(super) fn listen(bell: &Bell) -> Result<Arc<AtomicBool>, Fatal> {
    let hangup = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&hangup))
        .and_then(|_| ending::ring_at([signal_hook::consts::SIGHUP], bell))
        .map_err(|error| Fatal::new(format!("cannot listen for signals: {error}")))?;
    Ok(hangup)
}

impl Session {
    /// Reads the settings anew; the server's URL is in the station's file then.
    ///
    /// # Errors
    /// Everything that is wrong with them; nothing of them is taken then.
    pub(super) fn reload(&mut self, store: &Store) -> Result<Reloaded, String> {
        let loaded = self.program.load(&self.world).map_err(|error| error.render().to_string())?;
        let mut wrong: Vec<String> = loaded.layers.problems.iter().map(ToString::to_string).collect();
        wrong.extend(unfit(&loaded.layers).iter().map(ToString::to_string));
        let matches = loaded.matches.as_ref().filter(|_| wrong.is_empty()).ok_or_else(|| wrong.join("; "))?;
        let of_run = matches.subcommand_matches("run").ok_or("BUG: this is `run`")?;
        let args = RunArgs::from_arg_matches(of_run).map_err(|error| error.render().to_string())?;
        let trust = TrustArgs::from_arg_matches(matches).map_err(|error| error.render().to_string())?;
        trust.transport(store).map_err(|error| error.message)?;
        let mut told: Vec<String> = loaded.layers.warnings.iter().map(|warning| format!("SIGHUP: {warning}")).collect();
        if let Some(url) = matches.get_one::<String>("server") {
            server::point(store, url).map_err(|error| error.message)?;
        }
        let changed: Vec<&str> = loaded.layers.changed(&self.running);
        let (taken, left): (Vec<&str>, Vec<&str>) = changed.iter().partition(|key| self.program.live.contains(key));
        told.push(match taken.is_empty() {
            true => "SIGHUP: nothing to apply has changed".to_owned(),
            false => format!("SIGHUP: applied {}", taken.join(", ")),
        });
        if !left.is_empty() {
            told.push(format!("SIGHUP: needs a restart: {}", left.join(", ")));
        }
        self.running.take(&loaded.layers, self.program.live);
        Ok(Reloaded { args, trust, told })
    }
}
