//! `tidemark join`

use std::path::Path;

use tidemark_client::sync::ServerUrl;
use tidemark_client::sync::join::JoinError;

use super::{EXIT_UNREACHABLE, Fatal, show};
use crate::station::{Station, StationError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The join code: the last line that `tidemark-server station add NAME` printed.
    code: String,
    /// The server's URL, instead of the one in the code.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut station = Station::from(super::open(db)?);
    let joined = station.join(&args.code, args.server.as_deref()).map_err(|error| match error {
        StationError::Unreachable(message) | StationError::Join(JoinError::NotNow(message)) => Fatal {
            code: EXIT_UNREACHABLE,
            message: format!("{message}. The join code is still good for this station: run the same command again"),
        },
        other => other.into(),
    })?;
    let server = station.store().meta()?.server.unwrap_or_default();
    if ServerUrl::parse(&server).is_ok_and(|url| url.is_plain_remote()) {
        show::error(&format!(
            "tidemark: {server} is plain HTTP: others on the way can read what is pushed, and the token; use https://"
        ));
    }
    let pending = station.status()?.pending;
    show::line(&format!(
        "joined {server} as station {} {:?}; {} to push",
        joined.number,
        joined.name,
        show::count(pending, "change")
    ));
    Ok(())
}
