//! `scripts/siege`: hostile peers against a real server, and what good stations notice; see [`tidemark_e2e::siege`].

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand, ValueEnum};
use tidemark_e2e::postgres::Flavour;
use tidemark_e2e::siege::attack::{ATTACKS, Attack, WAVES};
use tidemark_e2e::siege::fleet;
use tidemark_e2e::siege::good::Pace;
use tidemark_e2e::siege::{Options, run};

/// The share of each attack's peers that come when attacks go on together.
const TOGETHER: f64 = 0.25;

/// Attacks a real server with a real PostgreSQL in every way it knows, one after the other, while good stations go on;
/// prints what they kept of their rate, and fails when anything was lost, doubled or stuck.
#[derive(Debug, Parser)]
#[command(name = "siege", version, args_conflicts_with_subcommands = true)]
struct Args {
    /// How long each attack lasts, in seconds; with --together: all of them
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Attacks go on together, in three waves and each with a quarter of its peers: how a short run sees all of them
    #[arg(long)]
    together: bool,
    /// Only these attacks
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Over TLS: the server has a certificate, and stations and peers shake hands before anything else
    #[arg(long)]
    tls: bool,
    /// Show the attacks and end
    #[arg(long)]
    list: bool,
    /// How many good stations there are
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    stations: u8,
    /// Rows of their batches
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=50_000))]
    rows: u64,
    /// How often each pushes, in milliseconds
    #[arg(long, default_value_t = 250, value_name = "MS")]
    every: u64,
    /// How long nobody attacks before, in seconds
    #[arg(long, default_value_t = 5, value_name = "S", value_parser = clap::value_parser!(u64).range(1..))]
    calm: u64,
    /// The upstream database
    #[arg(long, value_enum, default_value_t = Upstream::Timescale)]
    flavour: Upstream,
    /// How many files the server may have open at its start
    #[arg(long, value_name = "N")]
    descriptors: Option<u64>,
    /// The most memory that the server may take, in MiB
    #[arg(long, default_value_t = 768, value_name = "MIB")]
    rss_max: u64,
    /// Fail when a goal is missed: 80 % of the rate, health within a second
    #[arg(long)]
    strict: bool,
    /// Further arguments of tidemark-server serve
    #[arg(last = true, value_name = "ARGUMENT")]
    serve_args: Vec<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures what a fleet of honest stations costs: small ones beside one with 500,000 rows, the largest frames at
    /// once, idle connections, all back at once after an outage
    Fleet {
        /// How many small stations there are; 0: none
        #[arg(long, default_value_t = 300, value_name = "N")]
        small: usize,
        /// How many stations push the largest frames at once; 0: none
        #[arg(long, default_value_t = 64, value_name = "N")]
        largest: usize,
        /// How many come back at once after an outage of ten minutes; 0: none
        #[arg(long, default_value_t = 2_000, value_name = "N")]
        comeback: usize,
        /// How many connections are idle; 0: none
        #[arg(long, default_value_t = 5_000, value_name = "N")]
        idle: usize,
        /// The upstream database
        #[arg(long, value_enum, default_value_t = Upstream::Timescale)]
        flavour: Upstream,
        /// Further arguments of tidemark-server serve
        #[arg(last = true, value_name = "ARGUMENT")]
        serve_args: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Upstream {
    /// PostgreSQL with TimescaleDB
    Timescale,
    /// PostgreSQL alone
    Plain,
}

impl From<Upstream> for Flavour {
    fn from(upstream: Upstream) -> Self {
        match upstream {
            Upstream::Timescale => Self::Timescale,
            Upstream::Plain => Self::Plain,
        }
    }
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
    if let Some(Command::Fleet { small, largest, comeback, idle, flavour, serve_args }) = args.command {
        let plan = fleet::Plan { flavour: flavour.into(), serve_args, small, largest, comeback, idle };
        return Ok(verdict(&fleet::run(&plan)?, "the fleet is at home"));
    }
    if args.list {
        for attack in ATTACKS {
            println!("{:<14} {}", attack.name, attack.says);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let named = |name: &String| {
        let found = ATTACKS.into_iter().find(|attack| attack.name == *name);
        found.with_context(|| format!("there is no attack {name:?}; `scripts/siege --list` shows all"))
    };
    let chosen: Vec<Attack> = match args.only.as_slice() {
        [] => ATTACKS.to_vec(),
        names => names.iter().map(named).collect::<Result<_>>()?,
    };
    let length = Duration::from_secs(args.seconds);
    let waves: Vec<(Vec<Attack>, Duration)> = if args.together {
        let of = |(wave, share)| {
            let attacks: Vec<_> = chosen.iter().filter(|attack| attack.wave == wave).copied().collect();
            (attacks, length.mul_f64(share))
        };
        WAVES.into_iter().map(of).filter(|(attacks, _)| !attacks.is_empty()).collect()
    } else {
        chosen.into_iter().map(|attack| (vec![attack], length)).collect()
    };
    let faults = run(&Options {
        flavour: args.flavour.into(),
        serve_args: args.serve_args,
        over_tls: args.tls,
        descriptors: args.descriptors,
        stations: args.stations.into(),
        pace: Pace { rows: args.rows, every: Duration::from_millis(args.every) },
        calm: Duration::from_secs(args.calm),
        waves,
        scale: if args.together { TOGETHER } else { 1.0 },
        rss_max: args.rss_max << 20,
        strict: args.strict,
    })?;
    Ok(verdict(&faults, "the siege is over"))
}

/// Says how it ended.
fn verdict(faults: &[String], over: &str) -> ExitCode {
    if faults.is_empty() {
        println!("{over}: nothing lost, nothing doubled, nobody stuck");
        return ExitCode::SUCCESS;
    }
    println!("\n{over}, and {} things must not be:", faults.len());
    faults.iter().for_each(|fault| println!("- {fault}"));
    ExitCode::FAILURE
}
