//! A world: a database, servers, wires before them, stations. It lives through many rounds.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::check::{Checked, Subject, check};
use super::plan::{Blow, Plan, Shape, Strike, WirePlan};
use super::round::{Round, Strikes, back_at};
use super::server::Server;
use super::station::Victim;
use super::tally::{Hit, Tally};
use super::wire::Wire;
use crate::compare::Upstream;
use crate::field::Field;
use crate::postgres::{Flavour, PostgresCluster};
use crate::world::wait_for;

/// The upstream database of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A private PostgreSQL cluster.
    Postgres(Flavour),
    /// The embedded one, which all servers share.
    Embedded,
}

/// PostgreSQL has recovered from a kill within this time.
const RECOVERY: Duration = Duration::from_secs(90);
/// Small batches, so that a push has many moments to be broken at.
const SERVE: &[&str] = &["--batch-rows-max", "120", "--pool-max", "8"];
/// Stations of a new world.
const STATIONS_FIRST: usize = 2;

/// A running world. Dropping it ends every process of it.
#[derive(Debug)]
pub(super) struct Deployment {
    // In the order in which they are dropped.
    stations: Vec<Victim>,
    wires: Vec<Wire>,
    servers: Vec<Server>,
    cluster: Option<PostgresCluster>,
    field: Field,
    journals: PathBuf,
}

impl Deployment {
    pub(super) fn start(database: Database, shape: Shape) -> Result<Self> {
        let cluster = match database {
            Database::Postgres(flavour) => Some(PostgresCluster::start(flavour)?),
            Database::Embedded => None,
        };
        let url = cluster.as_ref().map(|cluster| cluster.create_database("torture")).transpose()?;
        let mut field = Field::shrinkage(url)?;
        field.serve_args = SERVE.iter().map(ToString::to_string).collect();
        field.migrate()?;
        let servers = (1..=shape.servers).map(|n| Server::start(format!("server-{n}"), &field));
        let servers = servers.collect::<Result<Vec<_>>>()?;
        // Each wire has a server of its own to lead to first.
        let wires = (0..servers.len()).map(|first| {
            let addresses = servers[first..].iter().chain(&servers[..first]).map(Server::address);
            Wire::start(addresses.collect())
        });
        let wires = wires.collect::<Result<Vec<_>>>()?;
        let journals = field.folder().join("journals");
        std::fs::create_dir(&journals)?;
        let mut world = Self { stations: Vec::new(), wires, servers, cluster, field, journals };
        for _ in 0..STATIONS_FIRST.min(shape.stations) {
            world.add_station()?;
        }
        Ok(world)
    }

    pub(super) fn stations(&self) -> usize {
        self.stations.len()
    }

    /// A further station: it has a file and a join code, and writes before it has joined.
    pub(super) fn add_station(&mut self) -> Result<()> {
        let n = self.stations.len();
        let name = format!("station-{}", n + 1);
        let station = self.field.init_station(&name)?;
        let code = self.field.add_station(&name)?;
        let url = self.wires[n % self.wires.len()].url();
        self.stations.push(Victim::new(station, self.field.schema(), code, url, self.journals.clone()));
        Ok(())
    }

    /// Everything lives through a round: blows, then peace until every log is empty.
    pub(super) fn ride(&mut self, plan: &Plan, writer: &Path, logs: &Path, interrupted: &AtomicBool) -> Result<Tally> {
        let Self { stations, wires, servers, cluster, field, .. } = self;
        let field = &*field;
        let round = &Round::begin(plan.length_ms, logs, interrupted);
        let mut results = Vec::new();
        std::thread::scope(|scope| {
            let mut others = Vec::new();
            for (server, strikes) in servers.iter_mut().zip(&plan.servers) {
                others.push(scope.spawn(move || round.watch(server.ride(field, strikes, round))));
            }
            for (wire, plan) in wires.iter().zip(&plan.wires) {
                others.push(scope.spawn(move || Ok(ride_wire(wire, plan, round))));
            }
            if let Some(cluster) = cluster {
                others.push(scope.spawn(move || round.watch(ride_database(cluster, &plan.database, round))));
            }
            let victims = stations.iter_mut().zip(&plan.stations);
            let victims = victims.map(|(it, plan)| scope.spawn(move || round.watch(it.ride(writer, plan, round))));
            let victims: Vec<_> = victims.collect();
            let mut wait_for = |threads: Vec<std::thread::ScopedJoinHandle<'_, Result<Tally>>>| {
                let ended = threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("BUG: an actor panicked"))));
                results.extend(ended);
            };
            wait_for(victims);
            round.drained();
            wait_for(others);
        });
        let mut tally = Tally::default();
        for result in results {
            tally.merge(&result?);
        }
        if round.is_interrupted() {
            return Err(anyhow!("interrupted"));
        }
        for (name, output) in self.outputs() {
            if output.contains("panicked at") {
                return Err(anyhow!("{name} panicked:\n{output}"));
            }
        }
        Ok(tally)
    }

    /// Checks everything, after a round.
    pub(super) fn check(&self) -> Result<Checked> {
        let subjects = self.stations.iter().map(|victim| {
            let number = victim.number.context("BUG: every station has joined")?;
            Ok(Subject { number, file: &victim.station.file, ledger: &victim.ledger })
        });
        let subjects = subjects.collect::<Result<Vec<_>>>()?;
        // The last blow may have hit a database that nobody needed any more: on a busy disk its recovery outlasts the
        // round.
        let mut failure = None;
        let upstream = wait_for("the database to be through its recovery", RECOVERY, || {
            Ok(Upstream::open(&self.field.database).map_err(|error| failure = Some(error)).ok())
        });
        let upstream = upstream.map_err(|error| failure.unwrap_or(error))?;
        check(&upstream, self.field.schema(), &subjects)
    }

    /// What the running processes have printed, by name.
    fn outputs(&self) -> impl Iterator<Item = (&str, String)> {
        self.servers.iter().filter_map(Server::output).chain(self.stations.iter().filter_map(Victim::output))
    }

    /// Puts what the running processes have printed, and PostgreSQL's log, beside the logs of those that ended.
    pub(super) fn save_logs(&self, logs: &Path) -> Result<()> {
        for (name, output) in self.outputs() {
            std::fs::write(logs.join(format!("{name}.running.log")), output)?;
        }
        if let Some(cluster) = &self.cluster {
            std::fs::copy(cluster.log(), logs.join("postgres.log"))?;
        }
        Ok(())
    }

    /// Leaves all files when it is dropped; returns the folders.
    pub(super) fn keep(&mut self) -> Vec<PathBuf> {
        self.field.keep();
        let mut folders = vec![self.field.folder().to_owned()];
        if let Some(cluster) = &mut self.cluster {
            cluster.keep();
            folders.push(cluster.folder().to_owned());
        }
        folders
    }
}

fn ride_wire(wire: &Wire, plan: &WirePlan, round: &Round<'_>) -> Tally {
    let mut tally = Tally::default();
    let mut strikes = Strikes::new(&plan.strikes);
    wire.rough(plan);
    let mut is_rough = true;
    while round.goes_on() {
        match strikes.due(round).map(|strike| strike.blow) {
            Some(Blow::Lead) => {
                wire.lead_on();
                tally.add(Hit::Lead, 1);
            }
            Some(_) => tally.add(Hit::Sever, wire.sever() as u64),
            None => {}
        }
        if is_rough && round.rough_left().is_zero() {
            wire.calm();
            is_rough = false;
        }
    }
    wire.calm();
    tally.merge(&wire.take_hits());
    tally
}

fn ride_database(cluster: &mut PostgresCluster, strikes: &[Strike], round: &Round<'_>) -> Result<Tally> {
    let (mut tally, mut strikes) = (Tally::default(), Strikes::new(strikes));
    while round.goes_on() {
        match strikes.due(round) {
            Some(strike) if strike.blow == Blow::KillBackend => {
                // Any of them: the time is as good as a throw of dice. While it recovers it cannot be asked whom to
                // kill.
                let killed = cluster.kill_backend(strike.at_ms).ok().flatten();
                tally.add(Hit::Backend, killed.is_some().into());
            }
            Some(strike) => {
                cluster.kill_hard()?;
                tally.add(Hit::Postgres, 1);
                let at = back_at(round, &strike);
                while round.elapsed() < at {
                    crate::world::pause(Duration::from_millis(5));
                }
                cluster.restart()?;
            }
            None => {}
        }
    }
    Ok(tally)
}
