//! `tidemark backup` and `tidemark restore`

pub(super) mod series;

use std::path::{Path, PathBuf};

use serde_json::json;
use tidemark_client::backup;
use tidemark_core::rotation::{FOLDER, INTERVAL_HOURS, KEEP, parse_hours};

use self::series::Schedule;
use super::fatal::Fatal;
use super::show;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the copy goes; a name with the time, in the folder of --dir, without it.
    #[arg(value_name = "FILE", conflicts_with_all = ["every", "keep"])]
    to: Option<PathBuf>,
    /// The folder of copies without a FILE.
    #[arg(long, value_name = "DIR", default_value = FOLDER, env = "TIDEMARK_BACKUP_DIR")]
    dir: PathBuf,
    /// Stay until SIGTERM, and make a copy every so many hours, 24 without a number; each is put back into a scratch
    /// file to check it, and old ones are taken away.
    #[arg(long, value_name = "HOURS", num_args = 0..=1, default_missing_value = "24", value_parser = parse_hours)]
    every: Option<f64>,
    /// How many copies of --every stay.
    #[arg(long, value_name = "N", requires = "every", default_value_t = KEEP, value_parser = keep)]
    keep: usize,
    /// As JSON, for programs.
    #[arg(long, conflicts_with = "every")]
    json: bool,
}

pub(super) fn keep(text: &str) -> Result<usize, String> {
    let keep = text.parse().ok().filter(|keep| *keep > 0);
    keep.ok_or_else(|| "write a number above 0: the newest copy always stays".to_owned())
}

pub(super) fn run(db: &Path, args: &Args) -> Result<(), Fatal> {
    let uuid = uuid_of(db)?;
    if let Some(to) = &args.to {
        backup::back_up(db, to)?;
        return told(args, db, to, None);
    }
    let schedule = Schedule::new(db, &uuid, &args.dir, args.every.unwrap_or(INTERVAL_HOURS), args.keep)?;
    match args.every {
        Some(_) => schedule.run(),
        None => {
            let (to, rows) = schedule.make()?;
            told(args, db, &to, Some(rows))
        }
    }
}

/// What a file's copies are called by.
pub(super) fn uuid_of(db: &Path) -> Result<String, Fatal> {
    Ok(tidemark_core::value::format_uuid(super::file::open(db)?.uuid()))
}

/// Says what was copied; `rows` when it was put back to check it.
fn told(args: &Args, db: &Path, to: &Path, rows: Option<u64>) -> Result<(), Fatal> {
    if args.json {
        show::json(&json!({ "file": db, "copy": to, "rows": rows }));
        return Ok(());
    }
    let checked = rows.map_or_else(
        || " and checked".to_owned(),
        |rows| format!(", put back to check it: {}", show::count(rows, "row")),
    );
    show::line(&format!("{}: copied to {}{checked}", db.display(), to.display()));
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
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn restore(db: &Path, args: &RestoreArgs) -> Result<(), Fatal> {
    let keep = args.keep.clone().unwrap_or_else(|| {
        let mut name = db.as_os_str().to_owned();
        name.push(".before-restore");
        name.into()
    });
    let was_there = db.exists();
    backup::restore(&args.from, db, &keep)?;
    super::file::open(db)?;
    if args.json {
        show::json(&json!({ "file": db, "copy": args.from, "kept": was_there.then_some(&keep) }));
        return Ok(());
    }
    let kept = if was_there { format!("; what it replaced is {}", keep.display()) } else { String::new() };
    show::line(&format!(
        "{}: put back from {}{kept}. If changes were pushed since the copy was made, `tidemark push` finds that out and says how to go on",
        db.display(),
        args.from.display()
    ));
    Ok(())
}
