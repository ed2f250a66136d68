//! More and more rows upstream, and more and more changes pending.

use anyhow::Result;
use tidemark_benches::{narrow_schema, write_readings};

use super::ground::{Ground, rounds};
use super::grown::{Grown, Noted};
use crate::options::Options;

/// The changes whose cost is measured while there are more and more rows upstream.
const PROBE: u64 = 10_000;
/// With fewer rows than these, what is pushed in the rounds would be most of them: each round begins anew.
const MANY: u64 = 1_000_000;

fn sizes(max: u64) -> impl Iterator<Item = u64> {
    (3..).map(|power| 10_u64.pow(power)).take_while(move |&size| size <= max)
}

/// Measures the part `upstream`.
///
/// # Errors
/// When ours fails or its rows differ.
pub fn upstream(options: &Options, grown: &mut Noted) -> Result<()> {
    let mut ground = Ground::new(narrow_schema().source())?;
    for size in sizes(options.growth_max) {
        // What is upstream comes through the same door, so both sides have it.
        let fill = |ground: &mut Ground| {
            ground.begin_anew()?;
            for at in (0..size).step_by(MANY as usize) {
                write_readings(&mut ground.db, (size - at).min(MANY))?;
                ground.push()?;
            }
            Ok(())
        };
        let rounds = rounds(options.rounds, PROBE);
        let micros = if size < MANY {
            ground.cost(rounds, PROBE, fill, write_readings)?
        } else {
            fill(&mut ground)?;
            ground.cost(rounds, PROBE, |_| Ok(()), write_readings)?
        };
        grown.note(Grown { what: "rows upstream", size, changes: PROBE, micros, copy_micros: None });
    }
    ground.check()
}

/// Measures the part `pending`.
///
/// # Errors
/// When ours fails or its rows differ.
pub fn pending(options: &Options, grown: &mut Noted) -> Result<()> {
    let mut ground = Ground::new(narrow_schema().source())?;
    for size in sizes(options.growth_max) {
        let rounds = rounds(options.rounds, size);
        let micros = ground.cost(rounds, size, |ground| ground.begin_anew(), write_readings)?;
        grown.note(Grown { what: "changes pending", size, changes: size, micros, copy_micros: None });
    }
    ground.check()
}
