//! `report product|models|trend|top`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::Place;
use crate::clock::{Clock as _, SystemClock};
use crate::reports::words::Lang;
use crate::reports::{Format, Question, ReportError, ask, render};

#[derive(Subcommand)]
pub(super) enum ReportCommand {
    /// Calculations, mean accuracy and validation errors of each product, or of one.
    Product {
        /// The product's name.
        name: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Mean accuracy, calculations and products of each model, and the best model.
    Models {
        #[command(flatten)]
        common: Common,
    },
    /// Coefficients and accuracy of a product over the last days, and whether accuracy is improving.
    Trend {
        /// The product's name.
        product: String,
        /// How many days, the last one included.
        #[arg(long, default_value_t = 30, value_name = "N")]
        days: u32,
        /// The last day, YYYY-MM-DD, UTC; today without it.
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
        /// Only coefficients of this model.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// The products with most calculations.
    Top {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
        count: u32,
        #[command(flatten)]
        common: Common,
    },
}

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

pub(super) async fn run(command: ReportCommand) -> anyhow::Result<()> {
    let (question, common) = match command {
        ReportCommand::Product { name, common } => (Question::Product { name }, common),
        ReportCommand::Models { common } => (Question::Models, common),
        ReportCommand::Trend { product, days, until, model, common } => {
            (Question::Trend { product, days, until, model }, common)
        }
        ReportCommand::Top { count, common } => (Question::Top { count }, common),
    };
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
        None => super::print(&text),
    }
}
