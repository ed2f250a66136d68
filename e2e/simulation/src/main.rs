//! Runs the deterministic simulation: many seeds, or one to look at.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use tidemark_simulation::{FaultSet, Finding, Plan, Simulator, run_seeds, shrink};
use tidemark_testkit::world::now;

/// Simulates stations, networks, servers and their database in virtual time, with every fault they can have, and checks
/// after every event that nothing is lost, doubled or stuck. A seed is a run; the same seed is the same run.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads; as many as there are cores unless told otherwise.
    #[arg(long)]
    threads: Option<usize>,
    /// Run this seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from", "threads"])]
    seed: Option<u64>,
    /// With --seed: that many stations.
    #[arg(long, requires = "seed", value_parser = clap::value_parser!(u32).range(1..=8))]
    stations: Option<u32>,
    /// With --seed: that many servers.
    #[arg(long, requires = "seed", value_parser = clap::value_parser!(u32).range(1..=8))]
    servers: Option<u32>,
    /// With --seed: that many transactions per station.
    #[arg(long, requires = "seed", value_parser = clap::value_parser!(u32).range(0..=1000))]
    writes: Option<u32>,
    /// With --seed: these faults and no others, e.g. `delay,lost-reply`, or `none`.
    #[arg(long, requires = "seed")]
    faults: Option<FaultSet>,
    /// With --seed: print everything that happens.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// A bug to plant; needs a build with `--features planted-bugs`.
    #[cfg(feature = "planted-bugs")]
    #[arg(long)]
    plant: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    #[cfg(feature = "planted-bugs")]
    if let Some(name) = &args.plant {
        let Some(bug) = tidemark_core::planted::Bug::from_text(name) else {
            let names: Vec<&str> = tidemark_core::planted::Bug::ALL.iter().map(|bug| bug.as_str()).collect();
            eprintln!("simulate: no bug is called {name:?}; there are: {}", names.join(", "));
            return ExitCode::FAILURE;
        };
        tidemark_core::planted::plant(Some(bug));
    }
    match args.seed {
        Some(seed) => one(&args, seed),
        None => many(&args),
    }
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let usual = Plan::of(seed);
    let plan = Plan {
        seed,
        stations: args.stations.unwrap_or(usual.stations),
        servers: args.servers.unwrap_or(usual.servers),
        writes: args.writes.unwrap_or(usual.writes),
        faults: args.faults.unwrap_or(usual.faults),
    };
    println!(
        "{} stations, {} servers, {} writes each; faults: {}",
        plan.stations, plan.servers, plan.writes, plan.faults
    );
    let mut simulator = Simulator::default();
    simulator.print = args.trace;
    match simulator.run(&plan) {
        Ok(report) => {
            println!("{}", report.coverage);
            println!(
                "ok: {} events, {} changes, {:.0} s of virtual time; trace {:016x}",
                report.events,
                report.changes,
                report.virtual_ms as f64 / 1000.0,
                report.trace
            );
            ExitCode::SUCCESS
        }
        Err(finding) => failed(finding),
    }
}

fn many(args: &Args) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let start = now();
    let tty = std::io::stderr().is_terminal();
    let shown = |runs: u64| {
        if tty && runs.is_multiple_of(50) {
            eprint!("\r{runs} of {} seeds", args.seeds);
            let _ = std::io::stderr().flush();
        }
    };
    let seeds = args.from..args.from.saturating_add(args.seeds);
    match run_seeds(seeds, args.threads.unwrap_or(cores), &shown) {
        Ok(fleet) => {
            let seconds = start.elapsed().as_secs_f64();
            if tty {
                eprint!("\r\x1b[K");
            }
            println!("{}", fleet.coverage);
            println!(
                "ok: {} seeds in {seconds:.1} s ({:.0} a second), {} events, {} changes, {:.1} days of virtual time, {} MiB at most",
                fleet.runs,
                fleet.runs as f64 / seconds,
                fleet.events,
                fleet.changes,
                fleet.virtual_ms as f64 / 86_400_000.0,
                most_memory_mib().map_or_else(|| "?".to_owned(), |mib| mib.to_string())
            );
            ExitCode::SUCCESS
        }
        Err(found) => failed(found.finding),
    }
}

/// The most memory this process ever had, where the system says it.
fn most_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

/// Shows what is wrong, then the smallest run that is, each with the one command that repeats it.
fn failed(finding: Finding) -> ExitCode {
    println!("FAILED: {}", finding.what);
    println!("repeat: {}", finding.plan.command());
    // While it shrinks, the same panic comes again and again.
    std::panic::set_hook(Box::new(|_| {}));
    let smallest = shrink(&Simulator::default(), finding.clone());
    if smallest != finding {
        println!("smaller: {}", smallest.what);
        println!("repeat: {} --trace", smallest.plan.command());
    }
    ExitCode::FAILURE
}
