//! The program `tidemark` as a user meets it: exit codes, messages, signals.

#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tidemark_client::rusqlite::Connection;
use tidemark_core::joincode::JoinCode;

fn tidemark(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    command.current_dir(folder).env_remove("TIDEMARK_DB").stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = tidemark(folder).args(args).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn ok(folder: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, args);
    assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}: {stdout}");
    stdout
}

#[track_caller]
fn fails(folder: &Path, args: &[&str], code: i32, says: &str) {
    let (found, stdout, stderr) = run(folder, args);
    assert_eq!(found, code, "{args:?}: {stdout}{stderr}");
    assert!(
        stderr.starts_with("tidemark: ") && stderr.contains(says) && stderr.lines().count() == 1,
        "{args:?}: {stderr}"
    );
}

fn initialised() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    ok(folder.path(), &["init"]);
    folder
}

/// Nobody listens there (port 1 is tcpmux's); a port that was free a moment ago may be another test's by now.
fn nobody() -> String {
    "http://127.0.0.1:1".to_owned()
}

/// As if it had joined a server at this URL.
fn joined(folder: &Path, url: &str) {
    let db = Connection::open(folder.join("tidemark.db")).unwrap();
    db.execute("UPDATE tidemark_station SET number = 3, name = 'alpha', server = ?1, token = zeroblob(32)", [url])
        .unwrap();
}

#[test]
fn a_station_records_before_it_joins() {
    let folder = initialised();
    let folder = folder.path();
    std::fs::write(folder.join("n.csv"), "name\nСИНЕЦ\nЩУКА\n").unwrap();
    assert_eq!(
        ok(folder, &["import", "--table", "nomenclature", "n.csv"]),
        "nomenclature: 2 rows imported from n.csv\n"
    );
    let log = ok(folder, &["log", "--limit", "9"]);
    assert!(log.lines().count() == 2 && log.contains("insert nomenclature  id=1 name=\"СИНЕЦ\""), "{log}");
    let status: serde_json::Value = serde_json::from_str(&ok(folder, &["status", "--json"])).unwrap();
    assert_eq!(
        (&status["state"], &status["pending"], &status["tidemark"]),
        (&"not-joined".into(), &2.into(), &0.into())
    );
    assert!(ok(folder, &["status"]).contains("has not joined a server yet"));
    let info = ok(folder, &["info"]);
    assert!(
        info.contains("capture       on, for 18 tables") && info.contains("nomenclature                        2  id"),
        "{info}"
    );
    assert!(ok(folder, &["info", "--schema"]).contains("[tables.nomenclature]"));
    assert!(ok(folder, &["info", "--sql"]).contains("CREATE TABLE \"nomenclature\""));
    fails(folder, &["push"], 1, "has not joined a server; run `tidemark join CODE`");
    let (code, stdout, stderr) = run(folder, &["rejects"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "", "tidemark: no rejected changes\n"));
}

#[test]
fn standard_input_is_imported_and_a_bad_row_leaves_nothing() {
    let folder = initialised();
    let import = |csv: &str| {
        let mut child = tidemark(folder.path())
            .args(["import", "--table", "models", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(csv.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let done = import("name,created_date\na,2026-01-01\n");
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "models: 1 row imported from standard input\n");
    let failed = import("name,created_date\nb,2026-01-01\nc,soon\n");
    assert_eq!(failed.status.code(), Some(1));
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(
        message.contains("line 3, column created_date: \"soon\"") && message.ends_with("Nothing was imported\n"),
        "{message}"
    );
    assert!(ok(folder.path(), &["status"]).contains("tidemark      0 of 1 change\n"));
}

#[test]
fn files_that_are_not_a_stations_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fails(folder, &["status"], 1, "tidemark.db: no such file");
    std::fs::write(folder.join("text"), "not a database at all, but long enough to be one\n".repeat(30)).unwrap();
    fails(folder, &["--db", "text", "push"], 1, "text: not an SQLite database");
    Connection::open(folder.join("other.db")).unwrap().execute_batch("CREATE TABLE a (x)").unwrap();
    fails(folder, &["--db", "other.db", "log"], 1, "not a Tidemark file");
    fails(folder, &["--db", "no/x.db", "init"], 1, "its folder does not exist");
    ok(folder, &["init", "--db", "a.db"]);
    fails(folder, &["init", "--db", "a.db"], 1, "a Tidemark file already, of schema shrinkage version 1");
    let status = tidemark(folder).arg("status").env("TIDEMARK_DB", "a.db").output().unwrap();
    assert!(status.status.success(), "TIDEMARK_DB names the file");
    assert_eq!(run(folder, &["launch"]).0, 2, "usage");
}

#[test]
fn a_bad_schema_file_is_told_with_line_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fails(folder, &["init", "--schema", "none.toml"], 1, "none.toml: cannot read the schema file");
    std::fs::write(folder.join("s.toml"), "name = 'w'\nversion = 1\n[tables.t.columns]\nid = { type = 'number' }\n")
        .unwrap();
    let (code, _, stderr) = run(folder, &["init", "--schema", "s.toml"]);
    assert!(
        code == 1 && stderr.contains("s.toml: ") && stderr.contains("line 4, tables.t.columns.id: unknown type"),
        "{stderr}"
    );
    assert!(!folder.join("tidemark.db").exists());
}

/// Root may write anything: the program runs as another user then.
#[test]
fn a_file_this_user_cannot_write_is_read_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = initialised();
    let db = folder.path().join("tidemark.db");
    let program = folder.path().join("tidemark");
    std::fs::copy(env!("CARGO_BIN_EXE_tidemark"), &program).unwrap();
    for (path, mode) in [(&db, 0o444), (&program, 0o755), (&folder.path().to_path_buf(), 0o555)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let is_root = std::fs::OpenOptions::new().append(true).open(&db).is_ok();
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let output = command.arg("--db").arg(&db).arg("optimize").output().expect("setpriv (util-linux) is there");
    let stderr = String::from_utf8(output.stderr).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("read-only"), "{stderr}");
}

#[test]
fn an_unreachable_server_is_exit_75_and_nothing_is_lost() {
    let folder = initialised();
    let folder = folder.path();
    let code = JoinCode { url: nobody(), secret: [1; 32], pin: None }.encode();
    fails(folder, &["join", &code], 75, "run the same command again");
    fails(folder, &["join", "tide1-00"], 1, "the join code is damaged");
    fails(
        folder,
        &["join", &code, "--server", "postgresql://me:hunter2@db/x"],
        1,
        "must begin with http:// or https://",
    );
    joined(folder, &nobody());
    Connection::open(folder.join("tidemark.db"))
        .unwrap()
        .execute("INSERT INTO models (name) VALUES ('m')", [])
        .unwrap();
    fails(folder, &["push"], 75, "0 changes pushed, 1 pending; nothing is lost");
    assert!(ok(folder, &["status"]).contains("last error"));
    // Whoever answers is no Tidemark server.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    joined(folder, &format!("http://{}", listener.local_addr().unwrap()));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    fails(folder, &["push"], 1, "is the server's URL right?");
}

fn daemon(folder: &Path) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = tidemark(folder).arg("run").stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap());
    (child, lines)
}

fn wait(mut child: Child) -> i32 {
    for _ in 0..200 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().expect("it ends by itself");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    panic!("it did not end within 10 s");
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn the_daemon_tries_in_vain_and_ends_cleanly_on_either_signal() {
    let folder = initialised();
    joined(folder.path(), &nobody());
    for name in ["TERM", "INT"] {
        let (child, mut lines) = daemon(folder.path());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("tidemark watches tidemark.db"), "{line}");
        // It notices the commit of another process.
        let db = Connection::open(folder.path().join("tidemark.db")).unwrap();
        db.execute("INSERT INTO models (name) VALUES ('m')", []).unwrap();
        line.clear();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("cannot reach the server") && line.contains("trying again in"), "{line}");
        signal(&child, name);
        assert_eq!(wait(child), 0);
    }
}

#[test]
fn the_daemon_ends_within_seconds_although_the_server_is_silent() {
    let folder = initialised();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    joined(folder.path(), &format!("http://{}", silent.local_addr().unwrap()));
    Connection::open(folder.path().join("tidemark.db"))
        .unwrap()
        .execute("INSERT INTO models (name) VALUES ('m')", [])
        .unwrap();
    let (child, mut lines) = daemon(folder.path());
    lines.read_line(&mut String::new()).unwrap();
    let _request = silent.accept().unwrap();
    signal(&child, "TERM");
    assert_eq!(wait(child), 0);
}

#[test]
fn the_daemon_of_a_station_that_has_not_joined_says_so() {
    let folder = initialised();
    fails_after_banner(folder.path(), "has not joined a server");
}

#[track_caller]
fn fails_after_banner(folder: &Path, says: &str) {
    let (code, _, stderr) = run(folder, &["run"]);
    assert!(code == 1 && stderr.contains(says), "{stderr}");
}

#[test]
fn a_pipe_that_is_closed_early_is_no_error() {
    let folder = initialised();
    let rows: String = (0..5_000).map(|n| format!("m{n}\n")).collect();
    std::fs::write(folder.path().join("m.csv"), format!("name\n{rows}")).unwrap();
    ok(folder.path(), &["import", "--table", "models", "m.csv"]);
    let mut child = tidemark(folder.path())
        .args(["log", "--limit", "5000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn test_says_what_is_wrong_with_file_capture_and_server() {
    let folder = initialised();
    let said = ok(folder.path(), &["test"]);
    for line in [
        "file      ok      no damage",
        "capture   ok      on, for 18 tables",
        "disk      ok",
        "station   -",
        "server    -",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let db = Connection::open(folder.path().join("tidemark.db")).unwrap();
    db.execute_batch("DROP TRIGGER tidemark_models_after_insert").unwrap();
    fails(folder.path(), &["test"], 1, "1 check failed");
    // It was made anew.
    ok(folder.path(), &["test"]);
    joined(folder.path(), &nobody());
    let (code, stdout, _) = run(folder.path(), &["test", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &json["ok"]), (1, &false.into()));
    let failed: Vec<&serde_json::Value> =
        json["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    assert!(failed.len() == 1 && failed[0]["check"] == "server", "{json}");
    assert!(ok(folder.path(), &["optimize"]).contains("fresh statistics"));
    let db = Connection::open(folder.path().join("tidemark.db")).unwrap();
    assert!(db.table_exists(None, "sqlite_stat1").unwrap());
}
