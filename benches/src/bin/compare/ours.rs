//! A push of ours, from the program's start to its end.

use std::time::{Duration, Instant};

use anyhow::Result;
use tidemark_benches::memory_kib;
use tidemark_e2e::field::Station;
use tidemark_e2e::process::ServerProcess;

use crate::standings::Measured;

/// Pushes what is pending, `changes` of them, and watches the memory of station and server.
///
/// # Errors
/// When the push fails.
pub fn push(station: &Station, server: &ServerProcess, changes: u64) -> Result<Measured> {
    let begin = Instant::now();
    let mut push = station.start(&["push"])?;
    let (mut station_kib, mut server_kib) = (0, 0);
    while !push.has_ended()? {
        station_kib = memory_kib(push.pid(), "VmHWM").unwrap_or(station_kib);
        server_kib = memory_kib(server.process.pid(), "VmHWM").unwrap_or(server_kib);
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = begin.elapsed().as_secs_f64();
    push.wait()?.success()?;
    let memory_mib = Some((station_kib as f64 / 1024.0, server_kib as f64 / 1024.0));
    Ok(Measured { memory_mib, ..Measured::new(changes, seconds) })
}
