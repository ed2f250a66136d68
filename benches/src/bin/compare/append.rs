//! The same readings into an append table, beside COPY into the table with its key, and into the append table itself.

use anyhow::{Result, ensure};
use tidemark_benches::{append_schema, narrow_schema, push, write_readings};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};

use crate::checksum::of_table;
use crate::contenders::{COPY_APPEND, COPY_KEYED, OURS_APPEND};
use crate::copying::copy;
use crate::options::Options;
use crate::rounds::{exported, into_table};
use crate::standings::{Measured, Standings};

/// Measures the part `append`.
///
/// # Errors
/// When ours fails or its rows differ; when PostgreSQL cannot be had.
pub fn run(options: &Options, standings: &mut Standings) -> Result<()> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let rows = options.rows;
    println!("{rows} rows of 7 columns into an append table, {} rounds", options.rounds);
    for round in 1..=options.rounds {
        println!("round {round}:");
        let database = format!("append{round}");
        let field = Field::new(append_schema().source(), Some(cluster.create_database(&database)?))?;
        field.migrate()?;
        let server = field.serve()?;
        let station = field.join_station("bench", &server.url())?;
        write_readings(&mut station.open()?, rows)?;
        let client = cluster.admin(&database)?;
        client.batch("CHECKPOINT")?;
        let pushed = push(&station, &server)?;
        let seen = field.assert_upstream_equals(&[&station])?;
        ensure!(seen.rows == rows, "upstream has {} of {rows} rows", seen.rows);
        standings.note_ours(OURS_APPEND, Measured::of_push(rows, pushed))?;

        let expected = of_table(&client, u64::MAX)?;
        let ours = exported(client, &cluster, "appended")?;
        let keyed = format!("keyed{round}");
        Field::new(narrow_schema().source(), Some(cluster.create_database(&keyed)?))?.migrate()?;
        let keyed = cluster.admin(&keyed)?;
        into_table(standings, &keyed, COPY_KEYED, &expected, || copy(&keyed, &ours.binary, rows))?;
        into_table(standings, &ours.client, COPY_APPEND, &expected, || copy(&ours.client, &ours.binary, rows))?;
    }
    Ok(())
}
