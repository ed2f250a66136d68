//! What a fleet of honest stations costs, and what it notices of one among them that has much.

mod comeback;
mod idle;
mod largest;
mod small;

use anyhow::Result;

use super::descriptors;
use super::log::Table;
use super::runtime::runtime;
use super::site::Site;
use crate::postgres::Flavour;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub flavour: Flavour,
    /// Further arguments of `tidemark-server serve`.
    pub serve_args: Vec<String>,
    /// How many small stations push beside a greedy one; 0: none.
    pub small: usize,
    /// How many push the largest frames at once; 0: none.
    pub largest: usize,
    /// How many come back at once after an outage; 0: none.
    pub comeback: usize,
    /// How many connections are idle; 0: none.
    pub idle: usize,
}

/// Measures, prints the figures, and returns what must not be.
///
/// # Errors
/// When a station could not push.
pub fn run(plan: &Plan) -> Result<Vec<String>> {
    let site = Site::start(plan.flavour, &plan.serve_args, false)?;
    descriptors::allow_most()?;
    let (calm, storm) = (runtime()?, runtime()?);
    let mut logs = Vec::new();
    if plan.idle > 0 {
        idle::measure(&site, plan.idle, &storm)?;
    }
    if plan.small > 0 {
        logs.extend(small::measure(&site, plan.small, &calm, &storm)?);
    }
    if plan.largest > 0 {
        logs.extend(largest::measure(&site, plan.largest, &storm)?);
    }
    let mut faults = Vec::new();
    // Before those come that have no such log.
    match site.check(logs.iter()) {
        Ok(rows) => println!("{rows} rows of {} stations were acknowledged, and are there once", logs.len()),
        Err(error) => faults.push(format!("{error:#}")),
    }
    if plan.comeback > 0 {
        let wanted = comeback::measure(&site, plan.comeback, &storm)?;
        let (rows, ids) =
            site.count(Table::Remark)?.values().fold((0, 0), |(rows, ids), it| (rows + it.rows, ids + it.ids));
        if (rows, ids) != (wanted as i64, wanted as i64) {
            faults.push(format!("{wanted} rows of stations that came back, {rows} upstream, {ids} different"));
        }
    }
    if site.output().contains("panicked at") {
        faults.push("the server panicked".to_owned());
    }
    site.end()?;
    Ok(faults)
}
