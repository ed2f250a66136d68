//! What an attack did, as a line of a table, and what must not be.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::good::{Lived, quantile};
use super::peer::{End, Fate};
use super::watch::{Answered, Meter};

/// The share of their rate that good stations should keep.
pub const KEPT_GOAL: f64 = 0.8;
/// How soon `/healthz` and `/readyz` should answer.
pub const HEALTH_GOAL: Duration = Duration::from_secs(1);

/// What is not worth a line.
const DRAINED_SHOWN: Duration = Duration::from_secs(2);

/// The peers of one attack.
#[derive(Debug, Clone)]
pub struct Peers {
    /// The attack's name.
    pub name: &'static str,
    /// Where they came from.
    pub source: String,
    /// How long a connection may be there at most.
    pub cut_within: Option<Duration>,
    /// What became of their connections.
    pub fates: Vec<Fate>,
    /// How often which status was answered to whole requests.
    pub answers: BTreeMap<Option<u16>, u64>,
    /// Why a station that may push could not.
    pub failure: Option<String>,
}

/// What happened while one attack went on, or several together.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How long it was.
    pub took: Duration,
    /// What the good stations lived through.
    pub good: Lived,
    /// What they did when nobody attacked.
    pub calm_rows_per_s: f64,
    /// How `/healthz` answered.
    pub health: Answered,
    /// How `/readyz` answered.
    pub ready: Answered,
    /// What the server took.
    pub meter: Meter,
    /// How many lines it wrote to its log.
    pub log_lines: usize,
    /// How long after the attack the last batch waited that a good station had begun before its end.
    pub settled: Duration,
    /// How long after it the stations had what they waited for that take part in it.
    pub drained: Duration,
    /// The peers, by attack.
    pub peers: Vec<Peers>,
}

/// The head of the table.
pub const HEAD: &str = "\
attack         kept  push p50    p95     max  healthz  readyz   RSS MiB  peak  files  TCP MiB  log lines  after
               goal 80 %                      slowest  slowest  before                          written    calm";

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

fn answered(answered: &Answered) -> String {
    if answered.silent > 0 { format!("{}/{}!", answered.silent, answered.asked) } else { seconds(answered.slowest) }
}

const fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

impl Outcome {
    /// The share of their rate that good stations kept.
    #[must_use]
    pub fn kept(&self) -> f64 {
        self.good.rows_per_s / self.calm_rows_per_s.max(f64::MIN_POSITIVE)
    }

    /// What must not be: each with the attack's name.
    #[must_use]
    pub fn faults(&self, rss_max: u64) -> Vec<String> {
        let mut faults = Vec::new();
        for (path, answered) in [("/healthz", &self.health), ("/readyz", &self.ready)] {
            if answered.silent > 0 {
                let Answered { asked, silent, slowest, .. } = answered;
                faults.push(format!("{path}: {silent} of {asked} questions without an answer, slowest {slowest:.1?}"));
            }
        }
        if self.health.unwell > 0 {
            faults.push(format!("/healthz: {} answers other than 200", self.health.unwell));
        }
        if self.meter.rss_peak > rss_max {
            faults.push(format!("{} MiB of memory, {} are allowed", mib(self.meter.rss_peak), mib(rss_max)));
        }
        let name = self.peers.iter().map(|peers| peers.name).collect::<Vec<_>>().join("+");
        let mut faults: Vec<String> = faults.into_iter().map(|fault| format!("{name}: {fault}")).collect();
        for peers in &self.peers {
            let longest = peers.fates.iter().map(|fate| fate.lived).max().unwrap_or_default();
            if let Some(bound) = peers.cut_within.filter(|bound| longest > *bound) {
                faults.push(format!("{}: a peer was there for {longest:.1?}, {bound:.0?} are allowed", peers.name));
            }
            if let Some(failure) = &peers.failure {
                faults.push(format!("{}: {failure}", peers.name));
            }
        }
        faults
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if let [only] = self.peers.as_slice() { only.name } else { "together" };
        let Meter { rss_before, rss_peak, descriptors_peak, kernel_peak, .. } = self.meter;
        write!(
            f,
            "{name:<14} {:>4.0}% {:>8} {:>6} {:>7} {:>8} {:>8} {:>9} {:>5} {:>6} {:>8} {:>10} {:>6}",
            self.kept() * 100.0,
            seconds(self.good.quantile(0.5)),
            seconds(self.good.quantile(0.95)),
            seconds(self.good.quantile(1.0)),
            answered(&self.health),
            answered(&self.ready),
            mib(rss_before),
            mib(rss_peak),
            descriptors_peak,
            mib(kernel_peak),
            self.log_lines,
            seconds(self.settled),
        )?;
        if self.good.repeated > 0 {
            write!(f, "\n    good stations repeated {} requests", self.good.repeated)?;
        }
        if self.drained > DRAINED_SHOWN {
            write!(f, "\n    stations that take part in it had drained {} s after", seconds(self.drained))?;
        }
        if self.ready.unwell > 0 {
            write!(f, "\n    /readyz was not ready {} of {} times", self.ready.unwell, self.ready.asked)?;
        }
        for peers in &self.peers {
            write!(f, "{peers}")?;
            if let Some(bound) = peers.cut_within.filter(|bound| self.took <= *bound) {
                write!(f, "\n    {}: too short to see whether a peer is there for more than {bound:.0?}", peers.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |wanted: fn(&End) -> bool| {
            let mut lived: Vec<Duration> =
                self.fates.iter().filter(|fate| wanted(&fate.end)).map(|fate| fate.lived).collect();
            lived.sort_unstable();
            lived
        };
        let (cut, held) = (of(|end| matches!(end, End::Cut(_))), of(|end| *end == End::Held));
        let refused = of(|end| *end == End::Refused).len();
        let mut statuses: BTreeMap<Option<u16>, u64> = self.answers.clone();
        for fate in &self.fates {
            if let End::Cut(Some(status)) = fate.end {
                *statuses.entry(Some(status)).or_default() += 1;
            }
        }
        let mut line = String::new();
        if !self.fates.is_empty() {
            write!(line, " cut {}", cut.len())?;
            if !cut.is_empty() {
                let at = |share| seconds(quantile(&cut, share));
                write!(line, " after {} / {} / {} s (first, median, last)", at(0.0), at(0.5), at(1.0))?;
            }
            if let Some(longest) = held.last() {
                write!(line, "; {} still there, the oldest {} s", held.len(), seconds(*longest))?;
            }
            if refused > 0 {
                write!(line, "; {refused} not let in")?;
            }
        }
        if !statuses.is_empty() {
            let shown = statuses.iter().map(|(status, count)| match status {
                Some(status) => format!("{status} × {count}"),
                None => format!("no answer × {count}"),
            });
            write!(line, "; answers: {}", shown.collect::<Vec<_>>().join(", "))?;
        }
        if !line.is_empty() {
            let line = line.trim_start_matches("; ").trim_start();
            write!(f, "\n    {} from {} address: {line}", self.name, self.source)?;
        }
        Ok(())
    }
}
