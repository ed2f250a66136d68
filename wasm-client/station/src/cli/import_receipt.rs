//! `tidemark import-receipt`

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde_json::json;
use tidemark_client::bundle::{self, Receipted};

use super::fatal::Fatal;
use super::show;
use crate::clock::now_ms;
use crate::station::StationError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The receipt that `tidemark-server import` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let mut store = super::file::open(db)?;
    let shown = args.file.display();
    let receipt =
        File::open(&args.file).map_err(|error| Fatal::new(format!("{shown}: cannot open the receipt: {error}")))?;
    let taken = bundle::import_receipt(&mut store, now_ms(), BufReader::new(receipt));
    let taken = taken.map_err(|error| Fatal::new(format!("{shown}: {}", StationError::from(error))))?;
    if args.json {
        let (tidemark, changes, rejected) = match taken {
            Receipted::Acked { tidemark, changes, rejected_here, rejected_by_server } => {
                (tidemark, changes, rejected_here + rejected_by_server)
            }
            Receipted::Stale { tidemark, .. } => (tidemark, 0, 0),
        };
        let pending = store.status()?.pending;
        show::json(&json!({ "tidemark": tidemark, "changes": changes, "rejected": rejected, "pending": pending }));
        return Ok(());
    }
    match taken {
        Receipted::Acked { tidemark, changes, rejected_here, rejected_by_server } => {
            let rejected = match rejected_here + rejected_by_server {
                0 => String::new(),
                count => format!(", {count} of them rejected (`tidemark rejects` shows them)"),
            };
            show::line(&format!(
                "{} upstream{rejected}; tidemark {tidemark}, {} pending",
                show::count(changes, "change"),
                store.status()?.pending
            ));
        }
        Receipted::Stale { last_seq, tidemark } => show::line(&format!(
            "nothing new: the receipt confirms changes up to {last_seq}, and the tidemark is {tidemark} already"
        )),
    }
    Ok(())
}
