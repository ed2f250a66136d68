//! `tidemark run` notices what is committed: by the system's word, and without it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::Field;
use tidemark_e2e::process::Running;
use tidemark_e2e::proxy::{Act, Gate, Proxy};
use tidemark_e2e::world::{pause, wait_for};
use tidemark_station::bell::Bell;
use tidemark_station::client::Store;
use tidemark_station::client::sync::{Config, Event};
use tidemark_station::daemon::{self, Ended, News, Waits};
use tidemark_station::transport::HttpTransport;

/// Half of the time after which a station that hears nothing looks at its file all the same, however rarely it polls.
const PATIENCE: Duration = Duration::from_secs(30);
/// Looks at the file by itself once an hour.
const BY_WORD: [&str; 3] = ["run", "--poll", "3600000"];
const INSERT: &str = "INSERT INTO nomenclature (name) VALUES ('ЩУКА')";

fn says(running: &Running, text: &str) -> Result<()> {
    let met = wait_for(text, PATIENCE, || Ok(running.output_so_far().contains(text).then_some(())));
    met.with_context(|| running.output_so_far())
}

#[test]
fn a_commit_is_pushed_by_the_systems_word_though_the_file_is_looked_at_once_an_hour() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    // SQLite's newer journal, and the one that a program may have gone back to.
    let mut stations = Vec::new();
    for mode in ["wal", "delete"] {
        let station = field.join_station(mode, &server.url())?;
        let now =
            station.open()?.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get::<_, String>(0))?;
        ensure!(now == mode, "the journal is {now}");
        let running = station.start(&BY_WORD)?;
        says(&running, "tidemark watches")?;
        let rows = station.open()?;
        for tidemark in 1..=4 {
            // It is idle by then, and its own writes have been said.
            pause(Duration::from_millis(300));
            rows.execute(INSERT, [])?;
            says(&running, &format!("pushed 1 change; tidemark {tidemark}\n"))?;
        }
        running.terminate()?.success()?;
        stations.push(station);
    }
    field.assert_upstream_equals(&stations.iter().collect::<Vec<_>>())?;
    Ok(())
}

#[test]
fn what_is_committed_during_a_push_is_one_batch_after_it() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let proxy = Proxy::start(server.address)?;
    let station = field.join_station("north", &proxy.url())?;
    let running = station.start(&BY_WORD)?;
    says(&running, "tidemark watches")?;
    let (rows, gate) = (station.open()?, Gate::new());
    proxy.script([Act::HoldReply(gate.clone())]);
    rows.execute(INSERT, [])?;
    gate.wait_until_held(PATIENCE)?;
    for _ in 0..50 {
        rows.execute(INSERT, [])?;
    }
    gate.open();
    says(&running, "pushed 1 change; tidemark 1\n")?;
    says(&running, "pushed 50 changes; tidemark 51\n")?;
    running.terminate()?.success()?;
    ensure!(proxy.exchanges().len() == 2, "{:?}", proxy.exchanges());
    Ok(())
}

#[test]
fn where_the_system_gives_no_word_the_file_is_looked_at_from_time_to_time() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("north", &server.url())?;
    // Nobody rings for a write; the loop is that of `tidemark run`.
    let (bell, over) = (Bell::default(), Arc::new(AtomicBool::new(false)));
    let (ender, end) = (bell.clone(), Arc::clone(&over));
    let file = station.file.clone();
    let writer = std::thread::spawn(move || -> Result<()> {
        pause(Duration::from_millis(500));
        Store::open(&file)?.execute(INSERT, [])?;
        pause(PATIENCE);
        end.store(true, Ordering::SeqCst);
        ender.ring();
        Ok(())
    });
    let acked = Cell::new(false);
    let ending = || acked.get() || over.load(Ordering::SeqCst);
    let waits = Waits { bell: &bell, ending: &ending, poll_ms: 50 };
    let mut store = Store::open(&station.file)?;
    let ended = daemon::run(&mut store, Config::daemon(1), HttpTransport::new(), waits, &mut |news| {
        acked.set(acked.get() || matches!(news, News::Event(Event::Acked { tidemark: 1, .. })));
    })?;
    ensure!(matches!(ended, Ended::Asked) && acked.get(), "it was not looked at: {ended:?}");
    drop(writer);
    drop(store);
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}
