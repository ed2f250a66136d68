//! `backup`, `restore`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use tidemark_core::amount::count;
use tidemark_core::rotation::{FOLDER, KEEP, parse_hours};

use super::place::{Look, Place};
use super::signal::Signals;
use super::terminal::{self, print_json};
use crate::admin::backup::series::{Schedule, make_folder, series};
use crate::admin::backup::{Checked, Mode, back_up, record, restore as put_back};
use crate::clock::{Clock as _, SystemClock};
use crate::config::DatabaseUrl;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::panics::Panics;
use crate::supervision;

#[derive(Args)]
pub(super) struct BackupArgs {
    /// Where the backup goes; a name with the time, in the folder of --dir, without it.
    #[arg(value_name = "FILE", conflicts_with_all = ["every", "keep"])]
    to: Option<PathBuf>,
    /// The folder of backups without a FILE.
    #[arg(long, value_name = "DIR", default_value = FOLDER, env = "TIDEMARK_DATABASE_BACKUP_PATH")]
    dir: PathBuf,
    /// Restore the backup into a database of its own, and compare every row.
    #[arg(long)]
    check: bool,
    /// Stay, and make a backup every so many hours, 24 without a number; each is checked as with --check, and old
    /// ones are taken away.
    #[arg(long, value_name = "HOURS", num_args = 0..=1, default_missing_value = "24", value_parser = parse_hours)]
    every: Option<f64>,
    /// How many backups of --every stay.
    #[arg(long, value_name = "N", requires = "every", default_value_t = KEEP, value_parser = keep)]
    keep: usize,
    /// As JSON, for programs.
    #[arg(long, conflicts_with = "every")]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// Replace what is in the database. It is copied to a file before.
    #[arg(long)]
    replace: bool,
    /// Where what is replaced goes; a name with the time, in this folder, without it.
    #[arg(long, value_name = "FILE", requires = "replace")]
    kept: Option<PathBuf>,
    /// TimescaleDB's own steps (timescaledb_pre_restore, pg_restore, timescaledb_post_restore), which bring back
    /// compressed chunks and continuous aggregates as well: into an empty database, as a superuser, in the version of
    /// TimescaleDB that was backed up.
    #[arg(long, conflicts_with = "replace")]
    exact: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    look: Look,
}

/// Backups while the server serves.
#[derive(Args)]
pub(super) struct ServeBackups {
    /// Make a backup of the database every so many hours; none without it.
    #[arg(long, value_name = "HOURS", env = "TIDEMARK_DATABASE_BACKUP_INTERVAL", value_parser = parse_hours)]
    backup_every: Option<f64>,
    /// How many of these backups stay.
    #[arg(long, value_name = "N", default_value_t = KEEP, value_parser = keep)]
    backup_keep: usize,
    /// The folder they go to.
    #[arg(long, value_name = "DIR", default_value = FOLDER, env = "TIDEMARK_DATABASE_BACKUP_PATH")]
    backup_dir: PathBuf,
}

fn keep(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|keep| *keep > 0)
        .ok_or_else(|| "write a number above 0: the newest backup always stays".to_owned())
}

impl ServeBackups {
    /// Why no backup could be made.
    pub(super) fn unfit(&self) -> Option<anyhow::Error> {
        self.backup_every?;
        // The folder is made when the first is due; what is in its way is there now.
        let folder = &self.backup_dir;
        (folder.exists() && !folder.is_dir()).then(|| anyhow::anyhow!("{} is no folder", folder.display()))
    }

    /// The backups that are wanted, if any are; their folder is there then.
    pub(super) fn schedule(&self, database: DatabaseUrl) -> anyhow::Result<Option<Schedule>> {
        let Some(every_hours) = self.backup_every else { return Ok(None) };
        let folder = self.backup_dir.clone();
        make_folder(&folder)?;
        Ok(Some(Schedule { database, folder, every_hours, keep: self.backup_keep }))
    }
}

/// The backups that a server makes, which may change while it serves.
pub(super) struct Backups {
    wanted: Live<Option<Schedule>>,
    making: tokio::task::JoinHandle<()>,
}

impl Backups {
    /// Begins to make those that are wanted.
    pub(super) fn start(schedule: Option<Schedule>, metrics: &Arc<Metrics>, panics: &Arc<Panics>) -> Self {
        let (wanted, metrics) = (Live::from(None), Arc::clone(metrics));
        let followed = wanted.clone();
        let making = supervision::spawn(panics, "making a backup", move || {
            let (followed, metrics) = (followed.clone(), Arc::clone(&metrics));
            async move { Schedule::follow(followed, &|is_checked| metrics.health.backup(is_checked)).await }
        });
        let backups = Self { making, wanted };
        backups.set(schedule);
        backups
    }

    /// Others are wanted from now on.
    pub(super) fn set(&self, schedule: Option<Schedule>) {
        let said = |schedule: &Option<Schedule>| match schedule {
            Some(wanted) => {
                let (hours, folder) = (wanted.every_hours, wanted.folder.display());
                format!("backups: every {hours} h into {folder}, {} stay", wanted.keep)
            }
            None => "backups: none".to_owned(),
        };
        if said(&schedule) != said(&self.wanted.get()) {
            tracing::info!("{}", said(&schedule));
            self.wanted.set(schedule);
        }
    }

    /// Makes no more.
    pub(super) fn stop(&self) {
        self.making.abort();
    }
}

pub(super) async fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let database = args.place.database()?;
    let schedule = args.every.map(|every_hours| Schedule {
        database: database.clone(),
        folder: args.dir.clone(),
        every_hours,
        keep: args.keep,
    });
    let Some(schedule) = schedule else {
        let to = match args.to {
            Some(to) => to,
            None => {
                make_folder(&args.dir)?;
                args.dir.join(series(&database).name(SystemClock.now_ms()))
            }
        };
        let made = back_up(&database, &to, args.check).await?;
        record(&database, &made).await;
        if args.json {
            let restored = made.checked == Checked::Restored;
            return print_json(
                &json!({ "backup": made.path, "rows": made.rows, "bytes": made.bytes, "restored": restored }),
            );
        }
        say!("{}", made.shown());
        return Ok(());
    };
    make_folder(&schedule.folder)?;
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    tracing::info!(
        "backups of {database}: every {} h into {}, {} stay",
        schedule.every_hours,
        schedule.folder.display(),
        schedule.keep
    );
    tokio::select! {
        () = schedule.run() => {}
        () = signals.first() => tracing::info!("stopping"),
    }
    Ok(())
}

pub(super) async fn restore(args: RestoreArgs) -> anyhow::Result<()> {
    let database = args.look.place.database()?;
    if args.replace && !args.yes {
        ask(&format!(
            "Replace what is in {database} by {}? Its stations' cursors go back, too. Type yes: ",
            args.from.display()
        ))?;
    }
    let kept = || format!("before-restore-{}", series(&database).name(SystemClock.now_ms())).into();
    let mode = match (args.replace, args.exact) {
        (true, _) => Mode::Replace(args.kept.unwrap_or_else(kept)),
        (_, true) => Mode::Exact,
        _ => Mode::Empty,
    };
    let restored = put_back(&database, &args.from, &mode).await?;
    if args.look.json {
        return print_json(&json!({
            "database": database.to_string(),
            "backup": args.from,
            "rows": restored.rows,
            "kept": restored.kept,
            "notes": restored.notes,
        }));
    }
    say!("{database}: {} put back from {}", count(restored.rows, "row"), args.from.display());
    for note in &restored.notes {
        say!("{note}");
    }
    if let Some(kept) = &restored.kept {
        say!("what was there before is {}", kept.display());
    }
    say!(
        "Run `tidemark verify` on every station. One that pushed since that backup was made says `forked: … it has lost changes`; it has these rows still, and \
         sends them again: `tidemark-server station add NAME --replaces OLD`, then `tidemark rejoin CODE` and `tidemark push` there"
    );
    Ok(())
}

fn ask(question: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("--replace asks before it does so, and there is nobody to ask; with --yes it does not ask");
    }
    terminal::ask(question);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        bail!("nothing was changed");
    }
    Ok(())
}
