//! The siege itself is `scripts/siege`, a part of scripts/test. Here: that it would see what it looks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use tidemark_e2e::postgres::{Flavour, PgClient};
use tidemark_e2e::siege::attack::{ATTACKS, Cast};
use tidemark_e2e::siege::good::Lived;
use tidemark_e2e::siege::log::Table;
use tidemark_e2e::siege::peer::{Battle, Drip, End, Fate, Source};
use tidemark_e2e::siege::report::{Outcome, Peers};
use tidemark_e2e::siege::site::Site;
use tidemark_e2e::siege::station::Station;
use tidemark_e2e::siege::watch::{Answered, Meter};
use tidemark_e2e::world::now;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[test]
fn the_siege_finds_rows_that_are_lost_doubled_or_nobodys() -> Result<()> {
    let site = Site::start(Flavour::Timescale, &[], false)?;
    let runtime = runtime()?;
    let members = runtime.block_on(site.join("one", 2))?;
    let mut station = Station::new(&members[0], site.schema(), site.door().clone(), Table::Reading)?;
    for _ in 0..3 {
        runtime.block_on(station.push(20))?;
    }
    ensure!(site.check([&station.log].into_iter())? == 60);
    let number = station.log.number();
    let columns = "id, measured_at, level, note, station";
    let double = format!(
        "INSERT INTO siege.reading ({columns}) SELECT id, measured_at + interval '1 year', level, note, station
         FROM siege.reading WHERE note = 'row 7'"
    );
    let foreign = format!(
        "INSERT INTO siege.reading ({columns}) SELECT id + 1000, measured_at, level, note, station
         FROM siege.reading WHERE note = 'row 7'"
    );
    let plants = [
        ("DELETE FROM siege.reading WHERE note = 'row 60'", "INSERT INTO siege.reading TABLE kept"),
        ("DELETE FROM siege.reading WHERE note = 'row 7'", "INSERT INTO siege.reading TABLE kept"),
        (&double, "DELETE FROM siege.reading WHERE measured_at > now() + interval '100 days'"),
        (&foreign, "DELETE FROM siege.reading WHERE id NOT IN (SELECT id FROM everything)"),
    ];
    let database = PgClient::connect_url(site.database())?;
    database.batch("CREATE TABLE everything AS TABLE siege.reading")?;
    for (plant, undo) in plants {
        database.batch("CREATE TABLE kept AS TABLE siege.reading WITH NO DATA")?;
        if let Some(at) = plant.strip_prefix("DELETE FROM siege.reading ") {
            database.batch(&format!("INSERT INTO kept SELECT * FROM siege.reading {at}"))?;
        }
        ensure!(database.execute(plant, &[])? == 1, "planted nothing: {plant}");
        let found = site.check([&station.log].into_iter());
        let says = found.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(says.contains(&format!("station {number}: 60 rows of reading were acknowledged")), "{plant}: {says:?}");
        ensure!(database.execute(undo, &[])? == 1, "undid nothing: {undo}");
        database.batch("DROP TABLE kept")?;
        ensure!(site.check([&station.log].into_iter())? == 60, "after {undo}");
    }
    // A station that was told of nothing, in either table.
    let other = members[1].number;
    for (table, values) in [("reading", "now(), 1, 'x'"), ("remark", "'x'")] {
        database
            .batch(&format!("INSERT INTO siege.{table} VALUES (({other}::bigint << 32) + 1, {values}, {other})"))?;
        let found = site.check([&station.log].into_iter());
        let says = found.err().map(|error| format!("{error:#}")).unwrap_or_default();
        let wanted = format!("station {other}: none of its rows of {table} was acknowledged, Rows {{ rows: 1");
        ensure!(says.contains(&wanted), "{table}: {says:?}");
        database.batch(&format!("DELETE FROM siege.{table} WHERE station = {other}"))?;
        ensure!(site.check([&station.log].into_iter())? == 60, "after {table}");
    }
    site.end()
}

#[test]
fn questions_about_rows_are_asked_while_the_greedy_station_pushes() -> Result<()> {
    let site = Site::start(Flavour::Timescale, &[], false)?;
    let attack = ATTACKS.into_iter().find(|attack| attack.name == "digests").context("there is no such attack")?;
    runtime()?.block_on(async {
        let cast = Arc::new(Cast::join(&site).await?);
        let _pushing = cast.greedy.lock().await;
        let battle = Arc::new(Battle::new(site.door().clone(), attack.source, now() + Duration::from_secs(60), 1.0));
        let course = tokio::spawn(attack.begin(Arc::clone(&battle), Arc::clone(&cast)));
        while !battle.is_over() && !battle.answers().contains_key(&Some(200)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        course.abort();
        ensure!(battle.answers().contains_key(&Some(200)), "nothing was asked: {:?}", battle.answers());
        Ok(())
    })?;
    site.end()
}

/// An attack of three peers on a server that accepts, and treats each connection as the function says.
fn attack(cuts: bool) -> Result<Vec<Fate>> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let server = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = [0; 64];
                if cuts && stream.read(&mut bytes).await.is_ok() {
                    let _ = stream.write_all(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n").await;
                } else {
                    held.push(stream);
                }
            }
        });
        let battle = Arc::new(Battle::new(server, Source::One, now() + Duration::from_millis(1500), 1.0));
        let every = Duration::from_millis(50);
        let drip = Drip { first: Bytes::from_static(b"GET"), then: Bytes::from_static(b" "), every, hears: true };
        battle.peers(3, None, move |stream, _| drip.clone().live(stream)).await;
        serving.abort();
        Ok(battle.fates())
    })
}

#[test]
fn a_peer_notes_whether_it_was_cut() -> Result<()> {
    let (cut, held) = (attack(true)?, attack(false)?);
    ensure!(cut.len() >= 3 && cut.iter().all(|fate| fate.end == End::Cut(Some(408))), "{cut:?}");
    ensure!(held.len() == 3 && held.iter().all(|fate| fate.end == End::Held), "{held:?}");
    Ok(())
}

/// An attack in which nothing was wrong.
fn fine() -> Outcome {
    let answered = Answered { asked: 10, slowest: Duration::from_millis(20), ..Answered::default() };
    let mut meter = Meter::start(std::process::id());
    meter.rss_peak = 100 << 20;
    let cut = Fate { lived: Duration::from_secs(10), end: End::Cut(None) };
    let peers = Peers {
        name: "slow",
        source: Source::One.shown(),
        cut_within: Some(Duration::from_secs(20)),
        fates: vec![cut],
        answers: BTreeMap::new(),
        failure: None,
    };
    Outcome {
        took: Duration::from_secs(20),
        good: Lived { rows_per_s: 100.0, took: vec![Duration::from_millis(10)], repeated: 0 },
        calm_rows_per_s: 100.0,
        health: answered,
        ready: answered,
        meter,
        log_lines: 0,
        settled: Duration::ZERO,
        drained: Duration::ZERO,
        peers: vec![peers],
    }
}

/// What makes it wrong.
type Spoil = fn(&mut Outcome);

#[test]
fn whatever_must_not_be_is_a_fault_of_the_siege() -> Result<()> {
    let spoil: [(Spoil, &str); 7] = [
        (|it| it.health.silent = 1, "/healthz: 1 of 10 questions without an answer"),
        (|it| it.ready.silent = 3, "/readyz: 3 of 10 questions without an answer"),
        (|it| it.health.unwell = 2, "/healthz: 2 answers other than 200"),
        (|it| it.meter.rss_peak = 200 << 20, "200 MiB of memory, 150 are allowed"),
        (|it| it.peers[0].fates[0].lived = Duration::from_secs(21), "a peer was there for 21.0s, 20s are allowed"),
        (|it| it.peers[0].fates[0] = Fate { lived: Duration::from_secs(30), end: End::Held }, "was there for 30.0s"),
        (|it| it.peers[0].failure = Some("station 7 is stuck".to_owned()), "station 7 is stuck"),
    ];
    let max = 150 << 20;
    ensure!(fine().faults(max).is_empty(), "{:?}", fine().faults(max));
    for (spoil, says) in spoil {
        let mut outcome = fine();
        spoil(&mut outcome);
        let faults = outcome.faults(max);
        ensure!(faults.len() == 1 && faults[0].contains(says) && faults[0].starts_with("slow: "), "{says}: {faults:?}");
    }
    Ok(())
}

#[test]
fn a_deadline_that_no_peer_could_miss_is_told() -> Result<()> {
    const SHORT: &str = "slow: too short to see whether a peer is there for more than 20s";
    let (short, long) = (fine(), Outcome { took: Duration::from_secs(21), ..fine() });
    ensure!(short.to_string().contains(SHORT) && !long.to_string().contains(SHORT), "{short}\n{long}");
    Ok(())
}
