//! The run: events in virtual time, one after the other, and the oracle after each.

mod queue;
mod servers;
mod station;
mod stations;
mod strikes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tidemark_client::sync::{Failure, Reply};
use tidemark_core::joincode::JoinCode;
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;
use tidemark_memory::MemoryUpstream;
use tidemark_server::stations::{NewStation, secret_hash};

use self::queue::{Event, Exchange, Queue};
use self::station::{Station, station};
use super::clock::{EPOCH_MS, MachineClock};
use super::coverage::Coverage;
use super::dice::{Draw as _, Purpose, stream};
use super::faults::{Fault, FaultSet};
use super::names::station_name;
use super::network::Network;
use super::oracle::Oracle;
use super::plan::Plan;
use super::schema::tides;
use super::server::{Server, Weather, upstream};
use super::trace::Trace;
use tidemark_testkit::world::Dice;

macro_rules! trace {
    ($world:expr, $($what:tt)+) => { $world.trace.line($world.queue.now_ms, format_args!($($what)+)) };
}

use trace;

/// How long after the faults have stopped a run may take to drain, in virtual time: several of the longest waits there
/// are.
const DRAIN_MS: i64 = 3 * 3_600_000;
/// Every so many seeds go on for this long after everything is upstream, in virtual time, with nothing to push.
const QUIET_SEEDS: u64 = 4;
const QUIET_MS: i64 = 1_800_000;
/// A station that is well was in contact within that time: the ten minutes, by a clock that may be a fifth slow, and
/// the time between two looks.
const CONTACT_MS: i64 = 900_000;
/// More events than any run needs that makes progress.
const EVENTS_MAX: u64 = 60_000;

/// What was found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In which run.
    pub plan: Plan,
    /// What, and when.
    pub what: String,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct Report {
    /// Hash of everything that happened.
    pub trace: u64,
    /// Events.
    pub events: u64,
    /// Changes written by programs.
    pub changes: u64,
    /// Virtual time.
    pub virtual_ms: i64,
    /// What was reached.
    pub coverage: Coverage,
}

/// Runs plans, one after the other.
pub struct Simulator {
    runtime: tokio::runtime::Runtime,
    schema: Arc<Schema>,
    /// Prints what happens.
    pub print: bool,
}

impl Default for Simulator {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        Self { runtime: runtime.expect("BUG: a runtime without I/O can be built"), schema: tides(), print: false }
    }
}

impl Simulator {
    /// Runs a plan to its end.
    ///
    /// # Errors
    /// What was found wrong; a panic of the product is a finding, too.
    pub fn run(&self, plan: &Plan) -> Result<Report, Finding> {
        let run = || World::new(self, plan).run();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let what = match ended {
            Ok(Ok(report)) => return Ok(report),
            Ok(Err(what)) => what,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message"))
            }
        };
        Err(Finding { plan: *plan, what })
    }
}

struct World<'s> {
    simulator: &'s Simulator,
    plan: Plan,
    faults: FaultSet,
    healed: bool,
    active_ms: i64,
    queue: Queue,
    lives: u64,
    exchanges: u64,
    /// Exchanges whose outcome is still awaited.
    open: BTreeSet<Exchange>,
    /// Outcomes of batches that were sent early, until their turn comes.
    came: BTreeMap<Exchange, Result<Reply, Failure>>,
    stations: Vec<Station>,
    servers: Vec<Server>,
    upstream: MemoryUpstream,
    weather: Arc<Weather>,
    network: Network,
    strikes: Vec<Dice>,
    process_dice: Dice,
    word_dice: Dice,
    oracle: Oracle,
    trace: Trace,
    coverage: Coverage,
}

impl<'s> World<'s> {
    fn new(simulator: &'s Simulator, plan: &Plan) -> Self {
        let (schema, seed, faults) = (&simulator.schema, plan.seed, plan.faults);
        let mut clocks = stream(seed, Purpose::Clock);
        let weather = Weather::new(seed, faults);
        let constraint = faults.has(Fault::Constraint);
        let upstream = upstream(schema, &weather, constraint);
        let mut schedule = stream(seed, Purpose::Schedule(u32::MAX));
        let active_ms = schedule.between(60_000, 400_000);
        let mut machine = |drifts: bool| {
            let offset = *clocks.pick(&[0, 400, -90_000, 3_600_000, -86_400_000, 20 * 86_400_000]);
            let rate = *clocks.pick(&[1.0, 1.0001, 0.999, 1.2, 0.8]);
            if drifts { MachineClock::new(offset, rate) } else { MachineClock::new(0, 1.0) }
        };
        let limits = FrameLimits { rows_max: *schedule.pick(&[50_000, 50_000, 40, 10, 3]), ..FrameLimits::DEFAULT };
        let drifts = faults.has(Fault::ClockDrift);
        let mut coverage = Coverage::default();
        if drifts {
            coverage.count("fault", Fault::ClockDrift.as_str());
        }
        let servers: Vec<Server> =
            (0..plan.servers).map(|_| Server::new(&upstream, schema, machine(false), limits)).collect();
        let stations: Vec<Station> =
            (0..plan.stations).map(|index| station(schema, seed, index, machine(drifts))).collect();
        let mut world = Self {
            simulator,
            plan: *plan,
            faults,
            healed: false,
            active_ms,
            queue: Queue::new(),
            lives: 0,
            exchanges: 0,
            open: BTreeSet::new(),
            came: BTreeMap::new(),
            oracle: Oracle::new(schema, &upstream, plan.stations, faults),
            stations,
            servers,
            upstream,
            weather,
            network: Network::new(seed, faults),
            strikes: Fault::ALL.iter().map(|&fault| stream(seed, Purpose::Fault(fault as u32))).collect(),
            process_dice: stream(seed, Purpose::Process),
            word_dice: stream(seed, Purpose::Word),
            trace: Trace::new(simulator.print),
            coverage,
        };
        world.schedule(&mut schedule);
        world
    }

    /// Everything that is known beforehand: stations are invited, programs write, faults strike.
    fn schedule(&mut self, schedule: &mut Dice) {
        for index in 0..self.stations.len() {
            let invited = NewStation {
                name: station_name(index),
                code_hash: secret_hash(&JoinCode::decode(&self.stations[index].code).expect("BUG: a code").secret),
                code_expires_at_ms: i64::MAX,
                now_ms: EPOCH_MS,
            };
            let added = self.upstream.upstream().add_station(&invited).now_or_never();
            assert_eq!(added, Some(Ok(true)), "BUG: memory takes invitations");
            for _ in 0..self.plan.writes {
                let at_ms = schedule.between(0, self.active_ms);
                self.push(at_ms, Event::Write { station: index });
            }
            self.push(schedule.between(0, 20_000), Event::Start { station: index, slot: 0 });
        }
        for fault in self.faults.iter() {
            let dice = &mut self.strikes[fault as usize];
            // A file is copied by one strike and put back by another.
            let often: &[f64] = if fault == Fault::Rewind { &[3.0, 6.0] } else { &[1.0, 3.0, 6.0] };
            let mean = self.active_ms as f64 / *dice.pick(often);
            let mut at_ms = dice.wait(mean);
            let mut strikes = Vec::new();
            while at_ms < self.active_ms && strikes.len() < 12 {
                strikes.push(at_ms);
                at_ms += dice.wait(mean);
            }
            for at_ms in strikes {
                self.push(at_ms, Event::Strike(fault));
            }
        }
        self.push(self.active_ms, Event::Heal);
    }

    fn push(&mut self, after_ms: i64, event: Event) {
        self.queue.push(after_ms, event);
    }

    fn hit(&mut self, fault: Fault) {
        self.coverage.count("fault", fault.as_str());
    }

    fn run(mut self) -> Result<Report, String> {
        let at = |world: &Self, what: String| {
            format!("{what} (after {:.3} s)", (world.queue.now_ms - EPOCH_MS) as f64 / 1000.0)
        };
        let quiet_ms = if self.plan.seed.is_multiple_of(QUIET_SEEDS) { QUIET_MS } else { 0 };
        let (mut events, mut drained) = (0, false);
        let mut end_ms = i64::MAX;
        while let Some(event) = self.queue.pop() {
            events += 1;
            if drained && self.queue.now_ms >= end_ms && !matches!(event, Event::Arrive(_)) {
                // Only messages that are still on their way; they must not change anything.
                continue;
            }
            self.happen(event).map_err(|what| at(&self, what))?;
            if self.healed && !drained {
                drained = self.all_done();
                if drained {
                    end_ms = self.queue.now_ms + quiet_ms;
                }
                let late = self.queue.now_ms > EPOCH_MS + self.active_ms + DRAIN_MS;
                if !drained && (late || events > EVENTS_MAX) {
                    return Err(at(&self, self.stuck()));
                }
            }
        }
        if !drained {
            return Err(at(&self, self.stuck()));
        }
        for (index, station) in self.stations.iter().enumerate() {
            self.oracle.ended(index, &station.programs).map_err(|what| at(&self, what))?;
        }
        if quiet_ms > 0 {
            self.in_contact().map_err(|what| at(&self, what))?;
        }
        trace!(self, "drained");
        Ok(Report {
            trace: self.trace.hash(),
            events,
            changes: self.oracle.changes(),
            virtual_ms: self.queue.now_ms - EPOCH_MS,
            coverage: self.coverage,
        })
    }

    fn all_done(&self) -> bool {
        (0..self.stations.len()).all(|index| self.is_done(index))
    }

    fn is_done(&self, index: usize) -> bool {
        let process = self.stations[index].processes[0].as_ref();
        process.is_some_and(|process| self.oracle.is_done(index, &process.store))
            // A process that ended because of a fork will not come back, and need not.
            || self.stations[index].ended.is_some() && self.oracle.diverged(index)
    }

    /// Every station that runs was in contact of late.
    fn in_contact(&self) -> Result<(), String> {
        for (index, station) in self.stations.iter().enumerate() {
            let Some(process) = station.processes[0].as_ref().filter(|_| station.ended.is_none()) else { continue };
            let number = process.store.meta().ok().and_then(|meta| meta.membership).map(|membership| membership.number);
            let Some(number) = number else { continue };
            let now_ms = self.queue.now_ms;
            let unheard_ms = self.servers.iter().filter_map(|server| server.unheard_ms(number, now_ms)).min();
            if unheard_ms.is_none_or(|unheard_ms| unheard_ms > CONTACT_MS) {
                let name = station_name(index);
                return Err(format!("{name} has nothing to push and was not in contact for {CONTACT_MS} ms"));
            }
        }
        Ok(())
    }

    fn stuck(&self) -> String {
        let stations = (0..self.stations.len()).filter(|&index| !self.is_done(index)).map(|index| {
            let ended = self.stations[index].ended.as_deref();
            let last =
                self.stations[index].processes[0].as_ref().and_then(|process| process.store.meta().ok()?.last_error);
            format!(
                "{}: {}{}{}",
                station_name(index),
                self.oracle.describe(index),
                ended.map_or_else(String::new, |why| format!(", its process ended: {why}")),
                last.map_or_else(String::new, |error| format!(", last error: {error}"))
            )
        });
        format!("did not drain: {}", stations.collect::<Vec<_>>().join("; "))
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        for station in &self.stations {
            station.clock.read(self.queue.now_ms);
        }
        match event {
            Event::Write { station } => self.write(station),
            Event::Start { station, slot } => self.start(station, slot),
            Event::Tick { station, slot, life, tick } => {
                let process = self.stations[station].processes[slot].as_ref();
                if process.is_some_and(|process| (process.life, process.tick) == (life, tick)) {
                    self.look(station, slot)?;
                }
                Ok(())
            }
            Event::Word { station, slot, life } => self.word(station, slot, life),
            Event::Arrive(message) => self.arrive(*message),
            Event::Outcome { exchange, outcome, late } => self.outcome(exchange, &outcome, late),
            Event::Strike(fault) if !self.healed => self.strike(fault),
            Event::Strike(_) => Ok(()),
            Event::Relent(fault, index) => self.relent(fault, index),
            Event::Heal => self.heal(),
        }
    }
}
