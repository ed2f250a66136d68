//! Certificates that are renewed while the server applies what stations push, and requests to end a statement, which go
//! the way of the connection they are about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tidemark_core::survey::{Ask, Question, Range};
use tidemark_server::survey::Survey;
use tidemark_testkit::certificates::Authority;
use tidemark_testkit::postgres::{Door, Flavour, PostgresCluster};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::common::cluster::{Cluster, connect};
use crate::common::field;
use crate::common::site::{Site, site_over};
use crate::common::station::frame;
use crate::common::stores::{on_postgres, open_postgres};

/// A server over a database behind TLS; the URL of the database in the clear, for the test's own questions.
struct Applying {
    cluster: Cluster,
    site: Site,
    clear: String,
    folder: TempDir,
}

impl Applying {
    /// `through`: another port of loopback.
    async fn start(through: impl AsyncFnOnce(u16) -> u16) -> Self {
        let mut cluster = Cluster::own(Flavour::Plain, &[]);
        let folder = tempfile::tempdir().unwrap();
        let mut store = on_postgres(&cluster, &field(), |upstream| upstream).await;
        let clear = store.url.clone().unwrap();
        renew(&mut cluster, &folder, "first").await;
        let port = cluster.act(|cluster: &mut PostgresCluster| cluster.port());
        let other = through(port).await;
        let url = clear.replace(&format!(":{port}/"), &format!(":{other}/"));
        let file = folder.path().join("ca.pem");
        let url = format!("{url}?sslmode=verify-full&sslrootcert={}", file.display());
        store.upstream = Arc::new(open_postgres(&url, &field()).await.unwrap());
        let site = site_over(store, |_| {}).await;
        Self { cluster, site, clear, folder }
    }

    /// The connections of the server end; it makes new ones.
    async fn end_connections(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidemark-server'";
        connect(&self.clear).await.query(sql, &[]).await.unwrap();
    }

    async fn drains(&self, bytes: &[u8]) {
        let began = Instant::now();
        loop {
            let answer = self.site.push(1, bytes).await;
            if answer.status == 200 {
                return;
            }
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 503 && began.elapsed() < Duration::from_secs(30), "{}: {said}", answer.status);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Gives the server a certificate of a new authority, and the file of authorities that one.
async fn renew(cluster: &mut Cluster, folder: &TempDir, name: &str) {
    let authority = Authority::new(name).unwrap();
    let certificate = authority.server(&["127.0.0.1"]).unwrap();
    cluster.act(move |cluster| {
        cluster.speak_tls(&certificate, None).unwrap();
        cluster.let_in(Door::Open).unwrap();
    });
    authority.write(&folder.path().join("ca.pem")).unwrap();
}

#[tokio::test]
async fn certificates_are_renewed_while_the_server_applies_and_nothing_is_lost() {
    let mut applying = Applying::start(async |port| port).await;
    let mut station = applying.site.join(1).await;
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'tidemark-server'";
    for round in 1..=3 {
        let change = station.site(round);
        let bytes = frame(&station.cut(&[change]));
        assert_eq!(applying.site.push(1, &bytes).await.status, 200, "connections that are there stay");
        renew(&mut applying.cluster, &applying.folder, &format!("authority {round}")).await;
        let change = station.site(100 + round);
        let bytes = frame(&station.cut(&[change]));
        assert_eq!(applying.site.push(1, &bytes).await.status, 200, "connections that are there stay");
        applying.end_connections().await;
        let change = station.site(200 + round);
        applying.drains(&frame(&station.cut(&[change]))).await;
        assert!(connect(&applying.clear).await.query_one(encrypted, &[]).await.unwrap().get::<_, bool>(0));
    }
    // While somebody writes the file, what was read last counts.
    std::fs::write(applying.folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----\nhalf").unwrap();
    applying.end_connections().await;
    let change = station.site(300);
    applying.drains(&frame(&station.cut(&[change]))).await;
    let rows = connect(&applying.clear).await.query_one("SELECT count(*) FROM field.site", &[]).await.unwrap();
    assert_eq!(rows.get::<_, i64>(0), 10);
}

/// How a connection to PostgreSQL begins: with the code of its first message (protocol 3.0, "Message Formats").
const CANCEL: u32 = 80_877_102;
const TLS: u32 = 80_877_103;

/// Carries bytes to a port and back, and notes how each connection began.
async fn watched(to: u16) -> (u16, Arc<Mutex<Vec<u32>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let began = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&began);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut first = [0; 8];
                let Ok(_) = client.read_exact(&mut first).await else { return };
                let code = u32::from_be_bytes(first[4..].try_into().unwrap());
                noted.lock().unwrap_or_else(PoisonError::into_inner).push(code);
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                server.write_all(&first).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, began)
}

#[tokio::test]
async fn a_request_to_end_a_statement_goes_over_tls_too() {
    let noted = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&noted);
    let applying = Applying::start(async |port| {
        let (port, began) = watched(port).await;
        *keep.lock().unwrap() = Some(began);
        port
    })
    .await;
    let began = noted.lock().unwrap().clone().unwrap();
    let station = applying.site.join(1).await;
    let locker = connect(&applying.clear).await;
    locker.batch_execute("BEGIN; LOCK TABLE field.reading IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let until = async |wanted: i64| {
        let since = Instant::now();
        while locker.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) != wanted {
            assert!(since.elapsed() < Duration::from_secs(8), "not {wanted} sessions wait");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let upstream = Arc::clone(&applying.site.store.upstream);
    let ask = Ask { table: "reading".into(), question: Question::Digests(vec![Range::ALL]) };
    let survey = Survey::new(field(), vec![ask]);
    let asked = tokio::spawn(async move { upstream.survey(station.number, survey).await.map(|_| ()) });
    until(1).await;
    let before = began.lock().unwrap().len();
    asked.abort();
    // The statement ends, and not by what passed in the clear.
    until(0).await;
    let began = began.lock().unwrap().clone();
    assert!(began.len() > before, "{began:?}");
    assert!(began.iter().all(|code| *code == TLS) && !began.contains(&CANCEL), "{began:?}");
}
