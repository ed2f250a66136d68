//! Databases of the PostgreSQL clusters that a run of tests shares.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub use tidemark_testkit::postgres::TESTER_PASSWORD as PASSWORD;
use tidemark_testkit::postgres::{Flavour, PostgresCluster, TESTER, program};

pub struct Cluster(PostgresCluster);

impl Cluster {
    /// With TimescaleDB preloaded.
    pub fn timescale() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self(PostgresCluster::shared(Flavour::Timescale).unwrap()))
    }

    /// One of its own with TimescaleDB preloaded, and with hardly any room for locks: for as many as 10 in each of 40
    /// connections.
    pub fn short_of_locks() -> Self {
        Self::own(Flavour::Timescale, &["max_locks_per_transaction = 10", "max_connections = 40"])
    }

    /// One of its own, which fails as the test wants.
    pub fn own(flavour: Flavour, settings: &'static [&'static str]) -> Self {
        // In a thread of its own: the tests' runtimes do not let anything block on another.
        let started = std::thread::spawn(move || {
            let mut cluster = PostgresCluster::start(flavour).unwrap();
            if !settings.is_empty() {
                let admin = cluster.admin("postgres").unwrap();
                for setting in settings {
                    admin.batch(&format!("ALTER SYSTEM SET {setting}")).unwrap();
                }
                drop(admin);
                cluster.kill_hard().unwrap();
                cluster.restart().unwrap();
            }
            cluster
        });
        Self(started.join().unwrap())
    }

    /// Does something to a cluster of its own that blocks.
    pub fn act<R: Send>(&mut self, act: impl FnOnce(&mut PostgresCluster) -> R + Send) -> R {
        std::thread::scope(|scope| scope.spawn(|| act(&mut self.0)).join().unwrap())
    }

    /// Without TimescaleDB.
    pub fn plain() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self(PostgresCluster::shared(Flavour::Plain).unwrap()))
    }

    pub fn url_of(&self, database: &str) -> String {
        format!("postgresql://{TESTER}:{PASSWORD}@127.0.0.1:{}/{database}", self.0.port())
    }

    /// A new, empty database; its URL.
    pub async fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = self.0.name_of(&format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        connect(&self.url_of("postgres"))
            .await
            .batch_execute(&format!("CREATE DATABASE \"{name}\" TEMPLATE template0"))
            .await
            .unwrap();
        self.url_of(&name)
    }

    /// What pg_dump says of a database's structure, without the lines that differ between databases.
    pub fn dump(&self, url: &str) -> String {
        let pg_dump: PathBuf = program("pg_dump").unwrap();
        let output = Command::new(pg_dump)
            .args(["--schema-only", "--no-owner", "--exclude-schema=tidemark", url])
            .output()
            .expect("pg_dump is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| !line.starts_with("--") && !line.starts_with('\\') && !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// A connection.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
