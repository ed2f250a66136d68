//! Who watches the server: questions after its health, as a service manager asks them, and what its process takes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidemark_core::protocol::path;
use tokio::task::JoinHandle;

use super::door::Door;
use super::http::Client;
use crate::world::now;

/// The address that questions after health come from: the service manager is nobody's neighbour.
const WATCHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 250));
/// How often each question is asked.
const EVERY: Duration = Duration::from_millis(250);
/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// One question after health.
#[derive(Debug, Clone, Copy)]
struct Probe {
    path: &'static str,
    began: Instant,
    took: Duration,
    status: Option<u16>,
}

/// Asks `/healthz` and `/readyz` all the time, each over a new connection.
#[derive(Debug)]
pub struct Prober {
    probes: Arc<Mutex<Vec<Probe>>>,
    running: Vec<JoinHandle<()>>,
}

/// How one of the questions was answered in a stretch of time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answered {
    /// How often it was asked.
    pub asked: u32,
    /// How often it had no answer in time.
    pub silent: u32,
    /// How often the answer was not 200.
    pub unwell: u32,
    /// The slowest answer.
    pub slowest: Duration,
}

impl Prober {
    /// Begins, on the runtime that this is called in.
    #[must_use]
    pub fn start(server: &Door) -> Self {
        let probes = Arc::new(Mutex::new(Vec::new()));
        let ask = |path| tokio::spawn(ask(server.clone(), path, Arc::clone(&probes)));
        let running = [path::HEALTH, path::READY].map(ask).into();
        Self { probes, running }
    }

    /// How a path answered to what was asked from one moment to another.
    #[must_use]
    pub fn answered(&self, path: &str, from: Instant, to: Instant) -> Answered {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answered = Answered::default();
        for probe in probes.iter().filter(|it| it.path == path && it.began >= from && it.began < to) {
            answered.asked += 1;
            answered.silent += u32::from(probe.status.is_none());
            answered.unwell += u32::from(probe.status.is_some_and(|status| status != 200));
            answered.slowest = answered.slowest.max(probe.took);
        }
        answered
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.running.iter().for_each(JoinHandle::abort);
    }
}

async fn ask(server: Door, path: &'static str, probes: Arc<Mutex<Vec<Probe>>>) {
    loop {
        let began = now();
        let answer = Client::new(server.clone(), WATCHER).ask("GET", path, None, &[], LIMIT).await;
        let probe = Probe { path, began, took: began.elapsed(), status: answer.ok().map(|answer| answer.status) };
        probes.lock().unwrap_or_else(PoisonError::into_inner).push(probe);
        tokio::time::sleep(EVERY.saturating_sub(began.elapsed())).await;
    }
}

/// What a process takes, looked at again and again.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    pid: u32,
    /// Resident memory at the first look, bytes.
    pub rss_before: u64,
    /// The most of it, bytes.
    pub rss_peak: u64,
    /// The most open descriptors.
    pub descriptors_peak: usize,
    /// The most memory that the kernel held for TCP, of all programs of this machine, bytes.
    pub kernel_peak: u64,
}

impl Meter {
    /// Looks for the first time.
    #[must_use]
    pub fn start(pid: u32) -> Self {
        let rss = resident(pid);
        let mut meter = Self { pid, rss_before: rss, rss_peak: rss, descriptors_peak: 0, kernel_peak: 0 };
        meter.look();
        meter
    }

    /// Looks once more.
    pub fn look(&mut self) {
        self.rss_peak = self.rss_peak.max(resident(self.pid));
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count);
        self.descriptors_peak = self.descriptors_peak.max(open);
        self.kernel_peak = self.kernel_peak.max(kernel_tcp());
    }
}

/// VmRSS of a process in bytes; 0 when it is gone.
#[must_use]
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

/// The pages that the kernel holds for TCP, in bytes.
fn kernel_tcp() -> u64 {
    let stat = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = stat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages = line.split_once(" mem ").and_then(|(_, pages)| pages.trim().parse::<u64>().ok());
    pages.unwrap_or(0) << 12
}
