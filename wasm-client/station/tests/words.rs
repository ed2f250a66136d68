//! What `tidemark` says: to whoever only watches, to programs, to a shell; and what it says of one.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;
use tidemark_client::rusqlite::Connection;
use tidemark_core::joincode::JoinCode;
use tidemark_testkit::words::{completions_and_manual_pages, json_is_documented};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidemark");

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_remove("TIDEMARK_DB").env_remove("TIDEMARK_SCHEMA").stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = command(Path::new(PROGRAM), folder).args(args).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[track_caller]
fn ok(folder: &Path, args: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, args);
    assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}: {stdout}");
    stdout
}

#[track_caller]
fn json(folder: &Path, args: &[&str]) -> Json {
    let stdout = ok(folder, args);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {stdout}"))
}

fn initialised() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    ok(folder.path(), &["init"]);
    folder
}

fn insert(folder: &Path) -> Connection {
    let db = Connection::open(folder.join("tidemark.db")).unwrap();
    db.execute("INSERT INTO nomenclature (name) VALUES ('СИНЕЦ')", []).unwrap();
    db
}

/// The names in a folder, each with its length and when it was changed.
fn listing(folder: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            (entry.path(), (metadata.len(), metadata.modified().unwrap()))
        })
        .collect()
}

/// The program as a user who may read a folder and write nothing in it. Root may write anything, so another user runs
/// it then.
struct Watcher {
    program: PathBuf,
    _program: TempDir,
    is_root: bool,
}

impl Watcher {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tidemark");
        std::fs::copy(PROGRAM, &program).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let probe = folder.path().join("probe");
        std::fs::write(&probe, "").unwrap();
        std::fs::set_permissions(&probe, std::fs::Permissions::from_mode(0o444)).unwrap();
        let is_root = std::fs::OpenOptions::new().append(true).open(&probe).is_ok();
        Self { program, _program: folder, is_root }
    }

    fn run(&self, folder: &Path, args: &[&str]) -> (i32, String, String) {
        let mut command = if self.is_root {
            let mut command = command(Path::new("setpriv"), folder);
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&self.program);
            command
        } else {
            command(&self.program, folder)
        };
        let output = command.args(args).output().expect("setpriv (util-linux) is there");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

/// Takes the right to write a folder and what is in it, and gives it back when dropped.
struct Locked<'f>(&'f Path);

impl<'f> Locked<'f> {
    fn new(folder: &'f Path) -> Self {
        Self::set(folder, 0o555, 0o444);
        Self(folder)
    }

    fn set(folder: &Path, of_folder: u32, of_files: u32) {
        let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            set(&entry.unwrap().path(), of_files);
        }
        set(folder, of_folder);
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        Self::set(self.0, 0o755, 0o644);
    }
}

#[test]
fn status_needs_no_right_to_write_and_leaves_nothing_behind() {
    let folder = initialised();
    let here = folder.path();
    let watcher = Watcher::new();
    let pending = |watcher: &Watcher, says: u64| {
        for args in [&["status"][..], &["info"], &["log"]] {
            let (code, stdout, stderr) = watcher.run(here, args);
            assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}: {stdout}");
        }
        let (code, stdout, stderr) = watcher.run(here, &["status", "--json"]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        let status: Json = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&status["pending"], &status["captured"]), (&says.into(), &true.into()), "{status}");
    };
    drop(insert(here));
    // Nobody has the file open.
    let before = listing(here);
    {
        let _locked = Locked::new(here);
        pending(&watcher, 1);
    }
    assert_eq!(listing(here).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    // Also who may write does not when they only look.
    let before = listing(here);
    ok(here, &["status"]);
    assert_eq!(listing(here), before);
    // A program has it open, in the middle of a transaction, with commits that are in the write-ahead log only.
    let writer = insert(here);
    writer.execute_batch("BEGIN IMMEDIATE; INSERT INTO nomenclature (name) VALUES ('ЛЕЩ')").unwrap();
    {
        let _locked = Locked::new(here);
        pending(&watcher, 2);
    }
    writer.execute_batch("COMMIT").unwrap();
    {
        let _locked = Locked::new(here);
        pending(&watcher, 3);
    }
    // A folder that everybody may write to is no reason to leave files there that the writer could not open.
    drop(writer);
    std::fs::set_permissions(here, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(here.join("tidemark.db"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let before = listing(here);
    if watcher.is_root {
        pending(&watcher, 3);
        assert_eq!(listing(here), before);
    }
}

#[test]
fn what_cannot_be_read_without_writing_is_said() {
    let folder = initialised();
    let here = folder.path();
    let watcher = Watcher::new();
    let refused = |says: &str| {
        let (code, stdout, stderr) = watcher.run(here, &["status"]);
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
        assert!(stderr.starts_with("tidemark: tidemark.db: ") && stderr.contains(says), "{stderr}");
    };
    // As after a power cut, when the file was copied without its index.
    let writer = insert(here);
    std::fs::create_dir(here.join("copy")).unwrap();
    for name in ["tidemark.db", "tidemark.db-wal"] {
        std::fs::copy(here.join(name), here.join("copy").join(name)).unwrap();
    }
    drop(writer);
    let copy = here.join("copy");
    {
        let _locked = Locked::new(&copy);
        let (code, _, stderr) = watcher.run(&copy, &["status"]);
        assert!(code == 1 && stderr.contains("tidemark.db-wal, this user would have to write"), "{stderr}");
    }
    assert_eq!(json(&copy, &["status", "--json"])["pending"], 1, "its owner reads it");
    // What writes still says that it cannot.
    {
        let _locked = Locked::new(here);
        let (code, _, stderr) = watcher.run(here, &["optimize"]);
        assert!(code == 1 && stderr.contains("read-only"), "{stderr}");
    }
    if watcher.is_root {
        std::fs::set_permissions(here.join("tidemark.db"), std::fs::Permissions::from_mode(0o600)).unwrap();
        refused("this user may not read it");
    }
}

#[test]
fn a_file_whose_triggers_are_gone_is_told_by_status_and_mended_by_what_writes() {
    let folder = initialised();
    let here = folder.path();
    Connection::open(here.join("tidemark.db"))
        .unwrap()
        .execute_batch("DROP TRIGGER tidemark_models_after_insert")
        .unwrap();
    assert_eq!(json(here, &["status", "--json"])["captured"], false);
    assert!(ok(here, &["status"]).contains("capture       not whole: "));
    assert!(ok(here, &["info"]).contains("capture       not whole"));
    let (code, _, stderr) = run(here, &["optimize"]);
    assert!(code == 0 && stderr.contains("models"), "{stderr}");
    assert_eq!(json(here, &["status", "--json"])["captured"], true);
    assert!(!ok(here, &["status"]).contains("capture"));
}

#[test]
fn a_copy_that_is_none_is_told_what_it_is() {
    let folder = initialised();
    let here = folder.path();
    std::fs::write(here.join("text"), "no database, but long enough to be one\n".repeat(30)).unwrap();
    Connection::open(here.join("other.db")).unwrap().execute_batch("CREATE TABLE a (x)").unwrap();
    let before = std::fs::read(here.join("tidemark.db")).unwrap();
    for (from, says) in [
        ("nofile", "nofile: no such file; "),
        ("no/file", "no/file: no such file; "),
        (".", ".: a folder, and no file; "),
        ("text", "text: not an SQLite database; "),
        ("other.db", "other.db: an SQLite database, but not a Tidemark file; "),
    ] {
        let (code, _, stderr) = run(here, &["restore", from]);
        assert_eq!(code, 1, "{from}");
        assert!(
            stderr == format!("tidemark: {says}name a copy that `tidemark backup` made. Nothing was changed\n"),
            "{stderr}"
        );
    }
    assert_eq!(std::fs::read(here.join("tidemark.db")).unwrap(), before);
    assert!(!here.join("tidemark.db.before-restore").exists());
    // A copy may lie where nothing can be written.
    drop(insert(here));
    std::fs::create_dir(here.join("copies")).unwrap();
    ok(here, &["backup", "copies/a.db"]);
    let copies = here.join("copies");
    let _locked = Locked::new(&copies);
    ok(here, &["restore", "copies/a.db"]);
}

#[test]
fn facts_are_there_for_programs() {
    let folder = initialised();
    let here = folder.path();
    std::fs::write(here.join("n.csv"), "name\nСИНЕЦ\n").unwrap();
    let import = json(here, &["import", "--table", "nomenclature", "n.csv", "--json"]);
    assert_eq!((&import["rows"], &import["table"]), (&1.into(), &"nomenclature".into()));
    let info = json(here, &["info", "--json"]);
    let tables = info["tables"].as_array().unwrap();
    let nomenclature = tables.iter().find(|table| table["name"] == "nomenclature").unwrap();
    assert_eq!((tables.len(), &nomenclature["rows"], &nomenclature["key"]), (18, &1.into(), &"id".into()));
    assert_eq!((&info["captured"], &info["pending"], &info["schema"]["version"]), (&true.into(), &1.into(), &1.into()));
    let log = json(here, &["log", "--json"]);
    assert_eq!((&log["seq"], &log["op"], &log["image"]["name"]), (&1.into(), &"I".into(), &"СИНЕЦ".into()));
    drop(insert(here));
    assert_eq!(ok(here, &["log", "--json"]).lines().count(), 2, "one object per line");
    assert_eq!(
        json(here, &["backup", "a.db", "--json"]),
        serde_json::json!({ "file": "tidemark.db", "copy": "a.db", "rows": null })
    );
    assert!(json(here, &["vacuum", "--json"])["bytes"].as_u64() > Some(0));
    // A push that comes to nothing says the same to programs, and why.
    let push = |says: &str, code: i32| {
        let (found, stdout, stderr) = run(here, &["push", "--json"]);
        assert_eq!(found, code, "{stdout}{stderr}");
        let facts: Json = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (&facts["outcome"], &facts["changes"], &facts["pending"]),
            (&says.into(), &0.into(), &2.into()),
            "{facts}"
        );
        assert!(facts["message"].as_str().is_some_and(|message| !message.is_empty()), "{facts}");
    };
    push("stopped", 1);
    let code = JoinCode { url: "http://127.0.0.1:1".to_owned(), secret: [1; 32], pin: None }.encode();
    assert_eq!(run(here, &["join", &code, "--json"]).0, 75);
    Connection::open(here.join("tidemark.db"))
        .unwrap()
        .execute("UPDATE tidemark_station SET number = 3, name = 'alpha', server = 'http://127.0.0.1:1', token = zeroblob(32)", [])
        .unwrap();
    push("unreachable", 75);
    assert_eq!(json(here, &["export", "b.tide", "--json"])["changes"], 2);
}

#[test]
fn what_is_done_to_a_file_is_told_to_programs_too() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let init = json(here, &["init", "--json"]);
    assert_eq!((&init["file"], init["tables"].as_array().unwrap().len()), (&"tidemark.db".into(), 18));
    assert_eq!(
        json(here, &["server", "--json"]),
        serde_json::json!({ "server": null, "trust": "system", "pin": null })
    );
    drop(insert(here));
    ok(here, &["backup", "copy.db"]);
    assert_eq!(
        json(here, &["restore", "copy.db", "--json"]),
        serde_json::json!({ "file": "tidemark.db", "copy": "copy.db", "kept": "tidemark.db.before-restore" })
    );
    std::fs::write(here.join("shrinkage.toml"), tidemark_core::schema::SHRINKAGE_TOML).unwrap();
    let upgrade = json(here, &["upgrade", "--schema", "shrinkage.toml", "--json"]);
    assert_eq!(
        (&upgrade["version_before"], &upgrade["version"], &upgrade["tables"], &upgrade["pending"]),
        (&1.into(), &1.into(), &serde_json::json!([]), &1.into())
    );
    // As when the server had refused each of the three changes.
    let db = Connection::open(here.join("tidemark.db")).unwrap();
    db.execute_batch(
        "UPDATE nomenclature SET name = 'ЛЕЩ'; UPDATE nomenclature SET name = 'ЩУКА';
         INSERT INTO tidemark_rejects (seq, at, tbl, op, code, message, origin, rejected_at, key, c0, c1)
             SELECT seq, at, tbl, op, 'range', 'no', 'server', 1, c0, c0, c1 FROM tidemark_log",
    )
    .unwrap();
    assert_eq!(json(here, &["rejects", "discard", "3", "--json"]), serde_json::json!({ "discarded": [3] }));
    assert_eq!(json(here, &["rejects", "repair", "1", "--set", "name=СУДАК", "--json"])["changes"], 1);
    db.execute("UPDATE tidemark_rejects SET state = 'open' WHERE seq = 2", []).unwrap();
    assert_eq!(json(here, &["rejects", "requeue", "2", "--json"]), serde_json::json!({ "changes": 1, "rejects": 1 }));
    assert_eq!(json(here, &["rejects", "export", "r.jsonl", "--json"])["rejects"], 3);
    assert_eq!(json(here, &["rejects", "renumber", "--json"]), serde_json::json!({ "tables": [] }));
}

#[test]
fn attaching_is_told_to_programs_too() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (code, _, stderr) = run(here, &["attach", "nofile"]);
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        "tidemark: nofile: no such file; name the database that the other system writes: `tidemark attach FILE`. Nothing was changed\n"
    );
    Connection::open(here.join("other.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE nomenclature (id INTEGER PRIMARY KEY, name VARCHAR(200) NOT NULL); CREATE TABLE mine (x);
             INSERT INTO nomenclature (name) VALUES ('СИНЕЦ'), (x'ff')",
        )
        .unwrap();
    let (code, stdout, _) = run(here, &["attach", "--check", "other.db", "--json"]);
    let lines: Vec<Json> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [problem, summary] = lines.as_slice() else { panic!("{stdout}") };
    assert_eq!((code, &problem["table"], &problem["key"]), (1, &"nomenclature".into(), &"2".into()), "{stdout}");
    assert_eq!((&summary["state"], &summary["problems"]), (&"checked".into(), &1.into()), "{stdout}");
    let differs = |facts: &Json, table: &str| {
        facts["differences"].as_array().unwrap().iter().any(|found| found["table"] == table && found["stops"] == false)
    };
    assert!(differs(summary, "mine"), "{stdout}");
    let attached = json(here, &["attach", "other.db", "--json"]);
    assert_eq!(
        (&attached["state"], &attached["rows"], &attached["copy"], &attached["captured"]),
        (&"attached".into(), &2.into(), &"other.db.before-tidemark".into(), &serde_json::json!(["nomenclature"]))
    );
    assert!(differs(&attached, "mine") && attached["lacking"].as_array().unwrap().len() == 17, "{attached}");
    let again = json(here, &["attach", "other.db", "--json"]);
    assert_eq!((&again["state"], &again["rows"]), (&"was-attached".into(), &0.into()));
    let db = ["--db", "other.db"];
    assert_eq!(
        run(here, &[db[0], db[1], "detach", "--json"]),
        (1, String::new(), run(here, &[db[0], db[1], "detach"]).2)
    );
    let detached = json(here, &[db[0], db[1], "detach", "--force", "--json"]);
    assert_eq!((&detached["forgotten"], &detached["rejects_forgotten"]), (&2.into(), &0.into()));
    // A table that capture cannot follow.
    Connection::open(here.join("third.db"))
        .unwrap()
        .execute_batch("CREATE VIEW nomenclature AS SELECT 1 AS id")
        .unwrap();
    let (code, stdout, _) = run(here, &["attach", "third.db", "--json"]);
    let facts: Json = serde_json::from_str(&stdout).unwrap();
    let stops = facts["differences"].as_array().unwrap().iter().filter(|found| found["stops"] == true);
    let stops: Vec<&Json> = stops.map(|found| &found["table"]).collect();
    assert_eq!((code, &facts["state"], stops), (1, &"refused".into(), vec![&"nomenclature".into()]), "{facts}");
}

#[test]
fn nothing_to_export_is_said_and_harms_no_file() {
    let folder = initialised();
    let here = folder.path();
    Connection::open(here.join("tidemark.db"))
        .unwrap()
        .execute("UPDATE tidemark_station SET number = 3, name = 'alpha', server = 'http://127.0.0.1:1', token = zeroblob(32)", [])
        .unwrap();
    let said = ok(here, &["export", "b.tide"]);
    assert!(said.contains("No bundle was made; there is nothing to import at the server"), "{said}");
    assert!(!here.join("b.tide").exists());
    assert_eq!(json(here, &["export", "b.tide", "--json"]), serde_json::json!({ "bundle": null, "changes": 0 }));
    std::fs::write(here.join("b.tide"), "an older one").unwrap();
    let said = ok(here, &["export", "b.tide", "--force"]);
    assert!(said.contains("the one that is there was left alone"), "{said}");
    assert_eq!(std::fs::read(here.join("b.tide")).unwrap(), b"an older one");
}

#[test]
fn one_is_not_many() {
    let folder = initialised();
    let here = folder.path();
    drop(insert(here));
    let copied = ok(here, &["backup"]);
    assert!(copied.ends_with(", put back to check it: 1 row\n"), "{copied}");
    drop(insert(here));
    let copied = ok(here, &["backup", "--dir", "more"]);
    assert!(copied.ends_with(", put back to check it: 2 rows\n"), "{copied}");
}

#[test]
fn every_command_that_prints_json_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let page = include_str!("../../../docs/SCRIPTING.md");
    let (page, _) = page.split_once("`tidemark-server` prints an object").unwrap();
    json_is_documented(page, 14, |args| ok(here, args));
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let pages = ["tidemark.1", "tidemark-status.1", "tidemark-rejects-repair.1"];
    completions_and_manual_pages(("tidemark", "import-receipt", &pages), here, |args| ok(here, args));
    let page = ok(here, &["man"]);
    assert!(page.contains("TIDEMARK_DB"), "{page}");
    assert!(!here.join("tidemark.db").exists(), "no file is made");
}

/// No command counts by itself: plurals and rates come from one place, `tidemark_core::amount`.
#[test]
fn plurals_and_rates_come_from_one_place() {
    tidemark_testkit::words::plurals_and_rates_come_from_one_place(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"),
    );
}
