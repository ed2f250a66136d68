//! The simulation can see: with any of the planted bugs a run fails within 500 seeds, and without it the same run ends
//! well.

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use tidemark_core::planted::{Bug, plant};
use tidemark_simulation::{Found, Plan, Simulator, run_seeds, shrink};

const SEEDS: u64 = 500;

/// A bug is planted in the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // Runs that fail by a panic need not print it.
    std::panic::set_hook(Box::new(|_| {}));
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(bug: Bug) -> Option<Found> {
    plant(Some(bug));
    let threads = available_parallelism().map_or(1, NonZero::get);
    let found = run_seeds(0..SEEDS, threads, &|_| ()).err();
    plant(None);
    found
}

#[test]
fn every_planted_bug_is_found_within_500_seeds() {
    let _alone = alone();
    let mut missed = Vec::new();
    let sound = Simulator::default();
    for &bug in Bug::ALL {
        let Some(Found { finding, .. }) = find(bug) else {
            println!("{:24} NOT FOUND in {SEEDS} seeds", bug.as_str());
            missed.push(bug.as_str());
            continue;
        };
        println!("{:24} seed {:3}: {}", bug.as_str(), finding.plan.seed, finding.what);
        let without = sound.run(&Plan::of(finding.plan.seed));
        if let Err(finding) = without {
            missed.push(bug.as_str());
            println!("{:24} but without it: {}", bug.as_str(), finding.what);
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not found, or blamed wrongly: {}", missed.join(", "));
}

#[test]
fn a_failing_run_shrinks_to_one_that_its_command_repeats() {
    let _alone = alone();
    let Found { finding, .. } = find(Bug::ChunksUncapped).expect("a bug that is found");
    plant(Some(Bug::ChunksUncapped));
    let simulator = Simulator::default();
    let smallest = shrink(&simulator, finding.clone());
    let again = simulator.run(&smallest.plan).err();
    plant(None);
    let sound = simulator.run(&smallest.plan);
    let _ = std::panic::take_hook();
    println!("{}: {}", smallest.plan.command(), smallest.what);
    assert_eq!(again.as_ref(), Some(&smallest), "the same plan fails in the same way");
    assert!(sound.is_ok(), "and only because of the bug");
    assert!(smallest.plan.writes < finding.plan.writes || smallest.plan.faults != finding.plan.faults);
    assert_eq!(smallest.plan.stations, 1);
    let options = smallest.plan.command();
    assert!(options.starts_with(&format!("scripts/simulate --seed {}", smallest.plan.seed)), "{options}");
}
