//! The choice of rejects that a command is about.

use anyhow::bail;
use clap::Args;
use tidemark_core::ids::StationNumber;
use tidemark_core::reject::RejectCode;

use crate::ledger::rejects::{RejectFilter, RejectState};
use crate::stations::StationRecord;
use crate::upstream::Upstream;

/// One state, or (`None`) all.
#[derive(Debug, Clone, Copy)]
pub(super) struct StateChoice(pub(super) Option<RejectState>);

/// Reads a state from the command line.
pub(super) fn state(text: &str) -> Result<StateChoice, String> {
    if text == "all" {
        return Ok(StateChoice(None));
    }
    let states: Vec<&str> = RejectState::ALL.iter().map(|state| state.as_str()).collect();
    RejectState::from_text(text)
        .map(|state| StateChoice(Some(state)))
        .ok_or_else(|| format!("there are {} and all", states.join(", ")))
}

/// Reads a code from the command line.
fn code(text: &str) -> Result<String, String> {
    let codes: Vec<&str> = RejectCode::ALL.iter().map(|code| code.as_str()).collect();
    if codes.contains(&text) { Ok(text.to_owned()) } else { Err(format!("there are {}", codes.join(", "))) }
}

/// Restrictions that most commands know.
#[derive(Args)]
pub(super) struct Only {
    /// Only those of this station: its number or its name.
    #[arg(long, value_name = "STATION")]
    station: Option<String>,
    /// Only those with this code.
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Option<String>,
}

impl Only {
    pub(super) async fn filter(&self, upstream: &dyn Upstream) -> anyhow::Result<RejectFilter> {
        let station = match &self.station {
            Some(station) => Some(parse_station(upstream, station).await?),
            None => None,
        };
        Ok(RejectFilter { station, code: self.code.clone(), ..RejectFilter::default() })
    }
}

/// Changes of one station by their numbers, or all that restrictions leave.
#[derive(Args)]
pub(super) struct Chosen {
    /// The station (its number or its name), then the numbers of changes in its log.
    #[arg(value_name = "STATION SEQ", conflicts_with_all = ["all", "station", "code"], required_unless_present = "all", num_args = 2..)]
    changes: Vec<String>,
    /// All open ones.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    only: Only,
}

impl Chosen {
    pub(super) async fn filter(&self, upstream: &dyn Upstream) -> anyhow::Result<RejectFilter> {
        let Some((station, seqs)) = self.changes.split_first() else {
            return self.only.filter(upstream).await;
        };
        let mut numbers = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let Ok(number) = seq.parse() else { bail!("{seq:?} is not the number of a change") };
            numbers.push(number);
        }
        let station = Some(parse_station(upstream, station).await?);
        Ok(RejectFilter { station, seqs: Some(numbers), ..RejectFilter::default() })
    }
}

/// The station of a number or name.
pub(super) async fn parse_station(upstream: &dyn Upstream, text: &str) -> anyhow::Result<StationNumber> {
    let stations = upstream.stations().await?;
    let number = text.parse().ok().and_then(|number| StationNumber::new(number).ok());
    let is_meant = |record: &&StationRecord| record.name == text || (number.is_some() && record.number == number);
    let meant: Vec<&StationRecord> = stations.iter().map(|station| &station.record).filter(is_meant).collect();
    match meant[..] {
        [_, _, ..] => bail!(
            "{text} is the number of one station and the name of another: `tidemark-server station rename` gives that one \
             another name"
        ),
        [StationRecord { number: Some(number), .. }] => Ok(*number),
        _ => bail!("no station {text:?} has joined; `tidemark-server station list` shows all"),
    }
}
