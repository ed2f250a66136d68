//! `station list|show`: what is known of stations, in words. Times are the server's unless they say otherwise.

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use tidemark_core::amount;
use tidemark_core::ids::StationNumber;
use tidemark_core::printable::one_line;

use super::place::{Look, Place};
use super::terminal::{print_json, print_table, shown_ms};
use crate::clock::{Clock as _, SystemClock};
use crate::fleet::state::State;
use crate::fleet::view::{self, Station};

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The station: its number or its name.
    station: String,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// A station as programs and people see it.
#[derive(Serialize)]
struct Listed {
    name: String,
    number: Option<u32>,
    /// How it fares, as everywhere: active, silent, forked, revoked, invited.
    state: State,
    /// What its code and its token are: invited, joined, rotated, revoked.
    access: &'static str,
    tidemark: u64,
    rejects_open: u64,
    last_push_ms: Option<i64>,
    last_contact_ms: Option<i64>,
    pending: Option<u64>,
    oldest_ms: Option<i64>,
    clock_offset_ms: Option<i64>,
    client_version: Option<String>,
    schema_version: Option<u32>,
    free_disk_bytes: Option<u64>,
    reported_at_ms: Option<i64>,
    rejoined_from: Option<u32>,
    /// It owns the rows of the number it rejoined from.
    replaced: bool,
    last_fork_ms: Option<i64>,
    last_fork_seq: Option<u64>,
}

fn or_dash(shown: Option<String>) -> String {
    shown.unwrap_or_else(|| "-".to_owned())
}

impl Listed {
    fn new(station: Station, now_ms: i64) -> Self {
        let has_expired = station.code_expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        Self {
            access: match (station.revoked_at_ms, station.number) {
                (Some(_), _) => "revoked",
                (None, Some(_)) if station.token_ended && has_expired => "rotated, code expired",
                (None, Some(_)) if station.token_ended => "rotated",
                (None, Some(_)) => "joined",
                (None, None) if has_expired => "code expired",
                (None, None) => "invited",
            },
            state: station.state,
            name: station.name,
            number: station.number.map(StationNumber::get),
            tidemark: station.tidemark,
            rejects_open: station.rejects_open,
            last_push_ms: station.last_push_ms,
            last_contact_ms: station.last_contact_ms,
            pending: station.pending,
            oldest_ms: station.oldest_ms,
            clock_offset_ms: station.clock_offset_ms,
            client_version: station.client_version,
            schema_version: station.schema_version,
            free_disk_bytes: station.free_disk_bytes,
            reported_at_ms: station.reported_at_ms,
            rejoined_from: station.rejoined_from.map(StationNumber::get),
            replaced: station.replaced,
            last_fork_ms: station.last_fork_ms,
            last_fork_seq: station.last_fork_seq,
        }
    }

    /// What its access is, and what is out of the ordinary.
    fn state(&self) -> String {
        match self.state {
            State::Silent | State::Forked => format!("{}, {}", self.access, self.state.as_str()),
            State::Active | State::Revoked | State::Invited => self.access.to_owned(),
        }
    }

    fn last_push(&self) -> String {
        if self.number.is_some() && self.last_push_ms.is_none() {
            "never".to_owned()
        } else {
            shown_ms(self.last_push_ms)
        }
    }

    fn rejoined_from(&self) -> Option<String> {
        let replaced = if self.replaced { ", replaced" } else { "" };
        self.rejoined_from.map(|number| format!("{number}{replaced}"))
    }

    fn last_fork(&self) -> Option<String> {
        self.last_fork_seq.map(|seq| format!("{} at change {seq}", shown_ms(self.last_fork_ms)))
    }

    fn cells(self) -> Vec<String> {
        let cells = [
            or_dash(self.number.map(|number| number.to_string())),
            self.state(),
            self.tidemark.to_string(),
            self.rejects_open.to_string(),
            or_dash(self.pending.map(|pending| pending.to_string())),
            shown_ms(self.last_contact_ms),
            self.last_push(),
            or_dash(self.rejoined_from()),
            or_dash(self.last_fork()),
        ];
        std::iter::once(self.name).chain(cells).collect()
    }

    /// Prints everything, a line for each.
    fn show(&self) {
        let line = |name: &str, value: &str| say!("{name:<15}{}", one_line(value));
        line("station", &self.name);
        line("number", &or_dash(self.number.map(|number| number.to_string())));
        line("state", &self.state());
        line("tidemark", &format!("change {}", self.tidemark));
        line("rejects open", &self.rejects_open.to_string());
        line("last contact", &shown_ms(self.last_contact_ms));
        line("last push", &self.last_push());
        line("rejoined from", &or_dash(self.rejoined_from()));
        line("last fork", &or_dash(self.last_fork()));
        let Some(reported_at_ms) = self.reported_at_ms else {
            line("report", "none yet: it has not been in contact since, or its program is older than reports");
            return;
        };
        line("report", &format!("{} UTC, as the station said:", shown_ms(Some(reported_at_ms))));
        line("  pending", &or_dash(self.pending.map(|pending| amount::count(pending, "change"))));
        line("  oldest", &or_dash(self.oldest_ms.map(|ms| format!("{} by the station's clock", shown_ms(Some(ms))))));
        line("  clock", &or_dash(self.clock_offset_ms.map(clock)));
        line("  free disk", &or_dash(self.free_disk_bytes.map(amount::bytes)));
        line("  program", &or_dash(self.client_version.clone()));
        line("  schema", &or_dash(self.schema_version.map(|version| format!("version {version}"))));
    }
}

/// The clock of a station whose offset this is.
fn clock(offset_ms: i64) -> String {
    let seconds = offset_ms.unsigned_abs() as f64 / 1_000.0;
    match offset_ms {
        -1_000..=1_000 => "right, within a second".to_owned(),
        ..-1_000 => format!("{seconds:.1} s fast"),
        _ => format!("{seconds:.1} s slow"),
    }
}

pub(super) async fn list(look: &Look) -> anyhow::Result<()> {
    let now_ms = SystemClock.now_ms();
    let upstream = look.place.upstream().await?;
    let mut stations = view::stations(upstream.as_ref(), None, now_ms).await?;
    stations.sort_by(|a, b| a.name.cmp(&b.name));
    let listed = stations.into_iter().map(|station| Listed::new(station, now_ms));
    if look.json {
        return listed.into_iter().try_for_each(|station| print_json(&station));
    }
    print_table(
        &[
            "name",
            "number",
            "state",
            "tidemark",
            "rejects",
            "pending",
            "last contact (UTC)",
            "last push (UTC)",
            "rejoined from",
            "last fork (UTC)",
        ],
        &listed.map(Listed::cells).collect::<Vec<_>>(),
    );
    Ok(())
}

pub(super) async fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let now_ms = SystemClock.now_ms();
    let upstream = args.place.upstream().await?;
    let stations = view::stations(upstream.as_ref(), None, now_ms).await?;
    let number = args.station.parse().ok().and_then(|number| StationNumber::new(number).ok());
    let of_number = stations.iter().find(|station| number.is_some() && station.number == number);
    let found = of_number.or_else(|| stations.iter().find(|station| station.name == args.station));
    let Some(station) = found else {
        bail!("there is no station {:?}; `tidemark-server station list` shows all", args.station);
    };
    let listed = Listed::new(station.clone(), now_ms);
    if args.json {
        return print_json(&listed);
    }
    listed.show();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_fast_or_slow() {
        assert_eq!(clock(400), "right, within a second");
        assert_eq!(clock(-90_000), "90.0 s fast");
        assert_eq!(clock(3_600_000), "3600.0 s slow");
    }
}
