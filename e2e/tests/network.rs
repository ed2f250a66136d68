//! Networks that lose replies, cut messages and repeat requests: upstream has every row once all the same.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::proxy::{Act, Proxy};
use tidemark_e2e::world::Dice;

/// Every way in which an exchange can fail, each met by one push of new changes.
fn every_fault_of_the_network_leaves_each_row_once(database: Option<String>) -> Result<()> {
    let field = Field::shrinkage(database)?;
    field.migrate()?;
    let server = field.serve()?;
    let proxy = Proxy::start(server.address)?;
    let stations = [field.join_station("север", &proxy.url())?, field.join_station("south", &proxy.url())?];
    let mut dice = Dice::from_env();
    let faults = [
        Act::DropReply,
        Act::CutBody(0),
        Act::CutBody(1),
        Act::CutBody(152),
        Act::CutBody(2000),
        Act::CutReply(0),
        Act::CutReply(30),
        Act::CutReply(220),
        Act::Repeat,
        Act::RepeatAtOnce,
        Act::Close,
        Act::Answer(502),
        Act::Answer(503),
        Act::Answer(413),
    ];
    for fault in faults {
        for station in &stations {
            station.record(&mut dice, 25)?;
            proxy.script([fault.clone(), fault.clone()]);
            let runs = station.push_until_drained().with_context(|| format!("{fault:?}"))?;
            // A repeated request is a success for the station, so its second act is still to come.
            station.record(&mut dice, 1)?;
            while proxy.acts_left() > 0 {
                station.push_until_drained().with_context(|| format!("{fault:?}"))?;
                station.record(&mut dice, 1)?;
            }
            station.push_until_drained()?;
            println!("{fault:?}: drained after {runs} runs of push");
        }
        field.assert_upstream_equals(&stations.each_ref()).with_context(|| format!("after {fault:?}"))?;
    }
    let exchanges = proxy.exchanges();
    println!(
        "{} pushes, {} of them with a fault",
        exchanges.len(),
        exchanges.iter().filter(|e| !matches!(e.act, Act::Pass)).count()
    );
    ensure!(exchanges.iter().filter(|e| !matches!(e.act, Act::Pass)).count() == 14 * 2 * 2);
    Ok(())
}

#[test]
fn every_fault_of_the_network_leaves_each_row_once_in_the_embedded_upstream() -> Result<()> {
    every_fault_of_the_network_leaves_each_row_once(None)
}

#[test]
fn every_fault_of_the_network_leaves_each_row_once_in_timescaledb() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    every_fault_of_the_network_leaves_each_row_once(Some(cluster.create_database("network")?))
}

#[test]
fn a_join_whose_reply_is_lost_is_repaired_by_joining_again() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let proxy = Proxy::start_for("/v1/join", server.address)?;
    let station = field.init_station("lost")?;
    let code = field.add_station("lost")?;
    proxy.script([Act::DropReply]);
    let lost = station.run(&["join", &code, "--server", &proxy.url()])?;
    // It may have asked again by itself; otherwise a person does.
    if lost.code != Some(0) {
        lost.expect_code(EXIT_UNREACHABLE)?;
        station.run(&["join", &code, "--server", &proxy.url()])?.success()?;
    }
    ensure!(station.number()? == 1, "the second answer names the same station");
    let list = field.server_command(&["station", "list"])?.success()?;
    ensure!(list.stdout.matches("lost").count() == 1, "{}", list.stdout);
    station.record(&mut Dice::new(1), 10)?;
    station.push_until_drained()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

#[test]
fn a_lost_answer_to_where_do_we_stand_is_asked_again() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let proxy = Proxy::start_for("/v1/station", server.address)?;
    let station = field.join_station("asking", &proxy.url())?;
    for fault in [Act::DropReply, Act::CutReply(40), Act::Close, Act::Answer(500), Act::Answer(503)] {
        station.record(&mut Dice::new(2), 10)?;
        // A station asks when its file is marked as forked: the server's word may lift the mark.
        station.open()?.execute("UPDATE tidemark_station SET forked = 'in doubt'", [])?;
        proxy.script([fault.clone()]);
        station.push_until_drained()?;
        ensure!(proxy.acts_left() == 0, "{fault:?} met no request");
        field.assert_upstream_equals(&[&station])?;
    }
    Ok(())
}

#[test]
fn an_unreachable_server_costs_nothing_but_exit_code_75() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let address: SocketAddr = server.address;
    let station = field.join_station("alone", &server.url())?;
    server.process.kill()?;
    station.record(&mut Dice::new(3), 10)?;
    let before = station.waiting()?;
    let ended = station.run(&["push"])?.expect_code(EXIT_UNREACHABLE)?;
    ensure!(ended.stderr.contains(&address.to_string()), "the message names the server: {}", ended.output());
    ensure!(station.waiting()? == before, "nothing left the log");
    let _server = field.serve_on(address)?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}
