//! `station add|list|rotate|revoke`.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use tidemark_core::ids::StationNumber;
use tidemark_core::joincode::JoinCode;

use super::{Place, checked_name, print_table, shown_ms};
use crate::clock::{Clock as _, SystemClock, random_bytes};
use crate::config::DEFAULT_LISTEN;
use crate::lines::{LineSummary, ReplacementOutcome};
use crate::stations::{NewStation, RotateOutcome, secret_hash};

/// Longest public URL, in bytes.
const URL_BYTES_MAX: usize = 1000;

#[derive(Subcommand)]
pub(super) enum StationCommand {
    /// Invite a station: prints its join code, alone on the last line.
    Add(AddArgs),
    /// Every station, how far it is and how many of its changes were rejected.
    List(Place),
    /// Take a station's token away and give it another one, for a token that others may know, or after `revoke`: prints a code, alone on the
    /// last line. The station goes on under its number, with its log.
    Rotate(RotateArgs),
    /// Take a station's access away; its rows stay.
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub(super) struct AddArgs {
    /// A name for people; each only once.
    name: String,
    /// The file of this station, whose history parted from the one here, is to go on under the new name: with the code it rejoins, owns the
    /// rows the old station wrote, and the old station ends.
    #[arg(long, value_name = "OLD")]
    replaces: Option<String>,
    #[command(flatten)]
    code: CodeArgs,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct RotateArgs {
    /// The station's name.
    name: String,
    #[command(flatten)]
    code: CodeArgs,
    #[command(flatten)]
    place: Place,
}

/// What a code says, and how long.
#[derive(Args)]
struct CodeArgs {
    /// The URL under which the station reaches this server.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// How long the code can be used: 30m, 24h, 7d, or seconds.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    expires: String,
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    /// The station's name.
    name: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(command: StationCommand) -> anyhow::Result<()> {
    match command {
        StationCommand::Add(args) => add(&args).await,
        StationCommand::List(place) => list(&place).await,
        StationCommand::Rotate(args) => rotate(&args).await,
        StationCommand::Revoke(args) => revoke(&args).await,
    }
}

/// A time span in milliseconds: `7d`, `24h`, `30m`, `10s`, or a bare number of seconds.
pub(super) fn span_ms(text: &str) -> Option<i64> {
    let (digits, unit_ms) = match text.char_indices().last()? {
        (at, 'd') => (&text[..at], 86_400_000),
        (at, 'h') => (&text[..at], 3_600_000),
        (at, 'm') => (&text[..at], 60_000),
        (at, 's') => (&text[..at], 1000),
        _ => (text, 1000),
    };
    let number: u32 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    i64::from(number).checked_mul(unit_ms)
}

/// A code that was not given out yet.
struct FreshCode {
    /// What the database is told.
    station: NewStation,
    /// What the station is told.
    code: JoinCode,
}

impl CodeArgs {
    /// Makes a code for a station.
    ///
    /// # Errors
    /// A time or URL that is none; no random bytes.
    fn make(&self, name: &str) -> anyhow::Result<FreshCode> {
        let Some(expires_ms) = span_ms(&self.expires) else {
            bail!("--expires {:?} is not a time: write 30m, 24h or 7d", self.expires);
        };
        let default = format!("http://{DEFAULT_LISTEN}");
        let url = self.public_url.as_deref().unwrap_or(&default).trim_end_matches('/');
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if rest.is_none_or(str::is_empty) || url.len() > URL_BYTES_MAX {
            bail!("--public-url {url:?} is not one: write http://host:port or https://host");
        }
        let secret = random_bytes::<32>().context("the operating system gives no random bytes")?;
        let now_ms = SystemClock.now_ms();
        let station = NewStation {
            name: name.to_owned(),
            code_hash: secret_hash(&secret),
            code_expires_at_ms: now_ms.saturating_add(expires_ms),
            now_ms,
        };
        Ok(FreshCode { station, code: JoinCode { url: url.to_owned(), secret } })
    }
}

async fn add(args: &AddArgs) -> anyhow::Result<()> {
    let name = checked_name("station", &args.name)?;
    let FreshCode { station, code } = args.code.make(name)?;
    let url = &code.url;
    let upstream = args.place.upstream().await?;
    let taken = || format!("there is a station {name:?} already; `tidemark-server station list` shows all");
    let until = shown_ms(Some(station.code_expires_at_ms));
    if let Some(old) = args.replaces.as_deref() {
        match upstream.add_replacement(&station, old).await? {
            ReplacementOutcome::Added => {}
            ReplacementOutcome::NameTaken => bail!(taken()),
            ReplacementOutcome::NoSuchStation => {
                bail!("there is no station {old:?} that has joined; `tidemark-server station list` shows all")
            }
            ReplacementOutcome::Gone => bail!(
                "station {old:?} was replaced already. A further copy of its file may go on beside the new one: \
                 `tidemark-server station add NAME`, without --replaces"
            ),
        }
        say!("station {name:?} may replace {old:?} at {url} until {until} UTC; {old:?} is revoked when it does.");
        say!("The code works once. On the station: tidemark rejoin CODE (or: tidemark rejoin CODE --server URL)");
    } else {
        if !upstream.add_station(&station).await? {
            bail!(taken());
        }
        say!("station {name:?} may join {url} until {until} UTC.");
        say!("The code works once. On the station: tidemark join CODE (or: tidemark join CODE --server URL)");
    }
    say!("{}", code.encode());
    Ok(())
}

async fn rotate(args: &RotateArgs) -> anyhow::Result<()> {
    let FreshCode { station, code } = args.code.make(&args.name)?;
    let upstream = args.place.upstream().await?;
    let (name, url, until) = (&args.name, &code.url, shown_ms(Some(station.code_expires_at_ms)));
    match upstream.rotate_station(&station).await? {
        RotateOutcome::Rotated(number) => {
            say!(
                "the token of station {number} {name:?} has ended; it may take another one at {url} until {until} UTC."
            );
            say!("The code works once. On the station: tidemark join CODE (or: tidemark join CODE --server URL)");
        }
        RotateOutcome::Invited => {
            say!(
                "station {name:?} has not joined yet; it may do so at {url} until {until} UTC. Its former code has ended."
            );
            say!("The code works once. On the station: tidemark join CODE (or: tidemark join CODE --server URL)");
        }
        RotateOutcome::NoSuchStation => {
            bail!("there is no station {name:?}; `tidemark-server station list` shows all")
        }
        RotateOutcome::Replaced(successor) => bail!(
            "station {name:?} was replaced by station {successor} and has ended for good. A further copy of its file may go on beside that one: \
             `tidemark-server station add NAME`, then `tidemark rejoin CODE` there"
        ),
    }
    say!("{}", code.encode());
    Ok(())
}

async fn list(place: &Place) -> anyhow::Result<()> {
    let now_ms = SystemClock.now_ms();
    let upstream = place.upstream().await?;
    let lines: HashMap<StationNumber, LineSummary> =
        upstream.lines().await?.into_iter().map(|line| (line.station, line)).collect();
    let stations = upstream.stations().await?;
    let rows: Vec<Vec<String>> =
        stations
            .into_iter()
            .map(|station| {
                let record = station.record;
                let line = record.number.and_then(|number| lines.get(&number));
                let former = line.and_then(|line| line.former);
                let fork = line.and_then(|line| line.fork);
                let state =
                    match (record.revoked_at_ms, record.number) {
                        (Some(_), _) => "revoked",
                        (None, Some(_)) if record.token_ended_at_ms.is_some() => {
                            if record.code_expires_at_ms <= now_ms { "rotated, code expired" } else { "rotated" }
                        }
                        (None, Some(_)) => "joined",
                        (None, None) if record.code_expires_at_ms <= now_ms => "code expired",
                        (None, None) => "invited",
                    };
                vec![
                    record.name,
                    record.number.map_or_else(|| "-".to_owned(), |number| number.to_string()),
                    state.to_owned(),
                    station.tidemark.to_string(),
                    station.rejects.to_string(),
                    shown_ms(station.updated_at_ms),
                    former.map_or_else(
                        || "-".to_owned(),
                        |former| format!("{}{}", former.number, if former.owned { ", replaced" } else { "" }),
                    ),
                    fork.map_or_else(
                        || "-".to_owned(),
                        |fork| format!("{} at change {}", shown_ms(Some(fork.seen_at_ms)), fork.seq),
                    ),
                ]
            })
            .collect();
    print_table(
        &["name", "number", "state", "tidemark", "rejects", "last push (UTC)", "rejoined from", "last fork (UTC)"],
        &rows,
    );
    Ok(())
}

async fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let upstream = args.place.upstream().await?;
    if !upstream.revoke_station(&args.name, SystemClock.now_ms()).await? {
        bail!("there is no station {:?}; `tidemark-server station list` shows all", args.name);
    }
    say!("station {:?} is revoked; its rows stay", args.name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::span_ms;

    #[test]
    fn time_spans_have_units() {
        assert_eq!(span_ms("7d"), Some(604_800_000));
        assert_eq!(span_ms("24h"), Some(86_400_000));
        assert_eq!(span_ms("1s"), Some(1000));
        assert_eq!(span_ms("90"), Some(90_000));
        for bad in ["", "d", "-1d", "+1d", "1w", "1.5h", "99999999999d"] {
            assert_eq!(span_ms(bad), None, "{bad}");
        }
    }
}
