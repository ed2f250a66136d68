//! Copied, restored and tampered files go on under a new number: no row lost, none doubled. Real programs, real copies
//! of real files.

mod fates;
mod limits;
mod moments;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tidemark_e2e::compare::{Seen, Upstream, assert_log_drained};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::lives::{Former, Life, assert_upstream_equals};
use tidemark_e2e::process::ServerProcess;
use tidemark_e2e::world::Dice;

/// A deployment with its server.
struct World {
    field: Field,
    server: ServerProcess,
    dice: Dice,
    copies: u32,
}

impl World {
    fn new(database: Option<String>) -> Result<Self> {
        let field = Field::shrinkage(database)?;
        field.migrate()?;
        let server = field.serve()?;
        Ok(Self { field, server, dice: Dice::from_env(), copies: 0 })
    }

    fn station(&self, name: &str) -> Result<Station> {
        self.field.join_station(name, &self.server.url())
    }

    fn record(&mut self, station: &Station, records: u32) -> Result<()> {
        station.record(&mut self.dice, records)
    }

    fn push(&self, station: &Station) -> Result<()> {
        station.run(&["push"])?.success()?;
        assert_log_drained(&station.file)?;
        Ok(())
    }

    /// Copies a station's file as it lies on the disk.
    fn copy(&mut self, station: &Station) -> Result<PathBuf> {
        self.copies += 1;
        let to = self.field.folder().join(format!("copy-{}.db", self.copies));
        copy_file(&station.file, &to)?;
        Ok(to)
    }

    /// A code for a new station, and whether it replaces an old one.
    fn code(&self, name: &str, replaces: Option<&str>) -> Result<String> {
        let mut args = vec!["station", "add", name];
        args.extend(replaces.iter().flat_map(|old| ["--replaces", old]));
        let added = self.field.server_command(&args)?.success()?;
        Ok(added.last_line().trim().to_owned())
    }

    fn rejoin(&self, station: &Station, name: &str, replaces: Option<&str>) -> Result<()> {
        let code = self.code(name, replaces)?;
        let ended = station.run(&["rejoin", &code, "--server", &self.server.url()])?.success()?;
        println!("{}", ended.stdout.trim_end());
        Ok(())
    }

    fn equal(&self, lives: &[Life<'_>]) -> Result<Seen> {
        for life in lives {
            drop(rusqlite::Connection::open(life.file)?);
        }
        let seen = assert_upstream_equals(&Upstream::open(&self.field.database)?, self.field.schema(), lives)?;
        println!("equal: {} rows, {} cells of {} files", seen.rows, seen.cells, lives.len());
        Ok(seen)
    }

    fn list(&self) -> Result<String> {
        Ok(self.field.server_command(&["station", "list"])?.success()?.stdout)
    }
}

/// Puts a copy of a file in another's place: the database and, where a program left one, its write-ahead log.
fn copy_file(from: &Path, to: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let (from, to) = (with(from), with(to));
        if to.exists() {
            std::fs::remove_file(&to)?;
        }
        if from.exists() {
            std::fs::copy(&from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
        }
    }
    Ok(())
}

fn former(number: u32, copy: &Path, replaced: bool) -> Vec<Former> {
    vec![Former { number, copy: copy.to_owned(), replaced }]
}

/// The rejected changes of a station's file: table and code of each.
fn rejects(station: &Station) -> Result<Vec<(String, String)>> {
    let file = station.open()?;
    let mut query = file.prepare("SELECT tbl, code FROM tidemark_rejects ORDER BY seq")?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// What a station writes that only adds: rows of its own, some of them under shared ones.
fn add(station: &Station, name: &str, count: u32) -> Result<()> {
    let file = station.open()?;
    for n in 0..count {
        file.execute(
            "INSERT INTO calculation_data (source_data_id, nomenclature_id, initial_balance, calculation_date) VALUES (1, 2, ?1, ?2)",
            (f64::from(n), format!("2025-03-{:02} 10:00:00", n % 28 + 1)),
        )?;
        let record = file.last_insert_rowid();
        file.execute("INSERT INTO models (name, model_type) VALUES (?1, 'linear')", [format!("{name} {n}")])?;
        let model = file.last_insert_rowid();
        file.execute(
            "INSERT INTO coefficients (calculation_data_id, model_id, coefficient_a, calculation_date) VALUES (?1, ?2, 0.5, '2025-04-01')",
            (record, model),
        )?;
    }
    Ok(())
}

/// A station whose file was put back and written to, ready to rejoin as `one again`; the lost life and the copy where
/// they part.
fn forked(world: &mut World) -> Result<(Station, PathBuf, PathBuf)> {
    let station = world.station("one")?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let backup = world.copy(&station)?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let lost = world.copy(&station)?;
    copy_file(&backup, &station.file)?;
    world.record(&station, 60)?;
    station.run(&["push"])?.fails_saying(&["forked: "])?;
    Ok((station, lost, backup))
}
