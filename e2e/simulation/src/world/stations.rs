//! What stations do in a run: programs write, processes look, send and hear, and die in between.

use std::sync::atomic::Ordering;

use tidemark_client::sync::daemon::BUSY_MS;
use tidemark_client::sync::{Event as EngineEvent, Failure, FailureKind, Reply, Request};
use tidemark_core::protocol::{Problem, PushReply, StationReply};

use super::queue::{Event, Exchange, Message};
use super::{World, trace};
use crate::dice::Draw as _;
use crate::faults::Fault;
use crate::names::station_name;
use crate::network::{Way, failure};
use crate::process::{Heard, Next, Process, header_of};
use crate::writer::{Ended, Manners, write};

impl World<'_> {
    pub(super) fn write(&mut self, index: usize) -> Result<(), String> {
        let manners = Manners {
            hostile: self.faults.has(Fault::HostileRow),
            rollback: self.faults.has(Fault::Rollback),
            poison: self.faults,
        };
        // Word of the write may come while it goes on, soon after it, late, or never.
        let word = *self.word_dice.pick(&[Some(0), Some(1), Some(1), Some(200), None]);
        if word == Some(0)
            && let Some(life) = self.stations[index].processes[0].as_ref().map(|process| process.life)
        {
            self.word(index, 0, life)?;
        }
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
        if ended == Ended::Committed && manners.poison.has(Fault::Constraint) {
            self.hit(Fault::Constraint);
        }
        if let Some(after_ms @ 1..) = word {
            self.tell(index, 0, after_ms);
        }
        Ok(())
    }

    /// Lets a process hear of a write after so many milliseconds of true time.
    fn tell(&mut self, index: usize, slot: usize, after_ms: i64) {
        if let Some(process) = &self.stations[index].processes[slot] {
            self.push(after_ms, Event::Word { station: index, slot, life: process.life });
        }
    }

    /// A process hears that its file was written, or is being written: an idle one looks, any other when it is done.
    pub(super) fn word(&mut self, index: usize, slot: usize, life: u64) -> Result<(), String> {
        let station = &mut self.stations[index];
        let own_ms = station.clock.read(self.queue.now_ms);
        let Some(process) = station.processes[slot].as_mut().filter(|process| process.life == life) else {
            return Ok(());
        };
        process.daemon.written(own_ms);
        self.coverage.count("word of a write", if process.is_idle { "idle" } else { "busy" });
        if process.is_idle { self.look(index, slot) } else { Ok(()) }
    }

    pub(super) fn start(&mut self, index: usize, slot: usize) -> Result<(), String> {
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
        match Process::start(&station.disk, &station.file, life, seed, slot == 0 && self.plan.seed.is_multiple_of(2)) {
            Ok(process) => {
                station.processes[slot] = Some(process);
                // A second one says nothing of how the first one ended.
                if slot == 0 {
                    station.ended = None;
                }
                trace!(self, "{} starts process {slot}", station_name(index));
                self.settle(index, slot)?;
                self.tick(index, slot, 1);
            }
            Err(error) => return Err(format!("{} cannot open its file: {error}", station_name(index))),
        }
        Ok(())
    }

    /// A process has ended by itself. Of a station only the first one says how it fares.
    fn has_ended(&mut self, index: usize, slot: usize, why: String) {
        if slot == 0 {
            self.stations[index].ended = Some(why);
        }
    }

    /// Lets a process look after so many milliseconds of true time; earlier appointments are off.
    pub(super) fn tick(&mut self, index: usize, slot: usize, after_ms: i64) {
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

    pub(super) fn kill(&mut self, index: usize, slot: usize, why: &str) {
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
    pub(super) fn settle(&mut self, index: usize, slot: usize) -> Result<(), String> {
        let keep = self.faults.has(Fault::PowerCut);
        let station = &mut self.stations[index];
        let Some(process) = &mut station.processes[slot] else { return Ok(()) };
        let committed = process.take_committed();
        if committed && keep && station.locker.is_none() {
            station.durable = Some(station.disk.image());
        }
        self.oracle.looked(index, &process.store)?;
        if self.oracle.is_done(index, &process.store) {
            process.patience.worked();
        }
        // A process hears of its own writes, too.
        if committed && self.word_dice.chance(0.2) {
            self.tell(index, slot, 1);
        }
        Ok(())
    }

    pub(super) fn look(&mut self, index: usize, slot: usize) -> Result<(), String> {
        let torn = self.tear(index, slot);
        let station = &mut self.stations[index];
        let own_ms = station.clock.read(self.queue.now_ms);
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
            Next::Send(request, early) => {
                if self.dies(index, slot, "before sending") {
                    return Ok(());
                }
                self.send(index, slot, request)?;
                self.tick(index, slot, 60_000);
                if !self.dies(index, slot, "after sending") {
                    self.send_early(index, slot, early)?;
                }
            }
            Next::UnderWay(id, early) => {
                let life = self.stations[index].processes[slot].as_ref().map(|process| process.life);
                let is_it = |exchange: &&Exchange| {
                    (exchange.station, exchange.slot, Some(exchange.life), exchange.id) == (index, slot, life, id)
                };
                let came = self.came.keys().find(is_it).copied();
                if let Some((exchange, outcome)) = came.and_then(|exchange| self.came.remove_entry(&exchange)) {
                    self.open.insert(exchange);
                    self.push(1, Event::Outcome { exchange, outcome, late: false });
                }
                self.tick(index, slot, 60_000);
                self.send_early(index, slot, early)?;
            }
            Next::Wait(own_wait_ms) => {
                let station = &self.stations[index];
                let wait = station.clock.until(self.queue.now_ms, own_ms + own_wait_ms);
                // Whatever it waits for, it looks up from time to time.
                self.tick(index, slot, wait.min(120_000));
            }
            Next::Ended(why) => {
                trace!(self, "{}'s process {slot} ends: {why}", station_name(index));
                self.coverage.count("process", "ended");
                self.has_ended(index, slot, why);
                if slot > 0 {
                    self.stations[index].processes[slot] = None;
                }
            }
        }
        Ok(())
    }

    /// A process sends a batch before the reply to the one before it came.
    fn send_early(&mut self, index: usize, slot: usize, early: Option<Request>) -> Result<(), String> {
        let Some(request) = early else { return Ok(()) };
        self.coverage.count("sent", "early");
        self.send(index, slot, request)?;
        self.dies(index, slot, "after sending early");
        Ok(())
    }

    pub(super) fn send(&mut self, index: usize, slot: usize, mut request: Request) -> Result<(), String> {
        let Some(process) = &self.stations[index].processes[slot] else { return Ok(()) };
        self.exchanges += 1;
        let header = header_of(&request.body);
        let batch = header.is_some();
        let exchange =
            Exchange { station: index, slot, life: process.life, number: self.exchanges, id: request.id, batch };
        if let Some(header) = &header {
            process.patience.sends_a_batch(header.count, request.body.len())?;
            let told = self.stations[index].told.filter(|(life, _)| *life == exchange.life).map(|(_, limits)| limits);
            self.oracle.sends(index, header, request.body.len(), told)?;
        }
        let path = request.url.rsplit('/').next().unwrap_or_default();
        let what = header.map_or_else(String::new, |header| format!(" {}+{}", header.first_seq, header.count));
        trace!(self, "{} sends {path}{what} #{}", station_name(index), exchange.number);
        self.open.insert(exchange);
        let timeout = Err(failure(FailureKind::Timeout, "the time is over"));
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
                let outcome = Err(failure(FailureKind::Broken, "the connection broke"));
                self.push(after, Event::Outcome { exchange, outcome, late: false });
            }
            Way::Lost => {}
            Way::Refused(after) => {
                let outcome = Err(failure(FailureKind::Unreached, "connection refused"));
                self.push(after, Event::Outcome { exchange, outcome, late: false });
            }
            Way::Closed(after) => {
                let outcome = Err(failure(FailureKind::Broken, "the connection was closed"));
                self.push(after, Event::Outcome { exchange, outcome, late: false });
            }
            Way::Answered(after, reply) => {
                self.push(after, Event::Outcome { exchange, outcome: Ok(reply), late: false });
            }
        }
        hits.into_iter().for_each(|fault| self.hit(fault));
        Ok(())
    }

    pub(super) fn outcome(
        &mut self,
        exchange: Exchange,
        outcome: &Result<Reply, Failure>,
        late: bool,
    ) -> Result<(), String> {
        let Exchange { station: index, slot, life, .. } = exchange;
        let awaited = self.open.remove(&exchange);
        let alive = self.stations[index].processes[slot].as_ref().is_some_and(|process| process.life == life);
        if !alive || !(awaited || late && exchange.id > 0) {
            return Ok(());
        }
        let process = self.stations[index].processes[slot].as_ref();
        if awaited && process.is_some_and(|process| process.early == Some(exchange.id)) {
            // It is heard when its turn comes.
            self.came.insert(exchange, outcome.clone());
            return Ok(());
        }
        if self.dies(index, slot, "before the reply is heard") {
            return Ok(());
        }
        let torn = self.tear(index, slot);
        let station = &mut self.stations[index];
        let own_ms = station.clock.read(self.queue.now_ms);
        let Some(process) = &mut station.processes[slot] else { return Ok(()) };
        let heard = process.hear(own_ms, exchange.id, outcome);
        let refused = torn && !process.commits.refuse.swap(false, Ordering::SeqCst);
        self.settle(index, slot)?;
        if refused {
            self.hit(Fault::TornCommit);
            self.kill(index, slot, "a commit failed");
            return Ok(());
        }
        match heard.or_else(Heard::unless_final) {
            Ok(Heard::Busy(error)) => {
                let number = exchange.number;
                trace!(self, "{} hears #{number}, and its file cannot be written: {error}", station_name(index));
                self.tick(index, slot, BUSY_MS);
            }
            Ok(heard) => {
                let status = outcome.as_ref().map_or(0, |reply| reply.status);
                trace!(self, "{} hears {status} of #{}: {}", station_name(index), exchange.number, heard.as_str());
                self.coverage.count("event", heard.as_str());
                self.note_limits(index, life, &heard, outcome);
                if let Some(process) = &mut self.stations[index].processes[slot] {
                    match &heard {
                        Heard::Event(EngineEvent::Failed { retry_at_ms, .. }) => {
                            let away = outcome.is_err() || status >= 500 || matches!(status, 408 | 429);
                            process.patience.waits(outcome, retry_at_ms - own_ms)?;
                            process.patience.failed(exchange.batch && away, outcome, self.queue.now_ms)?;
                        }
                        Heard::Event(EngineEvent::Ignored | EngineEvent::Stopped(_)) => process.patience.hurried(),
                        _ => process.patience.worked(),
                    }
                }
                match heard {
                    Heard::JoinRefused(why) => return Err(format!("{} cannot join: {why}", station_name(index))),
                    Heard::Join("joined") | Heard::Event(_) => self.tick(index, slot, 1),
                    Heard::Join(_) | Heard::Busy(_) => self.tick(index, slot, 5_000),
                }
            }
            Err(error) => {
                trace!(self, "{}'s process {slot} ends: {error}", station_name(index));
                self.has_ended(index, slot, error.to_string());
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
            Heard::Event(EngineEvent::Smaller { .. }) => serde_json::from_slice::<Problem>(&reply.body)
                .ok()
                .and_then(|problem| problem.limits.as_deref().copied()),
            _ => None,
        };
        if let Some(limits) = limits {
            self.stations[index].told = Some((life, limits));
        }
    }
}
