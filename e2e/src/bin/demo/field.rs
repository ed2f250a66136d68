//! The stations of the demo: recording, joining, pushing.

use std::path::Path;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::Connection;
use tidemark_core::amount::count;
use tidemark_core::schema::shrinkage;
use tidemark_e2e::record::{Plan, season};
use tidemark_e2e::world::{self, Dice};
use tidemark_station::Station;
use tidemark_station::client::sync::{Drained, Event};
use tidemark_station::transport::HttpTransport;

/// A station and what it did.
pub struct FieldStation {
    name: String,
    station: Station,
    /// Changes in the log before it ever met a server.
    pub written: u64,
}

impl FieldStation {
    /// Makes the station's file and records a season with plain SQL through a connection of its own, as another program would.
    pub fn record(folder: &Path, name: &str, seed: u64, records: u32) -> Result<Self> {
        let start = world::now();
        let path = folder.join(format!("{name}.db"));
        let mut station = Station::init(&path, &shrinkage())?;
        let bar = bar(records.into(), "records");
        let mut program = Connection::open(&path)?;
        season(&mut program, &mut Dice::new(seed), Plan { records, records_per_commit: 20 }, |done| {
            bar.set_position(done.into())
        })?;
        bar.finish_and_clear();
        let written = station.status()?.last_seq;
        let (records, changes) = (count(records.into(), "inventory record"), count(written, "change"));
        println!("   {name}: {records}, {changes}, {:.1} s", start.elapsed().as_secs_f64());
        Ok(Self { name: name.to_owned(), station, written })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file and its state.
    pub fn station(&mut self) -> &mut Station {
        &mut self.station
    }

    /// Joins with a code.
    pub fn join(&mut self, code: &str) -> Result<()> {
        let membership = self.station.join(code, None)?;
        println!("   {} joined as station {}", self.name, membership.number);
        Ok(())
    }

    /// Pushes until everything is upstream.
    pub fn push(&mut self) -> Result<()> {
        let bar = bar(self.written, "changes");
        let mut failures = Vec::new();
        let outcome = self.station.push_with(&mut HttpTransport::new(), &mut |event| match event {
            Event::Acked { tidemark, .. } => bar.set_position(*tidemark),
            Event::Failed { why, .. } => failures.push(why.to_string()),
            _ => {}
        })?;
        bar.finish_and_clear();
        for failure in failures {
            println!("   {}: {failure}; trying again", self.name);
        }
        match outcome {
            Drained::Done(summary) => {
                let (changes, requests) = (count(summary.changes, "change"), count(summary.requests, "request"));
                println!("   {}: {changes} pushed in {requests}", self.name);
                Ok(())
            }
            Drained::Unreachable { why, .. } => bail!("{}: {why}", self.name),
            Drained::Stopped { stop, .. } => bail!("{}: {stop}", self.name),
        }
    }
}

/// A progress bar, shown only on a terminal.
fn bar(length: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("   {bar:40} {human_pos}/{human_len} {msg}");
    ProgressBar::new(length)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what.to_owned())
}
