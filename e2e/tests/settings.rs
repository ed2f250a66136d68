//! A station that runs by `tidemark.toml`: where it pushes, what it copies and prunes, and SIGHUP, with a real server.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::Running;
use tidemark_e2e::world::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a process has said a text for the `times`th time.
fn says(running: &Running, text: &str, times: usize) -> Result<()> {
    let said = || running.output_so_far().matches(text).count();
    let met = wait_for(text, PATIENCE, || Ok((said() >= times).then_some(())));
    met.with_context(|| running.output_so_far())
}

#[test]
fn a_station_pushes_copies_and_prunes_by_its_file_and_takes_another_on_sighup() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = Field::shrinkage(Some(cluster.create_database("settings")?))?;
    field.migrate()?;
    let (first, second) = (field.serve()?, field.serve()?);
    let station = field.join_station("north", &first.url())?;
    let write = |text: &str| std::fs::write(station.folder().join("tidemark.toml"), text);
    let file = format!("file = {:?}\n", station.file.to_str().context("a path is text")?);
    let rows = station.open()?;
    rows.execute("INSERT INTO nomenclature (name) VALUES ('СИНЕЦ ВЯЛЕНЫЙ')", [])?;
    for day in 1..=5 {
        let at = format!("2020-01-0{day} 00:00:00.000000");
        let sql = "INSERT INTO calculation_data (nomenclature_id, calculation_date) VALUES (1, ?1)";
        rows.execute(sql, [at])?;
    }
    write(&file)?;
    let running = station.start_by_settings(&["run"])?;
    says(&running, "pushed 6 changes", 1)?;

    // What may change is applied: another server, copies, old rows.
    let url = second.url();
    write(&format!(
        "{file}server = '{url}'\nwait_max = 7\nbackup_every = 24\nbackup_dir = 'copies'\nprune_older_than = '1y'\n"
    ))?;
    running.signal("HUP")?;
    says(&running, "SIGHUP: applied server, wait_max, backup_every, backup_dir, prune_older_than", 1)?;
    says(&running, &format!("pushes to {url} from now on"), 1)?;
    says(&running, "copied to copies/", 1)?;
    says(&running, "pruned 4 rows; upstream has them", 1)?;
    let left: i64 = rows.query_row("SELECT count(*) FROM calculation_data", [], |row| row.get(0))?;
    ensure!(left == 1, "{left} rows: the one with the highest key stays");
    first.process.terminate()?.success()?;
    rows.execute("INSERT INTO nomenclature (name) VALUES ('СКУМБРИЯ Х/К')", [])?;
    says(&running, "pushed 1 change;", 1)?;

    // What is wrong is refused whole, and what needs a restart is named.
    write(&format!("{file}server = 'http://127.0.0.1:1'\nwait_mx = 8\n"))?;
    running.signal("HUP")?;
    says(&running, "the new configuration is wrong, the one before stays in force", 1)?;
    says(&running, "tidemark.toml:3: wait_mx: there is no such setting; did you mean wait_max?", 1)?;
    // Every command refuses a file that is wrong.
    write(&file)?;
    ensure!(station.status()?["server"] == url, "{}", station.status()?);
    write(&format!("file = 'other.db'\nserver = '{url}'\nwait_max = 9\n"))?;
    running.signal("HUP")?;
    says(&running, "SIGHUP: applied wait_max, backup_every, backup_dir, prune_older_than", 1)?;
    says(&running, "SIGHUP: needs a restart: db", 1)?;
    rows.execute("INSERT INTO nomenclature (name) VALUES ('ЛЕЩ')", [])?;
    says(&running, "pushed 1 change;", 2)?;
    ensure!(!station.folder().join("other.db").exists(), "it made another file");
    running.terminate()?.success()?;
    field.server_command(&["info"])?.success()?;
    Ok(())
}
