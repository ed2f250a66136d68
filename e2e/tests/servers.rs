//! Several servers before one database, several stations before them: the cursor row orders each station's batches.

use anyhow::{Context as _, Result, anyhow, ensure};
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field};
use tidemark_e2e::postgres::{Flavour, PostgresCluster};
use tidemark_e2e::proxy::{Act, Proxy};
use tidemark_e2e::world::Dice;

#[test]
fn two_servers_on_one_database_apply_each_row_once() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let mut field = Field::shrinkage(Some(cluster.create_database("pair")?))?;
    field.serve_args = vec!["--batch-rows-max".into(), "200".into()];
    field.migrate()?;
    let (first, second) = (field.serve()?, field.serve()?);
    let proxy = Proxy::start(first.address)?;
    let names = ["a", "b", "c", "d"];
    let stations = names.iter().map(|name| field.join_station(name, &proxy.url())).collect::<Result<Vec<_>>>()?;
    let mut dice = Dice::from_env();
    for round in 0..6 {
        for station in &stations {
            station.record(&mut dice, 60)?;
        }
        // Requests are repeated while the way leads now to the one server, now to the other.
        proxy.script([Act::RepeatAtOnce, Act::Repeat, Act::DropReply, Act::Pass, Act::RepeatAtOnce]);
        std::thread::scope(|scope| -> Result<()> {
            let pushes: Vec<_> = stations.iter().map(|station| scope.spawn(|| station.push_until_drained())).collect();
            while pushes.iter().any(|push| !push.is_finished()) {
                proxy.lead_to(if dice.below(2) == 0 { first.address } else { second.address });
                std::thread::yield_now();
            }
            pushes.into_iter().try_for_each(|push| {
                push.join()
                    .map_err(|_| anyhow!("a push panicked"))?
                    .map(|_| ())
                    .with_context(|| format!("round {round}"))
            })
        })?;
    }
    let stations: Vec<_> = stations.iter().collect();
    println!("{} pushes over two servers", proxy.exchanges().len());
    field.assert_upstream_equals(&stations)?;
    Ok(())
}

#[test]
fn two_pushes_of_one_file_at_once_apply_each_row_once() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Timescale)?;
    let mut field = Field::shrinkage(Some(cluster.create_database("twins")?))?;
    field.serve_args = vec!["--batch-rows-max".into(), "100".into()];
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("twin", &server.url())?;
    let mut dice = Dice::new(6);
    for _ in 0..5 {
        station.record(&mut dice, 100)?;
        let (one, two) = (station.start(&["push"])?, station.start(&["push"])?);
        for push in [one, two] {
            let ended = push.wait()?;
            ensure!(matches!(ended.code, Some(0 | EXIT_UNREACHABLE)), "{ended:?}");
        }
        station.push_until_drained()?;
        field.assert_upstream_equals(&[&station])?;
    }
    Ok(())
}

#[test]
fn plain_postgresql_holds_the_same_and_the_server_says_so() -> Result<()> {
    let cluster = PostgresCluster::shared(Flavour::Plain)?;
    let field = Field::shrinkage(Some(cluster.create_database("plain")?))?;
    let migrated = field.server_command(&["migrate", "up"])?.success()?;
    let server = field.serve()?;
    let station = field.join_station("one", &server.url())?;
    station.record(&mut Dice::new(7), 50)?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    let said = format!("{}{}", migrated.output(), server.process.terminate()?.success()?.output());
    ensure!(said.contains("TimescaleDB"), "no word about the missing TimescaleDB:\n{said}");
    Ok(())
}
