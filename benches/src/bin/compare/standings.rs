//! What was measured of whom, round by round.

use anyhow::{Result, ensure};
use tidemark_benches::{Watched, median};

use crate::contenders::Contender;

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The rows, or changes, that it was about.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
    /// Which program, in which version, where that is not ours or PostgreSQL.
    pub with: Option<String>,
    /// Most memory of station and server, MiB; of ours only.
    pub memory_mib: Option<(f64, f64)>,
}

impl Measured {
    /// A measurement of time alone.
    #[must_use]
    pub const fn new(rows: u64, seconds: f64) -> Self {
        Self { rows, seconds, with: None, memory_mib: None }
    }

    /// A push of ours.
    #[must_use]
    pub fn of_push(changes: u64, push: Watched) -> Self {
        Self { memory_mib: Some((push.station_mib, push.server_mib)), ..Self::new(changes, push.seconds) }
    }

    /// Rows a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.seconds
    }
}

/// The rounds of one contender.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Who.
    pub contender: Contender,
    /// Each round; `None` where it failed.
    pub rounds: Vec<Option<Measured>>,
    /// Why it failed, the last time.
    pub failed: Option<String>,
}

impl Standing {
    /// The median of what was measured, in rows a second.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let mut rates: Vec<f64> = self.measured().map(Measured::rate).collect();
        (!rates.is_empty()).then(|| median(&mut rates))
    }

    /// The rounds that did not fail.
    pub fn measured(&self) -> impl Iterator<Item = &Measured> {
        self.rounds.iter().flatten()
    }
}

/// Everybody's rounds.
#[derive(Debug, Default)]
pub struct Standings(pub Vec<Standing>);

impl Standings {
    /// Notes a round of a peer, whatever became of it, and says it on the terminal.
    pub fn note(&mut self, contender: Contender, outcome: Result<Measured>) {
        let (group, name) = (contender.group, contender.name);
        match &outcome {
            Ok(measured) => {
                println!("  {group:8} {name:36} {:>9.0} rows/s ({:.2} s)", measured.rate(), measured.seconds);
            }
            Err(error) => println!("  {group:8} {name:36} FAILED: {}", shortened(&format!("{error:#}"))),
        }
        let at = self.0.iter().position(|standing| standing.contender == contender).unwrap_or_else(|| {
            self.0.push(Standing { contender, rounds: Vec::new(), failed: None });
            self.0.len() - 1
        });
        let standing = &mut self.0[at];
        match outcome {
            Ok(measured) => standing.rounds.push(Some(measured)),
            Err(error) => {
                standing.rounds.push(None);
                standing.failed = Some(shortened(&format!("{error:#}")));
            }
        }
    }

    /// Notes a round of ours.
    ///
    /// # Errors
    /// When there was nothing to push: that ends the comparison.
    pub fn note_ours(&mut self, contender: Contender, measured: Measured) -> Result<()> {
        ensure!(measured.rows > 0, "nothing was pushed");
        self.note(contender, Ok(measured));
        Ok(())
    }

    /// How many times as fast as this one ours is: the median of the rounds' ratios, each within its round.
    #[must_use]
    pub fn ratio(&self, standing: &Standing) -> Option<f64> {
        let ours = self.0.iter().find(|ours| ours.contender.group == standing.contender.group)?;
        let pairs = ours.rounds.iter().zip(&standing.rounds);
        let mut ratios: Vec<f64> =
            pairs.filter_map(|(ours, theirs)| Some(ours.as_ref()?.rate() / theirs.as_ref()?.rate())).collect();
        (!ratios.is_empty()).then(|| median(&mut ratios))
    }
}

/// A program's last words, in one line of a table.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}
