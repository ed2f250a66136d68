//! `tidemark join`

use std::path::Path;

use serde_json::json;
use tidemark_client::private;
use tidemark_client::sync::ServerUrl;
use tidemark_client::sync::join::JoinError;

use super::fatal::{EXIT_UNREACHABLE, Fatal};
use super::show;
use super::trust::TrustArgs;
use crate::station::StationError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The code: the last line that `tidemark-server station add NAME` printed, or `station rotate NAME`, which gives a
    /// station that has joined another token.
    code: String,
    /// The server's URL, instead of the one in the code: as every command has it.
    #[arg(skip)]
    pub(super) server: Option<String>,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(), Fatal> {
    let mode = private::mode_of(db);
    let mut station = trust.station(super::file::open(db)?)?;
    let before = station.store().meta()?;
    let joined = station.join(&args.code, args.server.as_deref()).map_err(|error| match error {
        StationError::Unreachable(_) | StationError::Join(JoinError::NotNow(_)) => Fatal {
            code: EXIT_UNREACHABLE,
            message: format!("{error}. The join code is still good for this station: run the same command again"),
        },
        other => other.into(),
    })?;
    let after = station.store().meta()?;
    let server = after.server.unwrap_or_default();
    if let (Some(was), Some(now)) = (mode, private::mode_of(db))
        && was != now
    {
        show::error(&format!(
            "tidemark: {} could be read by other users (mode {was:04o}); it holds the station's token now, so its mode is {now:04o}",
            db.display()
        ));
    }
    if ServerUrl::parse(&server).is_ok_and(|url| url.is_plain_remote()) {
        show::error(&format!(
            "tidemark: {server} is plain HTTP: others on the way can read what is pushed, and the token; use https://"
        ));
    }
    let pending = station.status()?.pending;
    let is_new_token = before.membership.is_some() && before.token != after.token;
    let how = if is_new_token { "has a new token at" } else { "joined" };
    if args.json {
        show::json(
            &json!({ "server": server, "station": joined.number.get(), "name": joined.name, "pending": pending }),
        );
        return Ok(());
    }
    show::line(&format!(
        "{how} {server} as station {} {:?}; {} to push",
        joined.number,
        joined.name,
        show::count(pending, "change")
    ));
    Ok(())
}
