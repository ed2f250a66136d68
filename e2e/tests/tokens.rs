//! A token is its station's alone: another one can be given, and no file with it can be read by others. Real programs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use tidemark_e2e::field::{Field, Station};
use tidemark_e2e::process::{ServerProcess, program};
use tidemark_e2e::world::Dice;

/// The code that a command of the operator's ends with.
fn code(field: &Field, args: &[&str]) -> Result<String> {
    Ok(field.server_command(args)?.success()?.last_line().trim().to_owned())
}

fn copy(station: &Station, name: &str) -> Result<Station> {
    // What the program left in its write-ahead log belongs to the file.
    station.open()?.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    let to = station.file.with_file_name(name);
    std::fs::copy(&station.file, &to)?;
    Ok(station.with_file(to))
}

fn take(station: &Station, code: &str, server: &ServerProcess) -> Result<()> {
    let ended = station.run(&["join", code, "--server", &server.url()])?.success()?;
    ensure!(ended.stdout.starts_with("has a new token at "), "{}", ended.stdout);
    Ok(())
}

#[test]
fn a_leaked_token_is_replaced_and_the_station_goes_on() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let mut dice = Dice::from_env();
    let station = field.join_station("kama", &server.url())?;
    station.record(&mut dice, 20)?;
    station.run(&["push"])?.success()?;
    station.record(&mut dice, 5)?;
    station.run(&["export", "old.bundle"])?.success()?;
    let thief = copy(&station, "stolen.db")?;

    let rotated = code(&field, &["station", "rotate", "kama"])?;
    ensure!(rotated.starts_with("tide1-"), "{rotated}");
    ensure!(field.server_command(&["station", "list"])?.success()?.stdout.contains("rotated"));
    let waiting = station.waiting()?;
    for of in [&station, &thief] {
        of.run(&["push"])?.fails_saying(&["taken away", "`tidemark join CODE`", "nothing is lost"])?;
        of.run(&["rejoin", "--anew", &rotated, "--server", &server.url()])?
            .fails_saying(&["the server knows this file"])?;
    }
    let bundle = station.file.with_file_name("old.bundle");
    let bundle = bundle.to_str().context("a path is text")?;
    field.server_command(&["import", bundle])?.fails_saying(&["taken away", "export again"])?;
    ensure!(station.waiting()? == waiting && waiting > 0);

    take(&station, &rotated, &server)?;
    station.run(&["push"])?.success()?;
    ensure!(station.number()? == 1);
    field.assert_upstream_equals(&[&station])?;
    // The same again changes nothing; nobody else gets anything by it.
    station.run(&["join", &rotated, "--server", &server.url()])?.success()?;
    thief.run(&["push"])?.fails_saying(&["taken away"])?;
    thief
        .run(&["join", &rotated, "--server", &server.url()])?
        .fails_saying(&["another station used this join code"])?;
    thief.run(&["push"])?.fails_saying(&["taken away"])?;
    let other = field.init_station("oka")?;
    other
        .run(&["join", &rotated, "--server", &server.url()])?
        .fails_saying(&["another station used this join code"])?;

    // A bundle is sealed with the new one, and taken.
    station.record(&mut dice, 5)?;
    station.run(&["export", "new.bundle"])?.success()?;
    let bundle = station.file.with_file_name("new.bundle");
    field.server_command(&["import", bundle.to_str().context("a path is text")?])?.success()?;
    station.run(&["import-receipt", "new.bundle.receipt"])?.success()?;
    field.assert_upstream_equals(&[&station])?;

    // Revoked, and let in again.
    field.server_command(&["station", "revoke", "kama"])?.success()?;
    station.record(&mut dice, 5)?;
    station.run(&["push"])?.fails_saying(&["revoked"])?;
    let again = code(&field, &["station", "rotate", "kama"])?;
    station.run(&["push"])?.fails_saying(&["taken away"])?;
    take(&station, &again, &server)?;
    station.run(&["push"])?.success()?;
    ensure!(station.number()? == 1);
    field.assert_upstream_equals(&[&station])?;
    // A code that was not used ends with the next one, and with a revocation.
    let unused = code(&field, &["station", "rotate", "kama"])?;
    let revoked = code(&field, &["station", "rotate", "kama"])?;
    field.server_command(&["station", "revoke", "kama"])?.success()?;
    station.run(&["join", &unused, "--server", &server.url()])?.fails_saying(&["does not know this join code"])?;
    station.run(&["join", &revoked, "--server", &server.url()])?.fails_saying(&["revoked"])?;
    field.server_command(&["station", "rotate", "volga"])?.fails_saying(&["there is no station \"volga\""])?;
    Ok(())
}

#[test]
fn the_file_of_a_revoked_station_goes_on_in_its_place() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let mut dice = Dice::from_env();
    let station = field.join_station("kama", &server.url())?;
    station.record(&mut dice, 20)?;
    station.run(&["push"])?.success()?;
    field.server_command(&["station", "revoke", "kama"])?.success()?;
    station.record(&mut dice, 5)?;
    let replacing = code(&field, &["station", "add", "kama 2", "--replaces", "kama"])?;
    station.run(&["rejoin", &replacing, "--server", &server.url()])?.success()?;
    station.run(&["push"])?.success()?;
    ensure!(station.number()? == 2 && station.waiting()? == 0);
    station.run(&["verify"])?.success()?;
    // Replaced, it has ended for good: no token brings it back.
    let ended = ["station 2", "ended for good"];
    field.server_command(&["station", "rotate", "kama"])?.fails_saying(&ended)?;
    field.server_command(&["station", "add", "kama 3", "--replaces", "kama"])?.fails_saying(&["replaced already"])?;
    Ok(())
}

/// The server's database comes back from before the token was changed: the file is known by another one, and must not
/// send all rows again.
#[test]
fn a_server_put_back_to_before_a_rotation_takes_no_row_twice() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let mut dice = Dice::from_env();
    let station = field.join_station("kama", &server.url())?;
    station.record(&mut dice, 20)?;
    station.run(&["push"])?.success()?;
    field.server_command(&["backup", "before.db"])?.success()?;
    take(&station, &code(&field, &["station", "rotate", "kama"])?, &server)?;
    drop(server);
    field.server_command(&["restore", "before.db", "--replace", "--yes"])?.success()?;
    let server = field.serve()?;
    station.run(&["server", &server.url()])?.success()?;

    station.record(&mut dice, 5)?;
    station.run(&["push"])?.fails_saying(&["does not know this token"])?;
    let new = code(&field, &["station", "add", "kama 2"])?;
    let anew = station.run(&["rejoin", "--anew", &new, "--server", &server.url()])?;
    anew.fails_saying(&["the server knows this file, as station 1 \"kama\", by another token", "station rotate"])?;
    take(&station, &code(&field, &["station", "rotate", "kama"])?, &server)?;
    station.run(&["push"])?.success()?;
    field.assert_upstream_equals(&[&station])?;
    Ok(())
}

/// Files below a folder that somebody besides their owner may read or write, with their modes.
#[cfg(unix)]
fn open_to_others(folder: &Path, found: &mut BTreeSet<String>) {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.path().symlink_metadata() else { continue };
        if meta.is_dir() {
            open_to_others(&entry.path(), found);
        } else if meta.permissions().mode() & 0o077 != 0 {
            found.insert(format!("{} {:04o}", entry.file_name().display(), meta.permissions().mode() & 0o777));
        }
    }
}

/// Runs a program whose files nothing but itself keeps from others.
#[cfg(unix)]
fn with_umask_0(name: &str, args: &[&str], folder: &Path) -> Result<String> {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(program(name)?).args(args).current_dir(folder);
    let output = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name} {args:?}: {said}");
    Ok(said)
}

#[cfg(unix)]
#[test]
fn what_holds_a_token_is_its_owners_alone_from_the_first_byte() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let field = Field::shrinkage(None)?;
    with_umask_0("tidemark-server", &["migrate", "up", "--database", &field.database], field.folder())?;
    let upstream = field.folder().join("upstream.db");
    ensure!(upstream.metadata()?.permissions().mode() & 0o777 == 0o600);
    let server = field.serve()?;
    let folder = field.folder().join("kama");
    std::fs::create_dir(&folder)?;
    let tidemark = |args: &[&str]| with_umask_0("tidemark", args, &folder);

    // Somebody looks all the time.
    let looking = Arc::new(AtomicBool::new(true));
    let watcher = {
        let (looking, folder) = (Arc::clone(&looking), folder.clone());
        std::thread::spawn(move || {
            let mut found = BTreeSet::new();
            while looking.load(Ordering::Relaxed) {
                open_to_others(&folder, &mut found);
            }
            found
        })
    };
    tidemark(&["init"])?;
    let file = folder.join("tidemark.db");
    let writer = rusqlite::Connection::open(&file)?;
    let note = "x".repeat(100_000);
    for n in 0..40 {
        writer.execute("INSERT INTO nomenclature (name) VALUES (?1)", [format!("{n}{note}")])?;
    }
    ensure!(folder.join("tidemark.db-wal").exists() && folder.join("tidemark.db-shm").exists());
    let added = field.server_command(&["station", "add", "kama"])?.success()?;
    tidemark(&["join", added.last_line().trim(), "--server", &server.url()])?;
    for n in 0..5 {
        tidemark(&["backup", &format!("copy-{n}.db")])?;
    }
    tidemark(&["backup"])?;
    tidemark(&["export", "kama.bundle"])?;
    tidemark(&["rejects", "export", "rejects.json"])?;
    tidemark(&["restore", "copy-0.db", "--db", "restored.db"])?;
    tidemark(&["push"])?;
    tidemark(&["vacuum"])?;
    drop(writer);
    looking.store(false, Ordering::Relaxed);
    let found = watcher.join().expect("the watcher ends");
    ensure!(found.is_empty(), "others could read {found:?}");

    // A file that others made: it is closed before the token is written to it, with what SQLite has beside it; its
    // group keeps what it has.
    for (mode, closed) in [(0o644, 0o600), (0o666, 0o660), (0o664, 0o660), (0o640, 0o600)] {
        let name = format!("plant-{mode:o}");
        let plant = folder.join(format!("{name}.db"));
        let open = rusqlite::Connection::open(&plant)?;
        open.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY)")?;
        let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", plant.display()));
        for suffix in ["", "-wal", "-shm"] {
            std::fs::set_permissions(beside(suffix), std::fs::Permissions::from_mode(mode))?;
        }
        let db = plant.to_str().context("a path is text")?;
        tidemark(&["init", "--db", db])?;
        let added = field.server_command(&["station", "add", &name])?.success()?;
        let said = tidemark(&["join", added.last_line().trim(), "--server", &server.url(), "--db", db])?;
        ensure!(said.contains(&format!("its mode is {closed:04o}")), "{said}");
        for suffix in ["", "-wal", "-shm"] {
            let now = beside(suffix).metadata()?.permissions().mode() & 0o777;
            ensure!(now == closed, "{name}{suffix}: {now:o}");
        }
    }
    Ok(())
}
