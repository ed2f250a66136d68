//! The run: a queue of events in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use rusqlite::Connection;
use tidemark_client::Store;
use tidemark_client::sync::{Event as EngineEvent, Failure, Reply, Request};
use tidemark_core::joincode::JoinCode;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{Problem, PushReply, StationReply};
use tidemark_core::schema::Schema;
use tidemark_server::stations::{NewStation, secret_hash};
use tidemark_server::upstream::Upstream as _;
use tidemark_server::upstream::memory::MemoryUpstream;

use super::clock::{EPOCH_MS, MachineClock};
use super::coverage::Coverage;
use super::dice::{Draw as _, Purpose, stream};
use super::disk::{Disk, Image, limit};
use super::faults::{Fault, FaultSet};
use super::network::{Back, Network, Way, failure};
use super::oracle::Oracle;
use super::plan::Plan;
use super::process::{Heard, Next, Process, header_of};
use super::schema::{UNIQUE_INDEX, tides};
use super::server::{Server, Weather, upstream};
use super::trace::Trace;
use super::writer::{Ended, Manners, write};
use crate::world::Dice;

/// How long after the faults have stopped a run may take to drain, in virtual time: several of the longest waits there are.
const DRAIN_MS: i64 = 3 * 3_600_000;
/// More events than any run needs that makes progress.
const EVENTS_MAX: u64 = 60_000;
/// Processes that push from one file at once.
const SLOTS: usize = 2;

/// The name of a station.
#[must_use]
pub fn station_name(index: usize) -> String {
    format!("station-{index}")
}

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

/// Names an exchange of a process: who, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Exchange {
    station: usize,
    slot: usize,
    life: u64,
    number: u64,
    /// The request's id for the engine.
    id: u64,
}

/// A request on its way.
struct Message {
    exchange: Exchange,
    request: Request,
    /// Only so many bytes of the body arrive.
    cut: Option<usize>,
    /// A copy, whose reply nobody waits for.
    copy: bool,
    /// Which history of the station the frame is of.
    branch: usize,
}

enum Event {
    /// A program writes.
    Write { station: usize },
    /// A process looks at its file.
    Tick { station: usize, slot: usize, life: u64, tick: u64 },
    /// A request reaches a server.
    Arrive(Box<Message>),
    /// A reply reaches the process, or the news that none will.
    Outcome { exchange: Exchange, outcome: Result<Reply, Failure>, late: bool },
    /// A process starts.
    Start { station: usize, slot: usize },
    /// A fault strikes.
    Strike(Fault),
    /// A fault that lasts is over.
    Relent(Fault, usize),
    /// All faults stop.
    Heal,
}

struct Due {
    at_ms: i64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}

/// A station: a machine with a disk, a clock, programs and processes.
struct Station {
    file: String,
    code: String,
    disk: Disk,
    clock: MachineClock,
    /// The connection of the programs that write.
    programs: Connection,
    dice: Dice,
    /// Holds the write lock for a while.
    locker: Option<Connection>,
    processes: [Option<Process>; SLOTS],
    apart: bool,
    /// The file as it was when something was last made durable; kept only where a power cut may come.
    durable: Option<Image>,
    /// The file as somebody copied it.
    copied: Option<Image>,
    /// Why its process ended by itself.
    ended: Option<String>,
    /// What the server told last of its limits to a process, by its life.
    told: Option<(u64, FrameLimits)>,
}

struct World<'s> {
    simulator: &'s Simulator,
    plan: Plan,
    faults: FaultSet,
    healed: bool,
    active_ms: i64,
    now_ms: i64,
    queue: BinaryHeap<Reverse<Due>>,
    order: u64,
    lives: u64,
    exchanges: u64,
    /// Exchanges whose outcome is still awaited.
    open: BTreeSet<Exchange>,
    stations: Vec<Station>,
    servers: Vec<Server>,
    upstream: MemoryUpstream,
    weather: Arc<Weather>,
    network: Network,
    strikes: Vec<Dice>,
    process_dice: Dice,
    oracle: Oracle,
    trace: Trace,
    coverage: Coverage,
}

macro_rules! trace {
    ($world:expr, $($what:tt)+) => { $world.trace.line($world.now_ms, format_args!($($what)+)) };
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
        let servers: Vec<Server> =
            (0..plan.servers).map(|_| Server::new(&upstream, schema, machine(false), limits)).collect();
        let stations: Vec<Station> = (0..plan.stations).map(|index| station(schema, seed, index, machine(drifts))).collect();
        let mut world = Self {
            simulator,
            plan: *plan,
            faults,
            healed: false,
            active_ms,
            now_ms: EPOCH_MS,
            queue: BinaryHeap::new(),
            order: 0,
            lives: 0,
            exchanges: 0,
            open: BTreeSet::new(),
            oracle: Oracle::new(schema, &upstream, plan.stations, constraint),
            stations,
            servers,
            upstream,
            weather,
            network: Network::new(seed, faults),
            strikes: Fault::ALL.iter().map(|&fault| stream(seed, Purpose::Fault(fault as u32))).collect(),
            process_dice: stream(seed, Purpose::Process),
            trace: Trace::new(simulator.print),
            coverage: Coverage::default(),
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
            let added = self.upstream.add_station(&invited).now_or_never();
            assert_eq!(added, Some(Ok(true)), "BUG: memory takes invitations");
            for _ in 0..self.plan.writes {
                let at_ms = schedule.between(0, self.active_ms);
                self.push(at_ms, Event::Write { station: index });
            }
            self.push(schedule.between(0, 20_000), Event::Start { station: index, slot: 0 });
        }
        for fault in self.faults.iter() {
            let dice = &mut self.strikes[fault as usize];
            let mean = self.active_ms as f64 / *dice.pick(&[1.0, 3.0, 6.0]);
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
        self.order += 1;
        self.queue.push(Reverse(Due { at_ms: self.now_ms + after_ms, order: self.order, event }));
    }

    fn hit(&mut self, fault: Fault) {
        self.coverage.count("fault", fault.as_str());
    }

    fn run(mut self) -> Result<Report, String> {
        let at = |world: &Self, what: String| format!("{what} (after {:.3} s)", (world.now_ms - EPOCH_MS) as f64 / 1000.0);
        let (mut events, mut drained) = (0, false);
        while let Some(Reverse(due)) = self.queue.pop() {
            self.now_ms = due.at_ms;
            events += 1;
            if drained && !matches!(due.event, Event::Arrive(_)) {
                // Only messages that are still on their way; they must not change anything.
                continue;
            }
            self.happen(due.event).map_err(|what| at(&self, what))?;
            if self.healed && !drained {
                drained = self.all_done();
                let late = self.now_ms > EPOCH_MS + self.active_ms + DRAIN_MS;
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
        trace!(self, "drained");
        Ok(Report {
            trace: self.trace.hash(),
            events,
            changes: self.oracle.changes(),
            virtual_ms: self.now_ms - EPOCH_MS,
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

    fn stuck(&self) -> String {
        let stations = (0..self.stations.len()).filter(|&index| !self.is_done(index)).map(|index| {
            let ended = self.stations[index].ended.as_deref();
            let last = self.stations[index].processes[0].as_ref().and_then(|process| process.store.meta().ok()?.last_error);
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
            station.clock.read(self.now_ms);
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
            Event::Arrive(message) => self.arrive(*message),
            Event::Outcome { exchange, outcome, late } => self.outcome(exchange, &outcome, late),
            Event::Strike(fault) if !self.healed => self.strike(fault),
            Event::Strike(_) => Ok(()),
            Event::Relent(fault, index) => self.relent(fault, index),
            Event::Heal => self.heal(),
        }
    }

    // ---- stations ------------------------------------------------------------------------------------------------

    fn write(&mut self, index: usize) -> Result<(), String> {
        let manners = Manners {
            hostile: self.faults.has(Fault::HostileRow),
            rollback: self.faults.has(Fault::Rollback),
            poison: self.faults.has(Fault::Constraint),
        };
        let station = &mut self.stations[index];
        let ended = write(&mut station.programs, &mut station.dice, manners);
        let written = if ended == Ended::Locked { 0 } else { self.oracle.wrote(index, &station.programs)? };
        trace!(self, "{} writes {written} changes: {}", station_name(index), ended.as_str());
        match ended {
            Ended::Full => self.hit(Fault::FullDisk),
            Ended::Locked => self.hit(Fault::LockedFile),
            Ended::RolledBack => self.hit(Fault::Rollback),
            Ended::Committed if manners.hostile => self.hit(Fault::HostileRow),
            Ended::Committed => {}
        }
        if ended == Ended::Committed && manners.poison {
            self.hit(Fault::Constraint);
        }
        // The process may notice soon, or not before it looks by itself.
        if self.process_dice.chance(0.7) {
            self.tick(index, 0, 200);
        }
        Ok(())
    }

    fn start(&mut self, index: usize, slot: usize) -> Result<(), String> {
        if self.stations[index].processes[slot].is_some() || (slot > 0 && self.healed) {
            return Ok(());
        }
        // A database in memory is not even read under another's write lock.
        if self.stations[index].locker.is_some() {
            self.push(2_000, Event::Start { station: index, slot });
            return Ok(());
        }
        self.lives += 1;
        let (life, seed) = (self.lives, self.plan.seed ^ (self.lives << 32));
        let station = &mut self.stations[index];
        match Process::start(&station.disk, &station.file, life, seed, slot == 0 && self.plan.seed % 2 == 0) {
            Ok(process) => {
                station.processes[slot] = Some(process);
                station.ended = None;
                trace!(self, "{} starts process {slot}", station_name(index));
                self.settle(index, slot)?;
                self.tick(index, slot, 1);
            }
            Err(error) => return Err(format!("{} cannot open its file: {error}", station_name(index))),
        }
        Ok(())
    }

    /// Lets a process look after so many milliseconds of true time; earlier appointments are off.
    fn tick(&mut self, index: usize, slot: usize, after_ms: i64) {
        let Some(process) = &mut self.stations[index].processes[slot] else { return };
        process.tick += 1;
        let (life, tick) = (process.life, process.tick);
        self.push(after_ms, Event::Tick { station: index, slot, life, tick });
    }

    /// Whether a process dies at a named point.
    fn dies(&mut self, index: usize, slot: usize, point: &str) -> bool {
        let drawn = self.process_dice.chance(0.03);
        if !drawn || !self.faults.has(Fault::ProcessCrash) {
            return false;
        }
        self.hit(Fault::ProcessCrash);
        self.coverage.count("crash point", point);
        self.kill(index, slot, point);
        true
    }

    fn kill(&mut self, index: usize, slot: usize, why: &str) {
        trace!(self, "{} loses process {slot}: {why}", station_name(index));
        self.stations[index].processes[slot] = None;
        let after = self.process_dice.between(100, 20_000);
        self.push(after, Event::Start { station: index, slot });
    }

    /// Arms the failure of a commit; returns whether it did.
    fn tear(&mut self, index: usize, slot: usize) -> bool {
        let drawn = self.process_dice.chance(0.04);
        let torn = drawn && self.faults.has(Fault::TornCommit);
        if let (true, Some(process)) = (torn, &self.stations[index].processes[slot]) {
            process.commits.refuse.store(true, Ordering::SeqCst);
        }
        torn
    }

    /// After a process has used its file: what it committed is durable, and the file says what is so.
    fn settle(&mut self, index: usize, slot: usize) -> Result<(), String> {
        let keep = self.faults.has(Fault::PowerCut);
        let station = &mut self.stations[index];
        let Some(process) = &station.processes[slot] else { return Ok(()) };
        if process.take_committed() && keep && station.locker.is_none() {
            station.durable = Some(station.disk.image());
        }
        self.oracle.looked(index, &process.store)
    }

    fn look(&mut self, index: usize, slot: usize) -> Result<(), String> {
        let torn = self.tear(index, slot);
        let station = &mut self.stations[index];
        let own_ms = station.clock.read(self.now_ms);
        let Some(process) = &mut station.processes[slot] else { return Ok(()) };
        let next = process.look(own_ms, &station.code);
        let refused = torn && !process.commits.refuse.swap(false, Ordering::SeqCst);
        self.settle(index, slot)?;
        if refused {
            self.hit(Fault::TornCommit);
            self.kill(index, slot, "a commit failed");
            return Ok(());
        }
        match next {
            Next::Send(request) => {
                if self.dies(index, slot, "before sending") {
                    return Ok(());
                }
                self.send(index, slot, request)?;
                self.tick(index, slot, 60_000);
                self.dies(index, slot, "after sending");
            }
            Next::Wait(own_wait_ms) => {
                let station = &self.stations[index];
                let wait = station.clock.until(self.now_ms, own_ms + own_wait_ms);
                // Whatever it waits for, it looks up from time to time.
                self.tick(index, slot, wait.min(120_000));
            }
            Next::Ended(why) => {
                trace!(self, "{}'s process {slot} ends: {why}", station_name(index));
                self.coverage.count("process", "ended");
                self.stations[index].ended = Some(why);
                if slot > 0 {
                    self.stations[index].processes[slot] = None;
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize, slot: usize, mut request: Request) -> Result<(), String> {
        let Some(process) = &self.stations[index].processes[slot] else { return Ok(()) };
        self.exchanges += 1;
        let exchange =
            Exchange { station: index, slot, life: process.life, number: self.exchanges, id: request.id };
        let header = header_of(&request.body);
        if let Some(header) = &header {
            let told = self.stations[index].told.filter(|(life, _)| *life == exchange.life).map(|(_, limits)| limits);
            self.oracle.sends(index, header, request.body.len(), told)?;
        }
        let path = request.url.rsplit('/').next().unwrap_or_default();
        let what = header.map_or_else(String::new, |header| format!(" {}+{}", header.first_seq, header.count));
        trace!(self, "{} sends {path}{what} #{}", station_name(index), exchange.number);
        self.open.insert(exchange);
        let timeout = Err(failure(true, "the time is over"));
        self.push(request.timeout_ms as i64, Event::Outcome { exchange, outcome: timeout, late: false });
        let branch = self.oracle.branch(index);
        let mut hits = Vec::new();
        let apart = self.stations[index].apart;
        let original = request.body.clone();
        let (way, copies) = self.network.request(&mut request.body, apart, &mut |fault| hits.push(fault));
        for (after, body) in copies {
            let request = Request { body, ..request.clone() };
            self.push(after, Event::Arrive(Box::new(Message { exchange, request, cut: None, copy: true, branch })));
        }
        match way {
            Way::Arrives(after) => {
                let message = Message { exchange, request, cut: None, copy: false, branch };
                self.push(after, Event::Arrive(Box::new(message)));
            }
            Way::Cut(after, bytes) => {
                let request = Request { body: original, ..request };
                let message = Message { exchange, request, cut: Some(bytes), copy: true, branch };
                self.push(after, Event::Arrive(Box::new(message)));
                let outcome = Err(failure(false, "the connection broke"));
                self.push(after, Event::Outcome { exchange, outcome, late: false });
            }
            Way::Lost => {}
            Way::Refused(after) => {
                let outcome = Err(failure(false, "connection refused"));
                self.push(after, Event::Outcome { exchange, outcome, late: false });
            }
            Way::Answered(after, reply) => {
                self.push(after, Event::Outcome { exchange, outcome: Ok(reply), late: false });
            }
        }
        hits.into_iter().for_each(|fault| self.hit(fault));
        Ok(())
    }

    fn outcome(&mut self, exchange: Exchange, outcome: &Result<Reply, Failure>, late: bool) -> Result<(), String> {
        let Exchange { station: index, slot, life, .. } = exchange;
        let awaited = self.open.remove(&exchange);
        let alive = self.stations[index].processes[slot].as_ref().is_some_and(|process| process.life == life);
        if !alive || !(awaited || late && exchange.id > 0) {
            return Ok(());
        }
        if self.dies(index, slot, "before the reply is heard") {
            return Ok(());
        }
        let torn = self.tear(index, slot);
        let station = &mut self.stations[index];
        let own_ms = station.clock.read(self.now_ms);
        let Some(process) = &mut station.processes[slot] else { return Ok(()) };
        let heard = process.hear(own_ms, exchange.id, outcome);
        let refused = torn && !process.commits.refuse.swap(false, Ordering::SeqCst);
        self.settle(index, slot)?;
        if refused {
            self.hit(Fault::TornCommit);
            self.kill(index, slot, "a commit failed");
            return Ok(());
        }
        match heard {
            Ok(heard) => {
                let status = outcome.as_ref().map_or(0, |reply| reply.status);
                trace!(self, "{} hears {status} of #{}: {}", station_name(index), exchange.number, heard.as_str());
                self.coverage.count("event", heard.as_str());
                self.note_limits(index, life, &heard, outcome);
                match heard {
                    Heard::JoinRefused(why) => return Err(format!("{} cannot join: {why}", station_name(index))),
                    Heard::Join("joined") | Heard::Event(_) => self.tick(index, slot, 1),
                    Heard::Join(_) => self.tick(index, slot, 5_000),
                }
            }
            Err(error) if error.can_retry() => {
                trace!(self, "{} hears #{}, and its file cannot be written: {error}", station_name(index), exchange.number);
                self.tick(index, slot, 200);
            }
            Err(error) => {
                trace!(self, "{}'s process {slot} ends: {error}", station_name(index));
                self.stations[index].ended = Some(error.to_string());
                self.stations[index].processes[slot] = None;
            }
        }
        self.dies(index, slot, "after the reply is heard");
        Ok(())
    }

    /// What limits an engine has heard of by now.
    fn note_limits(&mut self, index: usize, life: u64, heard: &Heard, outcome: &Result<Reply, Failure>) {
        let Ok(reply) = outcome else { return };
        let limits = match heard {
            Heard::Event(EngineEvent::Acked { .. }) => {
                serde_json::from_slice::<PushReply>(&reply.body).ok().map(|reply| reply.limits)
            }
            Heard::Event(EngineEvent::Agreed) => {
                serde_json::from_slice::<StationReply>(&reply.body).ok().map(|reply| reply.limits)
            }
            Heard::Event(EngineEvent::Smaller { .. }) => {
                serde_json::from_slice::<Problem>(&reply.body).ok().and_then(|problem| problem.limits)
            }
            _ => None,
        };
        if let Some(limits) = limits {
            self.stations[index].told = Some((life, limits));
        }
    }

    // ---- servers -------------------------------------------------------------------------------------------------

    fn arrive(&mut self, message: Message) -> Result<(), String> {
        let Message { exchange, request, cut, copy, branch } = message;
        let at = self.network.server(self.servers.len());
        let server = &self.servers[at];
        if !server.up {
            if !copy {
                let outcome = Err(failure(false, "connection refused"));
                self.push(20, Event::Outcome { exchange, outcome, late: false });
            }
            return Ok(());
        }
        let server_ms = server.clock.read(self.now_ms);
        let served = server.serve(&self.simulator.runtime, &self.weather, &request, cut);
        for (fault, moment) in &served.hits {
            self.hit(*fault);
            self.coverage.count("moment", format!("{moment:?}"));
        }
        let frame = header_of(&request.body).filter(|_| cut.is_none()).map(|header| (header, branch, server_ms));
        let status = served.reply.as_ref().map_or(0, |reply| reply.status);
        trace!(self, "server {at} answers #{}{}: {status}", exchange.number, if copy { " (copy)" } else { "" });
        self.oracle.served(exchange.station, frame, served.reply.as_ref(), &mut self.coverage)?;
        let Some(reply) = served.reply else {
            self.crash(at);
            if !copy {
                let outcome = Err(failure(false, "the connection was closed"));
                self.push(20, Event::Outcome { exchange, outcome, late: false });
            }
            return Ok(());
        };
        if let Ok(problem) = serde_json::from_slice::<Problem>(&reply.body) {
            let code = serde_json::to_value(problem.code).ok().and_then(|code| code.as_str().map(str::to_owned));
            self.coverage.count("problem", code.unwrap_or_default());
        }
        if copy {
            return Ok(());
        }
        let mut hits = Vec::new();
        match self.network.reply(&mut |fault| hits.push(fault)) {
            Back::Arrives(after) => {
                self.push(after, Event::Outcome { exchange, outcome: Ok(reply.clone()), late: false });
                // Delivered once more, long after: by then nobody waits for it.
                if let Some(late) = self.network.late(&mut |fault| hits.push(fault)) {
                    self.push(after + late, Event::Outcome { exchange, outcome: Ok(reply), late: true });
                }
            }
            Back::Cut(after) => {
                let outcome = Err(failure(false, "the reply broke off"));
                self.push(after, Event::Outcome { exchange, outcome, late: false });
            }
            Back::Lost => {}
        }
        hits.into_iter().for_each(|fault| self.hit(fault));
        Ok(())
    }

    fn crash(&mut self, at: usize) {
        trace!(self, "server {at} is down");
        self.servers[at].up = false;
        let dice = &mut self.strikes[Fault::ServerCrash as usize];
        let after = dice.between(500, 90_000);
        self.push(after, Event::Relent(Fault::ServerCrash, at));
    }

    // ---- faults --------------------------------------------------------------------------------------------------

    fn strike(&mut self, fault: Fault) -> Result<(), String> {
        let (stations, servers) = (self.stations.len() as u64, self.servers.len() as u64);
        let dice = &mut self.strikes[fault as usize];
        let (index, at) = (dice.below(stations) as usize, dice.below(servers) as usize);
        let lasts = dice.between(2_000, 150_000);
        let kind = dice.below(4);
        let timed = match fault {
            Fault::Partition => {
                self.stations[index].apart = true;
                true
            }
            Fault::DatabaseOutage => {
                self.weather.outage(true);
                true
            }
            Fault::LockedFile if self.stations[index].locker.is_some() => false,
            Fault::LockedFile => {
                let locker = self.stations[index].disk.connect();
                if locker.execute_batch("BEGIN IMMEDIATE").is_ok() {
                    self.stations[index].locker = Some(locker);
                }
                true
            }
            Fault::FullDisk => {
                self.fill(index, true);
                true
            }
            Fault::SecondProcess => {
                self.hit(fault);
                self.start(index, 1)?;
                true
            }
            Fault::ServerCrash if kind == 0 => {
                self.hit(fault);
                self.crash(at);
                false
            }
            Fault::ServerCrash => {
                self.weather.arm_crash();
                false
            }
            Fault::Limits => {
                self.hit(fault);
                self.change_limits(at);
                false
            }
            Fault::ProcessCrash => {
                self.hit(fault);
                if self.stations[index].processes[0].is_some() {
                    self.kill(index, 0, "killed");
                }
                false
            }
            Fault::PowerCut => {
                self.cut_power(index, kind == 0)?;
                false
            }
            Fault::Rewind => {
                self.rewind(index)?;
                false
            }
            Fault::ClockJump => {
                self.hit(fault);
                self.jump(index, at, kind == 0);
                false
            }
            Fault::WrongHint => {
                self.hit(fault);
                if let Some(process) = &mut self.stations[index].processes[0] {
                    if kind < 2 { process.engine.offline() } else { process.engine.online() }
                }
                self.tick(index, 0, 1);
                false
            }
            // The others strike message by message, moment by moment, statement by statement.
            _ => return Ok(()),
        };
        trace!(self, "{} strikes {} or server {at}", fault.as_str(), station_name(index));
        if timed {
            self.coverage.count("fault", if fault == Fault::Partition { "partition" } else { "lasting" });
            self.push(lasts, Event::Relent(fault, index));
        }
        Ok(())
    }

    fn relent(&mut self, fault: Fault, index: usize) -> Result<(), String> {
        match fault {
            Fault::Partition => self.stations[index].apart = false,
            Fault::DatabaseOutage => self.weather.outage(false),
            Fault::LockedFile => self.stations[index].locker = None,
            Fault::FullDisk => self.fill(index, false),
            Fault::SecondProcess => self.stations[index].processes[1] = None,
            Fault::ServerCrash => {
                let limits = self.servers[index].limits;
                self.servers[index].restart(&self.upstream, &self.simulator.schema, limits);
            }
            _ => {}
        }
        Ok(())
    }

    fn heal(&mut self) -> Result<(), String> {
        trace!(self, "the faults stop");
        self.healed = true;
        // What programs have written stays written; what has been set up stays set up.
        self.faults = [Fault::HostileRow, Fault::Rollback, Fault::Constraint].into_iter().fold(
            FaultSet::default(),
            |set, fault| if self.plan.faults.has(fault) { set.with(fault) } else { set },
        );
        self.network.heal();
        self.weather.heal();
        for index in 0..self.stations.len() {
            self.stations[index].apart = false;
            self.stations[index].locker = None;
            self.stations[index].processes[1] = None;
            self.fill(index, false);
        }
        for at in 0..self.servers.len() {
            let tiny = self.servers[at].limits.frame_bytes_max < 4_000;
            let limits = if tiny { FrameLimits::DEFAULT } else { self.servers[at].limits };
            self.servers[at].restart(&self.upstream, &self.simulator.schema, limits);
        }
        Ok(())
    }

    fn fill(&mut self, index: usize, full: bool) {
        let station = &mut self.stations[index];
        if station.locker.is_some() {
            return;
        }
        station.disk.set_full(full);
        limit(&station.programs, full);
        station.processes.iter().flatten().for_each(|process| limit(process.store.connection(), full));
    }

    fn change_limits(&mut self, at: usize) {
        let dice = &mut self.strikes[Fault::Limits as usize];
        let limits = match dice.below(8) {
            0 => FrameLimits::DEFAULT,
            // Less than some single changes need: nothing goes until somebody raises it.
            1 => FrameLimits { frame_bytes_max: 300, ..FrameLimits::DEFAULT },
            2 => FrameLimits { body_bytes_max: 4_000, ..FrameLimits::DEFAULT },
            3 => FrameLimits { cells_max: 64, ..FrameLimits::DEFAULT },
            _ => FrameLimits { rows_max: dice.between(1, 30) as u32, ..FrameLimits::DEFAULT },
        };
        self.servers[at].restart(&self.upstream, &self.simulator.schema, limits);
    }

    fn jump(&mut self, index: usize, at: usize, server: bool) {
        let dice = &mut self.strikes[Fault::ClockJump as usize];
        let size = *dice.pick(&[1_500, 90_000, 3_600_000, 40 * 86_400_000]);
        let by_ms = if dice.chance(0.5) { size } else { -size };
        if server {
            self.servers[at].clock.jump(self.now_ms, by_ms);
        } else {
            self.stations[index].clock.jump(self.now_ms, by_ms);
        }
    }

    fn cut_power(&mut self, index: usize, whole: bool) -> Result<(), String> {
        let station = &mut self.stations[index];
        if station.locker.is_some() {
            return Ok(());
        }
        // With luck everything reached the disk, otherwise what was last made durable.
        let Some(durable) = station.durable.take() else { return Ok(()) };
        let image = if whole { station.disk.image() } else { durable };
        self.hit(Fault::PowerCut);
        self.put_back(index, image, true)
    }

    fn rewind(&mut self, index: usize) -> Result<(), String> {
        let station = &mut self.stations[index];
        if station.locker.is_some() {
            return Ok(());
        }
        match station.copied.take() {
            None => {
                // A copy from before the station joined does not know its token: its operator has to help, which is no run's matter.
                let joined = "SELECT number IS NOT NULL FROM tidemark_station";
                if station.programs.query_row(joined, [], |row| row.get(0)).expect("BUG: the station has its row") {
                    station.copied = Some(station.disk.image());
                }
            }
            Some(image) => {
                self.hit(Fault::Rewind);
                self.put_back(index, image, false)?;
            }
        }
        Ok(())
    }

    /// The file becomes another, older one; its processes start anew.
    fn put_back(&mut self, index: usize, image: Image, by_power_cut: bool) -> Result<(), String> {
        for slot in 0..SLOTS {
            if self.stations[index].processes[slot].is_some() {
                self.kill(index, slot, "its machine goes down");
            }
        }
        let station = &mut self.stations[index];
        station.disk.restore(&image);
        station.programs = station.disk.connect();
        station.ended = None;
        if by_power_cut {
            station.durable = Some(image);
        } else {
            // What an older copy says is durable now: it was copied as a whole.
            station.durable = station.durable.take().map(|_| image);
        }
        let store = Store::open_connection(station.disk.connect(), station.file.clone());
        let last = store.and_then(|store| store.last_seq()).map_err(|error| error.to_string())?;
        trace!(self, "{}'s file is put back to change {last}", station_name(index));
        let db = &self.stations[index].programs;
        self.oracle.put_back(index, last, by_power_cut, db)?;
        self.push(3_000, Event::Start { station: index, slot: 0 });
        Ok(())
    }
}

fn station(schema: &Schema, seed: u64, index: u32, clock: MachineClock) -> Station {
    let mut dice = stream(seed, Purpose::Writer(index));
    let mut uuid = [index as u8; 16];
    uuid[..8].copy_from_slice(&dice.next().to_le_bytes());
    let mut secret = [index as u8; 32];
    secret[..8].copy_from_slice(&dice.next().to_le_bytes());
    let file = format!("{}.db", station_name(index as usize));
    let disk = Disk::new(clock.shown());
    let made = Store::init_connection(disk.connect(), file.clone(), schema, uuid);
    let mut store = made.expect("BUG: an empty disk takes a station");
    store.execute(UNIQUE_INDEX, []).expect("BUG: an index can be made");
    store.check_capture().expect("BUG: capture follows a plain unique index");
    let programs = disk.connect();
    Station {
        file,
        code: JoinCode { url: "http://tidemark.example".to_owned(), secret }.encode(),
        disk,
        clock,
        programs,
        dice,
        locker: None,
        processes: [None, None],
        apart: false,
        durable: None,
        copied: None,
        ended: None,
        told: None,
    }
}
