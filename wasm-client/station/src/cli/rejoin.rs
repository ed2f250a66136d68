//! `tidemark rejoin`

use std::path::Path;

use serde_json::json;
use tidemark_client::sync::join::JoinError;
use tidemark_client::sync::rejoin::{Manner, RejoinError};

use super::fatal::{EXIT_UNREACHABLE, Fatal};
use super::show;
use super::trust::TrustArgs;
use crate::station::StationError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The code: the last line that `tidemark-server station add NAME [--replaces OLD]` printed.
    code: String,
    /// The server's URL, instead of the one in the code: as every command has it.
    #[arg(skip)]
    pub(super) server: Option<String>,
    /// Go on under a new number although server and file agree: for a copy of a file whose original keeps the number
    /// and has pushed all it had when the copy was made.
    #[arg(long)]
    force: bool,
    /// Send every row again, as a station the server has never seen: for a server that does not know this file, because
    /// its database was put back to a backup from before the file joined.
    #[arg(long, conflicts_with = "force")]
    anew: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args, trust: &TrustArgs) -> Result<(), Fatal> {
    let mut station = trust.station(super::file::open_whole(db)?)?;
    let manner = match (args.force, args.anew) {
        (true, _) => Manner::Forced,
        (_, true) => Manner::Anew,
        _ => Manner::Forked,
    };
    let rejoined = station.rejoin(&args.code, args.server.as_deref(), manner).map_err(|error| match error {
        StationError::Unreachable(_) | StationError::Rejoin(RejoinError::Join(JoinError::NotNow(_))) => Fatal {
            code: EXIT_UNREACHABLE,
            message: format!("{error}. The code is still good for this file: run the same command again"),
        },
        other => other.into(),
    })?;
    let (new, old) = (&rejoined.membership, &rejoined.former);
    if args.json {
        show::json(&json!({
            "station": new.number.get(),
            "name": new.name,
            "was_station": old.number.get(),
            "was_name": old.name,
            "pending": rejoined.pending,
            "from_rows": rejoined.from_rows,
        }));
        return Ok(());
    }
    show::line(&format!(
        "this file is station {} {:?} now, and was {} {:?}; {} to push",
        new.number,
        new.name,
        old.number,
        old.name,
        show::count(rejoined.pending, "change")
    ));
    if rejoined.from_rows {
        show::line(
            "The log was not whole, so every row is sent as it is. Rows whose delete was not in the log any more are still upstream: \
             compare both sides once everything is pushed",
        );
    }
    Ok(())
}
