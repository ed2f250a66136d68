//! A mix of inserts, updates and deletes over the 18 tables of the shrinkage schema.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tidemark_benches::{Plant, push};
use tidemark_core::schema::Schema;
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};

use crate::contenders::{COPY_MIXED, OURS_MIXED};
use crate::options::Options;
use crate::standings::{Measured, Standings};

/// Measures the part `mixed`. Needs the Python of scripts/setup-python, or that of the peers, for the rows.
///
/// # Errors
/// When ours fails or its rows differ; when there is no such Python.
pub fn run(options: &Options, standings: &mut Standings) -> Result<()> {
    let changes = OURS_MIXED.rows_max.min(options.rows);
    let python = std::env::var_os("TIDEMARK_TEST_PYTHON").map(PathBuf::from);
    let python = python.or_else(|| options.peers.as_ref().map(|peers| peers.python.clone()));
    let python = python.context("TIDEMARK_TEST_PYTHON is not set: scripts/setup-python says where it is")?;
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let plant = Plant::make(&python, changes)?;
    println!("{changes} changes over 18 tables, {} rounds", options.rounds);
    for round in 1..=options.rounds {
        println!("round {round}:");
        let database = format!("mixed{round}");
        let field = Field::shrinkage(Some(cluster.create_database(&database)?))?;
        field.migrate()?;
        let server = field.serve()?;
        let station = plant.station(&field, &server)?;
        let client = cluster.admin(&database)?;
        client.batch("CHECKPOINT")?;
        let waiting = station.waiting()?;
        standings.note_ours(OURS_MIXED, Measured::of_push(waiting, push(&station, &server)?))?;
        field.assert_upstream_equals(&[&station])?;
        let open: i64 = client.value("SELECT count(*) FROM tidemark.rejects")?;
        ensure!(open == 0, "{open} changes were rejected");
        standings.note(COPY_MIXED, copied(&client, &cluster, field.schema()));
    }
    Ok(())
}

/// COPYs the rows of all tables from files, into the emptied tables.
fn copied(client: &PgClient, cluster: &PostgresCluster, schema: &Schema) -> Result<Measured> {
    let tables: Vec<(String, String)> = schema
        .parents_first()
        .iter()
        .map(|&at| {
            let name = &schema.tables()[at].name;
            let file = cluster.folder().join(format!("{name}.copy"));
            (format!("{}.{name}", schema.name()), file.to_string_lossy().into_owned())
        })
        .collect();
    let mut rows = 0;
    for (table, file) in &tables {
        client.batch(&format!("COPY (SELECT * FROM {table}) TO '{file}' (FORMAT binary)"))?;
        rows += client.value::<i64>(&format!("SELECT count(*) FROM {table}"))? as u64;
    }
    let names: Vec<&str> = tables.iter().map(|(table, _)| table.as_str()).collect();
    client.batch(&format!("TRUNCATE {} CASCADE", names.join(", ")))?;
    client.batch("CHECKPOINT")?;
    let mut all = String::from("BEGIN;");
    for (table, file) in &tables {
        let _ = write!(all, "COPY {table} FROM '{file}' (FORMAT binary);");
    }
    let begin = Instant::now();
    client.batch(&(all + "COMMIT"))?;
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Measured::new(rows, seconds))
}
