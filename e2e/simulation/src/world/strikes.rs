//! Faults that strike at a moment of a run, and those that last: what they do, and how they end.

use tidemark_client::Store;
use tidemark_core::limits::FrameLimits;

use super::queue::Event;
use super::station::SLOTS;
use super::{World, trace};
use crate::dice::Draw as _;
use crate::disk::{Image, limit};
use crate::faults::{Fault, FaultSet};
use crate::names::station_name;
use crate::schema::UNWRITABLE;

impl World<'_> {
    pub(super) fn strike(&mut self, fault: Fault) -> Result<(), String> {
        let (stations, servers) = (self.stations.len() as u64, self.servers.len() as u64);
        let dice = &mut self.strikes[fault as usize];
        let (index, at) = (dice.below(stations) as usize, dice.below(servers) as usize);
        // A file that was copied is the one to be put back.
        let copied = self.stations.iter().position(|station| station.copied.is_some());
        let index = copied.filter(|_| fault == Fault::Rewind).unwrap_or(index);
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
            Fault::AlteredTable => {
                self.hit(fault);
                self.upstream.alter_tables();
                false
            }
            Fault::WrongHint => {
                self.hit(fault);
                if let Some(process) = &mut self.stations[index].processes[0] {
                    if kind < 2 {
                        process.daemon.offline()
                    } else {
                        process.daemon.online()
                    }
                    process.patience.hurried();
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

    pub(super) fn relent(&mut self, fault: Fault, index: usize) -> Result<(), String> {
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

    pub(super) fn heal(&mut self) -> Result<(), String> {
        trace!(self, "the faults stop");
        self.healed = true;
        // What programs have written stays written; what has been set up stays set up.
        let unwritable = UNWRITABLE.iter().map(|(fault, _)| *fault);
        self.faults = [Fault::HostileRow, Fault::Rollback, Fault::LockTable]
            .into_iter()
            .chain(unwritable)
            .fold(FaultSet::default(), |set, fault| if self.plan.faults.has(fault) { set.with(fault) } else { set });
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
            self.servers[at].clock.jump(self.queue.now_ms, by_ms);
        } else {
            self.stations[index].clock.jump(self.queue.now_ms, by_ms);
            self.stations[index].processes.iter_mut().flatten().for_each(|process| process.patience.hurried());
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
        self.put_back(index, image, None)
    }

    fn rewind(&mut self, index: usize) -> Result<(), String> {
        let station = &mut self.stations[index];
        if station.locker.is_some() {
            return Ok(());
        }
        match station.copied.take() {
            None => {
                // A copy from before the station joined does not know its token: its operator has to help, which is no
                // run's matter.
                let joined = "SELECT number IS NOT NULL FROM tidemark_station";
                if station.programs.query_row(joined, [], |row| row.get(0)).expect("BUG: the station has its row") {
                    station.copied = Some((station.disk.image(), self.oracle.branch(index)));
                }
            }
            Some((image, branch)) => {
                self.hit(Fault::Rewind);
                self.put_back(index, image, Some(branch))?;
            }
        }
        Ok(())
    }

    /// The file becomes another, older one: a copy of the history `copied`, or what a power cut left. Its processes
    /// start anew.
    fn put_back(&mut self, index: usize, image: Image, copied: Option<usize>) -> Result<(), String> {
        for slot in 0..SLOTS {
            if self.stations[index].processes[slot].is_some() {
                self.kill(index, slot, "its machine goes down");
            }
        }
        let station = &mut self.stations[index];
        station.disk.restore(&image);
        station.programs = station.disk.connect();
        station.ended = None;
        if copied.is_none() {
            station.durable = Some(image);
        } else {
            // What an older copy says is durable now: it was copied as a whole.
            station.durable = station.durable.take().map(|_| image);
        }
        let store = Store::open_connection(station.disk.connect(), station.file.clone());
        let last = store.and_then(|store| store.last_seq()).map_err(|error| error.to_string())?;
        trace!(self, "{}'s file is put back to change {last}", station_name(index));
        let db = &self.stations[index].programs;
        let branch = copied.unwrap_or(self.oracle.branch(index));
        self.oracle.put_back(index, branch, last, copied.is_none(), db)?;
        self.push(3_000, Event::Start { station: index, slot: 0 });
        Ok(())
    }
}
