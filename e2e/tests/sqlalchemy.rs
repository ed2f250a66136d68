//! The system's own models on the PostgreSQL upstream, as headquarters: they read everything and write rows of their
//! own.

use anyhow::{Result, ensure};
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::process::start_python;

fn python(field: &Field, script: &str, args: &[&str]) -> Result<String> {
    let printed = start_python(script, args, field.folder())?.wait()?.success()?.stdout;
    print!("{printed}");
    Ok(printed)
}

fn models_work_as_headquarters(flavour: Flavour) -> Result<()> {
    let cluster = PostgresCluster::shared(flavour)?;
    let field = Field::shrinkage(Some(cluster.create_database("hq")?))?;
    field.migrate()?;
    let server = field.serve()?;
    let mut stations = Vec::new();
    for (name, rows) in [("kola", "900"), ("neva", "600")] {
        let station = field.folder_of(name)?;
        let file = station.file.to_str().expect("the folder's path is text");
        python(&field, "shrinkage_system.py", &["make", file, "--rows", rows])?;
        station.run(&["attach", "--no-backup"])?.success()?;
        field.join(&station, &server.url())?;
        station.run(&["push"])?.success()?;
        stations.push(station);
    }
    let everything_reads_as_at_the_stations = || -> Result<()> {
        for station in &stations {
            let file = station.file.to_str().expect("the folder's path is text");
            let number = station.number()?.to_string();
            let read = python(&field, "headquarters.py", &["reads", &field.database, file, &number])?;
            ensure!(read.starts_with("equal: "), "{read}");
        }
        Ok(())
    };
    everything_reads_as_at_the_stations()?;
    let worked = python(&field, "headquarters.py", &["crud", &field.database])?;
    ensure!(worked.starts_with("18 tables"), "{worked}");
    // The system's own program works there as it does on its file, beside what the stations push.
    python(&field, "headquarters.py", &["own", &field.database, "25"])?;
    everything_reads_as_at_the_stations()?;
    for station in &stations {
        station.run(&["verify"])?.success()?;
    }
    let client = cluster.connect("hq")?;
    for table in field.schema().tables() {
        let sql = format!(
            "SELECT count(*) FROM shrinkage.\"{}\" WHERE id >> 32 <> station OR station = 0 AND id NOT BETWEEN 1 AND 4294967295",
            table.name
        );
        ensure!(client.value::<i64>(&sql)? == 0, "{}: ids and stations do not agree", table.name);
    }
    // One writer per row: what headquarters changes in a station's row, the station's verify finds and can set right.
    python(&field, "headquarters.py", &["meddle", &field.database])?;
    let found = stations[0].run(&["verify"])?.expect_code(1)?;
    ensure!(found.stdout.contains("nomenclature, row 1") && found.stdout.contains("changed"), "{}", found.output());
    stations[0].run(&["verify", "--repair"])?.success()?;
    everything_reads_as_at_the_stations()
}

#[test]
fn the_systems_models_work_as_headquarters_on_timescaledb() -> Result<()> {
    models_work_as_headquarters(Flavour::Timescale)
}

#[test]
fn the_systems_models_work_as_headquarters_on_plain_postgresql() -> Result<()> {
    models_work_as_headquarters(Flavour::Plain)
}

#[test]
fn a_url_that_names_no_database_is_refused_without_its_password() -> Result<()> {
    let printed = python(&Field::shrinkage(None)?, "headquarters.py", &["errors"])?;
    ensure!(printed.contains("8 URLs refused"), "{printed}");
    Ok(())
}
