//! A server's way to its end: not ready at once, then no new connections, then nothing that runs.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::client::{Answer, answer_of, request};
use crate::common::door::{Over, connect};
use crate::common::program::server;
use crate::common::serving::{Serving, ended};
use crate::common::site::{reply, word};
use crate::common::station::frame;
use crate::common::stores::Kind;
use tidemark_server::config::HttpLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Longer than anything here takes, and shorter than what must not be waited for.
const SOON: Duration = Duration::from_secs(15);

fn reason(answer: &Answer) -> Option<String> {
    answer.json()["reason"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_not_whole_end_at_once_and_are_told_why() {
    uploads_end(Over::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_not_whole_end_at_once_and_are_told_why_over_tls() {
    uploads_end(Over::Tls).await;
}

async fn uploads_end(over: Over) {
    let site = over.site(Kind::Memory, HttpLimits::default()).await;
    site.join(1).await;
    let head = format!(
        "POST /v1/push HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\n",
        word(1)
    );
    let mut uploading = connect(site.addr).await;
    uploading.write_all(head.as_bytes()).await.unwrap();
    uploading.write_all(&[7; 500]).await.unwrap();
    uploading.flush().await.unwrap();
    // The server reads it by now: what came later is answered.
    assert_eq!(request(site.addr, "GET", "/startupz", None, b"").await.status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopping = tokio::spawn(site.server.shutdown());
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, uploading.read_to_end(&mut answer)).await.expect("answered").unwrap();
    let answer = answer_of(&answer);
    assert_eq!((answer.status, reason(&answer).as_deref()), (503, Some("server-stopping")));
    assert!(!answer.header("Retry-After").is_empty(), "{}", answer.head);
    drop(uploading);
    tokio::time::timeout(SOON, stopping).await.expect("not waited for").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_it_is_not_ready_and_takes_what_still_comes() {
    drains(Over::Plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_it_is_not_ready_and_takes_what_still_comes_over_tls() {
    drains(Over::Tls).await;
}

async fn drains(over: Over) {
    let http = HttpLimits { drain_grace: Duration::from_secs(2), ..HttpLimits::default() };
    let site = over.site(Kind::Memory, http).await;
    let mut station = site.join(1).await;
    let get = async |path| request(site.addr, "GET", path, None, b"").await;
    assert_eq!(get("/readyz").await.status, 200);
    let bytes = frame(&station.cut(&[station.site(1)]));
    let addr = site.addr;
    let stopping = tokio::spawn(site.server.shutdown());
    let mut ready = get("/readyz").await;
    for _ in 0..50 {
        if ready.status == 503 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        ready = get("/readyz").await;
    }
    assert_eq!((ready.status, reason(&ready).as_deref()), (503, Some("server-stopping")));
    assert_eq!((get("/healthz").await.status, get("/startupz").await.status), (200, 200));
    assert_eq!(reply(&request(addr, "POST", "/v1/push", Some(&word(1)), &bytes).await).applied, 1);
    assert!(!stopping.is_finished());
    tokio::time::timeout(SOON, stopping).await.expect("the grace time is over").unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

/// Asks over a connection that stays open; the status, 0 when it is closed.
fn get(stream: &mut std::net::TcpStream, path: &str) -> u16 {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut reply = [0; 4096];
    let asked = write!(stream, "GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
    let read = asked.and_then(|()| stream.read(&mut reply)).unwrap_or(0);
    let text = String::from_utf8_lossy(&reply[..read]);
    text.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}

fn asked(serving: &Serving, path: &str) -> u16 {
    get(&mut std::net::TcpStream::connect(serving.addr).unwrap(), path)
}

fn serve(folder: &Path, more: &[&str]) -> Command {
    server(folder, &[&["serve", "--listen", "127.0.0.1:0"], more].concat())
}

#[test]
fn a_second_signal_ends_the_program_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
        let folder = tempfile::tempdir().unwrap();
        let serving = Serving::start(serve(folder.path(), &["--drain-grace", "600"]));
        assert_eq!(asked(&serving, "/readyz"), 200);
        serving.signal(first);
        let is_ready = (0..200).all(|_| {
            std::thread::sleep(Duration::from_millis(20));
            asked(&serving, "/readyz") == 200
        });
        assert!(!is_ready, "it has not heard");
        assert_eq!((asked(&serving, "/readyz"), asked(&serving, "/healthz")), (503, 200));
        serving.signal(second);
        assert_eq!(serving.end().0, Some(1));
    }
}

#[test]
fn a_clean_stop_leaves_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(serve(folder.path(), &["--drain-grace", "0"]));
    let log = folder.path().join("tidemark-upstream.db-wal");
    assert!(log.metadata().unwrap().len() > 0, "the migrations are in the write-ahead log");
    // Another program has the file open, so that SQLite does not tidy up by itself when the last one closes.
    let other = rusqlite::Connection::open(folder.path().join("tidemark-upstream.db")).unwrap();
    let tables: i64 = other.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert!(tables > 0);
    serving.signal("TERM");
    let (code, said) = serving.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(log.metadata().unwrap().len(), 0, "{said}");
}

#[test]
fn who_waits_for_its_database_stops_when_it_is_told_to() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/d", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut child = serve(folder.path(), &["--database", &url]).stderr(Stdio::piped()).spawn().unwrap();
    // It asks, and gets no answer.
    let _asked = silent.accept().unwrap();
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(ended(&mut child), Some(0));
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("stopped before it served"), "{log}");
}

/// `serve` with limits of open files, as a shell sets them.
fn limited(folder: &Path, limits: &str, more: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.current_dir(folder).arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\""));
    let program = serve(folder, more);
    command.arg(program.get_program()).args(program.get_args());
    for (name, _) in program.get_envs() {
        command.env_remove(name);
    }
    command
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_may_be_and_its_shortage_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let many = ["--connections-max", "400", "--address-connections-max", "400"];
    // How many of so many peers are answered, and then how many are a second time: by then all of them have come, and
    // who had to give way is gone.
    let crowd = |serving: &Serving, number: usize| {
        let open = |_| std::net::TcpStream::connect(serving.addr).unwrap();
        let mut streams: Vec<_> = (0..number).map(open).collect();
        let mut answered =
            || streams.iter_mut().filter_map(|stream| (get(stream, "/healthz") == 200).then_some(())).count();
        (answered(), answered())
    };
    let serving = Serving::start(limited(folder.path(), "ulimit -S -n 64", &many));
    assert_eq!(crowd(&serving, 150), (150, 150), "more than the soft limit");
    serving.signal("KILL");
    let log = serving.end().1;
    assert!(!log.contains("open files"), "{log}");

    // 200 files: 30 for the database, 64 for the rest.
    let serving = Serving::start(limited(folder.path(), "ulimit -n 200", &many));
    // Half of 106 for those without a token.
    assert_eq!(crowd(&serving, 150).1, 53);
    assert_eq!(asked(&serving, "/healthz"), 200);
    serving.signal("KILL");
    let log = serving.end().1;
    assert!(log.contains("may have 200 open files, and 494 are needed for 400 connections: it takes 106"), "{log}");
    assert!(log.contains("without a token there may be 53") && !log.contains("no file descriptor"), "{log}");
}
