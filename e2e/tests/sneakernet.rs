//! Bundles and receipts carried between real programs, in any mix with online pushes, and everything that can happen to
//! them on the way.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::compare::Upstream;
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::{Ended, Running, run};
use tidemark_e2e::world::{Dice, now, pause};

/// A field whose stations make small frames, so that a bundle has many.
fn field(database: Option<String>) -> Result<Field> {
    field_of_frames(database, 200)
}

/// A field whose stations make frames of so many rows at most.
fn field_of_frames(database: Option<String>, rows_max: u32) -> Result<Field> {
    let mut field = Field::shrinkage(database)?;
    field.serve_args = vec!["--batch-rows-max".to_owned(), rows_max.to_string()];
    field.migrate()?;
    Ok(field)
}

/// The folder that travels.
struct Stick<'f> {
    field: &'f Field,
    files: Cell<u32>,
}

impl<'f> Stick<'f> {
    const fn new(field: &'f Field) -> Self {
        Self { field, files: Cell::new(0) }
    }

    fn name(&self, what: &str) -> PathBuf {
        self.files.set(self.files.get() + 1);
        self.field.folder().join(format!("{what}-{}", self.files.get()))
    }

    /// `tidemark export`. `None` when nothing was pending.
    fn export(&self, station: &Station) -> Result<Option<PathBuf>> {
        let bundle = self.name("bundle");
        station.run(&["export", text(&bundle)?])?.success()?;
        Ok(bundle.exists().then_some(bundle))
    }

    /// `tidemark-server import`; returns the receipt.
    fn import(&self, bundle: &Path) -> Result<PathBuf> {
        let receipt = self.name("receipt");
        self.import_to(bundle, &receipt)?.success()?;
        Ok(receipt)
    }

    fn import_to(&self, bundle: &Path, receipt: &Path) -> Result<Ended> {
        self.field.server_command(&["import", text(bundle)?, "--receipt", text(receipt)?])
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path of the tests is text")
}

fn take(station: &Station, receipt: &Path) -> Result<Ended> {
    station.run(&["import-receipt", text(receipt)?])
}

/// Rows of all tables, and every station's cursor.
fn upstream_state(field: &Field) -> Result<(u64, String)> {
    let upstream = Upstream::open(&field.database)?;
    let rows: u64 =
        field.schema().tables().iter().map(|table| upstream.count(field.schema(), table)).sum::<Result<u64>>()?;
    Ok((rows, field.server_command(&["station", "list"])?.success()?.stdout))
}

/// Joins stations while there is a network, which then goes away.
fn joined_once<const N: usize>(field: &Field, names: [&str; N]) -> Result<[Station; N]> {
    let server = field.serve()?;
    let stations = names.map(|name| field.join_station(name, &server.url()));
    server.process.terminate()?.success()?;
    let stations: Result<Vec<Station>> = stations.into_iter().collect();
    stations?.try_into().map_err(|_| anyhow::anyhow!("BUG: as many stations as names"))
}

fn by_hand_alone(database: Option<String>) -> Result<()> {
    let field = field(database)?;
    let [station, other] = joined_once(&field, ["one", "two"])?;
    let stick = Stick::new(&field);
    for season in 0..3 {
        for station in [&station, &other] {
            station.record(&mut Dice::new(season), 60)?;
            // Some of it is refused, here and upstream.
            station.open()?.execute_batch(
                "INSERT INTO forecasts (forecast_date) VALUES ('9999-12-31 23:59:59');
                 INSERT INTO models (name) VALUES (x'00')",
            )?;
            let waiting = station.waiting()?;
            let bundle = stick.export(station)?.context("there is something to export")?;
            ensure!(station.waiting()? == waiting, "export trims nothing");
            let receipt = stick.import(&bundle)?;
            // Carried twice: the same again.
            let again = stick.import(&bundle)?;
            ensure!(station.waiting()? == waiting, "only the receipt trims");
            take(station, &receipt)?.success()?;
            ensure!(station.waiting()? == 0 && station.status()?["state"] == "in-sync");
            ensure!(station.status()?["rejects"] == (season + 1) * 2, "{}", station.status()?);
            let stale = take(station, &again)?.success()?;
            ensure!(stale.stdout.contains("nothing new"), "{stale:?}");
            ensure!(stick.export(station)?.is_none(), "nothing is pending, so there is no bundle");
        }
    }
    // What was refused is not upstream; repaired, it is.
    for station in [&station, &other] {
        station.open()?.execute_batch(
            "UPDATE forecasts SET forecast_date = '2025-05-05 05:05:05' WHERE forecast_date > '9999';
             UPDATE models SET name = 'repariert' WHERE typeof(name) = 'blob'",
        )?;
        let bundle = stick.export(station)?.context("the repairs are pending")?;
        let receipt = stick.import(&bundle)?;
        take(station, &receipt)?.success()?;
    }
    field.assert_upstream_equals(&[&station, &other])?;
    Ok(())
}

#[test]
fn stations_without_a_network_are_in_sync_by_bundle_and_receipt_in_the_embedded_upstream() -> Result<()> {
    by_hand_alone(None)
}

#[test]
fn stations_without_a_network_are_in_sync_by_bundle_and_receipt_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    by_hand_alone(Some(cluster.create_database("sneakernet")?))
}

fn any_mix(database: Option<String>, steps: u32) -> Result<()> {
    let field = field(database)?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let stick = Stick::new(&field);
    let mut dice = Dice::from_env();
    let (mut bundles, mut receipts) = (Vec::new(), Vec::new());
    let pick = |dice: &mut Dice, files: &[PathBuf]| files[dice.below(files.len() as u64) as usize].clone();
    for _ in 0..steps {
        match dice.below(7) {
            0 | 1 => station.record(&mut dice, 20)?,
            2 => bundles.extend(stick.export(&station)?),
            3 if !bundles.is_empty() => receipts.push(stick.import(&pick(&mut dice, &bundles))?),
            4 if !receipts.is_empty() => drop(take(&station, &pick(&mut dice, &receipts))?.success()?),
            5 => drop(station.run(&["push"])?.success()?),
            // A push while a bundle is imported: both apply the same changes.
            6 if !bundles.is_empty() => {
                let push = station.start(&["push"])?;
                receipts.push(stick.import(&pick(&mut dice, &bundles))?);
                push.wait()?.success()?;
            }
            _ => {}
        }
    }
    station.record(&mut dice, 10)?;
    let bundle = stick.export(&station)?.context("there is something to export")?;
    let receipt = stick.import(&bundle)?;
    take(&station, &receipt)?.success()?;
    ensure!(station.status()?["state"] == "in-sync");
    field.assert_upstream_equals(&[&station])?;
    println!("{} bundles, {} receipts", bundles.len(), receipts.len());
    Ok(())
}

#[test]
fn any_mix_of_bundles_and_pushes_leaves_each_row_once_in_the_embedded_upstream() -> Result<()> {
    any_mix(None, 40)
}

#[test]
fn any_mix_of_bundles_and_pushes_leaves_each_row_once_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    any_mix(Some(cluster.create_database("sneakernet")?), 40)
}

#[test]
fn a_bundle_truncated_altered_or_foreign_is_refused_with_nothing_applied() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let here = field(Some(cluster.create_database("here")?))?;
    let [station, revoked] = joined_once(&here, ["one", "gone"])?;
    let elsewhere = field(None)?;
    let [stranger] = joined_once(&elsewhere, ["stranger"])?;
    for station in [&station, &revoked, &stranger] {
        station.record(&mut Dice::new(1), 40)?;
    }
    let stick = Stick::new(&here);
    let bundle = stick.export(&station)?.context("pending")?;
    let whole = std::fs::read(&bundle)?;
    let receipt = stick.name("receipt");
    let before = upstream_state(&here)?;
    let refused = |file: &Path, says: &[&str]| -> Result<()> {
        stick.import_to(file, &receipt)?.fails_saying(says)?;
        ensure!(upstream_state(&here)? == before, "{says:?}: something was applied");
        ensure!(!receipt.exists(), "{says:?}: a receipt was written");
        Ok(())
    };
    let damaged = here.folder().join("damaged");
    let mut dice = Dice::from_env();
    for round in 0..24 {
        let at = dice.below(whole.len() as u64) as usize;
        let bytes = if round % 2 == 0 {
            whole[..at].to_vec()
        } else {
            let mut altered = whole.clone();
            altered[at] ^= 1 << dice.below(8);
            altered
        };
        std::fs::write(&damaged, bytes)?;
        refused(&damaged, &["Nothing was applied"]).with_context(|| format!("round {round}, byte {at}"))?;
    }
    std::fs::write(
        &damaged,
        "forecasts;1;2;3 and more words than a head has bytes, so that it is read to its end, which it is not",
    )?;
    refused(&damaged, &["not a Tidemark bundle"])?;
    let foreign = Stick::new(&elsewhere).export(&stranger)?.context("pending")?;
    refused(&foreign, &["does not know", "--database"])?;
    let from_before = stick.export(&revoked)?.context("pending")?;
    let args = ["station", "revoke", "gone", "--database", &here.database];
    run("tidemark-server", &args, here.folder(), &Default::default())?.success()?;
    stick.import_to(&from_before, &receipt)?.fails_saying(&["revoked"])?;
    ensure!(upstream_state(&here)?.0 == before.0 && !receipt.exists());
    // The whole one is taken after all.
    std::fs::write(&damaged, &whole)?;
    stick.import_to(&damaged, &receipt)?.success()?;
    // Its receipt, altered, trims nothing.
    let waiting = station.waiting()?;
    let good = std::fs::read(&receipt)?;
    for _ in 0..8 {
        let mut altered = good.clone();
        altered[dice.below(good.len() as u64) as usize] ^= 1 << dice.below(8);
        std::fs::write(&damaged, &altered)?;
        take(&station, &damaged)?.fails_saying(&["receipt"])?;
        ensure!(station.waiting()? == waiting);
    }
    take(&stranger, &receipt)?.fails_saying(&["receipt is for station"])?;
    take(&station, &receipt)?.success()?;
    here.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn a_bundle_whose_predecessor_is_missing_names_the_change_that_comes_next() -> Result<()> {
    let field = field(None)?;
    let [station] = joined_once(&field, ["one"])?;
    let backup = field.folder().join("backup.db");
    rusqlite::Connection::open(field.folder().join("upstream.db"))?.execute("VACUUM INTO ?1", [text(&backup)?])?;
    station.record(&mut Dice::new(1), 10)?;
    let stick = Stick::new(&field);
    let first = stick.export(&station)?.context("pending")?;
    let receipt = stick.import(&first)?;
    take(&station, &receipt)?.success()?;
    station.record(&mut Dice::new(2), 10)?;
    let second = stick.export(&station)?.context("pending")?;
    // The server's database is put back to before the first.
    let upstream = field.folder().join("upstream.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", upstream.display()));
    }
    std::fs::copy(&backup, &upstream)?;
    let before = upstream_state(&field)?;
    stick.import_to(&second, &field.folder().join("r"))?.fails_saying(&["missing before", "change 1 comes next"])?;
    ensure!(upstream_state(&field)? == before);
    // In order, both are taken, although the station has trimmed the first long since.
    stick.import(&first)?;
    let receipt = stick.import(&second)?;
    take(&station, &receipt)?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn an_import_killed_in_the_middle_is_repeated() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    // Frames so small that most of an import is spent between them.
    let field = field_of_frames(Some(cluster.create_database("killed")?), 5)?;
    let [station] = joined_once(&field, ["one"])?;
    let stick = Stick::new(&field);
    let mut dice = Dice::from_env();
    let (mut kills, mut halves) = (0, 0);
    // How long an import takes here and now: a kill later than that meets none.
    let mut span = Duration::from_millis(400);
    for round in 0..30 {
        station.record(&mut dice, 120)?;
        let bundle = stick.export(&station)?.context("pending")?;
        let receipt = stick.name("receipt");
        let before = upstream_state(&field)?.1;
        let args = ["import", text(&bundle)?, "--receipt", text(&receipt)?, "--database", &field.database];
        let mut import = Running::start("tidemark-server", &args, field.folder(), &Default::default())?;
        pause(span.mul_f64(dice.unit()));
        let met = !import.has_ended()?;
        import.kill()?;
        kills += u32::from(met);
        if met {
            ensure!(!receipt.exists(), "a receipt of an import that did not end");
            halves += u32::from(upstream_state(&field)?.1 != before);
        }
        let start = now();
        stick.import_to(&bundle, &receipt)?.success()?;
        span = start.elapsed();
        take(&station, &receipt)?.success()?;
        if kills >= 6 && halves >= 2 {
            println!("{kills} of {} kills met an import, {halves} of them in the middle of its frames", round + 1);
            field.assert_upstream_equals(&[&station])?;
            return Ok(());
        }
    }
    anyhow::bail!("only {kills} kills met an import, {halves} in the middle")
}

#[test]
fn an_export_killed_in_the_middle_leaves_no_bundle() -> Result<()> {
    let field = field(None)?;
    let [station] = joined_once(&field, ["one"])?;
    station.record(&mut Dice::new(1), 1500)?;
    let mut dice = Dice::from_env();
    let bundle = field.folder().join("bundle");
    let (mut kills, mut rounds) = (0, 0);
    while kills < 5 {
        rounds += 1;
        ensure!(rounds < 60, "only {kills} of {rounds} kills met an export");
        let mut export = station.start(&["export", text(&bundle)?])?;
        pause(Duration::from_millis(dice.below(250)));
        let met = !export.has_ended()?;
        export.kill()?;
        kills += u32::from(met && !bundle.exists());
        if bundle.exists() {
            std::fs::remove_file(&bundle)?;
        }
    }
    let stick = Stick::new(&field);
    let whole = stick.export(&station)?.context("pending")?;
    let receipt = stick.import(&whole)?;
    take(&station, &receipt)?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn slips_at_the_command_line_say_what_to_do_and_harm_no_file() -> Result<()> {
    let field = field(None)?;
    let alone = field.init_station("alone")?;
    alone.record(&mut Dice::new(1), 3)?;
    let bundle = field.folder().join("bundle");
    let at = text(&bundle)?;
    alone.run(&["export", at])?.fails_saying(&["tidemark join"])?;
    ensure!(!bundle.exists());
    let [station] = joined_once(&field, ["one"])?;
    station.record(&mut Dice::new(2), 3)?;
    std::fs::write(&bundle, "dear to somebody")?;
    station.run(&["export", at])?.fails_saying(&["exists already", "--force"])?;
    ensure!(std::fs::read(&bundle)? == b"dear to somebody");
    station.run(&["export", at, "--force"])?.success()?;
    station.run(&["export", "no/such/folder/bundle"])?.fails_saying(&["cannot write"])?;
    // The receipt's default name; somebody's own file there is left alone.
    let receipt = field.folder().join("bundle.receipt");
    std::fs::write(&receipt, "dear to somebody")?;
    let before = upstream_state(&field)?;
    field.server_command(&["import", at])?.fails_saying(&["no receipt", "--receipt"])?;
    field.server_command(&["import", at, "--receipt", "no/such/folder/r"])?.fails_saying(&["cannot write"])?;
    // Somebody's that cannot even be looked at.
    let socket = field.folder().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket)?;
    field
        .server_command(&["import", at, "--receipt", text(&socket)?])?
        .fails_saying(&["cannot be read", "--receipt"])?;
    ensure!(std::os::unix::fs::FileTypeExt::is_socket(&socket.symlink_metadata()?.file_type()));
    field.server_command(&["import", "no-such-bundle"])?.fails_saying(&["cannot open", "no-such-bundle"])?;
    ensure!(upstream_state(&field)? == before, "where no receipt can be written, nothing is applied");
    std::fs::remove_file(&receipt)?;
    field.server_command(&["import", at])?.success()?;
    field.server_command(&["import", at])?.success().context("an earlier receipt is replaced")?;
    station.run(&["import-receipt", "no-such-receipt"])?.fails_saying(&["cannot open"])?;
    station.run(&["import-receipt", at])?.fails_saying(&["not a Tidemark receipt"])?;
    take(&station, &receipt)?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}
