//! `tidemark backup` and `tidemark restore`

use std::path::{Path, PathBuf};

use tidemark_client::backup;

use super::{Fatal, show};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the copy goes.
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    super::open(db)?;
    backup::back_up(db, &args.to)?;
    show::line(&format!("{}: copied to {} and checked", db.display(), args.to.display()));
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The copy to put back.
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// Where the file goes that is replaced; without it, the file's name with `.before-restore`.
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
}

pub(super) fn restore(db: &Path, args: &RestoreArgs) -> Result<(), Fatal> {
    let keep = args.keep.clone().unwrap_or_else(|| {
        let mut name = db.as_os_str().to_owned();
        name.push(".before-restore");
        name.into()
    });
    let was_there = db.exists();
    backup::restore(&args.from, db, &keep)?;
    super::open(db)?;
    let kept = if was_there { format!("; what it replaced is {}", keep.display()) } else { String::new() };
    show::line(&format!(
        "{}: put back from {}{kept}. If changes were pushed since the copy was made, `tidemark push` finds that out and says how to go on",
        db.display(),
        args.from.display()
    ));
    Ok(())
}
