//! Several hosts in the URL of the database: the one that takes writes is found, by the server and by PostgreSQL's
//! programs.

use std::path::Path;

use tidemark_testkit::postgres::{Flavour, PostgresCluster};

use crate::common::program::{run, works};

/// The URL of a database that is at the first or at the second.
fn both(first: &PostgresCluster, second: &PostgresCluster, database: &str) -> String {
    let one = format!("127.0.0.1:{}", first.port());
    first.url(database).replace(&one, &format!("{one},127.0.0.1:{}", second.port()))
}

/// A table of Tidemark's is there.
fn is_migrated(cluster: &PostgresCluster) -> bool {
    let sql = "SELECT to_regclass('tidemark.migration') IS NOT NULL";
    cluster.admin("tide").unwrap().value(sql).unwrap()
}

#[track_caller]
fn all_works(here: &Path, url: &str, name: &str) {
    works(here, &["migrate", "up", "--database", url]);
    let test = works(here, &["test", "--database", url]);
    assert!(!test.contains("FAIL"), "{test}");
    works(here, &["station", "add", name, "--public-url", "http://127.0.0.1:1", "--database", url]);
    works(here, &["backup", &format!("{name}.dump"), "--check", "--database", url]);
}

#[test]
fn of_two_hosts_the_one_is_used_that_takes_writes() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let mut first = PostgresCluster::start(Flavour::Plain).unwrap();
    let second = PostgresCluster::start(Flavour::Plain).unwrap();
    for cluster in [&first, &second] {
        cluster.create_database("tide").unwrap();
        cluster.admin("postgres").unwrap().batch("ALTER ROLE harbour CREATEDB").unwrap();
    }
    let url = both(&first, &second, "tide");
    // The first takes no writes by its configuration.
    let admin = first.admin("postgres").unwrap();
    admin.batch("ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
    admin.value::<bool>("SELECT pg_reload_conf()").unwrap();
    drop(admin);
    all_works(here, &url, "north");
    assert!(is_migrated(&second) && !is_migrated(&first));
    // The first is a standby.
    first.kill_hard().unwrap();
    let signal = first.folder().join("data/standby.signal");
    std::fs::write(&signal, "").unwrap();
    std::fs::set_permissions(&signal, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    first.restart().unwrap();
    assert!(first.admin("postgres").unwrap().value::<bool>("SELECT pg_is_in_recovery()").unwrap());
    all_works(here, &format!("{url}?target_session_attrs=read-write"), "south");
    assert!(works(here, &["station", "list", "--database", &url]).contains("south"));
    // The standby alone is not what is asked for, and each host's own reason is told.
    let alone = format!("{}?target_session_attrs=read-write", first.url("tide"));
    let ran = run(here, &["test", "--database", &alone]);
    assert!(ran.code == Some(1) && ran.err.contains("does not allow writes"), "{}{}", ran.out, ran.err);
    // The first takes connections and answers nobody: it has its share of the time, not all of it, and the URL's.
    first.freeze().unwrap();
    works(here, &["station", "list", "--database", &format!("{url}?connect_timeout=2")]);
    first.thaw().unwrap();
    drop(second);
    let ran = run(here, &["test", "--database", &url]);
    let ports = url.matches("127.0.0.1:").count();
    assert_eq!((ran.code, ran.err.matches("127.0.0.1:").count() >= 2 * ports), (Some(1), true), "{}", ran.err);
}
