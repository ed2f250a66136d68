//! The settings that are proposed for PostgreSQL: a real one starts with them, `tidemark-server test` finds nothing to
//! say against them, and the guides explain each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidemark_testkit::postgres::{Flavour, PostgresCluster};

use crate::common::program::works;

const FILE: &str = include_str!("../../deploy/postgresql/tidemark.conf");

/// The settings of the file, by name.
fn settings() -> BTreeMap<&'static str, &'static str> {
    let lines = FILE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = ")).map(|(name, value)| (name, value.trim_matches('\''))).collect()
}

/// The settings that stand in what `test` prints, as `name = value`.
fn judged(printed: &str) -> BTreeSet<&str> {
    let points = printed.lines().filter(|line| {
        ["durability", "connections", "locks", "wal"].iter().any(|name| line.contains(&format!(" {name} ")))
    });
    let names = points.flat_map(|line| line.split(" = ")).filter_map(|before| before.rsplit([' ', ';', ',']).next());
    names.filter(|name| name.contains('_') || *name == "fsync").collect()
}

#[test]
fn postgresql_starts_with_the_settings_that_are_proposed_and_test_agrees_with_each() {
    let mut cluster = PostgresCluster::start(Flavour::Timescale).unwrap();
    let url = cluster.create_database("tide").unwrap();
    let data = cluster.folder().join("data");
    std::fs::write(data.join("tidemark.conf"), FILE).unwrap();
    let main = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&main).unwrap();
    std::fs::write(&main, text + "\ninclude 'tidemark.conf'\n").unwrap();
    cluster.kill_hard().unwrap();
    cluster.restart().unwrap();
    let admin = cluster.admin("tide").unwrap();
    let sql =
        "SELECT name, setting, applied FROM pg_file_settings WHERE sourcefile LIKE '%tidemark.conf' AND error IS NULL";
    let rows = admin.query(sql, &[]).unwrap();
    let taken: BTreeMap<String, String> =
        rows.iter().filter(|row| row.get(2)).map(|row| (row.get(0), row.get(1))).collect();
    for (name, value) in settings() {
        assert_eq!(taken.get(name).map(String::as_str), Some(value), "{name}: PostgreSQL does not take it");
    }
    assert_eq!(taken.len(), settings().len(), "{taken:?}");
    drop(admin);
    let folder = tempfile::tempdir().unwrap();
    works(folder.path(), &["migrate", "up", "--database", &url]);
    let printed = works(folder.path(), &["test", "--database", &url]);
    assert!(printed.lines().all(|line| line.starts_with("ok ")), "{printed}");
    let judged = judged(&printed);
    assert!(judged.contains("max_wal_size") && judged.contains("fsync") && judged.len() >= 6, "{judged:?}: {printed}");
    for name in judged {
        // What PostgreSQL has by itself, and nobody has to set, is told beside.
        assert!(settings().contains_key(name) || name == "wal_level", "test looks at {name}, the file does not set it");
    }
}

#[test]
fn each_setting_that_is_proposed_has_its_reason_in_the_file_and_stands_in_the_guides() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let lines: Vec<&str> = FILE.lines().collect();
    let mut explained = false;
    for line in &lines {
        // Settings that stand together have one reason.
        match line.split_once(" = ") {
            Some((name, _)) if !line.starts_with('#') => assert!(explained, "{name} has no reason before it"),
            _ => explained = line.starts_with("# ") && !line.starts_with("# --"),
        }
    }
    for guide in ["docs/guides/install-postgresql.md", "docs/ru/install-postgresql.md"] {
        let text = std::fs::read_to_string(root.join(guide)).unwrap();
        for name in settings().into_keys() {
            assert!(text.contains(name), "{guide} does not name {name}");
        }
    }
}
