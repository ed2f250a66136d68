//! `scripts/torture`: real processes, killed at random moments, for as long as asked; see [`tidemark_e2e::torture`].

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};
use signal_hook::consts::{SIGINT, SIGTERM};
use tidemark_e2e::postgres::Flavour;
use tidemark_e2e::torture::plan::Shape;
use tidemark_e2e::torture::{Database, Options, run, writer};
use tidemark_e2e::world;

/// What a shell says of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Kills servers, stations, writers and PostgreSQL at random moments, breaks their connections, and checks after every
/// round that nothing is lost, stuck or doubled.
#[derive(Debug, Parser)]
#[command(name = "torture", version, args_conflicts_with_subcommands = true)]
struct Args {
    /// Rounds to run; without it and --for: 30
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// Begin no round after so long: 90s, 40m, 8h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// What the plans are drawn from; without it, the time
    #[arg(long)]
    seed: Option<u64>,
    /// Number of the first round: a failing round's plan needs those of its world before it
    #[arg(long, default_value_t = 0, value_name = "N")]
    from: u64,
    /// Servers on one database, each with a wire before it
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    servers: u8,
    /// Most stations of a world
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    stations: u8,
    /// The upstream database
    #[arg(long, value_enum, default_value_t = Upstream::Timescale)]
    flavour: Upstream,
    /// Keep the files of the world after a failure and say where; logs are kept in any case
    #[arg(long)]
    keep: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Upstream {
    /// PostgreSQL with TimescaleDB
    Timescale,
    /// PostgreSQL alone
    Plain,
    /// The embedded one
    Embedded,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes to a station's file: what the rounds start as a process of its own
    #[command(hide = true)]
    Write { database: PathBuf, journal: PathBuf, seed: u64, milliseconds: u64 },
}

/// A number and s, m or h.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err("write a number and s, m or h, for example 40m".to_owned()),
    };
    let count: u64 =
        text[..text.len() - 1].parse().map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    count.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| format!("{text:?} is too long"))
}

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<ExitCode> {
    if let Some(Command::Write { database, journal, seed, milliseconds }) = args.command {
        writer::write(&database, &journal, seed, Duration::from_millis(milliseconds))?;
        return Ok(ExitCode::SUCCESS);
    }
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot listen for signals")?;
    }
    let rounds = args.rounds.or(args.duration.is_none().then_some(30));
    let totals = run(&Options {
        from: args.from,
        rounds,
        duration: args.duration,
        seed: args.seed.unwrap_or_else(|| world::unix_ms() as u64),
        shape: Shape { servers: args.servers.into(), stations: args.stations.into() },
        database: match args.flavour {
            Upstream::Timescale => Database::Postgres(Flavour::Timescale),
            Upstream::Plain => Database::Postgres(Flavour::Plain),
            Upstream::Embedded => Database::Embedded,
        },
        keep: args.keep,
        writer: std::env::current_exe()?,
        interrupted: Arc::clone(&interrupted),
    })?;
    println!("\nnothing lost, nothing stuck, nothing doubled:\n{totals}");
    if interrupted.load(Ordering::Relaxed) {
        eprintln!("interrupted: the last round was not finished");
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}
