//! The program `tidemark-server`, as its operator sees it.

use std::net::TcpStream;
use std::path::Path;

use crate::common::client::{Answer, request_with};
use crate::common::cluster::{Cluster, PASSWORD};
use crate::common::program::{run, server, works};
use crate::common::serving::Serving;
use tidemark_core::joincode::JoinCode;

#[track_caller]
fn fails(folder: &Path, args: &[&str], said: &str) {
    let ran = run(folder, args);
    assert_eq!(ran.code, Some(1), "{args:?}: {}{}", ran.out, ran.err);
    assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    assert!(ran.err.starts_with("tidemark-server: ") || ran.err.contains("\ntidemark-server: "), "{}", ran.err);
}

#[test]
fn a_closed_pipe_ends_nothing_and_a_full_disk_is_said() {
    let folder = tempfile::tempdir().unwrap();
    works(folder.path(), &["migrate", "up"]);
    for args in [
        &["station", "add", "north", "--public-url", "http://127.0.0.1:1"][..],
        &["info"],
        &["test"],
        &["reader", "add", "1C"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = server(folder.path(), args).stdout(writer).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), err.contains("panicked")), (Some(0), false), "{args:?}: {err}");
    }
    assert!(works(folder.path(), &["station", "list"]).contains("north"));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = server(folder.path(), &["station", "add", "south", "--public-url", "http://127.0.0.1:1"])
        .stdout(full)
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.contains("cannot write to stdout")), (Some(1), true), "{err}");
}

#[test]
fn serve_says_where_it_listens_and_stops_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let serving = Serving::start(server(folder.path(), &["serve", "--listen", "127.0.0.1:0"]));
        assert!(serving.url.starts_with("http://127.0.0.1:") && TcpStream::connect(serving.addr).is_ok());
        assert!(folder.path().join("tidemark-upstream.db").exists(), "the default database");
        serving.signal(signal);
        let (code, log) = serving.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("embedded SQLite") && log.contains("stopping"), "{log}");
    }
}

fn ask(serving: &Serving, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(request_with(serving.addr, method, path, headers, b""))
}

#[test]
fn pages_of_other_origins_are_let_in_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (app, forms, local) = ("https://app.example", "https://forms.example", "http://localhost:5173");
    let allowed = |serving: &Serving, origin| {
        let answer =
            ask(serving, "OPTIONS", "/v1/push", &[("Origin", origin), ("Access-Control-Request-Method", "POST")]);
        assert_eq!(answer.status, 204);
        answer.header("Access-Control-Allow-Origin") == origin
    };
    let both = "https://app.example, HTTPS://Forms.example:443";
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let flags = [&serve[..], &["--allow-origin", both, "--allow-origin", local]].concat();
    let serving = Serving::start(server(here, &flags));
    assert!(allowed(&serving, app) && allowed(&serving, forms) && allowed(&serving, local));
    for _ in 0..2 {
        assert!(!allowed(&serving, "https://evil.example"));
    }
    let log = serving.stop();
    assert_eq!(log.matches("serve with --allow-origin https://evil.example").count(), 1, "{log}");
    // The variable, and none: nobody.
    let mut command = server(here, &serve);
    command.env("TIDEMARK_ALLOW_ORIGIN", both);
    let serving = Serving::start(command);
    assert!(allowed(&serving, app) && allowed(&serving, forms) && !allowed(&serving, local));
    drop(serving);
    let mut command = server(here, &serve);
    command.env("TIDEMARK_ALLOW_ORIGIN", "");
    assert!(!allowed(&Serving::start(command), app));
    for (origin, said) in [
        ("*", "no wildcards"),
        ("https://*.example", "no wildcards"),
        ("https://app.example/notebook", "write https://app.example"),
        ("app.example", "write scheme://host"),
        ("https://app.example,null", "--allow-origin: \"null\" is not an origin to allow"),
    ] {
        fails(here, &[&serve[..], &["--allow-origin", origin]].concat(), said);
    }
}

#[test]
fn the_notebook_is_served_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::create_dir(here.join("web")).unwrap();
    std::fs::write(here.join("web/index.html"), "<p>mine").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let mut by_variable = server(here, &serve);
    by_variable.env("TIDEMARK_WEB", "web");
    for command in [server(here, &[&serve[..], &["--web", "web"]].concat()), by_variable] {
        let serving = Serving::start(command);
        let page = ask(&serving, "GET", "/notebook/", &[]);
        assert_eq!((page.status, page.body.as_slice()), (200, &b"<p>mine"[..]));
        let log = serving.stop();
        assert!(log.contains("field notebook: /notebook/ from web, 1 file,"), "{log}");
    }
    // Without a folder, what was there when the program was built.
    let page = ask(&Serving::start(server(here, &serve)), "GET", "/notebook/", &[]);
    match tidemark_server::http::Site::embedded().file("index.html") {
        Some(index) => assert_eq!((page.status, page.body.as_slice()), (200, index)),
        None => assert!(page.code() == "not-found" && page.json()["detail"].as_str().unwrap().contains("--web DIR")),
    }
    fails(here, &[&serve[..], &["--web", "none"]].concat(), "web folder none: No such file");
    fails(here, &[&serve[..], &["--web", "."]].concat(), "has no index.html; did you mean");
    assert!(!here.join("none").exists());
}

#[test]
fn wrong_databases_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (url, said) in [
        (format!("mysql://u:{PASSWORD}@h/d"), "names no database"),
        ("upstream.db".to_owned(), "names no database"),
        ("sqlite://upstream.db".to_owned(), "three slashes"),
        ("sqlite:///no/such/folder/x.db".to_owned(), "no/such/folder/x.db"),
        (format!("postgres://u:{PASSWORD}@h:port/d"), "is not a PostgreSQL URL"),
        (format!("postgres://u:{PASSWORD}@127.0.0.1:1/d"), "cannot connect to postgresql://u@127.0.0.1:1/d"),
    ] {
        for verb in [&["serve", "--listen", "127.0.0.1:0"][..], &["migrate", "status"], &["station", "list"]] {
            fails(here, &[verb, &["--database", &url]].concat(), said);
        }
    }
    let cluster = Cluster::plain();
    let wrong = cluster.url_of("postgres").replace(PASSWORD, "wr0ng-pass");
    let ran = run(here, &["serve", "--database", &wrong]);
    assert!(ran.code == Some(1) && ran.err.contains("password authentication failed"), "{}", ran.err);
    assert!(!ran.err.contains("wr0ng-pass"), "{}", ran.err);
    fails(here, &["serve", "--database", &cluster.url_of("nowhere")], "database \"nowhere\" does not exist");
}

#[test]
fn wrong_usage_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&[][..], &["fly"], &["serve", "--frequency", "5"], &["migrate", "down", "--to", "x"]] {
        assert_eq!(run(folder.path(), args).code, Some(2), "{args:?}");
    }
    // Help shows that the variable exists, never what is in it.
    let output = server(folder.path(), &["serve", "--help"])
        .env("TIDEMARK_DATABASE_URL", format!("postgres://u:{PASSWORD}@h/d"))
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("TIDEMARK_DATABASE_URL") && !help.contains(PASSWORD), "{help}");
}

#[test]
fn wrong_schema_files_are_refused_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    std::fs::write(&file, "name = 'w'\nversion = 1\n[tables.\"x; drop table y\".columns]\nid = { type = 'number' }")
        .unwrap();
    for said in ["s.toml:\nline 3", "is not an identifier", "unknown type \"number\""] {
        fails(folder.path(), &["serve", "--schema", "s.toml"], said);
    }
    fails(folder.path(), &["migrate", "plan", "--schema", "none.toml"], "schema file none.toml");
}

#[test]
fn stations_are_invited_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let out = works(here, &["station", "add", "north pier", "--public-url", "https://hq.example/", "--expires", "1h"]);
    let code = JoinCode::decode(out.lines().last().unwrap()).unwrap();
    assert_eq!(code.url, "https://hq.example");
    let default = works(here, &["station", "add", "south"]);
    assert_eq!(JoinCode::decode(default.lines().last().unwrap()).unwrap().url, "http://127.0.0.1:8787");
    fails(here, &["station", "add", "south"], "there is a station \"south\" already");
    fails(here, &["station", "add", " "], "a station's name has");
    fails(here, &["station", "add", "x", "--expires", "soon"], "write 30m, 24h or 7d");
    fails(here, &["station", "add", "x", "--public-url", "ftp://h"], "must begin with http://");
    fails(here, &["station", "revoke", "east"], "there is no station \"east\"");
    works(here, &["station", "revoke", "south"]);
    let list = works(here, &["station", "list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines.len() == 3 && lines[1].starts_with("north pier  -       invited"), "{list}");
    assert!(lines[2].contains("revoked"), "{list}");
    assert_eq!(works(here, &["rejects", "list"]).lines().count(), 1);
}

#[test]
fn postgres_is_migrated_before_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let url = runtime.block_on(Cluster::timescale().database());
    fails(here, &["serve", "--database", &url], "migration 0001_tidemark is not applied");
    fails(here, &["serve", "--database", &url], "run `tidemark-server migrate up`");
    fails(here, &["station", "add", "a", "--database", &url], "migrate up");
    let plan = works(here, &["migrate", "plan", "--database", &url]);
    assert!(plan.contains("CREATE TABLE \"shrinkage\".\"models\"") && plan.contains("create_hypertable"), "{plan}");
    let status = works(here, &["migrate", "status", "--database", &url]);
    assert_eq!(status.matches("pending").count(), 10, "{status}");
    let up = works(here, &["migrate", "up", "--database", &url]);
    assert!(up.contains("TimescaleDB 2.") && up.contains("applied 0003_shrinkage_hypertables"), "{up}");
    assert!(works(here, &["migrate", "plan", "--database", &url]).contains("nothing to do"));
    // The variable names the database too.
    let output = server(here, &["station", "add", "a"]).env("TIDEMARK_DATABASE_URL", &url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!log.contains(PASSWORD), "{log}");
    fails(here, &["migrate", "down", "--database", &url], "tidemark.station");
    works(here, &["migrate", "down", "--database", &url, "--yes-drop-data"]);
    assert_eq!(works(here, &["migrate", "status", "--database", &url]).matches("pending").count(), 10);
}
