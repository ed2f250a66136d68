//! A server over a store, and what the tests of the endpoint do to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{JoinReply, JoinRequest, PushReply};
use tidemark_core::schema::Schema;
use tidemark_core::value::{format_uuid, hex};
use tidemark_server::config::{DatabaseUrl, HttpLimits};
use tidemark_server::stations::{NewStation, secret_hash};
use tidemark_server::{RunningServer, Server, ServerConfig};

use super::client::{Answer, request};
use super::station::Station;
use super::stores::{Kind, Store};
use super::{NOON_MS, TestClock, field};

pub struct Site {
    pub store: Store,
    pub server: RunningServer,
    pub addr: SocketAddr,
}

/// A server with a store of this kind, by a configuration that `adapt` made different.
pub async fn site_of(kind: Kind, schema: &Arc<Schema>, adapt: impl FnOnce(&mut ServerConfig)) -> Site {
    site_over(Store::open(kind, &[Arc::clone(schema)]).await, adapt).await
}

/// A server over a store.
pub async fn site_over(store: Store, adapt: impl FnOnce(&mut ServerConfig)) -> Site {
    let schema = Arc::clone(&store.schema);
    let mut config = ServerConfig::new(DatabaseUrl::Sqlite("unused.db".into()));
    config.schema = schema;
    adapt(&mut config);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock: Arc<dyn tidemark_server::clock::Clock> = Arc::<TestClock>::clone(&store.clock);
    let server = Server::serve(listener, Arc::clone(&store.upstream), &config, clock).unwrap();
    let addr = server.addr();
    Site { store, server, addr }
}

pub async fn site_with(kind: Kind, http: HttpLimits, limits: FrameLimits) -> Site {
    site_of(kind, &field(), |config| (config.http, config.limits) = (http, limits)).await
}

pub async fn site() -> Site {
    site_with(Kind::Memory, HttpLimits::default(), FrameLimits::DEFAULT).await
}

/// A secret or token of 32 bytes.
pub fn word(n: u8) -> String {
    hex(&[n; 32])
}

impl Site {
    pub async fn invite(&self, name: &str, code: u8) {
        let station = NewStation {
            name: name.to_owned(),
            code_hash: secret_hash(&[code; 32]),
            code_expires_at_ms: NOON_MS + 60_000,
            now_ms: NOON_MS,
        };
        assert!(self.store.upstream.add_station(&station).await.unwrap());
    }

    pub fn ask(&self, code: u8, uuid: u8, token: u8) -> JoinRequest {
        JoinRequest {
            secret: word(code),
            station_uuid: format_uuid([uuid; 16]),
            token: word(token),
            fingerprint: self.store.schema.fingerprint().to_hex(),
            station: None,
            former_uuid: None,
        }
    }

    pub async fn post_join(&self, ask: &JoinRequest) -> Answer {
        request(self.addr, "POST", "/v1/join", None, &serde_json::to_vec(ask).unwrap()).await
    }

    /// A station that joined over HTTP; code, uuid and token are all `n`.
    pub async fn join(&self, n: u8) -> Station {
        self.invite(&format!("station {n}"), n).await;
        let answer = self.post_join(&self.ask(n, n, n)).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let reply: JoinReply = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((reply.name.as_str(), reply.limits), (format!("station {n}").as_str(), FrameLimits::DEFAULT));
        Station::new(&self.store.schema, reply.station.get(), [n; 16])
    }

    pub async fn post_digest(&self, token: u8, body: &[u8]) -> Answer {
        request(self.addr, "POST", "/v1/digest", Some(&word(token)), body).await
    }

    pub async fn push(&self, token: u8, frame: &[u8]) -> Answer {
        request(self.addr, "POST", "/v1/push", Some(&word(token)), frame).await
    }
}

pub fn reply(answer: &Answer) -> PushReply {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap()
}

/// Another session that holds a station's cursor: whoever pushes for it waits until this is dropped.
pub struct Held(tokio_postgres::Client);

impl Held {
    pub async fn cursor(site: &Site, station: &Station) -> Self {
        let client = crate::common::cluster::connect(site.store.url.as_deref().unwrap()).await;
        let sql = format!("BEGIN; SELECT FROM tidemark.cursor WHERE station = {} FOR UPDATE", station.number);
        client.batch_execute(&sql).await.unwrap();
        Self(client)
    }

    /// Waits until somebody waits for the cursor.
    pub async fn is_wanted(&self) {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
        for _ in 0..200 {
            if self.0.query_one(sql, &[]).await.unwrap().get(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody asks for the cursor");
    }

    pub async fn release(self) {
        self.0.batch_execute("COMMIT").await.unwrap();
    }
}
