//! The deterministic simulation, as every change is tested with it. `scripts/simulate --seeds N` runs more.

use std::num::NonZero;
use std::thread::available_parallelism;

use tidemark_simulation::{Fault, Plan, Simulator, run_seeds};

const SEEDS: u64 = 2_000;

/// What the runs must have met, or they prove nothing about it.
const REACHED: &[(&str, &[&str])] = &[
    ("event", &["acked", "agreed", "smaller", "failed", "stopped", "ignored", "joined"]),
    ("problem", &["bad-frame", "timeout", "forked", "too-large", "internal", "unavailable"]),
    (
        "moment",
        &["Begin", "LockCursor", "Facts", "Write", "StoreRejects", "KeepHistory", "Advance", "Commit", "Committed"],
    ),
    ("crash point", &["before sending", "after sending", "before the reply is heard", "after the reply is heard"]),
    (
        "verdict",
        &["applied", "void", "clock", "owner", "reference", "referenced", "constraint", "unknown-table", "append-only"],
    ),
    ("part", &["of a batch"]),
    ("verdict", &["type", "required", "range", "length", "nul", "utf8", "timestamp", "uuid", "id-range"]),
];

#[test]
fn nothing_is_lost_doubled_or_stuck_in_2000_seeds() {
    let threads = available_parallelism().map_or(1, NonZero::get);
    let fleet = match run_seeds(0..SEEDS, threads, &|_| ()) {
        Ok(fleet) => fleet,
        Err(found) => panic!("{}\nrepeat: {} --trace", found.finding.what, found.finding.plan.command()),
    };
    println!("{} seeds, {} events, {} changes\n{}", fleet.runs, fleet.events, fleet.changes, fleet.coverage);
    assert_eq!(fleet.runs, SEEDS);
    for fault in Fault::ALL {
        assert!(fleet.coverage.of("fault", fault.as_str()) > 0, "no run met the fault {}", fault.as_str());
    }
    for (kind, names) in REACHED {
        for name in *names {
            assert!(fleet.coverage.of(kind, name) > 0, "no run reached the {kind} {name}");
        }
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let (first, second) = (Simulator::default(), Simulator::default());
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let plan = Plan::of(seed);
        let (a, b) =
            (first.run(&plan).expect("a run that ends well"), second.run(&plan).expect("a run that ends well"));
        assert_eq!((a.trace, a.events, &a.coverage), (b.trace, b.events, &b.coverage), "seed {seed}");
        traces.insert(a.trace);
    }
    assert_eq!(traces.len(), 40, "other seeds are other runs");
}
