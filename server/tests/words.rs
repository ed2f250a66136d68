//! What `tidemark-server` says to its operator: checklists, codes, facts for programs, completions.

use std::path::Path;
use std::process::Command;

use crate::common::cluster::{Cluster, PASSWORD, connect};
use crate::common::program::{run, server, works};
use crate::common::serving::Serving;
use serde_json::Value as Json;
use tidemark_core::joincode::JoinCode;
use tidemark_testkit::words::{completions_and_manual_pages, json_is_documented};

const WEATHER: &str =
    "name = 'weather'\nversion = 1\n[tables.site.columns]\nid = { type = 'integer' }\nname = { type = 'text' }\n";

#[track_caller]
fn json(folder: &Path, args: &[&str]) -> Json {
    let out = works(folder, args);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
}

/// A role of its own without any right, and the URL it reaches a database by.
async fn nobody(url: &str, name: &str) -> String {
    let client = connect(url).await;
    let database = url.rsplit('/').next().unwrap();
    let sql = format!(
        "DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; REVOKE TEMPORARY ON DATABASE \"{database}\" FROM PUBLIC"
    );
    client.batch_execute(&sql).await.unwrap();
    let (_, rest) = url.split_once("//").and_then(|(_, rest)| rest.split_once(':')).unwrap();
    format!("postgresql://{}:{rest}", name.replace('"', "").replace(' ', "%20"))
}

#[test]
fn a_role_without_rights_gets_the_whole_list_and_each_grant_of_it_mends_a_point() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (cluster, name) in [(Cluster::timescale(), "words_of_timescale"), (Cluster::plain(), "Words of plain")] {
        let url = runtime.block_on(cluster.database());
        let role = format!("\"{name}\"");
        let theirs = runtime.block_on(nobody(&url, &role));
        // Before there is anything.
        let ran = run(here, &["test", "--database", &theirs]);
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        for said in [
            "ok    connection",
            "GRANT TEMPORARY ON DATABASE ",
            "GRANT CREATE ON DATABASE ",
            "ok    timescaledb",
            "migrate up",
        ] {
            assert!(ran.out.contains(said), "{said}: {}", ran.out);
        }
        works(here, &["migrate", "up", "--database", &url]);
        let ran = run(here, &["test", "--database", &theirs]);
        assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
        let quoted = if name.contains(' ') { role.clone() } else { name.to_owned() };
        for said in [
            "ok    connection   PostgreSQL",
            "ok    round trip",
            &format!(
                "FAIL  rights       {quoted} may not look into schema tidemark: GRANT USAGE ON SCHEMA tidemark TO {quoted}\n"
            ),
            &format!("GRANT USAGE ON SCHEMA shrinkage TO {quoted}\n"),
            "GRANT SELECT ON tidemark.migration, tidemark.schema TO",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON shrinkage.ai_patterns, shrinkage.analytics, ",
            "ok    timescaledb",
            "FAIL  schema       which schema the database follows cannot be read; see the rights above",
        ] {
            assert!(ran.out.contains(said), "{said:?}: {}", ran.out);
        }
        assert!(ran.err.contains(" points failed, see above") && !ran.out.contains("42501"), "{}{}", ran.out, ran.err);
        let output = server(here, &["test", "--json", "--database", &theirs]).output().unwrap();
        let facts: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &facts["ok"]), (Some(1), &Json::Bool(false)));
        let client = runtime.block_on(async { connect(&url).await });
        for check in facts["checks"].as_array().unwrap() {
            if let Some(sql) = check["do"].as_str() {
                assert_eq!((&check["check"], &check["ok"]), (&"rights".into(), &false.into()), "{check}");
                runtime.block_on(client.batch_execute(sql)).unwrap();
            }
        }
        let after = works(here, &["test", "--database", &theirs]);
        assert!(after.contains(&format!("ok    rights       {quoted} may do what the server does\n")), "{after}");
        assert!(after.contains("ok    schema       matches shrinkage version 1"), "{after}");
        // And it is true: the role serves.
        works(here, &["station", "add", "north", "--database", &theirs]);
        works(here, &["station", "list", "--database", &theirs]);
    }
}

#[test]
fn where_timescaledb_is_there_nobody_is_told_to_install_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(Cluster::timescale().database());
    let test = run(here, &["test", "--database", &url]);
    assert!(test.code == Some(1) && test.out.contains("FAIL  schema"), "not migrated yet: {}", test.out);
    let timescale = works(here, &["timescale", "--database", &url]);
    for said in [&test.out, &timescale] {
        assert!(
            said.contains("is installed and loaded") && said.contains("`tidemark-server migrate up` creates it"),
            "{said}"
        );
        assert!(!said.contains("install TimescaleDB") && !said.contains("shared_preload_libraries"), "{said}");
    }
    let facts = json(here, &["timescale", "--json", "--database", &url]);
    assert!(facts["timescaledb"].is_null() && facts["why"].as_str().unwrap().contains("migrate up"), "{facts}");
    works(here, &["migrate", "up", "--database", &url]);
    let test = works(here, &["test", "--database", &url]);
    assert!(test.contains(", licence "), "{test}");
    // The clusters of the tests run without fsync: that works, and is warned of.
    assert!(test.contains("warn  durability   fsync = off, full_page_writes = off: "), "{test}");
    assert!(test.contains("set fsync = on, full_page_writes = on and reload"), "{test}");
    for name in ["connections", "locks", "wal"] {
        assert!(test.contains(&format!("ok    {name:<12} max_")), "{name}: {test}");
    }
    let facts = json(here, &["test", "--json", "--database", &url]);
    let checks = facts["checks"].as_array().unwrap();
    let durability = checks.iter().find(|check| check["check"] == "durability").unwrap();
    assert_eq!((&facts["ok"], &durability["ok"], &durability["warns"]), (&true.into(), &true.into(), &true.into()));
    let facts = json(here, &["timescale", "--json", "--database", &url]);
    assert_eq!(facts["hypertables"].as_array().unwrap().len(), 5, "{facts}");
    assert_eq!(facts["timescaledb"]["licence"].as_str().map(str::is_empty), Some(false), "{facts}");
    let plain = runtime.block_on(Cluster::plain().database());
    let test = run(here, &["test", "--database", &plain]);
    assert!(test.out.contains("put shared_preload_libraries = 'timescaledb' into postgresql.conf"), "{}", test.out);
}

#[test]
fn an_address_without_its_form_is_told_the_form() {
    let folder = tempfile::tempdir().unwrap();
    for (address, said) in [
        ("8801", "write ADDR:PORT, such as 127.0.0.1:8801"),
        ("127.0.0.1", "write ADDR:PORT"),
        (":8801", "write ADDR:PORT"),
        ("localhost:http", "write ADDR:PORT"),
        ("::1:8801", "[::1]:8787"),
    ] {
        let ran = run(folder.path(), &["serve", "--listen", address]);
        assert_eq!(ran.code, Some(2), "{address}: {}", ran.err);
        assert!(ran.err.contains(said) && !ran.err.contains("another server"), "{address}: {}", ran.err);
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = run(folder.path(), &["serve", "--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(ran.code == Some(1) && ran.err.contains("is another server running there?"), "{}", ran.err);
    let ran = run(folder.path(), &["serve", "--listen", "192.0.2.1:8801"]);
    assert!(ran.code == Some(1) && ran.err.contains("this machine has no such address"), "{}", ran.err);
}

#[test]
fn a_code_comes_with_a_link_and_a_drawing_and_stays_alone_on_the_last_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    works(here, &["migrate", "up"]);
    let ran = run(here, &["station", "add", "phone", "--public-url", "https://hq.example/"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "an https URL needs no word");
    let code = ran.out.lines().last().unwrap();
    assert_eq!(JoinCode::decode(code).unwrap().url, "https://hq.example");
    assert!(ran.out.contains(&format!(": https://hq.example/notebook/#join={code}\n")), "{}", ran.out);
    let drawn = ran.out.lines().filter(|line| line.contains('█')).count();
    assert!(drawn > 15, "a QR code of {drawn} lines: {}", ran.out);
    // A URL that only this machine can use is said to be one, beside the code and not in its way.
    let ran = run(here, &["station", "add", "south"]);
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.err.contains("http://127.0.0.1:8787, which only programs on this machine reach")
            && ran.err.contains("--public-url"),
        "{}",
        ran.err
    );
    assert!(JoinCode::decode(ran.out.lines().last().unwrap()).is_ok(), "{}", ran.out);
    let ran = run(here, &["station", "add", "ship", "--public-url", "http://hq.example:8787"]);
    assert!(ran.err.contains("plain HTTP") && ran.err.contains("https"), "{}", ran.err);
    let ran = run(here, &["station", "add", "here", "--public-url", "http://localhost:8787"]);
    assert_eq!(ran.err, "", "who asks for it knows");
    let facts = json(here, &["station", "add", "bridge", "--public-url", "https://hq.example", "--json"]);
    let code = facts["code"].as_str().unwrap();
    assert!(JoinCode::decode(code).is_ok(), "{facts}");
    assert_eq!(facts["notebook"], format!("https://hq.example/notebook/#join={code}"));
}

/// Starts a server, and stops it when it listens; what it logged.
fn served(command: Command) -> String {
    let serving = Serving::start(command);
    serving.signal("KILL");
    serving.end().1
}

#[test]
fn the_schema_is_the_one_the_database_was_migrated_to() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    std::fs::write(here.join("weather.toml"), WEATHER).unwrap();
    let fresh = |name: &str| format!("sqlite:///{name}.db");
    // By a flag, and by the variable; from then on it stands in the database.
    let [flag, variable, shipped] = ["flag", "variable", "shipped"].map(fresh);
    works(here, &["migrate", "up", "--database", &flag, "--schema", "weather.toml"]);
    let up = server(here, &["migrate", "up", "--database", &variable]).env("TIDEMARK_SCHEMA", "weather.toml").output();
    assert!(up.unwrap().status.success());
    for database in [&flag, &variable] {
        let up = works(here, &["migrate", "up", "--database", database]);
        assert_eq!(up, "the database is up to date with schema weather version 1\n");
        assert!(works(here, &["migrate", "plan", "--database", database]).contains("nothing to do"));
        assert_eq!(
            json(here, &["migrate", "status", "--json", "--database", database])["pending"],
            serde_json::json!([])
        );
        let log = served(server(here, &[&serve[..], &["--database", database]].concat()));
        assert!(log.contains("schema: weather version 1, from the database"), "{log}");
        assert!(works(here, &["test", "--database", database]).contains("matches weather version 1"));
    }
    let log = served(server(here, &[&serve[..], &["--database", &shipped]].concat()));
    assert!(log.contains("schema: shrinkage version 1, from this program"), "{log}");
    // What is named goes before what is recorded: here it is another one, which is refused.
    let ran = run(here, &[&serve[..], &["--database", &shipped, "--schema", "weather.toml"]].concat());
    assert!(
        ran.code == Some(1) && ran.err.contains("holds the tables of schema shrinkage, not of weather"),
        "{}",
        ran.err
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(Cluster::plain().database());
    works(here, &["migrate", "up", "--database", &url, "--schema", "weather.toml"]);
    let log = served(server(here, &[&serve[..], &["--database", &url]].concat()));
    assert!(log.contains("schema: weather version 1, from the database"), "{log}");
}

#[test]
fn migrations_are_applied_and_printed_in_the_order_of_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(Cluster::timescale().database());
    let numbers = |text: &str, begin: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(begin));
        lines
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .filter(|name| name.starts_with("00"))
            .collect()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let plan = numbers(&works(here, &["migrate", "plan", "--database", &url]), "-- ");
    assert!(plan.len() >= 7 && plan == sorted(plan.clone()), "{plan:?}");
    assert_eq!(numbers(&works(here, &["migrate", "up", "--database", &url]), "applied "), plan);
    assert_eq!(numbers(&works(here, &["migrate", "status", "--database", &url]), ""), plan);
    works(here, &["migrate", "down", "--database", &url]);
    assert_eq!(numbers(&works(here, &["migrate", "status", "--database", &url]), ""), plan);
}

#[test]
fn where_no_bundle_was_made_import_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(folder.path(), &["import", "none.tide"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("none.tide")
            && ran.err.contains("Where nothing is pending, `tidemark export` makes no bundle"),
        "{}",
        ran.err
    );
    assert!(!folder.path().join("none.tide.receipt").exists());
}

#[test]
fn facts_are_there_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    // Looking at a database does not make it.
    assert!(json(here, &["migrate", "status", "--json"])["pending"].as_array().unwrap().len() > 3);
    assert!(works(here, &["migrate", "plan"]).contains("CREATE TABLE"));
    assert!(run(here, &["migrate", "down"]).err.contains("there is no database file"));
    assert_eq!(std::fs::read_dir(here).unwrap().count(), 0);
    works(here, &["station", "add", "north"]);
    let station = json(here, &["station", "list", "--json"]);
    assert_eq!(
        (&station["name"], &station["state"], &station["number"]),
        (&"north".into(), &"invited".into(), &Json::Null)
    );
    assert_eq!((&station["access"], &station["rejects_open"]), (&"invited".into(), &0.into()), "{station}");
    works(here, &["station", "add", "south"]);
    assert_eq!(works(here, &["station", "list", "--json"]).lines().count(), 2, "one object per line");
    works(here, &["reader", "add", "1C"]);
    assert_eq!(json(here, &["reader", "list", "--json"])["name"], "1C");
    assert_eq!(json(here, &["test", "--json"])["ok"], true);
    assert!(json(here, &["vacuum", "--json"])["bytes"].as_u64() > Some(0));
    let plan = json(here, &["optimize", "--plan", "--json"]);
    assert_eq!((&plan["can_have_hypertables"], &plan["tables"]), (&false.into(), &serde_json::json!([])));
    assert!(json(here, &["timescale", "--json"])["why"].as_str().unwrap().contains("embedded SQLite"));
    assert_eq!(json(here, &["info", "--json"])["schema"]["name"], "shrinkage");
    assert!(json(here, &["migrate", "status", "--json"])["applied"].as_array().unwrap().len() > 3);
}

#[test]
fn one_is_not_many() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    works(here, &["migrate", "up"]);
    let steps = json(here, &["migrate", "status", "--json"])["applied"].as_array().unwrap().len();
    let down = works(here, &["migrate", "down", "--to", &(steps - 1).to_string()]);
    assert!(down.ends_with("1 migration taken away\n"), "{down}");
    let test = works(here, &["test"]);
    assert!(test.contains("1 migration not applied yet"), "{test}");
    let down = works(here, &["migrate", "down", "--to", &(steps - 3).to_string()]);
    assert!(down.ends_with("2 migrations taken away\n"), "{down}");
}

#[test]
fn every_command_that_prints_json_is_documented() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let page = include_str!("../../docs/SCRIPTING.md");
    let (_, page) = page.split_once("`tidemark-server` prints an object").unwrap();
    json_is_documented(page, 10, |args| works(here, args));
}

#[test]
fn completions_and_manual_pages_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let pages = ["tidemark-server.1", "tidemark-server-serve.1", "tidemark-server-station-add.1"];
    completions_and_manual_pages(("tidemark-server", "optimize", &pages), here, |args| works(here, args));
    assert_eq!(run(here, &["completions", "cmd"]).code, Some(2));
}

/// No command counts by itself: plurals and rates come from one place, `tidemark_core::amount`.
#[test]
fn plurals_and_rates_come_from_one_place() {
    tidemark_testkit::words::plurals_and_rates_come_from_one_place(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli"),
    );
}

#[test]
fn a_lock_that_somebody_holds_is_told_with_where_it_is_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    works(here, &["migrate", "up"]);
    let file = rusqlite::Connection::open(here.join("tidemark-upstream.db")).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let commands = [&["station", "add", "north", "--public-url", "http://127.0.0.1:1"][..], &["vacuum"]];
    // Each waits for as long as it is patient: together.
    std::thread::scope(|scope| {
        for command in commands {
            scope.spawn(move || {
                let ran = run(here, command);
                assert_eq!(ran.code, Some(1), "{command:?}: {}", ran.out);
                for said in ["database is locked", "tidemark-upstream.db", "fuser", "then repeat the command"] {
                    assert!(ran.err.contains(said), "{command:?}: {said}: {}", ran.err);
                }
            });
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = runtime.block_on(Cluster::plain().database());
    works(here, &["migrate", "up", "--database", &url]);
    let locker = runtime.block_on(connect(&url));
    let lock = "BEGIN; LOCK TABLE tidemark.station, tidemark.migration IN ACCESS EXCLUSIVE MODE";
    runtime.block_on(locker.batch_execute(lock)).unwrap();
    std::thread::scope(|scope| {
        for command in [commands[0], &["station", "list"], &["station", "revoke", "north"]] {
            let url = &url;
            scope.spawn(move || {
                let ran = run(here, &[command, &["--database", url]].concat());
                assert_eq!(ran.code, Some(1), "{command:?}: {}", ran.out);
                for said in ["holds it", "pg_stat_activity", "pg_terminate_backend", "then repeat the command"] {
                    assert!(ran.err.contains(said), "{command:?}: {said}: {}", ran.err);
                }
            });
        }
    });
}
