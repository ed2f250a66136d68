//! Random histories, copies, restores and rejoins, several in a row, against a naive model: copies of the files say
//! whose each row is. A failing seed is printed; `TIDEMARK_TEST_SEED=N` repeats it alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use tidemark_core::joincode::JoinCode;
use tidemark_core::schema::Schema;
use tidemark_e2e::compare::{Cell, Upstream as Database, station_rows};
use tidemark_e2e::lives::{Former, Life, assert_upstream_equals};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::world::Dice;
use tidemark_server::stations::{NewStation, secret_hash};
use tidemark_server::upstream::Upstream;
use tidemark_server::{DatabaseUrl, RunningServer, Server, ServerConfig};
use tidemark_station::Station;
use tidemark_station::client::sync::rejoin::Manner;
use tidemark_station::client::sync::{Drained, StopKind};

const SCHEMA: &str = r#"
name = "field"
version = 1
[tables.site.columns]
id        = { type = "integer" }
name      = { type = "text" }
parent_id = { type = "integer", references = "site" }
[tables.reading]
time = "at"
[tables.reading.columns]
id      = { type = "integer" }
site_id = { type = "integer", references = "site" }
at      = { type = "timestamp" }
level   = { type = "real" }
[tables.tag]
key = "uid"
[tables.tag.columns]
uid     = { type = "uuid" }
label   = { type = "text" }
site_id = { type = "integer", references = "site" }
"#;

struct World {
    folder: tempfile::TempDir,
    database: String,
    schema: Schema,
    server: RunningServer,
    upstream: Arc<dyn Upstream>,
    runtime: tokio::runtime::Runtime,
    dice: Dice,
    codes: u32,
    copies: u32,
    changes: u64,
}

/// Rows that a file may not touch: they belong to another one.
type Foreign = BTreeSet<(usize, Cell)>;

impl World {
    fn new(dice: Dice, database: Option<String>) -> Result<Self> {
        let (folder, schema) = (tempfile::tempdir()?, Schema::parse(SCHEMA)?);
        let embedded = || format!("sqlite:///{}", folder.path().join("upstream.db").display());
        let database = database.unwrap_or_else(embedded);
        let url: DatabaseUrl = database.parse()?;
        let runtime = tokio::runtime::Runtime::new()?;
        if let DatabaseUrl::Postgres(config) = &url {
            runtime.block_on(async {
                let mut client = tidemark_server::stores::postgres::connect(config).await?;
                anyhow::Ok(tidemark_migrations::postgres::up(&mut client, &schema, &mut |_| ()).await?)
            })?;
        }
        let mut config = ServerConfig::new(url);
        config.schema = Arc::new(schema.clone());
        config.listen = "127.0.0.1:0".to_owned();
        let upstream = runtime.block_on(tidemark_server::server::open_upstream(&config))?;
        let server = runtime.block_on(Server::start(config))?;
        Ok(Self { folder, database, schema, server, upstream, runtime, dice, codes: 0, copies: 0, changes: 0 })
    }

    fn code(&mut self, replaces: Option<&str>) -> Result<(String, String)> {
        self.codes += 1;
        let name = format!("station {}", self.codes);
        let secret = [self.codes as u8; 32];
        let station = NewStation {
            name: name.clone(),
            code_hash: secret_hash(&secret),
            code_expires_at_ms: i64::MAX / 2_000_000,
            now_ms: 0,
        };
        match replaces {
            Some(old) => self.runtime.block_on(self.upstream.add_replacement(&station, old)).map(|_| ())?,
            None => ensure!(self.runtime.block_on(self.upstream.add_station(&station))?, "the name is new"),
        }
        Ok((name, JoinCode { url: self.server.url(), secret, pin: None }.encode()))
    }

    fn copy(&mut self, from: &Path) -> Result<PathBuf> {
        self.copies += 1;
        let to = self.folder.path().join(format!("copy-{}.db", self.copies));
        replace(from, &to)?;
        Ok(to)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.dice.below(n) == 0
    }

    /// Some row of a table that the file may touch.
    fn some(&mut self, file: &Path, table: usize, foreign: &Foreign) -> Result<Option<Cell>> {
        let described = &self.schema.tables()[table];
        let keys = station_rows(file, described)?.into_iter().map(|row| row[described.key].clone());
        let keys: Vec<Cell> = keys.filter(|key| !foreign.contains(&(table, key.clone()))).collect();
        Ok((!keys.is_empty()).then(|| keys[self.dice.below(keys.len() as u64) as usize].clone()))
    }

    /// What a program writes. `unsettled`: the file's history has parted from its number's and it has not rejoined.
    fn write(&mut self, path: &Path, steps: u64, foreign: &Foreign, unsettled: bool) -> Result<()> {
        let file = Connection::open(path)?;
        file.pragma_update(None, "foreign_keys", false)?;
        for _ in 0..steps {
            self.changes += 1;
            let any_site = self.some(path, 0, &Foreign::new())?;
            let parent = any_site.filter(|_| !self.one_in(4));
            // Values differ with every statement, so that what was written shows.
            let (parent, n, v) = (sql(parent.as_ref()), self.dice.below(5000) + 1, self.changes);
            let day = self.dice.below(28) + 1;
            let statement = match self.dice.below(12) {
                0 | 1 => format!("INSERT INTO site (name, parent_id) VALUES ('new {v}', {parent})"),
                // A key that the program chose.
                2 if !unsettled => {
                    format!("INSERT OR IGNORE INTO site (id, name, parent_id) VALUES ({n}, 'chosen {v}', {parent})")
                }
                3 => match self.some(path, 0, foreign)? {
                    Some(id) => format!("UPDATE site SET name = 'edit {v}' WHERE id = {}", sql(Some(&id))),
                    None => continue,
                },
                4 => match self.some(path, 0, foreign)? {
                    Some(id) => {
                        format!("INSERT OR REPLACE INTO site (id, name) VALUES ({}, 'replaced {v}')", sql(Some(&id)))
                    }
                    None => continue,
                },
                5 | 6 => format!(
                    "INSERT INTO reading (site_id, at, level) VALUES ({parent}, '2026-01-{day:02} 00:00:00', {v}.5)"
                ),
                7 => format!(
                    "INSERT OR IGNORE INTO reading (id, site_id, at, level) VALUES ({n}, {parent}, '2026-02-{day:02} 00:00:00', {v})"
                ),
                8 => match self.some(path, 1, foreign)? {
                    Some(id) if self.one_in(2) => {
                        format!(
                            "UPDATE reading SET at = '2026-03-{day:02} 00:00:00', level = {v} WHERE id = {}",
                            sql(Some(&id))
                        )
                    }
                    Some(id) => format!("UPDATE reading SET level = {v} WHERE id = {}", sql(Some(&id))),
                    None => continue,
                },
                9 => match self.some(path, 1, foreign)? {
                    // Its key may come back for another row.
                    Some(id) if self.one_in(3) => format!(
                        "DELETE FROM reading WHERE id = {0}; INSERT INTO reading (id, at, level) VALUES ({0}, '2026-04-{day:02} 00:00:00', {v})",
                        sql(Some(&id))
                    ),
                    Some(id) => format!("DELETE FROM reading WHERE id = {}", sql(Some(&id))),
                    None => continue,
                },
                10 => {
                    let uid = format!("{:08x}-0000-4000-8000-{:012x}", self.dice.next() as u32, self.changes);
                    format!("INSERT INTO tag (uid, label, site_id) VALUES ('{uid}', 'tag {v}', {parent})")
                }
                _ => match self.some(path, 2, foreign)? {
                    Some(uid) if self.one_in(2) => format!("DELETE FROM tag WHERE uid = {}", sql(Some(&uid))),
                    Some(uid) => format!("UPDATE tag SET label = 'edit {v}' WHERE uid = {}", sql(Some(&uid))),
                    None => continue,
                },
            };
            file.execute_batch(&statement).with_context(|| statement.clone())?;
        }
        Ok(())
    }

    /// The rows of a file at some moment, which are another's from then on.
    fn held(&self, copy: &Path) -> Result<Foreign> {
        let mut held = Foreign::new();
        for (index, table) in self.schema.tables().iter().enumerate() {
            held.extend(station_rows(copy, table)?.into_iter().map(|row| (index, row[table.key].clone())));
        }
        Ok(held)
    }
}

fn sql(cell: Option<&Cell>) -> String {
    match cell {
        Some(Cell::Integer(id)) => id.to_string(),
        Some(Cell::Text(text)) => format!("'{text}'"),
        _ => "NULL".to_owned(),
    }
}

fn replace(from: &Path, to: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        if with(to).exists() {
            std::fs::remove_file(with(to))?;
        }
        if with(from).exists() {
            std::fs::copy(with(from), with(to))?;
        }
    }
    Ok(())
}

fn push(path: &Path) -> Result<()> {
    let mut station = Station::open(path)?;
    let drained = station.push()?;
    ensure!(matches!(drained, Drained::Done(_)), "{drained:?}");
    let rejects = station.store().rejects_count()?;
    ensure!(rejects == 0, "{rejects} rejects");
    Ok(())
}

fn history(seed: u64, database: Option<String>) -> Result<(u64, u32)> {
    let mut world = World::new(Dice::new(seed), database)?;
    let path = world.folder.path().join("station.db");
    let (mut name, code) = world.code(None)?;
    let mut station = Station::init(&path, &world.schema)?;
    station.join(&code, None)?;
    drop(station);
    let mut foreign = Foreign::new();
    let mut lost: Vec<(PathBuf, u32, Vec<Former>, Foreign)> = Vec::new();
    let mut former: Vec<Former> = Vec::new();
    let generations = 1 + world.dice.below(3) as u32;
    for generation in 1..=generations {
        for _ in 0..world.dice.below(4) {
            let steps = world.dice.below(30);
            world.write(&path, steps, &foreign, false)?;
            push(&path)?;
        }
        let waiting = world.dice.below(15);
        world.write(&path, waiting, &foreign, false)?;
        let parted = world.copy(&path)?;
        // One life goes on with what waits in the copy, and more.
        let steps = 1 + world.dice.below(25);
        world.write(&path, steps, &foreign, false)?;
        Connection::open(&path)?.execute("INSERT INTO site (name) VALUES ('it was here')", [])?;
        push(&path)?;
        let other = world.copy(&path)?;
        lost.push((other, generation, former.clone(), foreign.clone()));
        replace(&parted, &path)?;
        let replaces = world.one_in(2);
        if !replaces {
            foreign.extend(world.held(&parted)?);
        }
        // The other life goes another way.
        let steps = world.dice.below(25);
        world.write(&path, steps, &foreign, true)?;
        let mut station = Station::open(&path)?;
        let drained = station.push()?;
        ensure!(
            matches!(&drained, Drained::Stopped { stop, .. } if stop.kind() == StopKind::Forked),
            "generation {generation} is not seen as forked: {drained:?}"
        );
        let (new_name, code) = world.code(replaces.then_some(name.as_str()))?;
        let rejoined = station.rejoin(&code, None, Manner::Forked)?;
        ensure!(rejoined.membership.number.get() == generation + 1 && !rejoined.from_rows, "{rejoined:?}");
        drop(station);
        name = new_name;
        former.push(Former { number: generation, copy: parted, replaced: replaces });
        if world.one_in(2) {
            push(&path)?;
        }
        let steps = world.dice.below(25);
        world.write(&path, steps, &foreign, false)?;
        push(&path)?;
        // A life that was not replaced goes on.
        if !replaces && world.one_in(2) {
            let (other, _, _, others) = lost[lost.len() - 1].clone();
            let steps = world.dice.below(25);
            world.write(&other, steps, &others, false)?;
            push(&other)?;
        }
    }
    let mut lives: Vec<Life<'_>> =
        lost.iter().map(|(file, number, former, _)| Life { file, number: *number, former: former.clone() }).collect();
    lives.push(Life { file: &path, number: generations + 1, former });
    assert_upstream_equals(&Database::open(&world.database)?, &world.schema, &lives)?;
    let World { runtime, server, changes, .. } = world;
    runtime.block_on(server.shutdown());
    Ok((changes, generations))
}

fn histories(count: u64, mut database: impl FnMut(u64) -> Result<Option<String>>) -> Result<()> {
    let given = std::env::var("TIDEMARK_TEST_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = given.map_or_else(|| (0..count).collect(), |seed| vec![seed]);
    let (mut changes, mut rejoins) = (0, 0);
    for &seed in &seeds {
        let done = history(seed, database(seed)?).with_context(|| format!("TIDEMARK_TEST_SEED={seed} repeats it"))?;
        (changes, rejoins) = (changes + done.0, rejoins + done.1);
    }
    println!("{} seeds: {changes} statements, {rejoins} rejoins", seeds.len());
    Ok(())
}

#[test]
fn any_history_of_copies_and_rejoins_has_every_row_once_in_the_embedded_upstream() -> Result<()> {
    histories(25, |_| Ok(None))
}

#[test]
fn any_history_of_copies_and_rejoins_has_every_row_once_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    histories(8, |seed| cluster.create_database(&format!("seed{seed}")).map(Some))
}
