//! What a change costs as there are more of them: upstream, pending, chunks, stations, references.

mod chunks;
mod ground;
mod grown;
mod references;
mod rows;
mod stations;

use anyhow::Result;

pub use self::grown::Grown;
use self::grown::Noted;
use crate::options::Options;

/// Measures the parts of `growth` that are asked for.
///
/// # Errors
/// When ours fails or its rows differ.
pub fn run(options: &Options) -> Result<Vec<Grown>> {
    let mut grown = Noted::default();
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
