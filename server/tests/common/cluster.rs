//! A private PostgreSQL cluster in a temporary folder, on a free port of the loopback address. It ends with the test program, however that
//! ends: a shell waits for the end of its stdin, then stops the server it started and removes the folder.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

pub const PASSWORD: &str = "s3cr3t-pass";

pub struct Cluster {
    pub port: u16,
    pub bin: PathBuf,
    /// Its stdin ends with this program.
    _watch: Child,
}

const SCRIPT: &str = r#"
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/tidemark-pg.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
printf '%s' "$PASSWORD" > "$dir/password"
"$BIN/initdb" -D "$dir/data" -U postgres -A scram-sha-256 --pwfile="$dir/password" -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log"; exit 1; }
"$BIN/postgres" -D "$dir/data" -p "$PORT" -k "$dir" -h 127.0.0.1 -c shared_preload_libraries="$PRELOAD" -c fsync=off \
    -c max_connections=80 $SETTINGS -c log_statement=none -c timescaledb.telemetry_level=off > "$dir/log" 2>&1 < /dev/null &
server=$!
for _ in $(seq 300); do
    "$BIN/pg_isready" -q -h 127.0.0.1 -p "$PORT" && { echo ready; break; }
    kill -0 $server 2>/dev/null || { cat "$dir/log"; exit 1; }
    sleep 0.1
done
cat > /dev/null
kill -QUIT $server
wait $server
"#;

fn bin_dir() -> PathBuf {
    let holds_postgres = |dir: &Path| dir.join("initdb").exists() && dir.join("postgres").exists();
    if let Some(dir) = std::env::var_os("TIDEMARK_PG_BIN") {
        let dir = PathBuf::from(dir);
        assert!(holds_postgres(&dir), "TIDEMARK_PG_BIN={} holds no initdb and postgres", dir.display());
        return dir;
    }
    let config = Command::new("pg_config").arg("--bindir").output();
    let mut dirs: Vec<PathBuf> = config
        .ok()
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
        .into_iter()
        .collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        dirs.extend(versions.into_iter().rev());
    }
    dirs.into_iter().find(|dir| holds_postgres(dir)).expect(
        "no PostgreSQL server here: run scripts/setup-postgres, or set TIDEMARK_PG_BIN to the folder with initdb",
    )
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

impl Cluster {
    fn start(preload: &str, settings: &str) -> Self {
        let bin = bin_dir();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "sh", "-c", SCRIPT]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]);
            command
        };
        command
            .env("BIN", &bin)
            .env("PORT", port.to_string())
            .env("PRELOAD", preload)
            .env("SETTINGS", settings)
            .env("PASSWORD", PASSWORD);
        let mut watch = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cannot start a shell for the cluster (as root: is there `runuser`, and a user `postgres`?)");
        let mut out = BufReader::new(watch.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        if line != "ready\n" {
            out.read_to_string(&mut line).unwrap();
            panic!("PostgreSQL in {} did not start (run scripts/setup-timescaledb?):\n{line}", bin.display());
        }
        Self { port, bin, _watch: watch }
    }

    /// With TimescaleDB preloaded.
    pub fn timescale() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::start("timescaledb", ""))
    }

    /// With TimescaleDB preloaded, and with hardly any room for locks: for as many as 10 in each of 40 connections.
    pub fn short_of_locks() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        let settings = "-c max_locks_per_transaction=10 -c max_connections=40";
        CLUSTER.get_or_init(|| Self::start("timescaledb", settings))
    }

    /// Without TimescaleDB.
    pub fn plain() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::start("", ""))
    }

    pub fn url_of(&self, database: &str) -> String {
        format!("postgresql://postgres:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// A new, empty database; its URL.
    pub async fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        connect(&self.url_of("postgres"))
            .await
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
            .await
            .unwrap();
        self.url_of(&name)
    }

    /// What pg_dump says of a database's structure, without the lines that differ between databases.
    pub fn dump(&self, url: &str) -> String {
        let output = Command::new(self.bin.join("pg_dump"))
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
