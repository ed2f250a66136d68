//! What growth costs, as it is measured.

use std::fmt;

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

/// What was measured, each told as soon as it is known.
#[derive(Debug, Default)]
pub(super) struct Noted(pub(super) Vec<Grown>);

impl Noted {
    pub(super) fn note(&mut self, one: Grown) {
        println!("  growth {one}");
        self.0.push(one);
    }
}
