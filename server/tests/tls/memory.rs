//! What connections over which nobody asks cost: hyper gives those of HTTP/1.1 back, those of HTTP/2 it does not.
#![cfg(target_os = "linux")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use tidemark_testkit::certificates::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::door::{NAME, client, shake};
use crate::common::program::server;

/// The connections of each kind.
const MANY: u64 = 400;

/// A program that serves, and is ended when this is dropped.
struct Serving {
    child: Child,
    addr: std::net::SocketAddr,
}

impl Serving {
    fn start(folder: &std::path::Path, more: &[&str]) -> Self {
        let args = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--address-connections-max",
            "4000",
            "--head-timeout",
            "600",
            "--database",
        ];
        let database = format!("sqlite:///{}", folder.join(format!("{}.db", more.len())).display());
        let mut command = server(folder, &[&args[..], &[&database], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim_end().rsplit('/').next().unwrap().parse().expect(&line);
        Self { child, addr }
    }

    /// Its resident memory, in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Serving {
    /// Its open files: every connection is one.
    fn open(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count() as u64
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks once.
async fn ask(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    let mut said = [0; 400];
    assert!(stream.read(&mut said).await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_cost_as_much_memory_as_the_documents_say() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the tests'").unwrap();
    let files = authority.server(&[NAME]).unwrap().write(folder.path(), "server").unwrap();
    let plain = Serving::start(folder.path(), &[]);
    let (cert, key) = (files.cert.to_str().unwrap(), files.key.to_str().unwrap());
    let secure = Serving::start(folder.path(), &["--tls-cert", cert, "--tls-key", key]);
    let [first, second] = [&["http/1.1"], &["h2"]].map(|protocols| client(&authority, None, protocols));
    let settle = || tokio::time::sleep(Duration::from_millis(300));
    let mut kept: Vec<Box<dyn std::any::Any>> = Vec::new();

    // What is only made once is made by the first of each.
    for warm in [true, false] {
        let many = if warm { 20 } else { MANY };
        settle().await;
        let before = plain.resident();
        for _ in 0..many {
            let mut stream = TcpStream::connect(plain.addr).await.unwrap();
            ask(&mut stream).await;
            kept.push(Box::new(stream));
        }
        settle().await;
        let plain_bytes = plain.resident().saturating_sub(before) / many;
        let before = secure.resident();
        for _ in 0..many {
            let stream = TcpStream::connect(secure.addr).await.unwrap();
            let mut stream = shake(first.clone(), stream).await.unwrap();
            ask(&mut stream).await;
            kept.push(Box::new(stream));
        }
        settle().await;
        let first_bytes = secure.resident().saturating_sub(before) / many;
        let before = secure.resident();
        for _ in 0..many {
            let stream = TcpStream::connect(secure.addr).await.unwrap();
            let stream = shake(second.clone(), stream).await.unwrap();
            let (send, connection) = h2::client::handshake(stream).await.unwrap();
            let running = tokio::spawn(connection);
            let mut send = send.ready().await.unwrap();
            let request = Request::builder().uri("https://hq.test/healthz").body(()).unwrap();
            let (response, _) = send.send_request(request, true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
            kept.push(Box::new((send, running, Bytes::new())));
        }
        settle().await;
        let second_bytes = secure.resident().saturating_sub(before) / many;
        println!("idle: HTTP/1.1 {plain_bytes}, over TLS {first_bytes}, HTTP/2 {second_bytes} bytes each");
        if !warm {
            // All of them are there, and what they cost was seen.
            assert!(plain.open() > MANY && secure.open() > 2 * MANY, "{} and {}", plain.open(), secure.open());
            assert!(plain_bytes > 1 << 10, "{plain_bytes} bytes for one of HTTP/1.1: nothing was measured");
            assert!(first_bytes > 4 << 10, "{first_bytes} bytes for one over TLS: nothing was measured");
            assert!(second_bytes > 8 << 10, "{second_bytes} bytes for one of HTTP/2: nothing was measured");
            assert!(plain_bytes < 20 << 10, "{plain_bytes} bytes for one of HTTP/1.1");
            assert!(first_bytes < 32 << 10, "{first_bytes} bytes for one over TLS");
            assert!(second_bytes < 64 << 10, "{second_bytes} bytes for one of HTTP/2");
        }
    }
}
