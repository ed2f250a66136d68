//! The demo, as `cargo demo` runs it: it ends well when all is well, and not when upstream differs.

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};

fn demo(args: &[&str]) -> Result<Output> {
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(args)
        .env("TIDEMARK_DATABASE_URL", "mysql://not.for.demos")
        .output()?;
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// Each of three stations lost a reply and a request, and is equal all the same.
fn ended_well(output: &Output) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}", output.status);
    ensure!(text.matches("1 reply after the server had committed and 1 request in its middle").count() == 3);
    ensure!(text.lines().filter(|line| line.trim_end().ends_with(" yes")).count() == 3);
    Ok(())
}

#[test]
fn the_demo_ends_well_on_an_embedded_upstream() -> Result<()> {
    ended_well(&demo(&[])?)
}

#[test]
fn the_demo_runs_again_and_again_into_one_timescaledb_and_fails_when_a_row_differs() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let url = cluster.create_database("demo")?;
    for _ in 0..2 {
        let output = demo(&["--database", &url, "--records", "700"])?;
        ended_well(&output)?;
        ensure!(!String::from_utf8_lossy(&output.stdout).contains("Ebb"), "a piece of the password was printed");
    }
    let client = cluster.connect("demo")?;
    let stations: i64 = client.value("SELECT count(DISTINCT station) FROM shrinkage.calculation_data")?;
    ensure!(stations == 6, "{stations} stations");
    client.batch(
        "CREATE FUNCTION shrinkage.spoil() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN NEW.version := NEW.version || ' '; RETURN NEW; END $$;
         CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON shrinkage.models FOR EACH ROW EXECUTE FUNCTION shrinkage.spoil()",
    )?;
    let output = demo(&["--database", &url, "--records", "700"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{}", output.status);
    ensure!(text.lines().filter(|line| line.trim_end().ends_with(" NO")).count() == 3);
    Ok(())
}

#[test]
fn the_demo_refuses_a_url_that_names_no_database_before_it_records() -> Result<()> {
    let output = demo(&["--database", "mysql://u:geheim77@h/d"])?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty());
    ensure!(!String::from_utf8_lossy(&output.stderr).contains("geheim77"));
    Ok(())
}
