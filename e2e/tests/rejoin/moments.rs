//! When a rejoin happens: killed, unanswered, twice at once, under a daemon that runs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::EXIT_UNREACHABLE;
use tidemark_e2e::lives::Life;
use tidemark_e2e::proxy::{Act, Proxy};
use tidemark_e2e::world::{pause, wait_for};

use super::{World, add, copy_file, forked, former, rejects};

#[test]
fn a_rejoin_killed_at_any_moment_is_done_by_the_same_command_again() -> Result<()> {
    let mut world = World::new(None)?;
    let (station, lost, backup) = forked(&mut world)?;
    let code = world.code("one again", Some("one"))?;
    let url = world.server.url();
    let mut kills = 0;
    for delay_ms in [1, 3, 5, 8, 12, 16, 20, 25, 30, 40] {
        let mut rejoin = station.start(&["rejoin", &code, "--server", &url])?;
        pause(Duration::from_millis(delay_ms));
        kills += u32::from(!rejoin.has_ended()?);
        rejoin.kill()?;
    }
    println!("{kills} of 10 kills met a running rejoin");
    ensure!(kills >= 3, "only {kills} kills met a running rejoin");
    for _ in 0..2 {
        station.run(&["rejoin", &code, "--server", &url])?.success()?;
        ensure!(station.number()? == 2, "the same code gives the same number");
    }
    world.push(&station)?;
    world.equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    Ok(())
}

#[test]
fn a_rejoin_whose_answers_are_lost_is_repaired_by_asking_again() -> Result<()> {
    for path in ["/v1/history", "/v1/rejoin"] {
        let mut world = World::new(None)?;
        let (station, lost, backup) = forked(&mut world)?;
        let proxy = Proxy::start_for(path, world.server.address)?;
        let code = world.code("one again", Some("one"))?;
        for fault in
            [Act::DropReply, Act::CutReply(40), Act::Close, Act::Answer(500), Act::Answer(503), Act::CutBody(20)]
        {
            proxy.script([fault.clone()]);
            let ended = station.run(&["rejoin", &code, "--server", &proxy.url()])?;
            // A request without a body has none that could be cut.
            if ended.code != Some(0) {
                ended.expect_code(EXIT_UNREACHABLE).with_context(|| format!("{fault:?}"))?;
            }
        }
        proxy.script([Act::Pass]);
        station.run(&["rejoin", &code, "--server", &proxy.url()])?.success()?;
        ensure!(station.number()? == 2, "{path}: every request was of the same station");
        world.push(&station)?;
        world
            .equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    }
    Ok(())
}

#[test]
fn two_rejoins_at_once_make_one_station() -> Result<()> {
    let mut world = World::new(None)?;
    let (station, lost, backup) = forked(&mut world)?;
    let code = world.code("one again", Some("one"))?;
    let url = world.server.url();
    let both = [0; 2].map(|_| station.start(&["rejoin", &code, "--server", &url]));
    for rejoin in both {
        let ended = rejoin?.wait()?;
        ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{}", ended.output());
    }
    station.run(&["rejoin", &code, "--server", &url])?.success()?;
    ensure!(station.number()? == 2);
    world.push(&station)?;
    world.equal(&[Life::of(&lost, 1), Life { file: &station.file, number: 2, former: former(1, &backup, true) }])?;
    Ok(())
}

#[test]
fn a_deliberate_copy_takes_a_number_of_its_own_under_a_running_daemon() -> Result<()> {
    let mut world = World::new(None)?;
    let station = world.station("template")?;
    world.record(&station, 10)?;
    world.push(&station)?;
    let copied = world.copy(&station)?;
    let twin = station.with_file(world.field.folder().join("template/twin.db"));
    copy_file(&copied, &twin.file)?;
    let code = world.code("two", None)?;
    let url = world.server.url();
    twin.run(&["rejoin", &code, "--server", &url])?.fails_saying(&["not forked", "--force"])?;
    let daemon = twin.start(&["run"])?;
    wait_for("the daemon to watch", Duration::from_secs(20), || {
        Ok(daemon.output_so_far().contains("watches").then_some(()))
    })?;
    twin.run(&["rejoin", &code, "--force", "--server", &url])?.success()?;
    add(&twin, "twin", 12)?;
    add(&station, "original", 7)?;
    world.push(&station)?;
    wait_for("the daemon to push as the new station", Duration::from_secs(30), || {
        Ok((twin.waiting()? == 0).then_some(()))
    })?;
    daemon.terminate()?.success()?;
    ensure!(twin.number()? == 2 && rejects(&twin)?.is_empty());
    world.equal(&[
        Life::of(&station.file, 1),
        Life { file: &twin.file, number: 2, former: former(1, &copied, false) },
    ])?;
    Ok(())
}
