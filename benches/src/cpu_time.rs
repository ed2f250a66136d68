//! The processor time of processes, as Linux counts it: in steps of a hundredth of a second.

use anyhow::{Context as _, Result};
use tidemark_e2e::postgres::PgClient;

/// Processor time that was taken, by user and system together, in the kernel's ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTime(u64);

impl CpuTime {
    /// That of one process so far.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> Result<Self> {
        Ok(Self(Stat::of(pid)?.own))
    }

    /// That of a process and of its children, also of those that have ended.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of_family(pid: u32) -> Result<Self> {
        let parent = Stat::of(pid)?;
        let mut ticks = parent.own + parent.ended_children;
        for entry in std::fs::read_dir("/proc")? {
            let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // It may have ended meanwhile, and is counted with its parent the next time.
            ticks += Stat::of(child).ok().filter(|stat| stat.parent == pid).map_or(0, |stat| stat.own);
        }
        Ok(Self(ticks))
    }

    /// What was taken since then.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self(self.0.saturating_sub(before.0))
    }

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / rustix::param::clock_ticks_per_second() as f64
    }
}

/// A server and its PostgreSQL, whose processor time is looked at.
#[derive(Debug, Clone, Copy)]
pub struct ServerSide {
    server: u32,
    postmaster: u32,
}

impl ServerSide {
    /// Of a server's process, and of the PostgreSQL that this is a connection to, on this machine.
    ///
    /// # Errors
    /// The database's; when there is no such process.
    pub fn of(server: u32, client: &PgClient) -> Result<Self> {
        let backend: i32 = client.value("SELECT pg_backend_pid()")?;
        Ok(Self { server, postmaster: Stat::of(backend.cast_unsigned())?.parent })
    }

    /// What the server, and what all processes of PostgreSQL have taken so far.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn taken(&self) -> Result<[CpuTime; 2]> {
        Ok([CpuTime::of(self.server)?, CpuTime::of_family(self.postmaster)?])
    }

    /// What both have taken since then.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn since(&self, before: [CpuTime; 2]) -> Result<[CpuTime; 2]> {
        let [server, postgres] = self.taken()?;
        Ok([server.since(before[0]), postgres.since(before[1])])
    }
}

/// What `/proc/PID/stat` says.
struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl Stat {
    fn of(pid: u32) -> Result<Self> {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // A program's name, in brackets, may have spaces and brackets of its own.
        let (_, fields) = line.rsplit_once(')').context("no name in /proc/PID/stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The state is its third field (proc_pid_stat(5)).
        let field = |number: usize| fields.get(number - 3).with_context(|| format!("no field {number}"));
        let ticks = |number: usize| -> Result<u64> { Ok(field(number)?.parse()?) };
        Ok(Self { parent: field(4)?.parse()?, own: ticks(14)? + ticks(15)?, ended_children: ticks(16)? + ticks(17)? })
    }
}
