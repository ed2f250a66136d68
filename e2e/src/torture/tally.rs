//! What was done in a round, and what came of it, in numbers.

use std::fmt;
use std::time::Duration;

/// Something that really happened to a running process or an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// A server was killed.
    Server,
    /// A server was stopped for a while.
    Stall,
    /// A process that pushes was killed.
    Station,
    /// A writer was killed.
    Writer,
    /// PostgreSQL was killed, all of it.
    Postgres,
    /// A backend of PostgreSQL was killed.
    Backend,
    /// A connection was cut at some byte.
    Cut,
    /// One direction of a connection ended at some byte.
    HalfClose,
    /// A connection stood still for a while.
    Hold,
    /// A connection was slow.
    Delay,
    /// An open connection broke because all did.
    Sever,
    /// A wire led to another server.
    Lead,
}

impl Hit {
    /// All, in the order they are shown.
    pub const ALL: [Self; 12] = [
        Self::Server,
        Self::Stall,
        Self::Station,
        Self::Writer,
        Self::Postgres,
        Self::Backend,
        Self::Cut,
        Self::HalfClose,
        Self::Hold,
        Self::Delay,
        Self::Sever,
        Self::Lead,
    ];

    /// Its name in a table.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Server => "server killed",
            Self::Stall => "server stalled",
            Self::Station => "station killed",
            Self::Writer => "writer killed",
            Self::Postgres => "PostgreSQL killed",
            Self::Backend => "backend killed",
            Self::Cut => "connection cut",
            Self::HalfClose => "half-closed",
            Self::Hold => "held",
            Self::Delay => "delayed",
            Self::Sever => "severed",
            Self::Lead => "led to another server",
        }
    }

    /// Whether it is a SIGKILL.
    #[must_use]
    pub const fn is_kill(self) -> bool {
        matches!(self, Self::Server | Self::Station | Self::Writer | Self::Postgres | Self::Backend)
    }
}

/// Numbers of one round, or of many.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    hits: [u64; Hit::ALL.len()],
    /// Transactions that the writers committed.
    pub committed: u64,
    /// Of them those whose writer did not live to note it.
    pub in_doubt: u64,
    /// Transactions that were rolled back by their writer.
    pub rolled_back: u64,
    /// Transactions that ended with their writer.
    pub cut_off: u64,
    /// Changes that became durable upstream.
    pub pushed: u64,
    /// Of them rejected.
    pub rejected: u64,
    /// Rows upstream after the round, each checked.
    pub rows: u64,
    /// From the end of all troubles until every log was empty.
    pub drain: Duration,
}

impl Tally {
    /// Notes that something happened so often.
    pub const fn add(&mut self, hit: Hit, count: u64) {
        self.hits[hit as usize] += count;
    }

    /// How often it happened.
    #[must_use]
    pub const fn of(&self, hit: Hit) -> u64 {
        self.hits[hit as usize]
    }

    /// How many processes were killed.
    #[must_use]
    pub fn kills(&self) -> u64 {
        Hit::ALL.into_iter().filter(|hit| hit.is_kill()).map(|hit| self.of(hit)).sum()
    }

    /// Adds what another round or actor has done; the longest time to drain and the last count of rows stay.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in self.hits.iter_mut().zip(other.hits) {
            *mine += others;
        }
        self.committed += other.committed;
        self.in_doubt += other.in_doubt;
        self.rolled_back += other.rolled_back;
        self.cut_off += other.cut_off;
        self.pushed += other.pushed;
        self.rejected += other.rejected;
        self.rows = self.rows.max(other.rows);
        self.drain = self.drain.max(other.drain);
    }
}

impl fmt::Display for Tally {
    /// One line: the kills, the network, the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "killed {} server {} station {} writer {} pg {} backend, stalled {}; net {} cut {} half {} held {} slow {} severed; \
             {} pushed, {} rejected, {} rows; drained in {:.1} s",
            self.of(Hit::Server),
            self.of(Hit::Station),
            self.of(Hit::Writer),
            self.of(Hit::Postgres),
            self.of(Hit::Backend),
            self.of(Hit::Stall),
            self.of(Hit::Cut),
            self.of(Hit::HalfClose),
            self.of(Hit::Hold),
            self.of(Hit::Delay),
            self.of(Hit::Sever),
            self.pushed,
            self.rejected,
            self.rows,
            self.drain.as_secs_f64()
        )
    }
}

/// The numbers of a whole run.
#[derive(Debug, Default)]
pub struct Totals {
    /// Everything added up.
    pub sum: Tally,
    /// Rounds that ended well.
    pub rounds: u64,
    /// Worlds that were made.
    pub worlds: u64,
    /// Stations that joined.
    pub stations: u64,
    /// Rows checked, over all rounds.
    pub rows_checked: u64,
    drains: Vec<Duration>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Totals {
    /// Takes a round that ended well.
    pub fn take(&mut self, round: &Tally) {
        self.sum.merge(round);
        self.rounds += 1;
        self.rows_checked += round.rows;
        self.drains.push(round.drain);
    }

    fn drain_s(&self, percent: usize) -> f64 {
        let mut drains = self.drains.clone();
        drains.sort();
        drains.get((drains.len() * percent).div_ceil(100).saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "  {name:<34}{value:>12}");
        line("rounds", self.rounds.to_string())?;
        line("worlds", self.worlds.to_string())?;
        line("stations", self.stations.to_string())?;
        line("processes killed", self.sum.kills().to_string())?;
        for hit in Hit::ALL {
            line(hit.label(), self.sum.of(hit).to_string())?;
        }
        line("transactions committed", self.sum.committed.to_string())?;
        line("  of them with the writer's death", self.sum.in_doubt.to_string())?;
        line("transactions rolled back", self.sum.rolled_back.to_string())?;
        line("transactions ended by SIGKILL", self.sum.cut_off.to_string())?;
        line("changes pushed", self.sum.pushed.to_string())?;
        line("  of them rejected, as they had to", self.sum.rejected.to_string())?;
        line("rows checked", self.rows_checked.to_string())?;
        line("most rows upstream", self.sum.rows.to_string())?;
        line("drained in s: median", format!("{:.1}", self.drain_s(50)))?;
        line("drained in s: 95 of 100", format!("{:.1}", self.drain_s(95)))?;
        line("drained in s: slowest", format!("{:.1}", self.drain_s(100)))?;
        line("in all, s", format!("{:.0}", self.elapsed.as_secs_f64()))
    }
}
