//! Many seeds on all cores. Each seed runs in one thread and gives the same run on any.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::coverage::Coverage;
use super::plan::Plan;
use super::world::{Finding, Simulator};

/// What many runs came to.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// Runs that ended well.
    pub runs: u64,
    /// Events of all of them.
    pub events: u64,
    /// Changes of all of them.
    pub changes: u64,
    /// Virtual time of all of them.
    pub virtual_ms: i64,
    /// What was reached.
    pub coverage: Coverage,
}

/// Runs seeds until one fails or there are no more. `shown` is called after every run with how many there were.
///
/// # Errors
/// The finding of the lowest seed that fails, of those that were run.
pub fn run_seeds(seeds: std::ops::Range<u64>, threads: usize, shown: &(dyn Fn(u64) + Sync)) -> Result<Fleet, Found> {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let done = Mutex::new((Fleet::default(), Vec::<Finding>::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let simulator = Simulator::default();
                while !failed.load(Ordering::SeqCst) {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end {
                        break;
                    }
                    let ran = simulator.run(&Plan::of(seed));
                    let mut done = done.lock().expect("BUG: nobody panics here");
                    match ran {
                        Ok(report) => {
                            let fleet = &mut done.0;
                            fleet.runs += 1;
                            fleet.events += report.events;
                            fleet.changes += report.changes;
                            fleet.virtual_ms += report.virtual_ms;
                            fleet.coverage.add(&report.coverage);
                            shown(fleet.runs);
                        }
                        Err(finding) => {
                            failed.store(true, Ordering::SeqCst);
                            done.1.push(finding);
                        }
                    }
                }
            });
        }
    });
    let (fleet, mut findings) = done.into_inner().expect("BUG: nobody panics here");
    findings.sort_by_key(|finding| finding.plan.seed);
    match findings.into_iter().next() {
        None => Ok(fleet),
        Some(finding) => Err(Found { finding, runs: fleet.runs }),
    }
}

/// A seed that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The fault.
    pub finding: Finding,
    /// How many runs ended well before.
    pub runs: u64,
}
