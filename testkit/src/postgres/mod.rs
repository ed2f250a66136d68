//! PostgreSQL clusters on loopback. A private one is made in a temporary folder, on a free port, and is gone when
//! dropped; it can be killed. A share of the run's cluster ([`shared`]) has databases of its own in it, under names
//! that no other test has.
//!
//! Every connection logs in with a password (scram) that has to be percent-encoded in a URL, so that whoever handles
//! URLs carelessly fails here. Databases belong to a role without superuser rights, as on a user's server.

mod client;
#[cfg(feature = "certificates")]
mod doors;
mod install;
pub mod pgbouncer;
mod private;
mod roles;
pub mod shared;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

pub use client::PgClient;
#[cfg(feature = "certificates")]
pub use doors::Door;
pub use install::{Flavour, program};
use private::Private;
use roles::{ADMIN, PASSWORD_IN_URL};
pub use roles::{OWNER, PASSWORD, TESTER, TESTER_PASSWORD};

/// A running cluster, or a share of one.
pub struct PostgresCluster {
    port: u16,
    kind: Kind,
}

enum Kind {
    Private(Private),
    Shared {
        /// The suffix of the names of this share's databases.
        suffix: String,
        made: Mutex<Vec<String>>,
    },
}

impl PostgresCluster {
    /// Makes and starts a private cluster: for a test that stops, kills or configures it, or looks into its folder.
    ///
    /// # Errors
    /// When PostgreSQL or TimescaleDB is missing (run scripts/test, which installs them), or does not start.
    pub fn start(flavour: Flavour) -> Result<Self> {
        let private = Private::start(flavour)?;
        Ok(Self { port: private.port, kind: Kind::Private(private) })
    }

    /// A share of the run's cluster: databases made through it are its own, and go with it.
    ///
    /// # Errors
    /// As [`PostgresCluster::start`].
    pub fn shared(flavour: Flavour) -> Result<Self> {
        let port = shared::port(flavour)?;
        Ok(Self { port, kind: Kind::Shared { suffix: shared::suffix(), made: Mutex::default() } })
    }

    /// Makes a database and returns its URL. The name must be a plain identifier.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create_database(&self, name: &str) -> Result<String> {
        let real = self.name_of(name);
        self.admin("postgres")?.execute(&format!("CREATE DATABASE \"{real}\" OWNER {OWNER}"), &[])?;
        if let Kind::Shared { made, .. } = &self.kind {
            made.lock().unwrap_or_else(PoisonError::into_inner).push(real);
        }
        Ok(self.url(name))
    }

    /// The name of a database in the server. `postgres` is everybody's.
    #[must_use]
    pub fn name_of(&self, database: &str) -> String {
        match &self.kind {
            Kind::Shared { suffix, .. } if database != "postgres" => format!("{database}{suffix}"),
            _ => database.to_owned(),
        }
    }

    /// The URL of a database, with its owner's password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{OWNER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{}", self.port, self.name_of(database))
    }

    /// The port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Connects as a database's owner.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn connect(&self, database: &str) -> Result<PgClient> {
        PgClient::connect(self.port, OWNER, &self.name_of(database))
    }

    /// Connects as superuser, who sees the statements of everyone.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn admin(&self, database: &str) -> Result<PgClient> {
        PgClient::connect(self.port, ADMIN, &self.name_of(database))
    }

    /// The folder of a private cluster; the server's own user can write there.
    ///
    /// # Panics
    /// When the cluster is shared.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.private().folder.path()
    }

    /// Leaves the folder when the cluster is dropped.
    ///
    /// # Panics
    /// When the cluster is shared.
    pub fn keep(&mut self) {
        self.private_mut().folder.disable_cleanup(true);
    }

    /// The file that a private cluster logs to.
    ///
    /// # Panics
    /// When the cluster is shared.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.private().log()
    }

    /// Kills every process of the cluster at once with SIGKILL, as when a machine loses power. Nothing is flushed.
    ///
    /// # Errors
    /// When the processes are not found or do not go.
    ///
    /// # Panics
    /// When the cluster is shared.
    pub fn kill_hard(&mut self) -> Result<()> {
        self.private_mut().kill_hard()
    }

    /// Stops every process of a private cluster where it is (SIGSTOP): it takes connections, and answers nobody.
    ///
    /// # Errors
    /// When the processes are not found.
    ///
    /// # Panics
    /// When the cluster is shared.
    pub fn freeze(&self) -> Result<()> {
        self.private().signal("-STOP")
    }

    /// Lets a frozen cluster go on.
    ///
    /// # Errors
    /// When the processes are not found.
    ///
    /// # Panics
    /// When the cluster is shared.
    pub fn thaw(&self) -> Result<()> {
        self.private().signal("-CONT")
    }

    /// Starts a private cluster again, on the same port; recovery runs first when it was killed.
    ///
    /// # Errors
    /// When it does not answer within a minute.
    ///
    /// # Panics
    /// When the cluster is shared.
    pub fn restart(&mut self) -> Result<()> {
        self.private_mut().restart()
    }

    fn private(&self) -> &Private {
        match &self.kind {
            Kind::Private(private) => private,
            Kind::Shared { .. } => panic!("BUG: a test may not touch the cluster that it shares; start a private one"),
        }
    }

    fn private_mut(&mut self) -> &mut Private {
        match &mut self.kind {
            Kind::Private(private) => private,
            Kind::Shared { .. } => panic!("BUG: a test may not touch the cluster that it shares; start a private one"),
        }
    }

    /// Kills one process that serves a connection of the databases' owner with SIGKILL, the `pick`-th of those there
    /// are; PostgreSQL then ends all others and recovers. `None` when there is no such connection.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    pub fn kill_backend(&self, pick: u64) -> Result<Option<u32>> {
        self.private();
        let sql =
            "SELECT pid FROM pg_stat_activity WHERE usename = $1 AND backend_type = 'client backend' ORDER BY pid";
        let rows = self.admin("postgres")?.query(sql, &[&OWNER])?;
        let Some(row) = usize::try_from(pick)?.checked_rem(rows.len()).map(|at| &rows[at]) else { return Ok(None) };
        let pid = u32::try_from(row.try_get::<_, i32>(0)?)?;
        let status = Command::new("kill").arg("-9").arg(pid.to_string()).stderr(Stdio::null()).status()?;
        Ok(status.success().then_some(pid))
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        let Kind::Shared { made, .. } = &self.kind else { return };
        let made = std::mem::take(&mut *made.lock().unwrap_or_else(PoisonError::into_inner));
        if made.is_empty() || tokio::runtime::Handle::try_current().is_ok() {
            return; // it goes with the cluster
        }
        let Ok(admin) = self.admin("postgres") else { return };
        for database in made {
            let _ = admin.batch(&format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)"));
        }
    }
}

impl fmt::Debug for PostgresCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresCluster(port {})", self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True when a process is there, and not a zombie.
    fn is_running(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name stands in parentheses and may hold anything.
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    }

    #[test]
    fn a_killed_cluster_keeps_what_was_committed_and_leaves_nothing_behind() -> Result<()> {
        let mut cluster = PostgresCluster::start(Flavour::Timescale)?;
        let url = cluster.create_database("probe")?;
        let client = PgClient::connect_url(&url)?;
        client.batch("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)")?;
        client.batch("BEGIN; INSERT INTO kept VALUES (2)")?;
        cluster.kill_hard()?;
        assert!(client.value::<i64>("SELECT count(*) FROM kept").is_err());
        cluster.restart()?;
        assert_eq!(cluster.connect("probe")?.value::<i64>("SELECT count(*) FROM kept")?, 1);
        cluster.connect("probe")?.batch("CREATE EXTENSION timescaledb")?;
        let (folder, pid) = (cluster.folder().to_owned(), cluster.private().postmaster_pid()?);
        drop(cluster);
        assert!(!folder.exists() && !is_running(pid));
        Ok(())
    }

    #[test]
    fn a_wrong_password_is_refused() -> Result<()> {
        let cluster = PostgresCluster::start(Flavour::Plain)?;
        let url = cluster.create_database("closed")?;
        assert!(PgClient::connect_url(&url).is_ok());
        assert!(PgClient::connect_url(&url.replace("Ebb", "Flood")).is_err());
        Ok(())
    }
}
