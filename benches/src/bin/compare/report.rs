//! The table on the terminal, and the same as JSON.

use anyhow::Result;
use serde_json::{Value, json};

use crate::growth::Grown;
use crate::options::Options;
use crate::standings::{Standing, Standings};

/// Prints the table: medians of the rounds, and how many times as fast ours is within each.
pub fn print(standings: &Standings, grown: &[Grown]) {
    println!("\n{:8} {:36} {:>9} {:>10} {:>7}  not like for like", "group", "", "rows", "rows/s", "ours ÷");
    for standing in &standings.0 {
        let contender = standing.contender;
        let Some(rate) = standing.rate() else {
            let why = standing.failed.as_deref().unwrap_or_default();
            println!("{:8} {:36} failed: {why}", contender.group, contender.name);
            continue;
        };
        let rows = standing.measured().next().map_or(0, |measured| measured.rows);
        let ratio = standings.ratio(standing).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!(
            "{:8} {:36} {rows:>9} {rate:>10.0} {ratio:>7}  {}{}",
            contender.group,
            contender.name,
            contender.unlike,
            standing.failed.as_ref().map_or_else(String::new, |why| format!(" (a round failed: {why})"))
        );
    }
    for one in grown {
        println!("{:8} {one}", "growth");
    }
}

/// Everything that was measured.
///
/// # Errors
/// When it cannot be made into text.
pub fn json(options: &Options, standings: &Standings, grown: &[Grown]) -> Result<String> {
    let results: Vec<Value> = standings.0.iter().map(|standing| result(standings, standing)).collect();
    let growth: Vec<Value> = grown
        .iter()
        .map(|one| {
            let (micros, copy) = (rounded(one.micros), one.copy_micros.map(rounded));
            json!({"what": one.what, "size": one.size, "changes": one.changes, "micros_a_change": micros, "copy_micros": copy})
        })
        .collect();
    let value = json!({
        "command": std::env::var("TIDEMARK_COMPARE_COMMAND").unwrap_or_default(),
        "measured": std::env::var("TIDEMARK_COMPARE_DATE").unwrap_or_default(),
        "with": std::env::var("TIDEMARK_COMPARE_WITH").unwrap_or_default(),
        "cores": std::thread::available_parallelism()?.get(),
        "rows": options.rows,
        "rounds": options.rounds,
        "results": results,
        "growth": growth,
    });
    Ok(format!("{value:#}\n"))
}

fn result(standings: &Standings, standing: &Standing) -> Value {
    let contender = standing.contender;
    let rounds: Vec<Value> = standing
        .rounds
        .iter()
        .map(|round| round.as_ref().map_or(Value::Null, |round| json!(round.rate().round())))
        .collect();
    let mut value = json!({
        "group": contender.group,
        "name": contender.name,
        "what": contender.what,
        "unlike": contender.unlike,
        "rows": standing.measured().next().map(|measured| measured.rows),
        "rows_a_second": standing.rate().map(f64::round),
        "rounds": rounds,
        "ours_divided_by_it": standings.ratio(standing).map(rounded),
    });
    if let Some(with) = standing.measured().find_map(|measured| measured.with.as_deref()) {
        value["with"] = json!(with);
    }
    let memory = standing.measured().filter_map(|measured| measured.memory_mib);
    if let Some((station, server)) = memory.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))) {
        value["most_memory_mib"] = json!({"station": station.round(), "server": server.round()});
    }
    if let Some(why) = &standing.failed {
        value["failed"] = json!(why);
    }
    value
}

/// Two places.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
