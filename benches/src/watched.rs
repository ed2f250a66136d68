//! A station's program from its start to its end, what memory it and the server take meanwhile, and its processor time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tidemark_e2e::field::Station;
use tidemark_e2e::process::ServerProcess;

use crate::cpu_time::CpuTime;

/// What was seen.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// How long the program took.
    pub seconds: f64,
    /// The processor time that it took, but for what it did in its last two milliseconds.
    pub station_processor: CpuTime,
    /// The most memory that it held, MiB.
    pub station_mib: f64,
    /// The most that the server has held since its start, MiB.
    pub server_mib: f64,
}

/// Pushes all that is pending.
///
/// # Errors
/// When the push fails.
pub fn push(station: &Station, server: &ServerProcess) -> Result<Watched> {
    watched(station, &["push"], server)
}

/// Runs `tidemark` with these arguments.
///
/// # Errors
/// When it fails.
#[allow(clippy::disallowed_methods)] // measures real time
pub fn watched(station: &Station, args: &[&str], server: &ServerProcess) -> Result<Watched> {
    let begin = Instant::now();
    let mut running = station.start(args)?;
    let (mut station_mib, mut server_mib, mut station_processor) = (0.0, 0.0, CpuTime::default());
    while !running.has_ended()? {
        // The process may end between two looks.
        station_processor = CpuTime::of(running.pid()).unwrap_or(station_processor);
        station_mib = memory_mib(running.pid(), "VmHWM").unwrap_or(station_mib);
        server_mib = memory_mib(server.process.pid(), "VmHWM").unwrap_or(server_mib);
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = begin.elapsed().as_secs_f64();
    running.wait()?.success()?;
    Ok(Watched { seconds, station_processor, station_mib, server_mib })
}

/// What the kernel says of a process's memory, in MiB: `VmRSS` is what it holds, `VmHWM` the most so far.
///
/// # Errors
/// When there is no such process.
pub fn memory_mib(pid: u32, what: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let value = value.with_context(|| format!("no {what}"))?;
    let kib: u64 = value.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib as f64 / 1024.0)
}
