//! What a change costs as there are more of them: upstream, pending, chunks, stations, references.

mod chunks;
mod ground;
mod references;
mod rows;
mod stations;

use std::fmt;

use anyhow::Result;

use crate::options::Options;

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
    /// The same of COPY of these rows, where it was measured.
    pub copy_micros: Option<f64>,
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, size, changes, micros, copy_micros } = self;
        write!(f, "{size:>10} {what:32} {micros:>8.2} µs a change, of {changes}")?;
        copy_micros.map_or(Ok(()), |copy| write!(f, "; COPY {copy:.2}, ours {:.2} ×", micros / copy))
    }
}

/// Measures the parts of `growth` that are asked for.
///
/// # Errors
/// When ours fails or its rows differ.
pub fn run(options: &Options) -> Result<Vec<Grown>> {
    let mut grown = Noted(Vec::new());
    if options.wants("upstream") {
        rows::upstream(options, &mut grown)?;
    }
    if options.wants("pending") {
        rows::pending(options, &mut grown)?;
    }
    if options.wants("chunks") {
        chunks::run(options, &mut grown)?;
    }
    if options.wants("stations") {
        stations::run(options, &mut grown)?;
    }
    if options.wants("references") {
        references::run(options, &mut grown)?;
    }
    Ok(grown.0)
}

/// What was measured, each told as soon as it is known.
struct Noted(Vec<Grown>);

impl Noted {
    fn note(&mut self, one: Grown) {
        println!("  growth {one}");
        self.0.push(one);
    }
}
