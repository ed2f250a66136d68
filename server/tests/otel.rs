//! Traces for OpenTelemetry: what the program sends to a collector, and what not. Built with the feature `otel`, as
//! `scripts/test` builds the server.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use tidemark_core::joincode::JoinCode;
use tidemark_core::protocol::{JoinReply, JoinRequest};
use tidemark_core::value::{format_uuid, hex};

use crate::common::client::request_with;
use crate::common::program::{run, server};
use crate::common::site::word;
use crate::common::station::{Station, frame, text};
use crate::common::{FIELD_TOML, field};

/// A value of a row.
const VALUE: &str = "value-of-a-row-7c02";

/// A collector: it answers every request with 200, and keeps the bodies. Protobuf keeps words as they are.
fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, got) = (format!("http://{}", listener.local_addr().unwrap()), Arc::<Mutex<Vec<u8>>>::default());
    let kept = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                let value = line.to_ascii_lowercase().strip_prefix("content-length:").map(|value| value.trim().parse());
                length = value.and_then(Result::ok).unwrap_or(length);
                kept.lock().unwrap().extend_from_slice(line.as_bytes());
                line.clear();
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            kept.lock().unwrap().extend_from_slice(&body);
            let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (url, got)
}

#[test]
fn a_collector_gets_the_spans_of_a_push_with_station_and_changes_and_no_value_of_a_row() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("field.toml"), FIELD_TOML).unwrap();
    let place = ["--database", "sqlite:///upstream.db", "--schema", "field.toml"];
    assert_eq!(run(folder.path(), &[&["migrate", "up"][..], &place].concat()).code, Some(0));
    let added = run(
        folder.path(),
        &[
            "station",
            "add",
            "north",
            "--json",
            "--public-url",
            "http://127.0.0.1:1",
            "--database",
            "sqlite:///upstream.db",
        ],
    );
    let added: serde_json::Value = serde_json::from_str(&added.out).unwrap();
    let secret = hex(&JoinCode::decode(added["code"].as_str().unwrap()).unwrap().secret);
    let (collector, got) = collector();
    let mut command = server(folder.path(), &["serve", "--listen", "127.0.0.1:0", "--drain-grace", "0"]);
    command.args(place).env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on http://").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let answer = runtime.block_on(request_with(addr, "POST", path, headers, body));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.body
    };
    let (schema, token) = (field(), word(0x3c));
    let join = JoinRequest {
        secret,
        station_uuid: format_uuid([9; 16]),
        token: token.clone(),
        fingerprint: schema.fingerprint().to_hex(),
        station: None,
        former_uuid: None,
    };
    let joined: JoinReply = serde_json::from_slice(&ask("/v1/join", &[], &serde_json::to_vec(&join).unwrap())).unwrap();
    let mut station = Station::new(&schema, joined.station.get(), [9; 16]);
    let batch = station.cut(&[station.insert("site", 1, &[("name", text(VALUE))])]);
    ask("/v1/push", &[("Authorization", &format!("Bearer {token}"))], &frame(&batch));
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{log}");
    let got = String::from_utf8_lossy(&got.lock().unwrap()).into_owned();
    for word in [
        "POST /v1/traces",
        "tidemark-server",
        "request",
        "decode",
        "apply",
        "plan",
        "write",
        "commit",
        "station",
        "/v1/push",
    ] {
        assert!(got.contains(word), "{word} is not in {got:?}\n{log}");
    }
    for secret in [VALUE, &token] {
        assert!(!got.contains(secret) && !log.contains(secret), "{secret}");
    }
    assert!(log.contains("request id=") && !log.contains("request{"), "spans are not in the log: {log}");
}
