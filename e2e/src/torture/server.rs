//! A server process that is killed and stalled, and started again as a service manager would.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::plan::{Blow, Strike};
use super::round::{Round, Strikes, back_at};
use super::tally::{Hit, Tally};
use super::wire::{Address, lock};
use crate::field::Field;
use crate::process::ServerProcess;

/// How soon a server that could not start is tried again: its database may be down.
const START_AGAIN: Duration = Duration::from_millis(150);

/// A server of a world.
#[derive(Debug)]
pub(super) struct Server {
    name: String,
    address: Address,
    process: Option<ServerProcess>,
}

impl Server {
    /// Starts it on a free port.
    pub(super) fn start(name: String, field: &Field) -> Result<Self> {
        let mut server = Self { name, address: Address::default(), process: None };
        server.up(field)?;
        Ok(server)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Address {
        Arc::clone(&self.address)
    }

    /// What the running process has printed.
    pub(super) fn output(&self) -> Option<(&str, String)> {
        Some((&self.name, self.process.as_ref()?.process.output_so_far()))
    }

    /// A new port each time: another program may have taken the old one.
    fn up(&mut self, field: &Field) -> Result<()> {
        let process = field.serve()?;
        *lock(&self.address) = Some(process.address);
        self.process = Some(process);
        Ok(())
    }

    /// Lives through a round.
    pub(super) fn ride(&mut self, field: &Field, strikes: &[Strike], round: &Round<'_>) -> Result<Tally> {
        let (mut tally, mut strikes) = (Tally::default(), Strikes::new(strikes));
        let (mut start_at, mut wake_at) = (Duration::ZERO, None);
        while round.goes_on() {
            if let Some(strike) = strikes.due(round)
                && let Some(server) = &self.process
            {
                match strike.blow {
                    Blow::Stall if wake_at.is_none() => {
                        server.process.signal("STOP")?;
                        wake_at = Some(back_at(round, &strike));
                        tally.add(Hit::Stall, 1);
                    }
                    Blow::Stall => {}
                    _ => {
                        self.kill(round)?;
                        tally.add(Hit::Server, 1);
                        (start_at, wake_at) = (back_at(round, &strike), None);
                    }
                }
            }
            if wake_at.take_if(|at| *at <= round.elapsed()).is_some()
                && let Some(server) = &self.process
            {
                server.process.signal("CONT")?;
            }
            if let Some(server) = &mut self.process {
                if server.process.has_ended()? {
                    let output = server.process.output_so_far();
                    round.note(&self.name, &output)?;
                    bail!("{} ended by itself:\n{output}", self.name);
                }
            } else if start_at <= round.elapsed()
                && let Err(error) = self.up(field)
            {
                round.note(&self.name, &format!("{error:#}"))?;
                start_at = round.elapsed() + START_AGAIN;
            }
        }
        if wake_at.is_some()
            && let Some(server) = &self.process
        {
            server.process.signal("CONT")?;
        }
        Ok(tally)
    }

    fn kill(&mut self, round: &Round<'_>) -> Result<()> {
        // Nobody may find another program on its port.
        *lock(&self.address) = None;
        match self.process.take() {
            Some(server) => round.keep(&self.name, &server.process.kill()?),
            None => Ok(()),
        }
    }
}
