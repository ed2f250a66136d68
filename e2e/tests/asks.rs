//! A push of nothing asks the server all the same; and a server that refuses is heard while the batch is still being
//! sent.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use tidemark_core::schema::shrinkage;
use tidemark_e2e::field::{EXIT_UNREACHABLE, Field, Station};
use tidemark_e2e::world::Dice;
use tidemark_server::config::DatabaseUrl;
use tidemark_server::{Server, ServerConfig};

/// A line of `tidemark status`.
fn line(station: &Station, name: &str) -> Result<String> {
    let status = station.run(&["status"])?.success()?;
    let line = status.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name:<14}")));
    Ok(line.unwrap_or_default().to_owned())
}

/// The file of the embedded upstream, and what SQLite keeps beside it.
fn files(field: &Field) -> Result<Vec<PathBuf>> {
    let name = field.database.strip_prefix("sqlite:///").context("an embedded upstream")?;
    Ok(["", "-wal", "-shm"].map(|end| field.folder().join(format!("{name}{end}"))).to_vec())
}

fn put(from: &[PathBuf], to: impl Fn(&Path) -> PathBuf) -> Result<()> {
    for file in from {
        let to = to(file);
        let _ = std::fs::remove_file(&to);
        if file.exists() {
            std::fs::copy(file, to)?;
        }
    }
    Ok(())
}

#[test]
fn a_push_of_nothing_asks_the_server() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let address: SocketAddr = server.address;
    let station = field.join_station("north", &server.url())?;
    ensure!(line(&station, "state")?.starts_with("in sync when the server was last heard, "), "joined just now");
    let before = files(&field)?;

    // The server's database as it is before the station has pushed anything.
    server.process.terminate()?;
    let copy_of = |file: &Path| {
        let mut name = file.as_os_str().to_owned();
        name.push(".copy");
        PathBuf::from(name)
    };
    put(&before, copy_of)?;
    let server = field.serve_on(address)?;
    station.record(&mut Dice::new(1), 10)?;
    station.run(&["push"])?.success()?;
    let pushed = station.run(&["push"])?.success()?;
    ensure!(pushed.stdout == "pushed 0 changes\n", "{}", pushed.output());
    let state = line(&station, "state")?;
    ensure!(state.ends_with(" ago): everything was upstream"), "{state}");

    // It cannot be reached.
    server.process.kill()?;
    let away = station.run(&["push"])?.expect_code(EXIT_UNREACHABLE)?;
    for says in [&address.to_string(), "0 changes pushed, 0 pending; nothing is lost"] {
        ensure!(away.stderr.contains(says), "no {says:?} in {}", away.output());
    }
    let state = line(&station, "state")?;
    ensure!(state.ends_with("everything was upstream. It did not say so again since: see last error"), "{state}");
    ensure!(line(&station, "last error")?.contains("cannot reach the server"), "{}", line(&station, "last error")?);

    // It has lost what the station pushed.
    put(&before.iter().map(|file| copy_of(file)).collect::<Vec<_>>(), |copy| copy.with_extension(""))?;
    let server = field.serve_on(address)?;
    station.run(&["push"])?.fails_saying(&["forked: ", "it has lost changes", "0 changes pushed, 0 pending"])?;
    ensure!(station.status()?["state"] == "forked", "{:?}", station.status()?);
    drop(server);
    Ok(())
}

#[test]
fn a_push_of_nothing_hears_that_the_station_was_revoked_or_is_unknown() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let address: SocketAddr = server.address;
    let (station, other) = (field.join_station("north", &server.url())?, field.join_station("south", &server.url())?);
    for station in [&station, &other] {
        station.record(&mut Dice::new(1), 10)?;
        station.run(&["push"])?.success()?;
    }
    let revoke = ["station", "revoke", "north", "--database", field.database.as_str()];
    tidemark_e2e::process::run("tidemark-server", &revoke, field.folder(), &Default::default())?.success()?;
    let says = ["station 1 was revoked by the server's operator", "nothing is lost", "0 changes pushed, 0 pending"];
    station.run(&["push"])?.fails_saying(&says)?;
    ensure!(line(&station, "state")?.contains("see last error"), "{}", line(&station, "state")?);
    ensure!(line(&station, "last error")?.contains("was revoked"), "{}", line(&station, "last error")?);

    // Another database under the same address: it knows nobody.
    server.process.terminate()?;
    for file in files(&field)? {
        let _ = std::fs::remove_file(file);
    }
    field.migrate()?;
    let server = field.serve_on(address)?;
    other.run(&["push"])?.fails_saying(&["the server does not know this token", "0 changes pushed, 0 pending"])?;
    ensure!(line(&other, "state")?.contains("see last error"), "{}", line(&other, "state")?);
    drop(server);
    Ok(())
}

/// Passes bytes on and counts those of the clients that the server takes.
fn counting(to: SocketAddr) -> Result<(SocketAddr, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, counted) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&counted);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(to) else { return };
            let (Ok(reading), Ok(answering)) = (client.try_clone(), server.try_clone()) else { return };
            std::thread::spawn(move || pass(&answering, &reading, None));
            let count = Arc::clone(&count);
            std::thread::spawn(move || pass(&client, &server, Some(&count)));
        }
    });
    Ok((address, counted))
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, count: Option<&AtomicUsize>) {
    use std::io::{Read as _, Write as _};
    let mut room = vec![0; 16 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut room) {
        if to.write_all(&room[..bytes]).is_err() {
            // As a socket does whose other side is gone.
            let _ = from.shutdown(std::net::Shutdown::Both);
            return;
        }
        if let Some(count) = count {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

#[test]
fn a_server_that_refuses_does_not_take_the_batch_and_the_station_hears_why() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let name = field.database.strip_prefix("sqlite:///").context("an embedded upstream")?;
    let mut config = ServerConfig::new(DatabaseUrl::Sqlite(field.folder().join(name)));
    config.schema = Arc::new(shrinkage());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let well = runtime.block_on(Server::start(config.clone()))?;
    let (address, counted) = counting(well.addr())?;
    let station = field.join_station("north", &format!("http://{address}"))?;
    // Frames of megabytes: what hardly compresses.
    let mut random = 1_u64;
    let mut letter = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (random >> 58) as u8)
    };
    let mut db = station.open()?;
    let tx = db.transaction()?;
    for _ in 0..7_000 {
        let name: String = (0..2_400).map(|_| letter()).collect();
        tx.execute("INSERT INTO nomenclature (name) VALUES (?1)", [name])?;
    }
    tx.commit()?;
    drop(db);
    runtime.block_on(well.shutdown());
    // A server of few means: no body fits.
    config.http.memory_bytes_max = 16 << 10;
    let busy = runtime.block_on(Server::start(config.clone()))?;
    let (address, refused) = counting(busy.addr())?;
    station.run(&["server", &format!("http://{address}")])?.success()?;
    let said = station.run(&["push"])?.expect_code(EXIT_UNREACHABLE)?;
    ensure!(said.stderr.contains("the server has as much to do as it takes on at once"), "{}", said.output());
    ensure!(!said.output().contains("pipe") && !said.output().contains("reset"), "{}", said.output());
    let refused = refused.load(Ordering::Relaxed);
    runtime.block_on(busy.shutdown());
    // The same from a server that takes it.
    config.http = tidemark_server::config::HttpLimits::default();
    let well = runtime.block_on(Server::start(config))?;
    let (address, taken) = counting(well.addr())?;
    station.run(&["server", &format!("http://{address}")])?.success()?;
    station.run(&["push"])?.success()?;
    let taken = taken.load(Ordering::Relaxed);
    println!(
        "{} bytes before, {taken} bytes taken in the end, {refused} while the server refused",
        counted.load(Ordering::Relaxed)
    );
    // Four tries, two of them with the first batch as a whole: more than all batches together, were they read. What was
    // taken lay in sockets' buffers.
    ensure!(taken > 10 << 20, "{taken}: the batches are too small to show anything");
    ensure!(refused < taken, "{refused} bytes were taken and thrown away");
    field.assert_upstream_equals(&[&station])?;
    runtime.block_on(well.shutdown());
    Ok(())
}
