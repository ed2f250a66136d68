//! A running server: its start, its end, a database that goes away, a panic in a request.

use std::sync::Arc;
use std::time::Duration;

use crate::common::client::request;
use crate::common::log::Log;
use crate::common::site::{Held, reply, site, site_with, word};
use crate::common::station::frame;
use crate::common::stores::{Kind, Store};
use crate::common::{NOON_MS, field};
use tidemark_core::limits::FrameLimits;
use tidemark_core::schema::Schema;
use tidemark_server::config::{DatabaseUrl, HttpLimits};
use tidemark_server::stations::{NewStation, secret_hash};
use tidemark_server::{Server, ServerConfig};
use tokio::io::AsyncReadExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn stopping_finishes_what_runs() {
    let site = site_with(Kind::PlainPostgres, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let held = Held::cursor(&site, &station).await;
    let bytes = frame(&station.cut(&[station.site(1)]));
    let (addr, upstream) = (site.addr, Arc::clone(&site.store.upstream));
    let mut idle = tokio::net::TcpStream::connect(addr).await.unwrap();
    let pushing = tokio::spawn(async move { request(addr, "POST", "/v1/push", Some(&word(1)), &bytes).await });
    held.is_wanted().await;
    let stopping = tokio::spawn(site.server.shutdown());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody new is let in");
    assert!(!stopping.is_finished());
    held.release().await;
    assert_eq!(reply(&pushing.await.unwrap()).tidemark, 1);
    tokio::time::timeout(Duration::from_secs(20), stopping)
        .await
        .expect("an idle connection does not hold it")
        .unwrap();
    assert_eq!(upstream.cursor(station.number).await.unwrap().unwrap().seq, 1);
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

/// Waits until the server says that it is ready, or that it is not.
async fn becomes(addr: std::net::SocketAddr, status: u16) {
    for _ in 0..300 {
        if request(addr, "GET", "/readyz", None, b"").await.status == status {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("/readyz does not answer {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_unavailable_and_comes_back() {
    let site = site_with(Kind::PlainPostgres, HttpLimits::default(), FrameLimits::DEFAULT).await;
    let mut station = site.join(1).await;
    let url = site.store.url.clone().unwrap();
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    let admin = crate::common::cluster::connect(&crate::common::cluster::Cluster::plain().url_of("postgres")).await;
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await.unwrap();
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    admin.query(&end, &[]).await.unwrap();
    let bytes = frame(&station.cut(&[station.site(1)]));
    assert_eq!(request(site.addr, "GET", "/healthz", None, b"").await.status, 200);
    let mut refused = 0;
    for _ in 0..3 {
        let answer = site.push(1, &bytes).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
        refused += usize::from(answer.head.to_ascii_lowercase().contains("retry-after"));
    }
    assert_eq!(refused, 3);
    becomes(site.addr, 503).await;
    admin.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.unwrap();
    becomes(site.addr, 200).await;
    assert_eq!(reply(&site.push(1, &bytes).await).applied, 1);
    // A database that changed under the server is not ready.
    crate::common::cluster::connect(&url).await.batch_execute("ALTER TABLE field.site DROP COLUMN name").await.unwrap();
    becomes(site.addr, 503).await;
}

#[tokio::test]
async fn a_server_starts_on_a_new_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upstream.db");
    let mut config = ServerConfig::new(DatabaseUrl::Sqlite(path.clone()));
    config.schema = Arc::new(Schema::parse(crate::common::FIELD_TOML).unwrap());
    let server = Server::start(config.clone()).await.unwrap();
    assert_eq!(request(server.addr(), "GET", "/readyz", None, b"").await.status, 200);
    config.listen = server.addr().to_string();
    let taken = Server::start(config).await.unwrap_err();
    assert!(format!("{taken:#}").contains("cannot listen on"), "{taken:#}");
    server.shutdown().await;
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is no database, only text that is long enough to have a header").unwrap();
    let error = Server::start(ServerConfig::new(DatabaseUrl::Sqlite(text))).await.unwrap_err();
    assert!(format!("{error:#}").contains("text.db") && format!("{error:#}").contains("not a database"), "{error:#}");
    let error =
        Server::start(ServerConfig::new(DatabaseUrl::Sqlite(folder.path().join("none/x.db")))).await.unwrap_err();
    assert!(format!("{error:#}").contains("none/x.db"), "{error:#}");
}

#[tokio::test]
async fn a_panic_in_a_request_is_answered_as_a_fault_and_leaves_the_server_as_it_was() {
    let site = site().await;
    let mut station = site.join(1).await;
    let first = frame(&station.cut(&[station.site(1)]));
    // Wherever the clock is looked at: in the request itself, in a task of it, and in a thread of that.
    for looks in [0, 1, 0, 1] {
        let broken = || site.store.clock.break_after(looks);
        broken();
        let asked = request(site.addr, "GET", "/v1/station", Some(&word(1)), b"").await;
        broken();
        let pushed = site.push(1, &first).await;
        site.store.clock.break_after(0);
        for answer in [asked, pushed, site.post_join(&site.ask(9, 9, 9)).await] {
            let problem: tidemark_core::protocol::Problem = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, problem.code), (500, tidemark_core::protocol::ProblemCode::Internal));
            assert!(!problem.detail.contains("clock"), "{problem:?}");
        }
    }
    site.store.clock.mend();
    assert_eq!(reply(&site.push(1, &first).await).tidemark, 1);
    assert_eq!(request(site.addr, "GET", "/readyz", None, b"").await.status, 200);
    site.server.shutdown().await;
}

#[test]
fn a_panic_in_a_request_is_logged_with_what_it_was_doing_and_for_whom_and_counted() {
    use http_body_util::{BodyExt as _, Full};
    use tidemark_server::http::Endpoint;

    let (log, logging) = Log::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let panics = runtime.block_on(async {
        let store = Store::open(Kind::Memory, &[field()]).await;
        let station = store.join("north").await;
        assert_eq!(station.number.get(), 1);
        // Its token is not known to anybody, so the one whose hash is kept is looked for.
        let invited = NewStation {
            name: "south".to_owned(),
            code_hash: secret_hash(&[7; 32]),
            code_expires_at_ms: NOON_MS + 60_000,
            now_ms: NOON_MS,
        };
        assert!(store.upstream.add_station(&invited).await.unwrap());
        let token_hash = secret_hash(&[8; 32]);
        let ask = tidemark_server::stations::JoinAsk {
            code_hash: secret_hash(&[7; 32]),
            uuid: [8; 16],
            token_hash,
            now_ms: NOON_MS,
        };
        store.upstream.join(&ask).await.unwrap();
        let endpoint = Endpoint::new(Arc::clone(&store.ingest), HttpLimits::default());
        // The first look is for how old the answer about the token is.
        store.clock.break_after(1);
        let asked = hyper::Request::get("/v1/station")
            .header("authorization", format!("Bearer {}", word(8)))
            .body(Full::default().map_err(|never: std::convert::Infallible| match never {}).boxed())
            .unwrap();
        assert_eq!(endpoint.answer(asked).await.status(), 500);
        endpoint.panics().count()
    });
    drop(logging);
    assert_eq!(panics, 1);
    let log = log.text();
    assert!(log.contains("the clock is broken") && log.contains("GET /v1/station"), "{log}");
    assert!(log.contains("station=2") && log.contains("panics=1"), "{log}");
}
