//! `cargo demo`: three field stations record a season without a network, a server appears, the network breaks in the
//! middle of the push, and every row is upstream once. Exits non-zero if anything differs.
//!
//! | module | what lives there |
//! |---|---|
//! | [`field`] | the stations: recording, joining, pushing |
//! | [`hq`] | the server, in this process |
//! | [`report`] | the closing table |

mod field;
mod hq;
mod report;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use tidemark_e2e::proxy::{Act, Proxy};
use tidemark_e2e::world;

use crate::field::FieldStation;
use crate::hq::Headquarters;

/// Three stations, one season of shrinkage data, a network that breaks.
#[derive(Debug, Parser)]
#[command(name = "cargo demo --", version)]
struct Args {
    /// Apply to this database instead of an embedded one: postgresql://user:password@host:port/database, or
    /// sqlite:///file.db
    // Not from TIDEMARK_DATABASE_URL: a demo must not end up in the database that the environment names for real work.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Inventory records per station; each brings about seven changes
    #[arg(long, default_value_t = 1200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    records: u32,
    /// Repeats the data of a run
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("\nThe stations and upstream differ.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The whole story. Returns whether both sides are equal.
fn run(args: &Args) -> Result<bool> {
    let start = world::now();
    let run = world::unix_ms();
    let seed = args.seed.unwrap_or(run as u64);
    let folder = tempfile::Builder::new().prefix("tidemark-demo-").tempdir()?;
    // A server that does not work must not be found out after the season.
    let hq = Headquarters::open(args.database.as_deref(), folder.path())?;

    println!("1. In the field: three stations, no network, no server. (seed {seed})");
    let mut stations = Vec::new();
    for (n, place) in ["Север", "Волга", "Каспий"].into_iter().enumerate() {
        // A second run against the same database adds three more stations.
        let name = format!("{place}-{run:x}");
        stations.push(FieldStation::record(folder.path(), &name, seed.wrapping_add(n as u64), args.records)?);
    }

    println!("\n2. At headquarters: the database is migrated and the server starts.");
    let server = hq.serve()?;
    println!("   {}", server.describe());
    println!("   listening on http://{}", server.address()?);

    println!("\n3. Back in the network, which is a bad one: each station joins, and its push is broken off.");
    let proxy = Proxy::start(server.address()?)?;
    for station in &mut stations {
        let code = server.invite(station.name(), &proxy.url())?;
        station.join(&code)?;
        let before = proxy.exchanges().len();
        proxy.script([Act::Pass, Act::DropReply, Act::CutBody(4_000), Act::Repeat]);
        station.push()?;
        let exchanges = proxy.exchanges().split_off(before);
        let count = |kind: fn(&Act) -> bool| exchanges.iter().filter(|exchange| kind(&exchange.act)).count();
        println!(
            "   the network broke off {} reply after the server had committed and {} request in its middle, and sent {} twice",
            count(|act| matches!(act, Act::DropReply)),
            count(|act| matches!(act, Act::CutBody(_))),
            count(|act| matches!(act, Act::Repeat)),
        );
        if proxy.acts_left() > 0 {
            bail!("the push was over before the network broke; record more with --records");
        }
    }

    println!("\n4. Afterwards:");
    let equal = report::print(&mut stations, &server)?;
    println!("{:.1} s in all.", start.elapsed().as_secs_f64());
    Ok(equal)
}
