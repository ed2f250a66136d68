//! SIGHUP at a server that runs: what is applied, what is refused, what needs a restart.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::common::client::request_with;
use crate::common::program::server;
use crate::common::serving::Serving;

const PAGE: &str = "https://app.example";

fn write(folder: &Path, text: &str) {
    std::fs::write(folder.join("tidemark-server.toml"), text).unwrap();
}

fn serve(folder: &Path) -> Serving {
    Serving::start(server(folder, &["serve", "--listen", "127.0.0.1:0"]))
}

/// Whether a page of another origin may use it.
fn lets_in(serving: &Serving, origin: &str) -> bool {
    let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(request_with(serving.addr, "OPTIONS", "/v1/push", &headers, b""));
    answer.head.to_ascii_lowercase().contains("access-control-allow-origin")
}

/// How many of so many connections stay open.
fn stay(serving: &Serving, all: usize) -> usize {
    let connections: Vec<TcpStream> = (0..all).map(|_| TcpStream::connect(serving.addr).unwrap()).collect();
    let is_open = |mut connection: &TcpStream| {
        connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        !matches!(connection.read(&mut [0]), Ok(0))
    };
    connections.iter().filter(|connection| is_open(connection)).count()
}

#[test]
fn what_may_change_while_it_runs_is_applied_and_the_rest_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "pool_max = 20\naddress_connections_max = 16\n");
    let serving = serve(here);
    assert!(!lets_in(&serving, PAGE) && stay(&serving, 4) == 4);
    write(
        here,
        &format!(
            "pool_max = 21\nstatement_timeout = 5\naddress_connections_max = 2\nallow_origin = ['{PAGE}']\nlog_level = 'debug'\n\
             backup_every = 24\nbackup_dir = 'copies'\nkeep = '30d'\nreports_every = 5\n"
        ),
    );
    serving.signal("HUP");
    serving.says("needs a restart: statement_timeout, pool_max", 1);
    serving.says(
        "SIGHUP: applied allow_origin, reports_every, keep, backup_every, backup_dir, log_level, address_connections_max",
        1,
    );
    assert!(lets_in(&serving, PAGE));
    assert_eq!(stay(&serving, 4), 2, "the bound of an address");
    // Told at the level info once, at debug from then on.
    (0..2).for_each(|_| assert!(!lets_in(&serving, "https://evil.example")));
    serving.says("DEBUG", 1);
    serving.says("backup copies", 1);
    assert!(here.join("copies").is_dir());
    // Once more: nothing has changed but what waits for a restart.
    serving.signal("HUP");
    serving.says("needs a restart: statement_timeout, pool_max", 2);
    serving.says("SIGHUP: nothing to apply has changed", 1);
    // And back.
    write(here, "pool_max = 20\n");
    serving.signal("HUP");
    serving.says("SIGHUP: applied allow_origin", 2);
    serving.says("backups: none", 1);
    assert!(!lets_in(&serving, PAGE) && stay(&serving, 4) == 4);
    assert_eq!(serving.log().matches("needs a restart").count(), 2, "{}", serving.log());
}

#[test]
fn a_wrong_configuration_is_refused_whole_and_the_one_before_stays() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, &format!("allow_origin = ['{PAGE}']\n"));
    let serving = serve(here);
    let other = "https://other.example";
    for (at, (wrong, says)) in [
        ("head_timeout = 0\n", "tidemark-server.toml:2: head_timeout = 0: is out of range; allowed: 1..=86400"),
        (
            "head_timout = 5\n",
            "tidemark-server.toml:2: head_timout: there is no such setting; did you mean head_timeout?",
        ),
        ("schema = 'none.toml'\n", "tidemark-server.toml:2: schema: schema file none.toml: No such file"),
        (
            "backup_every = 1\nbackup_dir = 'tidemark-server.toml'\n",
            "tidemark-server.toml:3: backup_dir: tidemark-server.toml is no folder",
        ),
        ("= 3\n", "tidemark-server.toml:2: is not TOML"),
    ]
    .into_iter()
    .enumerate()
    {
        write(here, &format!("allow_origin = ['{other}']\n{wrong}"));
        serving.signal("HUP");
        serving.says("the new configuration is wrong, the one before stays in force", at + 1);
        serving.says(says, 1);
        assert!(lets_in(&serving, PAGE) && !lets_in(&serving, other), "{wrong}: nothing of it is applied");
    }
    std::fs::remove_file(here.join("tidemark-server.toml")).unwrap();
    serving.signal("HUP");
    serving.says("SIGHUP: applied allow_origin", 1);
    assert!(!lets_in(&serving, PAGE) && !lets_in(&serving, other));
    assert!(serving.proc().exists(), "it never ended");
}

#[test]
fn a_flag_outweighs_the_file_also_after_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let serving = Serving::start(server(here, &["serve", "--listen", "127.0.0.1:0", "--allow-origin", PAGE]));
    write(here, "allow_origin = ['https://other.example']\nattempts_max = 9\n");
    serving.signal("HUP");
    serving.says("SIGHUP: applied attempts_max", 1);
    assert!(lets_in(&serving, PAGE) && !lets_in(&serving, "https://other.example"));
}

/// The status with which the metrics are answered to a token.
fn metrics(serving: &Serving, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asking =
        async { request_with(serving.addr, "GET", "/metrics", &[("Authorization", bearer.as_str())], b"").await };
    runtime.block_on(asking).status
}

#[test]
fn what_is_served_is_backed_up_also_where_the_settings_name_another_database() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write(here, "database = 'sqlite:///one.db'\npool_max = 20\n");
    let serving = serve(here);
    write(
        here,
        "database = 'sqlite:///two.db'\npool_max = 30\nbackup_every = 24\nbackup_dir = 'copies'\nkeep = '30d'\n",
    );
    serving.signal("HUP");
    serving.says("SIGHUP: applied keep, backup_every, backup_dir", 1);
    serving.says("SIGHUP: needs a restart: database, pool_max", 1);
    serving.says("backup copies", 1);
    let copies: Vec<String> = std::fs::read_dir(here.join("copies"))
        .unwrap()
        .map(|copy| copy.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(copies.len() == 1 && copies[0].starts_with("one-"), "{copies:?}");
    assert!(!here.join("two.db").exists(), "nobody opened it");
}

#[test]
fn a_secret_that_was_rotated_in_its_file_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (first, second) = ("0123456789abcdef-first", "0123456789abcdef-second");
    let put = |name: &str, text: &str| std::fs::write(here.join(name), format!("{text}\n")).unwrap();
    put("token", first);
    put("url", "sqlite:///one.db");
    write(here, "metrics_token_file = 'token'\ndatabase_url_file = 'url'\n");
    let serving = serve(here);
    assert_eq!((metrics(&serving, first), metrics(&serving, second)), (200, 401));
    put("token", second);
    put("url", "sqlite:///two.db");
    serving.signal("HUP");
    serving.says("SIGHUP: applied metrics_token_file", 1);
    serving.says("SIGHUP: needs a restart: database_url_file", 1);
    assert_eq!((metrics(&serving, first), metrics(&serving, second)), (401, 200));
    // It goes on saying so, and a wrong file changes nothing.
    put("token", "short");
    serving.signal("HUP");
    serving.says("tidemark-server.toml:1: metrics_token_file: --metrics-token-file token: a token is one word", 1);
    assert_eq!(metrics(&serving, second), 200);
    put("token", second);
    serving.signal("HUP");
    serving.says("SIGHUP: nothing to apply has changed", 1);
    serving.says("SIGHUP: needs a restart: database_url_file", 2);
    write(here, "database_url_file = 'url'\n");
    serving.signal("HUP");
    serving.says("SIGHUP: applied metrics_token_file", 2);
    assert_eq!(metrics(&serving, second), 404, "nobody reads them now");
}
