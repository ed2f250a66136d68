//! What a change costs as there are more of them: upstream, and pending at the station.

use anyhow::Result;
use tidemark_benches::{median, narrow_schema, write_readings};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};

use crate::copying::emptied;
use crate::options::Options;
use crate::ours::push;

/// The changes whose cost is measured while there are more and more rows upstream.
const PROBE: u64 = 10_000;

/// The cost of a change at one size.
#[derive(Debug, Clone, Copy)]
pub struct Grown {
    /// What grew.
    pub what: &'static str,
    /// To how many.
    pub size: u64,
    /// Changes that were pushed.
    pub changes: u64,
    /// The median of the rounds, microseconds a change, without what a push of one change costs.
    pub micros: f64,
}

/// Measures the part `growth`.
///
/// # Errors
/// When ours fails or its rows differ.
pub fn run(options: &Options) -> Result<Vec<Grown>> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let field = Field::new(narrow_schema().source(), Some(cluster.create_database("growth")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("bench", &server.url())?;
    let client = cluster.admin("growth")?;
    let mut db = station.open()?;
    // The first push makes the first chunks, and connections.
    write_readings(&mut db, PROBE)?;
    push(&station, &server, PROBE)?;
    let mut single = Vec::new();
    for _ in 0..options.rounds.max(5) {
        write_readings(&mut db, 1)?;
        single.push(push(&station, &server, 1)?.seconds);
    }
    let single = median(&mut single);
    println!("growth: a push of one change takes {:.0} ms, and is taken off", single * 1e3);
    let sizes = || (3..).map(|power| 10_u64.pow(power)).take_while(|&size| size <= options.growth_max);
    let cost = |seconds: f64, changes: u64| (seconds - single) / (changes - 1) as f64 * 1e6;

    let mut grown = Vec::new();
    // What is upstream comes through the same door, so both sides have it.
    let mut upstream = 0;
    emptied(&client)?;
    db.execute_batch("DELETE FROM reading")?;
    push(&station, &server, 0)?;
    for size in sizes() {
        while upstream < size {
            let some = (size - upstream).min(1_000_000);
            write_readings(&mut db, some)?;
            push(&station, &server, some)?;
            upstream += some;
        }
        let mut costs = Vec::new();
        for _ in 0..options.rounds {
            write_readings(&mut db, PROBE)?;
            client.batch("CHECKPOINT")?;
            costs.push(cost(push(&station, &server, PROBE)?.seconds, PROBE));
            upstream += PROBE;
        }
        noted(&mut grown, Grown { what: "rows upstream", size, changes: PROBE, micros: median(&mut costs) });
    }
    field.assert_upstream_equals(&[&station])?;
    for size in sizes() {
        let mut costs = Vec::new();
        for _ in 0..options.rounds {
            db.execute_batch("DELETE FROM reading")?;
            push(&station, &server, 0)?;
            write_readings(&mut db, size)?;
            client.batch("CHECKPOINT")?;
            costs.push(cost(push(&station, &server, size)?.seconds, size));
        }
        field.assert_upstream_equals(&[&station])?;
        noted(&mut grown, Grown { what: "changes pending", size, changes: size, micros: median(&mut costs) });
    }
    Ok(grown)
}

fn noted(grown: &mut Vec<Grown>, one: Grown) {
    println!("  growth   {:>10} {:16} {:.2} µs/change", one.size, one.what, one.micros);
    grown.push(one);
}
