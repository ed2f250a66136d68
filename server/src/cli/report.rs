//! `report`: the questions are those of the room of reports.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::place::Place;
use super::terminal::print;
use crate::clock::{Clock as _, SystemClock};
use crate::reports::words::Lang;
use crate::reports::{Format, ReportCommand, ReportError, ask, render};

#[derive(Args)]
pub(super) struct Common {
    /// table, json, csv or html (a page with charts that needs no other file).
    #[arg(long, default_value = "table", value_name = "FORMAT")]
    format: Format,
    /// The language of headings and words: en or ru. JSON is the same in both.
    #[arg(long, default_value = "en", value_name = "LANG")]
    lang: Lang,
    /// Write it to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Answer from the roll-ups as they are, instead of bringing them up to date first.
    #[arg(long, conflicts_with = "rebuild")]
    no_refresh: bool,
    /// Make all roll-ups anew first: after somebody changed stations' rows by hand.
    #[arg(long)]
    rebuild: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) type Command = ReportCommand<Common>;

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    let (question, common) = command.asked();
    let upstream = common.place.upstream().await?;
    let lang = common.lang;
    let told = |error: ReportError| anyhow::Error::msg(lang.error(&error));
    let store = upstream.reports().ok_or(ReportError::OtherSchema).map_err(told)?;
    if !common.no_refresh {
        store.refresh(common.rebuild).await.map_err(ReportError::from)?;
    }
    let text = render(&ask(store, &question, SystemClock.now_ms()).await.map_err(told)?, common.format, lang);
    match common.out {
        Some(file) => std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display())),
        None => print(&text),
    }
}
