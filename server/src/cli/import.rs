//! `import`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tidemark_core::amount::count;
use tidemark_core::receipt;

use super::place::Look;
use super::remedy;
use super::terminal::print_json;
use super::window::WindowArgs;
use crate::clock::SystemClock;
use crate::files::{folder_of, sync_name};
use crate::ingest::Ingest;
use crate::sneakernet::{ImportError, import};

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The bundle: what `tidemark export FILE` wrote on a station.
    file: PathBuf,
    /// Where the receipt goes, for `tidemark import-receipt` on the station; FILE.receipt without it.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    window: WindowArgs,
    #[command(flatten)]
    look: Look,
}

pub(super) async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let window = args.window.window()?;
    let bundle = File::open(&args.file).map_err(|error| no_bundle(&args.file, error))?;
    let receipt = args.receipt.unwrap_or_else(|| {
        let mut name = args.file.clone().into_os_string();
        name.push(".receipt");
        name.into()
    });
    check_replaceable(&receipt)?;
    let unwritable = || format!("cannot write the receipt {}; name another place with --receipt", receipt.display());
    // Made first: where no receipt can be written, nothing is applied.
    let mut written = tempfile::NamedTempFile::new_in(folder_of(&receipt)).with_context(unwritable)?;
    let (config, upstream) = args.look.place.open().await?;
    let ingest = Ingest::new(upstream, config.schema, window, config.limits, Arc::new(SystemClock));
    let mut out = BufWriter::new(written.as_file_mut());
    let imported = import(&ingest, BufReader::new(bundle), &mut out).await;
    let imported = imported.map_err(|error| refused(error).context(shown.to_string()))?;
    // A receipt is there whole or not at all, also after a power cut.
    out.flush().with_context(unwritable)?;
    drop(out);
    written.as_file().sync_all().with_context(unwritable)?;
    written.persist(&receipt).with_context(unwritable)?;
    sync_name(&receipt).with_context(unwritable)?;
    if args.look.json {
        return print_json(&json!({
            "bundle": args.file,
            "receipt": receipt,
            "station": imported.head.station.get(),
            "name": imported.name,
            "first_seq": imported.head.first_seq,
            "last_seq": imported.head.last_seq,
            "frames": imported.frames,
            "applied": imported.applied,
            "known_before": imported.duplicate,
            "rejected": imported.rejected,
            "tidemark": imported.cursor.seq,
        }));
    }
    say!(
        "{shown}: station {} {:?}, changes {} to {} in {}: {} applied, {} known before; {} rejected; tidemark {}",
        imported.head.station,
        imported.name,
        imported.head.first_seq,
        imported.head.last_seq,
        count(imported.frames, "frame"),
        imported.applied,
        imported.duplicate,
        imported.rejected,
        imported.cursor.seq
    );
    say!("receipt: {}. On the station: tidemark import-receipt FILE", receipt.display());
    Ok(())
}

/// The refusal of a bundle, with what helps.
fn refused(error: ImportError) -> anyhow::Error {
    match remedy::of_import(&error) {
        Some(helps) => anyhow::anyhow!("{error}. {helps}"),
        None => error.into(),
    }
}

/// The error of a bundle that cannot be opened. A station with nothing to send makes none.
fn no_bundle(file: &Path, error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound => {
            ". Where nothing is pending, `tidemark export` makes no bundle and says so: then there is nothing to import"
        }
        _ => "",
    };
    anyhow::anyhow!("cannot open the bundle {}: {error}{hint}", file.display())
}

/// An earlier receipt may be replaced, nothing else.
fn check_replaceable(path: &Path) -> anyhow::Result<()> {
    let mut there = match File::open(path) {
        Ok(there) => there,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        // What cannot be looked at is somebody's, and not to be replaced.
        Err(error) => bail!("{} exists and cannot be read: {error}. Name another place with --receipt", path.display()),
    };
    let mut magic = [0; 4];
    if there.read_exact(&mut magic).is_err() || magic != receipt::PURPOSE.magic {
        bail!("{} exists and is no receipt; it was left alone. Name another place with --receipt", path.display());
    }
    Ok(())
}
