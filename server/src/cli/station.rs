//! `station add|list|show|rename|rotate|revoke`.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use tidemark_core::joincode::Pin;
use tidemark_core::url::ServerUrl;

use super::invitation::{Invitation, Purpose};
use super::listed::{ShowArgs, list, show};
use super::place::{Look, Place, checked_name};
use super::span::span_ms;
use super::terminal::complain;
use crate::clock::{Clock as _, SystemClock};
use crate::config::DEFAULT_LISTEN;
use crate::fleet::acts::{COMMAND_LINE, RenameOutcome};
use crate::fleet::invitation::{FreshCode, NoCode};
use crate::rejoin::ReplacementOutcome;
use crate::stations::RotateOutcome;
use crate::tls::pin_of_file;

#[derive(Subcommand)]
pub(super) enum StationCommand {
    /// Invite a station: prints its join code, alone on the last line; before it, as a link and a QR code for the
    /// field notebook.
    Add(AddArgs),
    /// Every station, how far it is and how many of its changes were rejected.
    List(Look),
    /// One station, with what it last said of itself.
    Show(ShowArgs),
    /// Give a station another name; its number, log and token stay.
    Rename(RenameArgs),
    /// Take a station's token away and give it another one, for a token that others may know, or after `revoke`:
    /// prints a code, alone on the last line. The station goes on under its number, with its log.
    Rotate(RotateArgs),
    /// Take a station's access away; its rows stay.
    Revoke(RevokeArgs),
}

#[derive(Args)]
pub(super) struct AddArgs {
    /// A name for people; each only once.
    name: String,
    /// The file of this station, whose history parted from the one here, is to go on under the new name: with the
    /// code it rejoins, owns the rows the old station wrote, and the old station ends.
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

/// The contents of a code, and its life.
#[derive(Args)]
struct CodeArgs {
    /// The URL under which the station reaches this server; without it, the code is of use on this machine only.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The certificate that the station is to know this server by, where no public authority vouches for it: that of
    /// the authority which signed the server's certificate (its names are checked), or the server's own (nothing else
    /// is then), PEM. The code carries its pin, so that the station needs no file.
    #[arg(long, env = "TIDEMARK_SERVER_CA", value_name = "FILE")]
    server_ca: Option<PathBuf>,
    /// How long the code can be used: 30m, 24h, 7d, or seconds.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    expires: String,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RenameArgs {
    /// The station's name.
    name: String,
    /// The new one; each only once. The station's own file goes on with the old one.
    to: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct RevokeArgs {
    /// The station's name.
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Runs `station`; `ca_typed`: `--server-ca` was typed, and is not that of the server's settings.
pub(super) async fn run(command: StationCommand, ca_typed: bool) -> anyhow::Result<()> {
    match command {
        StationCommand::Add(args) => add(&args, ca_typed).await,
        StationCommand::List(look) => list(&look).await,
        StationCommand::Show(args) => show(&args).await,
        StationCommand::Rename(args) => rename(&args).await,
        StationCommand::Rotate(args) => rotate(&args, ca_typed).await,
        StationCommand::Revoke(args) => revoke(&args).await,
    }
}

impl CodeArgs {
    /// Makes a code for a station.
    ///
    /// # Errors
    /// A time or URL that is none; no random bytes.
    fn make(&self, name: &str, ca_typed: bool) -> anyhow::Result<FreshCode> {
        let Some(expires_ms) = span_ms(&self.expires) else {
            bail!("--expires {:?} is not a time: write 30m, 24h or 7d", self.expires);
        };
        let default = format!("http://{DEFAULT_LISTEN}");
        let url = self.public_url.as_deref().unwrap_or(&default);
        let mut fresh = FreshCode::make(name, url, expires_ms, SystemClock.now_ms()).map_err(|error| match error {
            NoCode::Url(error) => anyhow!("--public-url: {error}"),
            NoCode::Entropy => anyhow!(error),
        })?;
        fresh.code.pin = self.pin(&fresh.code.url, ca_typed)?;
        warn_about(&fresh.code.url, self.public_url.is_some());
        Ok(fresh)
    }
}

impl CodeArgs {
    /// The pin that the code carries. One for plain HTTP carries none, although the server's settings name a file.
    ///
    /// # Errors
    /// Where the file has no certificate, or several, or was typed beside a URL that is none for it.
    fn pin(&self, url: &str, ca_typed: bool) -> anyhow::Result<Option<Pin>> {
        let Some(file) = &self.server_ca else { return Ok(None) };
        if !url.starts_with("https://") {
            if !ca_typed {
                return Ok(None);
            }
            bail!("--server-ca is for https: give --public-url https://… under which the station reaches this server");
        }
        Ok(Some(pin_of_file(file).context("--server-ca")?))
    }
}

async fn add(args: &AddArgs, ca_typed: bool) -> anyhow::Result<()> {
    let name = checked_name("a station", &args.name)?;
    let FreshCode { station, code } = args.code.make(name, ca_typed)?;
    let upstream = args.place.upstream().await?;
    let taken = || format!("there is a station {name:?} already; `tidemark-server station list` shows all");
    let purpose = if let Some(old) = args.replaces.as_deref() {
        match upstream.invite_replacement(&station, old, COMMAND_LINE).await? {
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
        Purpose::Replace(old)
    } else {
        if !upstream.invite_station(&station, COMMAND_LINE).await? {
            bail!(taken());
        }
        Purpose::Join
    };
    Invitation { name, purpose, code, expires_at_ms: station.code_expires_at_ms }.show(args.code.json)
}

/// Says, beside the code, for whom its URL is of no use.
fn warn_about(url: &str, named: bool) {
    if !named {
        complain(&format!(
            "the code names {url}, which only programs on this machine reach. For a station elsewhere: --public-url URL, the address \
             under which it reaches this server (or there: tidemark join CODE --server URL)"
        ));
    } else if ServerUrl::parse(url).is_ok_and(|url| url.is_plain_remote()) {
        complain(&format!(
            "{url} is plain HTTP: others on the way can read what is pushed, and browsers keep the field notebook's data only for \
             pages from https"
        ));
    }
}

async fn rotate(args: &RotateArgs, ca_typed: bool) -> anyhow::Result<()> {
    let FreshCode { station, code } = args.code.make(&args.name, ca_typed)?;
    let upstream = args.place.upstream().await?;
    let name = args.name.as_str();
    let purpose = match upstream.rotate_station_by(&station, COMMAND_LINE).await? {
        RotateOutcome::Rotated(number) => Purpose::Rotate(number.get()),
        RotateOutcome::Invited => Purpose::JoinAfterAll,
        RotateOutcome::NoSuchStation => {
            bail!("there is no station {name:?}; `tidemark-server station list` shows all")
        }
        RotateOutcome::Replaced(successor) => bail!(
            "station {name:?} was replaced by station {successor} and has ended for good. A further copy of its file may go on beside that one: \
             `tidemark-server station add NAME`, then `tidemark rejoin CODE` there"
        ),
    };
    Invitation { name, purpose, code, expires_at_ms: station.code_expires_at_ms }.show(args.code.json)
}

async fn rename(args: &RenameArgs) -> anyhow::Result<()> {
    let to = checked_name("a station", &args.to)?;
    let upstream = args.place.upstream().await?;
    match upstream.rename_station(&args.name, to, COMMAND_LINE, SystemClock.now_ms()).await? {
        RenameOutcome::Renamed => say!("station {:?} is {to:?} from now on", args.name),
        RenameOutcome::NoSuchStation => {
            bail!("there is no station {:?}; `tidemark-server station list` shows all", args.name)
        }
        RenameOutcome::NameTaken => {
            bail!("there is a station {to:?} already; `tidemark-server station list` shows all")
        }
    }
    Ok(())
}

async fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let upstream = args.place.upstream().await?;
    if !upstream.revoke_station_by(&args.name, COMMAND_LINE, SystemClock.now_ms()).await? {
        bail!("there is no station {:?}; `tidemark-server station list` shows all", args.name);
    }
    say!("station {:?} is revoked; its rows stay", args.name);
    Ok(())
}
