//! PgBouncer before a cluster: a real one, on a free port of loopback, gone when dropped.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::PostgresCluster;
use super::client::PgClient;
use super::install::{is_root, output_of};
use super::roles::{OWNER, PASSWORD};
use crate::world::wait_for;

/// For how long a client has a connection to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// As long as it stays.
    Session,
    /// For a transaction.
    Transaction,
    /// For a statement.
    Statement,
}

/// A running PgBouncer.
#[derive(Debug)]
pub struct PgBouncer {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl PgBouncer {
    /// Starts one before a cluster; `round_robin`: connections to the database are taken in turn, not the last one
    /// first.
    ///
    /// # Errors
    /// When PgBouncer is missing (run scripts/test, which installs it), or does not start.
    pub fn start(cluster: &PostgresCluster, mode: PoolMode, round_robin: bool) -> Result<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"].map(PathBuf::from);
        let program = program.into_iter().find(|path| path.is_file());
        let program = program.context("PgBouncer is not on this machine; run scripts/test, which installs it")?;
        let folder = tempfile::Builder::new().prefix("tidemark-pgbouncer-").tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("users"), format!("\"{OWNER}\" \"{PASSWORD}\"\n"))?;
        let mode = match mode {
            PoolMode::Session => "session",
            PoolMode::Transaction => "transaction",
            PoolMode::Statement => "statement",
        };
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\npool_mode = {mode}\nlogfile = {}\n\
             server_round_robin = {}\ndefault_pool_size = 40\nmax_client_conn = 100\n",
            cluster.port(),
            at("users").display(),
            at("log").display(),
            u8::from(round_robin),
        );
        std::fs::write(at("pgbouncer.ini"), settings)?;
        let mut command = if is_root()? {
            // It refuses to run as root.
            output_of(Command::new("chown").arg("-R").arg("postgres").arg(folder.path()))?;
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-q").arg(at("pgbouncer.ini")).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("pgbouncer does not start")?;
        let mut running = Self { folder, port, child };
        wait_for("PgBouncer to take connections", Duration::from_secs(20), || {
            if let Some(status) = running.child.try_wait()? {
                bail!("PgBouncer ended ({status}):\n{}", running.log());
            }
            Ok(PgClient::connect(port, OWNER, "postgres").ok().map(|_| ()))
        })
        .with_context(|| running.log())?;
        Ok(running)
    }

    /// The port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
