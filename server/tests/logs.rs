//! What the program `tidemark-server` logs of requests: a line for each, nothing that is secret, and no flood.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value as Json;
use tidemark_core::joincode::JoinCode;
use tidemark_core::printable::is_harmful;
use tidemark_core::protocol::{JoinReply, JoinRequest};
use tidemark_core::schema::Schema;
use tidemark_core::value::{Value, format_uuid, hex};
use tidemark_testkit::certificates::Authority;
use tokio::runtime::Runtime;

use crate::common::client::{Answer, request_with};
use crate::common::cluster::{Cluster, PASSWORD};
use crate::common::program::{run, server, works};
use crate::common::serving::{Serving, ended};
use crate::common::site::word;
use crate::common::station::{Station, day, frame, text};
use crate::common::{FIELD_TOML, field};

/// Does what a terminal would obey, and reads from right to left.
const EVIL_NAME: &str = "n\u{1b}[31m\u{202e}x\u{9b}\nERROR all is lost";
/// A value of a row.
const VALUE: &str = "value-of-a-row-e1f7";

/// A server with a database of its own, and its log.
struct Logged {
    serving: Serving,
    folder: tempfile::TempDir,
    runtime: Runtime,
}

impl Logged {
    /// On PostgreSQL, or embedded without a URL.
    fn start(url: Option<&str>, level: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("field.toml"), FIELD_TOML).unwrap();
        let url = url.unwrap_or("sqlite:///upstream.db");
        let place = ["--database", url, "--schema", "field.toml"];
        let migrated = run(folder.path(), &[&["migrate", "up"][..], &place].concat());
        assert_eq!(migrated.code, Some(0), "{}", migrated.err);
        let mut command = server(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
        command.args(place).args(args).env("TIDEMARK_LOG", level);
        let serving = Serving::start(command);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { serving, folder, runtime }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.runtime.block_on(request_with(self.serving.addr, method, path, headers, body))
    }

    fn push(&self, token: &str, frame: &[u8]) -> Answer {
        self.ask("POST", "/v1/push", &[("Authorization", token)], frame)
    }

    /// Ends it in good order, and takes what it logged.
    fn stop(self) -> String {
        self.serving.stop()
    }
}

/// What a busy run did, and what of it may not be in its log.
struct Busy {
    log: String,
    secrets: Vec<String>,
    ids: Vec<String>,
}

/// Joins, pushes, is refused in every way, asks for health and metrics.
fn busy(level: &str, format: &str) -> Busy {
    let url = Cluster::plain();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = runtime.block_on(url.database());
    let token_file = tempfile::NamedTempFile::new().unwrap();
    let metrics_token = "metrics-token-8c1d5b";
    std::fs::write(token_file.path(), metrics_token).unwrap();
    let file = token_file.path().display().to_string();
    let logged = Logged::start(
        Some(&url),
        level,
        &["--log-format", format, "--drain-grace", "0", "--metrics-token-file", &file, "--trusted-proxy", "127.0.0.1"],
    );
    let added = run(
        logged.folder.path(),
        &["station", "add", "north", "--json", "--public-url", "http://127.0.0.1:1", "--database", &url],
    );
    let added: Json = serde_json::from_str(&added.out).unwrap();
    let code = added["code"].as_str().unwrap().to_owned();
    let secret = hex(&JoinCode::decode(&code).unwrap().secret);
    // Whoever wrote such a name had the database.
    runtime.block_on(async {
        let client = crate::common::cluster::connect(&url).await;
        client.execute("UPDATE tidemark.station SET name = $1", &[&EVIL_NAME]).await.unwrap();
        let poison = "ALTER TABLE field.tag ADD CONSTRAINT no_poison CHECK (label NOT LIKE '%poison%')";
        client.batch_execute(poison).await.unwrap();
    });
    let schema: Arc<Schema> = field();
    let (token, uuid) = (word(0x5a), [7; 16]);
    let ask = JoinRequest {
        secret: secret.clone(),
        station_uuid: format_uuid(uuid),
        token: token.clone(),
        fingerprint: schema.fingerprint().to_hex(),
        station: None,
        former_uuid: None,
    };
    let joined = logged.ask("POST", "/v1/join", &[], &serde_json::to_vec(&ask).unwrap());
    let joined: JoinReply = serde_json::from_slice(&joined.body).unwrap();
    let mut station = Station::new(&schema, joined.station.get(), uuid);
    let bearer = format!("Bearer {token}");
    let named = |local| station_site(&station, local);
    let first = frame(&station.clone().cut(&[named(1), named(2)]));
    let batch = [named(1), named(2)];
    station.cut(&batch);
    let orphan = station.reading(1, day(1), &[("site_id", station.id(99)), ("note", text(VALUE))]);
    let poison = station.tag(tidemark_core::batch::Op::Insert, [3; 16], &format!("{VALUE} poison"));
    let second = frame(&station.cut(&[orphan, poison]));
    let mut ids = Vec::new();
    let mut note = |answer: Answer, status: u16| {
        assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
        ids.push(answer.header("x-request-id"));
    };
    note(logged.push(&bearer, &first), 200);
    note(logged.push(&bearer, &second), 200);
    note(logged.push(&bearer, &second), 200);
    note(logged.push(&bearer, b"no frame"), 400);
    let given = [("Authorization", bearer.as_str()), ("X-Request-Id", "of-a-proxy-17")];
    note(logged.ask("GET", "/v1/station", &given, b""), 200);
    assert_eq!(ids.last().map(String::as_str), Some("of-a-proxy-17"));
    for n in 0..20 {
        logged.ask("GET", "/v1/station", &[("Authorization", &format!("Bearer {}", word(n)))], b"");
    }
    logged.ask("GET", &format!("/v1/station?token={token}"), &[("Cookie", &token)], b"");
    logged.ask("GET", &format!("/{token}/{secret}"), &[("X-Request-Id", "two words")], b"");
    for path in ["/healthz", "/readyz", "/startupz"] {
        (0..5).for_each(|_| drop(logged.ask("GET", path, &[], b"")));
    }
    let scraped = logged.ask("GET", "/metrics", &[("Authorization", &format!("Bearer {metrics_token}"))], b"");
    let metrics = String::from_utf8(scraped.body).unwrap();
    assert!(scraped.status == 200 && metrics.contains("tidemark_batches_total"), "{metrics}");
    let log = logged.stop();
    let tried = (0..20).map(word);
    let secrets = [token, secret, code, PASSWORD.to_owned(), VALUE.to_owned(), metrics_token.to_owned()];
    Busy { log, secrets: secrets.into_iter().chain(tried).collect(), ids }
}

fn station_site(station: &Station, local: i64) -> crate::common::station::Change {
    station.insert("site", local, &[("name", Value::Text(format!("{VALUE} {local}")))])
}

#[track_caller]
fn assert_harmless(busy: &Busy) {
    for secret in &busy.secrets {
        assert!(!busy.log.contains(secret.as_str()), "{secret} is in the log:\n{}", busy.log);
    }
    let harmful = busy.log.chars().find(|&c| is_harmful(c) && c != '\n');
    assert_eq!(harmful, None, "{}", busy.log);
    assert!(!busy.log.lines().any(|line| line.starts_with("ERROR all is lost")), "{}", busy.log);
    assert!(busy.log.contains("ERROR all is lost"), "the name is told, made harmless: {}", busy.log);
}

#[test]
fn a_busy_run_has_a_line_for_each_request_and_no_token_password_or_value_of_a_row() {
    let run = busy("info", "json");
    assert_harmless(&run);
    let lines: Vec<Json> = run.log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let access = |line: &&Json| line["target"] == "tidemark_server::access";
    let requests: Vec<&Json> = lines.iter().filter(access).collect();
    let of = |id: &str| {
        let found: Vec<_> = requests.iter().filter(|line| line["id"] == id).collect();
        assert_eq!(found.len(), 1, "{id}: {found:?}");
        *found[0]
    };
    let first = of(&run.ids[0]);
    for (field, value) in [
        ("route", Json::from("/v1/push")),
        ("method", "POST".into()),
        ("status", 200.into()),
        ("peer", "127.0.0.1".into()),
        ("station", 1.into()),
        ("name", EVIL_NAME.into()),
        ("first", 1.into()),
        ("last", 2.into()),
        ("applied", 2.into()),
        ("duplicate", 0.into()),
        ("rejected", 0.into()),
        ("level", "INFO".into()),
    ] {
        assert_eq!(first[field], value, "{field} of {first}");
    }
    assert!(first["received"].as_u64() > Some(100) && first["sent"].as_u64() > Some(100), "{first}");
    assert!(first["ms"].as_f64() > Some(0.0), "{first}");
    let (second, again, bad) = (of(&run.ids[1]), of(&run.ids[2]), of(&run.ids[3]));
    assert_eq!((&second["first"], &second["last"], &second["rejected"]), (&3.into(), &4.into(), &2.into()));
    assert_eq!((&again["duplicate"], &again["applied"]), (&2.into(), &0.into()));
    assert_eq!((&bad["status"], &bad["first"]), (&400.into(), &Json::Null));
    assert_eq!(of("of-a-proxy-17")["route"], "/v1/station");
    let count = |route: &str, status: u16| {
        requests.iter().filter(|line| line["route"] == route && line["status"] == status).count()
    };
    assert_eq!((count("/v1/push", 200), count("/v1/join", 200), count("other", 404)), (3, 1, 1));
    assert_eq!(count("/v1/station", 401), 1, "the first of a cause; the others are summed up");
    assert_eq!(["/healthz", "/readyz", "/startupz", "/metrics"].map(|route| count(route, 200)), [0; 4]);

    let run = busy("debug", "text");
    assert_harmless(&run);
    let lines = |words: &[&str]| run.log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    assert_eq!(
        lines(&[" INFO request id=", "route=\"/v1/push\"", "status=200", "first=1 last=2 applied=2"]),
        1,
        "{}",
        run.log
    );
    assert_eq!(lines(&["request id=", "route=\"/healthz\"", "DEBUG"]), 5, "{}", run.log);
    assert_eq!(lines(&["request id=", "route=\"/v1/station\"", "status=401"]), 21, "each of them, at debug");
    assert_eq!(lines(&["request id=\"of-a-proxy-17\""]), 1);
}

#[test]
fn the_loudest_log_has_no_token_password_or_value_of_a_row_either() {
    let run = busy("trace", "text");
    assert_harmless(&run);
    assert!(run.log.lines().count() > 40, "{}", run.log);
    // HTTP/2 has parts of its own in it.
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the tests'").unwrap();
    authority.write(&folder.path().join("ca.pem")).unwrap();
    authority.server(&["127.0.0.1"]).unwrap().write(folder.path(), "server").unwrap();
    let tls = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "server.crt", "--tls-key", "server.key"];
    let mut command = server(folder.path(), &tls);
    command.args(["--drain-grace", "0"]).env("TIDEMARK_LOG", "trace");
    let serving = Serving::start(command);
    let (token, cookie) = (word(0x5a), word(0x6b));
    for path in ["/v1/push", "/v1/join", "/v1/admin/session"] {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--http2",
            "--cacert",
            "ca.pem",
            "--output",
            "answer",
        ]);
        curl.args(["--write-out", "%{http_version}", "--data-binary", VALUE]).current_dir(folder.path());
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        curl.args(["--header", &format!("Cookie: __Host-tidemark={cookie}")]);
        let ran = curl.arg(format!("{}{path}", serving.url)).output().expect("curl is installed");
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "2", "{}", String::from_utf8_lossy(&ran.stderr));
    }
    let log = serving.stop();
    for secret in [VALUE, &token, &cookie] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
    assert!(log.contains("/v1/push") && log.contains("TRACE"), "{log}");
}

#[test]
fn a_flood_of_strangers_is_a_few_lines() {
    let logged = Logged::start(None, "info", &["--drain-grace", "0"]);
    for n in 0..400 {
        assert_eq!(logged.ask("GET", &format!("/nowhere/{n}"), &[], b"").status, 404);
    }
    let log = logged.stop();
    let lines = log.lines().filter(|line| line.contains("status=404")).count();
    assert!((100..250).contains(&lines), "{lines} lines");
    assert!(!log.contains("nowhere"), "a path of nobody's is not told");
}

#[test]
fn how_much_is_logged_says_the_option_before_the_variable() {
    let quiet =
        Logged::start(None, "debug", &["--drain-grace", "0", "--log-level", "info,tidemark_server::access=off"]);
    assert_eq!(quiet.ask("GET", "/nowhere", &[], b"").status, 404);
    let log = quiet.stop();
    assert!(log.contains("INFO upstream: ") && !log.contains("status=404") && !log.contains("DEBUG"), "{log}");
    let folder = tempfile::tempdir().unwrap();
    for args in [["--log-level", "loud"], ["--log-format", "xml"], ["--metrics-per-station", "-1"]] {
        let ran = run(folder.path(), &[&["serve"][..], &args].concat());
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
    }
    let ran = run(folder.path(), &["serve", "--metrics-token-file", "none"]);
    assert!(ran.code == Some(1) && ran.err.contains("--metrics-token-file none"), "{}", ran.err);
}

/// A server whose log goes into a pipe that nobody reads.
struct Unread {
    child: std::process::Child,
    addr: std::net::SocketAddr,
    _folder: tempfile::TempDir,
}

impl Unread {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        works(folder.path(), &["migrate", "up"]);
        let mut command = server(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--drain-grace", "0"]);
        command.env("TIDEMARK_LOG", "debug").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self { child, addr, _folder: folder }
    }

    /// Asks so many times, each of which is a line at the level `debug`: more than a pipe holds and more than a server
    /// keeps.
    fn ask_much(&self) -> usize {
        let (rounds, each) = (120, 100);
        for round in 0..rounds {
            let many = b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n".repeat(each - 1);
            let last = b"GET /healthz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
            let mut stream = std::net::TcpStream::connect(self.addr).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
            stream.write_all(&[&many[..], last].concat()).unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).expect("it answers whoever reads its log");
            assert_eq!(answers.matches("HTTP/1.1 200 ").count(), each, "round {round}");
        }
        rounds * each
    }

    fn tell_to_end(&self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_does_not_read_the_log_holds_up_no_request_and_learns_how_many_lines_are_lost() {
    let mut unread = Unread::start();
    let asked = unread.ask_much();
    // Now it is read, and ends in good order.
    unread.tell_to_end();
    let mut log = String::new();
    unread.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let lines = log.lines().filter(|line| line.contains("route=\"/healthz\"")).count();
    let lost = log.lines().filter(|line| line.contains("lines of the log are lost"));
    let lost: usize = lost.map(|line| line.rsplit_once("lines=").unwrap().1.parse::<usize>().unwrap()).sum();
    assert!(lines < asked && lost > 0, "{lines} lines and {lost} lost");
    assert!((asked..asked + 500).contains(&(lines + lost)), "{lines} lines and {lost} lost: each is told of");
    assert!(log.ends_with("INFO stopped\n"), "{}", &log[log.len().saturating_sub(500)..]);
}

#[test]
fn a_server_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let mut unread = Unread::start();
    unread.ask_much();
    unread.tell_to_end();
    assert_eq!(ended(&mut unread.child), Some(0));
}
