//! Plain tables become hypertables under the feet of stations that push.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value as Json;
use tidemark_e2e::field::Field;
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::process::Running;
use tidemark_e2e::world::{Dice, wait_for};

use super::{Kind, World, push};
use crate::append;

/// A cluster whose database was migrated before TimescaleDB was there, and TimescaleDB since.
fn migrated_too_early() -> Result<World> {
    let mut world = World::new(Kind::Plain)?;
    load_timescaledb(world.cluster.as_mut().context("a cluster")?)?;
    Ok(world)
}

fn load_timescaledb(cluster: &mut PostgresCluster) -> Result<()> {
    let settings = "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\nmax_worker_processes = 16\n\
                    timescaledb.max_background_workers = 2\n";
    let file = cluster.folder().join("data/postgresql.conf");
    let before = std::fs::read_to_string(&file)?;
    std::fs::write(&file, before + settings)?;
    cluster.kill_hard()?;
    cluster.restart()
}

/// HQ's own rows, so many that they are copied in several pieces.
fn many_rows(client: &PgClient, rows: u32) -> Result<()> {
    client.batch(&format!(
        "INSERT INTO shrinkage.coefficients (coefficient_a, coefficient_b, calculation_date)
         SELECT n, n / 3.0, timestamptz '2025-01-01 00:00:00+00' + n * interval '1 minute' FROM generate_series(1, {rows}) n"
    ))
}

const DIGEST: &str = "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(c::text, 0)::numeric), 0)
    FROM shrinkage.coefficients c WHERE station = 0";

#[test]
fn plain_tables_become_hypertables_while_a_station_pushes() -> Result<()> {
    let mut world = migrated_too_early()?;
    let client = PgClient::connect_url(&world.field.database)?;
    many_rows(&client, 150_000)?;
    client.batch("CREATE INDEX mine ON shrinkage.coefficients (station, calculation_date DESC); GRANT SELECT ON shrinkage.coefficients TO PUBLIC")?;
    let digest: String = client.value(DIGEST)?;
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    station.record(&mut world.dice, 200)?;
    push(&station)?;
    let plan = world.does(&["optimize", "--plan"])?;
    ensure!(plan.matches("online").count() == 5, "{plan}");
    let (ended, mut kills) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| -> Result<u32> {
            let (mut rounds, mut dice) = (0, Dice::new(7));
            while !ended.load(Ordering::Relaxed) {
                // Inserts, updates and deletes, in the tables that are moved.
                station.record(&mut dice, 5)?;
                station.open()?.execute_batch(
                    "UPDATE coefficients SET coefficient_b = coefficient_b + 1 WHERE id % 7 = 1;
                     DELETE FROM forecasts WHERE id % 13 = 5;
                     UPDATE data_lineage SET process_timestamp = '2025-09-01 00:00:00' WHERE id % 5 = 1",
                )?;
                station.push_until_drained()?;
                rounds += 1;
            }
            Ok(rounds)
        });
        let mut work = || -> Result<()> {
            // Killed where it stands, several times; then to its end.
            let args = ["optimize", "--database", world.field.database.as_str(), "--schema", "schema.toml"];
            let env = std::collections::BTreeMap::new();
            for wait_ms in [60, 250, 500, 900] {
                let mut running = Running::start("tidemark-server", &args, world.field.folder(), &env)?;
                tidemark_e2e::world::pause(Duration::from_millis(wait_ms));
                if !running.has_ended()? {
                    running.kill()?;
                    kills += 1;
                }
            }
            // The backend of a killed run ends when it notices.
            wait_for("the lock of a killed run to go", Duration::from_secs(60), || {
                let ended = world.tool(&["optimize"])?;
                println!("{}", ended.output().trim_end());
                Ok((ended.code == Some(0)).then_some(()))
            })
        };
        let worked = work();
        ended.store(true, Ordering::Relaxed);
        let rounds = writer.join().map_err(|_| anyhow!("the writer panicked"))??;
        println!("{rounds} rounds were pushed meanwhile, {kills} runs were killed");
        ensure!(rounds > 0);
        worked
    })?;
    ensure!(kills > 0, "no run was killed in its middle");
    ensure!(client.value::<String>(DIGEST)? == digest, "HQ's rows are what they were");
    let timescale = world.does(&["timescale"])?;
    ensure!(timescale.lines().count() == 7, "{timescale}");
    for name in ["coefficients_pkey", "mine"] {
        let sql = format!("SELECT count(*) FROM pg_indexes WHERE schemaname = 'shrinkage' AND indexname = '{name}'");
        ensure!(client.value::<i64>(&sql)? == 1, "{name}");
    }
    ensure!(client.value::<bool>("SELECT has_table_privilege('public', 'shrinkage.coefficients', 'SELECT')").is_err()
        || client.value::<i64>("SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC' AND table_name = 'coefficients' AND table_schema = 'shrinkage'")? == 1);
    ensure!(client.value::<i64>("SELECT count(*) FROM pg_namespace WHERE nspname = 'tidemark_optimize'")? == 0);
    ensure!(
        client.value::<Option<String>>("SELECT obj_description('shrinkage.coefficients'::regclass)")?.as_deref()
            == Some("The coefficients of one model fitted to one inventory record.")
    );
    // What reports have on the tables is there again.
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgfoid = to_regproc('shrinkage_reports.note_touched') AND tgparentid = 0
        AND tgrelid IN ('shrinkage.calculation_data'::regclass, 'shrinkage.coefficients'::regclass, 'shrinkage.validation_errors'::regclass)";
    ensure!(client.value::<i64>(triggers)? == 9);
    ensure!(client.value::<i64>("SELECT count(*) FROM shrinkage_reports.records")? > 0);
    // HQ's numbering goes on.
    client.batch("INSERT INTO shrinkage.coefficients (coefficient_a) VALUES (1)")?;
    ensure!(client.value::<i64>("SELECT max(id) FROM shrinkage.coefficients WHERE station = 0")? == 150_001);
    client.batch("DELETE FROM shrinkage.coefficients WHERE station = 0")?;
    // The server that ran all the while goes on, and a new one starts.
    station.record(&mut world.dice, 5)?;
    push(&station)?;
    world.field.assert_upstream_equals(&[&station])?;
    station.run(&["verify"])?.success()?;
    drop(world.field.serve()?);
    ensure!(world.does(&["optimize"])?.contains("there was nothing to make a hypertable of"));
    ensure!(world.does(&["test"])?.lines().all(|line| line.starts_with("ok ") || line.starts_with("warn ")));
    Ok(())
}

#[test]
fn what_a_copy_would_lose_is_moved_in_place_or_told() -> Result<()> {
    let mut world = migrated_too_early()?;
    let server = world.field.serve()?;
    let station = world.field.join_station("one", &server.url())?;
    station.record(&mut world.dice, 50)?;
    push(&station)?;
    let client = PgClient::connect_url(&world.field.database)?;
    client.batch("CREATE VIEW public.fresh AS SELECT * FROM shrinkage.forecasts")?;
    let before: i64 = client.value("SELECT count(*) FROM public.fresh")?;
    let plan = world.does(&["optimize", "--plan"])?;
    ensure!(plan.contains("the view or rule fresh") && plan.matches("online").count() == 4, "{plan}");
    let facts: Json = serde_json::from_str(&world.does(&["optimize", "--plan", "--json"])?)?;
    let tables = facts["tables"].as_array().context("no tables")?;
    let locked = tables.iter().filter(|table| table["in_place_for"] != serde_json::json!([]));
    let locked: Vec<_> = locked.map(|table| &table["table"]).collect();
    ensure!(tables.len() == 5 && locked == ["forecasts"], "{facts}");
    // One that was begun is taken back: nothing of it is left.
    client.batch("CREATE SCHEMA tidemark_optimize")?;
    let told = world.tool(&["test"])?.fails_saying(&["1 point failed"])?;
    ensure!(told.stdout.contains("broken off"), "{}", told.stdout);
    world.does(&["optimize", "--undo"])?;
    world.does(&["test"])?;
    world.does(&["optimize"])?;
    ensure!(client.value::<i64>("SELECT count(*) FROM public.fresh")? == before);
    ensure!(world.does(&["timescale"])?.lines().count() == 7);
    world.field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn an_append_table_becomes_a_hypertable_in_place_and_has_each_row_once_afterwards() -> Result<()> {
    let mut cluster = PostgresCluster::start(Flavour::Plain)?;
    let field = Field::new(append::SCHEMA, Some(cluster.create_database("weir")?))?;
    field.migrate()?;
    load_timescaledb(&mut cluster)?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    let file = station.open()?;
    file.execute_batch(
        "INSERT INTO event (what) VALUES ('opened');
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 200)
         INSERT INTO level (at, height) SELECT datetime('2026-01-01', n || ' days'), n % 7 FROM n",
    )?;
    push(&station)?;
    let upstream = cluster.connect("weir")?;
    let before = append::rows(&upstream, "level")?;
    let optimize = |args: &[&str]| Ok::<_, anyhow::Error>(field.server_command(args)?.success()?.stdout);
    let plan: Json = serde_json::from_str(&optimize(&["optimize", "--plan", "--json"])?)?;
    let why = serde_json::json!(["no unique index to copy its rows by"]);
    ensure!(plan["tables"].as_array().is_some_and(|tables| tables.len() == 1), "{plan}");
    ensure!(plan["tables"][0]["table"] == "level" && plan["tables"][0]["in_place_for"] == why, "{plan}");
    optimize(&["optimize"])?;
    ensure!(before.len() == 200 && append::rows(&upstream, "level")? == before);
    let chunks = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'level'";
    ensure!(upstream.value::<i64>(chunks)? > 5);
    // The server that ran all the while goes on. Rows that are sent again are found in their chunks.
    file.execute_batch(
        "INSERT OR REPLACE INTO level SELECT * FROM level WHERE id BETWEEN 40 AND 90;
         INSERT INTO level (at, height) VALUES ('2026-02-01', 1), ('2026-10-01', 2)",
    )?;
    push(&station)?;
    ensure!(append::rows(&upstream, "level")?.len() == 202);
    field.assert_upstream_equals(&[&station])?;
    station.run(&["verify"])?.success()?;
    drop(field.serve()?);
    ensure!(optimize(&["optimize"])?.contains("there was nothing to make a hypertable of"));
    ensure!(optimize(&["test"])?.lines().all(|line| line.starts_with("ok ") || line.starts_with("warn ")));
    Ok(())
}

#[test]
fn without_timescaledb_optimize_says_what_is_missing() -> Result<()> {
    let world = World::new(Kind::Plain)?;
    world.tool(&["optimize"])?.fails_saying(&["no hypertables made", "shared_preload_libraries"])?;
    let world = World::new(Kind::Embedded)?;
    ensure!(world.does(&["optimize"])?.contains("statistics renewed"));
    Ok(())
}
