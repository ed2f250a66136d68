//! Where a rejoin ends: what is waited for, refused, or cannot be told any more.

use std::time::Duration;

use anyhow::{Result, ensure};
use tidemark_e2e::field::{EXIT_UNREACHABLE, Station};
use tidemark_e2e::lives::Life;
use tidemark_e2e::proxy::{Act, Proxy};
use tidemark_e2e::world::{pause, wait_for};

use super::{World, add, copy_file, forked, former, rejects};

#[test]
fn what_may_still_arrive_under_the_old_number_is_waited_for() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("one")?;
    world.record(&station, 5)?;
    world.push(&station)?;
    world.record(&station, 5)?;
    let proxy = Proxy::start(world.server.address)?;
    station.open()?.execute("UPDATE tidemark_station SET server = ?1", [proxy.url()])?;
    // Sent, and lost before the server: whether it arrives is not known here.
    proxy.script([Act::Close, Act::Close, Act::Close, Act::Close]);
    station.run(&["push"])?.expect_code(EXIT_UNREACHABLE)?;
    let copied = world.copy(&station)?;
    let twin = station.with_file(world.field.folder().join("one/twin.db"));
    copy_file(&copied, &twin.file)?;
    add(&twin, "twin", 3)?;
    let code = world.code("two", None)?;
    let url = world.server.url();
    let rejoin = ["rejoin", &code, "--force", "--server", &url];
    twin.run(&rejoin)?.fails_saying(&["may still be applied", "copy that keeps the number"])?;
    world.push(&station)?;
    twin.run(&rejoin)?.success()?;
    world.push(&twin)?;
    world.equal(&[
        Life::of(&station.file, 1),
        Life { file: &twin.file, number: 2, former: former(1, &copied, false) },
    ])?;
    Ok(())
}

#[test]
fn a_rejoin_that_would_double_or_guess_is_refused_with_what_to_do() -> Result<()> {
    let mut world = World::new(None)?;
    let url = world.server.url();
    let stranger = world.field.init_station("stranger")?;
    let any = world.code("any", None)?;
    stranger.run(&["rejoin", &any, "--server", &url])?.fails_saying(&["has not joined", "tidemark join"])?;

    let (station, _, _) = forked(&mut world)?;
    let before = world.copy(&station)?;
    let list = ["station", "add", "x", "--replaces", "nobody"];
    world.field.server_command(&list)?.fails_saying(&["no station \"nobody\""])?;
    let code = world.code("one again", Some("one"))?;
    stranger.run(&["join", &code, "--server", &url])?.fails_saying(&["station \"one\"", "tidemark rejoin"])?;
    let other = world.station("other")?;
    other.record(&mut world.dice, 3)?;
    other.run(&["rejoin", "--force", &code, "--server", &url])?.fails_saying(&["station \"one\""])?;
    station.run(&["rejoin", &code, "--server", &url])?.success()?;
    world.push(&station)?;
    other.run(&["rejoin", "--force", &code, "--server", &url])?.fails_saying(&["station \"one\""])?;

    // The file as it was before it rejoined is put back: what it would send went on already.
    copy_file(&before, &station.file)?;
    station.run(&["push"])?.fails_saying(&["replaced by \"one again\"", "tidemark rejoin", "nothing is lost"])?;
    let third = world.code("third", None)?;
    let waiting = station.waiting()?;
    station.run(&["rejoin", &third, "--server", &url])?.fails_saying(&["\"one again\"", "double"])?;
    ensure!(station.waiting()? == waiting && station.number()? == 1, "the file is what it was");
    let gone = ["station", "add", "y", "--replaces", "one"];
    world.field.server_command(&gone)?.fails_saying(&["replaced already"])?;
    Ok(())
}

#[test]
fn where_the_server_kept_no_prints_a_rejoin_is_exact_or_refused() -> Result<()> {
    let mut world = World::new(None)?;
    let (station, lost, backup) = forked(&mut world)?;
    let upstream = rusqlite::Connection::open(world.field.folder().join("upstream.db"))?;
    upstream.busy_timeout(Duration::from_secs(20))?;
    upstream.execute_batch("CREATE TABLE kept AS SELECT * FROM tidemark_history; DELETE FROM tidemark_history")?;
    let code = world.code("one again", Some("one"))?;
    let url = world.server.url();
    let waiting = station.waiting()?;
    station.run(&["rejoin", &code, "--server", &url])?.fails_saying(&["before it kept any", "tidemark init"])?;
    ensure!(station.waiting()? == waiting && station.number()? == 1, "the file is what it was");
    upstream.execute_batch("INSERT INTO tidemark_history SELECT * FROM kept; DROP TABLE kept")?;
    station.run(&["rejoin", &code, "--server", &url])?.success()?;
    world.push(&station)?;
    world.equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    Ok(())
}

#[test]
fn a_server_put_back_to_an_older_state_gets_the_rows_again() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("one")?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let upstream = world.field.folder().join("upstream.db");
    let address = world.server.address;
    world.server.process.kill()?;
    let backup = world.field.folder().join("upstream-backup.db");
    copy_file(&upstream, &backup)?;
    world.server = world.field.serve_on(address)?;
    add(&station, "lost upstream", 20)?;
    station.open()?.execute_batch("UPDATE models SET description = 'later' WHERE id = 1")?;
    world.push(&station)?;
    world.server.process.kill()?;
    copy_file(&backup, &upstream)?;
    world.server = world.field.serve_on(address)?;
    add(&station, "more", 3)?;
    station.run(&["push"])?.fails_saying(&["forked: ", "it has lost changes"])?;
    let copied = world.copy(&station)?;
    world.rejoin(&station, "one again", Some("one"))?;
    world.push(&station)?;
    ensure!(rejects(&station)?.is_empty(), "{:?}", rejects(&station)?);
    world.equal(&[Life::of(&copied, 1), Life { file: &station.file, number: 2, former: former(1, &copied, true) }])?;
    Ok(())
}

/// What the server kept of changes for as long as it was told, and no longer: a rejoin is exact as far as that goes,
/// and says where it ends.
#[test]
fn an_older_file_is_told_what_cannot_be_told_any_more() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("kama")?;
    world.record(&station, 5)?;
    world.push(&station)?;
    let late = world.station("lena")?;
    world.record(&late, 5)?;
    world.push(&late)?;
    // One copy has changes that its original pushes, too, after it was made; the other was made when everything was
    // pushed.
    world.record(&station, 5)?;
    let (old, level) = (world.copy(&station)?, world.copy(&late)?);
    let many = |station: &Station| -> Result<()> {
        station.open()?.execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10100)
             INSERT INTO nomenclature (name) SELECT 'fish ' || n FROM n",
        )?;
        Ok(())
    };
    world.push(&station)?;
    for station in [&station, &station, &late] {
        many(station)?;
        world.push(station)?;
    }
    let batches = |world: &World| -> Result<i64> {
        let upstream = rusqlite::Connection::open(world.field.folder().join("upstream.db"))?;
        Ok(upstream.query_row("SELECT count(*) FROM tidemark_history", [], |row| row.get(0))?)
    };
    let before = batches(&world)?;
    // The server starts again, and keeps a second's worth.
    pause(Duration::from_millis(1500));
    world.field.serve_args.extend(["--keep".to_owned(), "1s".to_owned()]);
    world.server = world.field.serve()?;
    wait_for("the old prints go", Duration::from_secs(20), || Ok((batches(&world)? < before).then_some(())))?;

    // Exact, wherever the prints reach: the copy's own tidemark is where its history parts.
    let level = late.with_file(level);
    world.record(&level, 2)?;
    level.run(&["server", &world.server.url()])?.success()?;
    level.run(&["push"])?.fails_saying(&["rejoin"])?;
    world.rejoin(&level, "lena beside", None)?;
    world.push(&level)?;
    // Where they do not, it says so, and changes nothing.
    let old = station.with_file(old);
    let waiting = old.waiting()?;
    world.record(&old, 2)?;
    let code = world.code("kama beside", None)?;
    let refused = old.run(&["rejoin", &code, "--server", &world.server.url()])?;
    refused.fails_saying(&[
        "has no prints of those changes",
        "longer ago than it keeps prints",
        "Nothing was changed",
    ])?;
    ensure!(old.waiting()? > waiting && old.number()? == 1);
    Ok(())
}
