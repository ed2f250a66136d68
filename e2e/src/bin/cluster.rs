//! A private PostgreSQL cluster with TimescaleDB, for tests that are not written in Rust.
//!
//! Prints one line, the URL of a database whose role may create others, and lives until its standard input closes: when
//! the program that started it ends, however it ends, the cluster and its folder are gone.

use std::io::{Read as _, Write as _};

use anyhow::Result;
use tidemark_e2e::postgres::{Flavour, OWNER, PostgresCluster};

fn main() -> Result<()> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    cluster.admin("postgres")?.execute(&format!("ALTER ROLE {OWNER} CREATEDB"), &[])?;
    println!("{}", cluster.url("postgres"));
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
