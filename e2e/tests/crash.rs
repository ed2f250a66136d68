//! SIGKILL at any moment: the server, the station, PostgreSQL. Afterwards upstream is what the stations wrote, once.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::compare::Upstream;
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::postgres::{Flavour, PgClient, PostgresCluster};
use tidemark_e2e::process::{Running, ServerProcess};
use tidemark_e2e::proxy::{Act, Gate, Proxy};
use tidemark_e2e::world::{Dice, pause, wait_for};

/// Small batches, so that a push has many moments to be killed at.
const SMALL_BATCHES: &[&str] = &["--batch-rows-max", "300"];

fn field(database: Option<String>) -> Result<Field> {
    let mut field = Field::shrinkage(database)?;
    field.serve_args = SMALL_BATCHES.iter().map(ToString::to_string).collect();
    field.migrate()?;
    Ok(field)
}

/// Waits a random while, at most `limit_ms`, or until the push has ended. Returns whether it is still running.
pub fn still_pushing(push: &mut Running, dice: &mut Dice, limit_ms: u64) -> Result<bool> {
    pause(Duration::from_millis(dice.below(limit_ms)));
    Ok(!push.has_ended()?)
}

/// Rounds of killing, until so many kills have met a running push.
pub struct Kills {
    wanted: u32,
    rounds_max: u32,
    met: u32,
    /// The round that goes on.
    pub round: u32,
}

impl Kills {
    pub const fn of(wanted: u32, rounds_max: u32) -> Self {
        Self { wanted, rounds_max, met: 0, round: 0 }
    }

    /// Begins another round, if one is needed.
    pub fn go_on(&mut self) -> Result<bool> {
        let Self { wanted, rounds_max, met, round } = *self;
        if met >= wanted {
            println!("{met} of {round} kills met a running push");
            return Ok(false);
        }
        self.round += 1;
        ensure!(self.round < rounds_max, "only {met} of {} kills met a push", self.round);
        Ok(true)
    }

    /// Whether the kill of this round met a running push.
    pub fn count(&mut self, met: bool) {
        self.met += u32::from(met);
    }
}

fn killing_the_server_mid_push(database: Option<String>) -> Result<()> {
    let field = field(database)?;
    let mut server = field.serve()?;
    let address = server.address;
    let station = field.join_station("one", &server.url())?;
    let mut dice = Dice::from_env();
    let mut kills = Kills::of(8, 40);
    while kills.go_on()? {
        station.record(&mut dice, 250)?;
        let mut push = station.start(&["push"])?;
        let met = still_pushing(&mut push, &mut dice, 350)?;
        server.process.kill()?;
        let ended = push.wait()?;
        ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{ended:?}");
        server = field.serve_on(address)?;
        kills.count(met);
    }
    station.push_until_drained()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn a_server_killed_mid_push_loses_and_doubles_nothing_in_the_embedded_upstream() -> Result<()> {
    killing_the_server_mid_push(None)
}

#[test]
fn a_server_killed_mid_push_loses_and_doubles_nothing_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    killing_the_server_mid_push(Some(cluster.create_database("crash")?))
}

#[test]
fn a_station_killed_mid_push_loses_and_doubles_nothing() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let field = field(Some(cluster.create_database("crash")?))?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let mut dice = Dice::from_env();
    let mut kills = Kills::of(12, 60);
    while kills.go_on()? {
        station.record(&mut dice, 200)?;
        let mut push = station.start(&["push"])?;
        let met = still_pushing(&mut push, &mut dice, 300)?;
        push.kill()?;
        kills.count(met);
    }
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn a_station_killed_between_commit_and_ack_finds_its_changes_applied() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let proxy = Proxy::start(server.address)?;
    let station = field.join_station("one", &proxy.url())?;
    let mut dice = Dice::new(4);
    for round in 0..5 {
        station.record(&mut dice, 30)?;
        let waiting = station.waiting()?;
        let gate = Gate::new();
        proxy.script([Act::HoldReply(gate.clone())]);
        let push = station.start(&["push"])?;
        gate.wait_until_held(Duration::from_secs(30))?;
        push.kill()?;
        gate.open();
        ensure!(station.waiting()? == waiting, "the ack never came, so nothing may leave the log");
        let table = field.schema().table("forecasts").context("the schema has forecasts")?;
        let upstream = Upstream::open(&field.database)?.count(field.schema(), table)?;
        ensure!(upstream > 0, "the server had committed before it answered");
        // Not every round says more before it pushes again: the very same batch, and a longer one.
        if round % 2 == 0 {
            station.record(&mut dice, 5)?;
        }
        station.run(&["push"])?.success()?;
        field.assert_upstream_equals(&[&station])?;
    }
    Ok(())
}

/// A field on TimescaleDB in the middle of an apply: the transaction has locked its cursor and waits for a table.
struct MidApply {
    cluster: PostgresCluster,
    field: Field,
    server: ServerProcess,
    station: Station,
    push: Running,
    blocker: PgClient,
}

fn mid_apply() -> Result<MidApply> {
    let cluster = PostgresCluster::start(Flavour::Timescale)?;
    let field = field(Some(cluster.create_database("crash")?))?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    station.record(&mut Dice::new(5), 60)?;
    let blocker = cluster.connect("crash")?;
    blocker.batch("BEGIN; LOCK TABLE shrinkage.forecasts IN ACCESS EXCLUSIVE MODE")?;
    let push = station.start(&["push"])?;
    let admin = cluster.admin("crash")?;
    wait_for("the apply to reach the locked table", Duration::from_secs(30), || {
        let waiting: i64 = admin.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'crash' AND wait_event_type = 'Lock' AND state = 'active'",
        )?;
        Ok((waiting > 0).then_some(()))
    })?;
    Ok(MidApply { cluster, field, server, station, push, blocker })
}

#[test]
fn a_server_killed_mid_apply_leaves_nothing_half_done() -> Result<()> {
    let MidApply { cluster, field, server, station, push, blocker } = mid_apply()?;
    let address = server.address;
    server.process.kill()?;
    blocker.batch("ROLLBACK")?;
    let ended = push.wait()?;
    ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{ended:?}");
    let _server = field.serve_on(address)?;
    station.push_until_drained()?;
    field.assert_upstream_equals(&[&station])?;
    drop(cluster);
    Ok(())
}

#[test]
fn postgres_killed_mid_apply_loses_and_doubles_nothing() -> Result<()> {
    let MidApply { mut cluster, field, server: _server, station, push, blocker: _ } = mid_apply()?;
    cluster.kill_hard()?;
    // The station may still be trying; give it the database back while it does.
    cluster.restart()?;
    let ended = push.wait()?;
    ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{ended:?}");
    station.push_until_drained()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn postgres_killed_at_random_moments_loses_and_doubles_nothing() -> Result<()> {
    let mut cluster = PostgresCluster::start(Flavour::Timescale)?;
    let field = field(Some(cluster.create_database("crash")?))?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    let mut dice = Dice::from_env();
    let mut kills = Kills::of(4, 30);
    while kills.go_on()? {
        station.record(&mut dice, 300)?;
        let mut push = station.start(&["push"])?;
        let met = still_pushing(&mut push, &mut dice, 400)?;
        cluster.kill_hard()?;
        cluster.restart()?;
        let ended = push.wait()?;
        ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{ended:?}");
        kills.count(met);
    }
    station.push_until_drained()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_whatever_the_database_was_set_to() -> Result<()> {
    let mut cluster = PostgresCluster::start(Flavour::Timescale)?;
    let field = field(Some(cluster.create_database("durable")?))?;
    // Commits that are not waited for, and a writer that hardly ever writes: all of it would be lost.
    let admin = cluster.admin("postgres")?;
    admin.execute("ALTER DATABASE durable SET synchronous_commit = off", &[])?;
    admin.execute("ALTER SYSTEM SET wal_writer_delay = '10s'", &[])?;
    admin.execute("ALTER SYSTEM SET wal_writer_flush_after = '1GB'", &[])?;
    admin.execute("SELECT pg_reload_conf()", &[])?;
    drop(admin);
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    for round in 0..3 {
        station.record(&mut Dice::new(round), 10)?;
        station.run(&["push"])?.success()?;
        cluster.kill_hard()?;
        cluster.restart()?;
        field.assert_upstream_equals(&[&station]).with_context(|| format!("round {round}"))?;
    }
    Ok(())
}

#[test]
fn a_running_station_outlives_everything_and_drains_by_itself() -> Result<()> {
    let field = field(None)?;
    let mut server = field.serve()?;
    let address = server.address;
    let proxy = Proxy::start(address)?;
    let station = field.join_station("daemon", &proxy.url())?;
    let mut dice = Dice::from_env();
    let mut daemon = station.start(&["run"])?;
    for round in 0..4 {
        proxy.script([Act::CutBody(1000), Act::DropReply]);
        station.record(&mut dice, 40)?;
        pause(Duration::from_millis(dice.below(300)));
        if round % 2 == 0 {
            server.process.kill()?;
            pause(Duration::from_millis(dice.below(300)));
            server = field.serve_on(address)?;
        } else {
            daemon.kill()?;
            daemon = station.start(&["run"])?;
        }
    }
    wait_for("the log to drain by itself", Duration::from_secs(60), || Ok((station.waiting()? == 0).then_some(())))?;
    // What another program commits is noticed within a second, and pushed.
    let at_rest = tidemark_e2e::world::now();
    station.open()?.execute("INSERT INTO models (name) VALUES ('замечено')", [])?;
    wait_for("the daemon to push a single row", Duration::from_secs(10), || {
        Ok((station.waiting()? == 0).then_some(()))
    })?;
    println!("a row of another program was upstream after {} ms", at_rest.elapsed().as_millis());
    daemon.terminate()?.success().context("SIGTERM ends the daemon cleanly")?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}
