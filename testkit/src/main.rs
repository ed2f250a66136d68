//! Starts the PostgreSQL clusters that a run of tests shares, prints where they are, and ends them when its standard
//! input closes.

use std::io::{Read as _, Write as _};

use anyhow::Result;
use tidemark_testkit::postgres::Flavour;
use tidemark_testkit::postgres::shared::start;

fn main() -> Result<()> {
    let (plain, timescale) = (start(Flavour::Plain)?, start(Flavour::Timescale)?);
    println!("plain={},timescale={}", plain.port, timescale.port);
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
