//! The settings of `tidemark`, as its operator sees them.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

const FILE: &str = "tidemark.toml";

fn station(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemark"));
    command.args(args).current_dir(folder);
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEMARK_")) {
        command.env_remove(variable);
    }
    command
}

/// Its exit code, and all that it printed.
fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let output = station(folder, args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join(FILE), text).unwrap();
}

#[track_caller]
fn check(folder: &Path, variables: &[(&str, &str)], args: &[&str]) -> Json {
    let mut command = station(folder, &[&["config", "check", "--json"], args].concat());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let facts: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(output.status.code(), Some(if facts["ok"] == true { 0 } else { 1 }), "{facts}");
    facts
}

#[track_caller]
fn is(facts: &Json, key: &str, value: impl Into<Json>, origin: &str) {
    let setting = facts["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!((&setting["value"], &setting["origin"]), (&value.into(), &origin.into()), "{setting}");
}

#[test]
fn each_layer_outweighs_those_below_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    is(&check(here, &[], &[]), "db", "tidemark.db", "default");
    write(here, "file = 'plant.db'\nserver = 'http://127.0.0.1:1'\nprune_older_than = '90d'\nwait_max = 60\n");
    let facts = check(here, &[], &[]);
    is(&facts, "db", "plant.db", "file");
    is(&facts, "prune_older_than", "90d", "file");
    is(&facts, "wait_max", 60, "file");
    let variable = [("TIDEMARK_DB", "v.db"), ("TIDEMARK_BACKUP_EVERY", "12")];
    is(&check(here, &variable, &[]), "db", "v.db", "variable");
    is(&check(here, &variable, &[]), "backup_every", 12.0, "variable");
    is(&check(here, &variable, &["--db", "f.db"]), "db", "f.db", "flag");
    // The commands go by it.
    assert_eq!(run(here, &["init"]).0, Some(0));
    assert!(here.join("plant.db").exists());
    write(here, "file = 'plant.db'\nbackup_dir = 'copies'\n");
    assert_eq!(run(here, &["backup"]).0, Some(0));
    assert_eq!(std::fs::read_dir(here.join("copies")).unwrap().count(), 1);
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_nothing_runs_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(
        here,
        "fil = 'x.db'\nserver = 'ftp://h'\nprune_older_than = 'soon'\nwait_max = 0\nbackup_dir = 'tidemark.toml'\n",
    );
    let told = [
        "tidemark.toml:1: fil: there is no such setting; did you mean file?",
        "tidemark.toml:3: prune_older_than = \"soon\": \"soon\" is no span of time",
        "tidemark.toml:4: wait_max = 0: is out of range; allowed: 1..=86400",
    ];
    let (code, said) = run(here, &["config", "check"]);
    assert_eq!(code, Some(1));
    assert!(told.iter().all(|line| said.contains(line)), "{said}");
    assert!(said.contains("tidemark.toml:5: backup_dir: tidemark.toml is no folder"), "{said}");
    assert!(said.contains("tidemark.toml:2: server: "), "{said}");
    assert!(said.contains("5 mistakes in the configuration"), "{said}");
    let (code, said) = run(here, &["init"]);
    assert!(code == Some(2) && told.iter().all(|line| said.contains(line)), "{said}");
    assert!(!here.join("tidemark.db").exists());
}

#[test]
fn the_default_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let before = check(here, &[], &[]);
    let (_, file) = run(here, &["config", "show", "--default"]);
    write(here, &file);
    let after = check(here, &[], &[]);
    assert_eq!((&before["settings"], &after["file"]), (&after["settings"], &FILE.into()));
    assert!(file.contains("\n#wait_max = 300\n") && file.contains("\n#db = \"tidemark.db\"\n"), "{file}");
}
