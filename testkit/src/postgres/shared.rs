//! One PostgreSQL cluster of each kind for a whole run of tests, because to make one takes longer than most tests.
//!
//! `clusters`, the program of this package, starts both and prints where they are in the form that [`VARIABLE`] takes;
//! scripts/test runs it and passes that on. Where the variable is not set (`cargo test` by hand), a test program starts
//! what it asks for by itself. Either way the server ends with the program that started it, however that ends: a shell
//! waits for the end of its standard input.
//!
//! A test that stops, kills or configures its server takes a private one,
//! [`PostgresCluster::start`](super::PostgresCluster::start).

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};

use super::client::make_roles;
use super::install::{Flavour, find_bin, is_root};
use super::roles::{ADMIN, PASSWORD};

/// Names the ports of the clusters that a whole run shares: `plain=40001,timescale=40002`.
pub const VARIABLE: &str = "TIDEMARK_TEST_CLUSTERS";
/// Nothing here survives the run, so nothing waits for the disk; connections for several test programs at once.
const SCRIPT: &str = r#"
set -u
dir=$(mktemp -d "${TMPDIR:-/tmp}/tidemark-shared.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
printf '%s' "$PASSWORD" > "$dir/password"
"$BIN/initdb" -D "$dir/data" -U "$ADMIN" -A scram-sha-256 --pwfile="$dir/password" -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log"; exit 1; }
"$BIN/postgres" -D "$dir/data" -p "$PORT" -k "$dir" -h 127.0.0.1 -c shared_preload_libraries="$PRELOAD" -c fsync=off -c full_page_writes=off \
    -c max_connections=250 -c shared_buffers=128MB -c timescaledb.telemetry_level=off -c timescaledb.max_background_workers=2 \
    -c max_worker_processes=16 -c timezone=Pacific/Chatham -c datestyle=german -c log_min_messages=warning > "$dir/log" 2>&1 < /dev/null &
server=$!
for _ in $(seq 600); do
    "$BIN/pg_isready" -q -h 127.0.0.1 -p "$PORT" && { echo ready; break; }
    kill -0 $server 2>/dev/null || { cat "$dir/log"; exit 1; }
    sleep 0.05
done
cat > /dev/null
kill -QUIT $server
wait $server
"#;

/// A cluster that ends when this value, or the program that holds it, does.
#[derive(Debug)]
pub struct Started {
    /// Its port on loopback.
    pub port: u16,
    shell: Child,
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Makes and starts a cluster with the roles that tests use.
///
/// # Errors
/// When PostgreSQL or TimescaleDB is missing (run scripts/test, which installs them), or does not start.
pub fn start(flavour: Flavour) -> Result<Started> {
    let bin = find_bin()?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut command = Command::new(if is_root()? { "runuser" } else { "sh" });
    if is_root()? {
        command.args(["-u", "postgres", "--", "sh"]);
    }
    command.args(["-c", SCRIPT]);
    command.env("BIN", &bin).env("PORT", port.to_string()).env("ADMIN", ADMIN).env("PASSWORD", PASSWORD);
    command.env("PRELOAD", if flavour == Flavour::Timescale { "timescaledb" } else { "" });
    let mut shell = command
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("no shell for the cluster starts (as root: is there `runuser`, and a user `postgres`?)")?;
    let mut output = BufReader::new(shell.stdout.take().context("BUG: the output is piped")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line != "ready\n" {
        output.read_to_string(&mut line)?;
        bail!(
            "PostgreSQL in {} does not start; run scripts/test, which installs what it needs:\n{line}",
            bin.display()
        );
    }
    let started = Started { port, shell };
    make_roles(port)?;
    Ok(started)
}

/// The port of the run's cluster of this kind.
pub(crate) fn port(flavour: Flavour) -> Result<u16> {
    static OWN: Mutex<Vec<(Flavour, Started)>> = Mutex::new(Vec::new());
    let name = match flavour {
        Flavour::Timescale => "timescale",
        Flavour::Plain => "plain",
    };
    if let Ok(given) = std::env::var(VARIABLE) {
        let port = given.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        return port.with_context(|| format!("{VARIABLE}={given} names no port of the cluster {name}; unset it"));
    }
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, started)) = own.iter().find(|(other, _)| *other == flavour) {
        return Ok(started.port);
    }
    let started = start(flavour)?;
    let port = started.port;
    own.push((flavour, started));
    Ok(port)
}

/// The suffix of the databases of one user of a shared cluster, so that no two tests meet.
pub(crate) fn suffix() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("_{:x}_{}_{count}", crate::world::unix_ms() & 0xff_ffff, std::process::id())
}
