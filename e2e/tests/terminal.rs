//! Text that stations, servers, files and databases hold reaches nobody's terminal as a command, nobody's spreadsheet
//! as a formula, and programs whole.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use rusqlite::Connection;
use tidemark_core::printable::is_harmful;
use tidemark_core::protocol::{Problem, ProblemCode};
use tidemark_e2e::field::Field;
use tidemark_e2e::process::Ended;

/// Clears the screen, writes the clipboard, runs text from right to left, begins another line.
const EVIL: &str = "a\u{1b}[2J\u{1b}]52;c;cm0=\u{7}\u{9b}31m\u{202e}b\u{2066}\rc\ntidemark: all is well\u{200b}";

/// It printed no control but line breaks, and those are its own: no line is the one that [`EVIL`] makes up. `told`: it
/// did print the text, made harmless.
fn assert_harmless(ended: &Ended, told: bool) -> Result<()> {
    let output = ended.output();
    let harmful = output.chars().find(|&c| is_harmful(c) && c != '\n');
    ensure!(harmful.is_none(), "{}: {harmful:?} in {output:?}", ended.command);
    ensure!(!output.lines().any(|line| line.starts_with("tidemark: all is well")), "{}: {output}", ended.command);
    ensure!(output.contains("]52;c;cm0=") || !told, "{}: nothing to see in {output}", ended.command);
    Ok(())
}

#[test]
fn what_stations_and_databases_say_reaches_no_terminal_as_a_command() -> Result<()> {
    let mut field = Field::shrinkage(None)?;
    field.set_env("TIDEMARK_LOG", "debug");
    field.migrate()?;
    let server = field.serve()?;
    // The name is one that no command takes; whoever wrote it had the database.
    let code = field.add_station("evil")?;
    let upstream = Connection::open(field.folder().join("upstream.db"))?;
    upstream.busy_timeout(std::time::Duration::from_secs(20))?;
    upstream.execute("UPDATE tidemark_station SET name = ?1", [EVIL])?;
    let station = field.init_station("evil")?;
    assert_harmless(&station.run(&["join", &code, "--server", &server.url()])?.success()?, true)?;

    let file = station.open()?;
    file.execute("INSERT INTO nomenclature (name) VALUES (?1)", [EVIL])?;
    // Text where a number belongs is rejected here; what hangs on nothing, there.
    file.execute("INSERT INTO calculation_data (nomenclature_id, initial_balance) VALUES (1, ?1)", [EVIL])?;
    file.execute("INSERT INTO coefficients (calculation_data_id, model_id) VALUES (77, 78)", [])?;
    assert_harmless(&station.run(&["log"])?.success()?, true)?;
    station.run(&["push"])?.success()?;
    for database in [&file, &upstream] {
        let changed = database.execute("UPDATE tidemark_rejects SET message = ?1, code = ?1", [EVIL])?;
        ensure!(changed == 2, "{changed} rejects");
    }
    let seq: i64 = file.query_row("SELECT min(seq) FROM tidemark_rejects", [], |row| row.get(0))?;
    let seq = seq.to_string();
    for args in [&["rejects"][..], &["rejects", "show", &seq], &["status"], &["verify", "--no-push"], &["info"]] {
        assert_harmless(&station.run(args)?, !matches!(args[0], "verify" | "info"))?;
    }
    assert_harmless(&field.server_command(&["info"])?.success()?, false)?;
    for args in
        [&["rejects", "list"][..], &["rejects", "show", "1", &seq], &["station", "list"], &["report", "product"]]
    {
        assert_harmless(&field.server_command(args)?.success()?, true)?;
    }
    for format in ["csv", "json", "html", "table"] {
        let mut report = field.server_command(&["report", "product", "--format", format])?.success()?;
        report.stdout = report.stdout.replace("\r\n", "\n");
        if format == "csv" {
            // A line break may stand in a cell of CSV, which is quoted.
            report.stdout = report.stdout.replace("\ntidemark", "");
        }
        assert_harmless(&report, true)?;
    }
    assert_harmless(&server.process.terminate()?, true)
}

#[test]
fn json_is_exact_whatever_it_holds() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    let file = station.open()?;
    file.execute("INSERT INTO nomenclature (name) VALUES (?1)", [EVIL])?;
    file.execute("INSERT INTO calculation_data (nomenclature_id, initial_balance) VALUES (1, ?1)", [EVIL])?;
    station.run(&["push"])?.success()?;
    let json = |printed: Ended| -> Result<serde_json::Value> {
        assert_harmless(&printed, true)?;
        serde_json::from_str(&printed.stdout).with_context(|| printed.command.clone())
    };
    let rejects = json(station.run(&["rejects", "--json"])?.success()?)?;
    ensure!(rejects["image"]["initial_balance"] == EVIL, "{rejects}");
    let report = json(field.server_command(&["report", "product", "--format", "json"])?.success()?)?;
    ensure!(report["products"][0]["product"] == EVIL, "{report}");
    Ok(())
}

#[test]
fn what_a_server_says_reaches_no_terminal_as_a_command() -> Result<()> {
    let field = Field::shrinkage(None)?;
    field.migrate()?;
    let server = field.serve()?;
    let station = field.join_station("a", &server.url())?;
    drop(server);
    station.open()?.execute("INSERT INTO nomenclature (name) VALUES ('x')", [])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let problem = serde_json::to_string(&Problem::new(ProblemCode::Revoked, EVIL))?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.read(&mut [0; 8192]);
            let head =
                "HTTP/1.1 403 No\r\nconnection: close\r\ncontent-type: application/problem+json\r\ncontent-length";
            let _ = write!(stream, "{head}: {}\r\n\r\n{problem}", problem.len());
        }
    });
    station.run(&["server", &url])?.success()?;
    for args in [&["push"][..], &["verify"], &["status"], &["status", "--json"]] {
        assert_harmless(&station.run(args)?, args[0] == "push")?;
    }
    Ok(())
}
