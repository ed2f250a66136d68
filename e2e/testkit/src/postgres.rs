//! PostgreSQL clusters on loopback. A private one is made in a temporary folder, on a free port, and is gone when dropped; it can be killed.
//! A share of the run's cluster ([`crate::shared`]) has databases of its own in it, under names that no other test has.
//!
//! Every connection logs in with a password (scram) that has to be percent-encoded in a URL, so that whoever handles URLs
//! carelessly fails here. Databases belong to a role without superuser rights, as on a user's server.

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_postgres::{NoTls, Row, types::ToSql};

use crate::world::{pause, wait_for};

/// The password of every role of a private cluster. A test may look for it, or a piece of it, in output.
pub const PASSWORD: &str = "tide:Ebb/Flow@100% Ж";
/// The same inside a URL.
const PASSWORD_IN_URL: &str = "tide%3AEbb%2FFlow%40100%25%20%D0%96";
/// The role that owns the databases.
pub const OWNER: &str = "harbour";
/// The role that owns the cluster.
pub(crate) const ADMIN: &str = "admin";

/// How often a start is tried: another program may take the port before PostgreSQL does. Only the first start may choose another.
const START_ATTEMPTS: u32 = 5;
/// What a connection that goes out from the port meanwhile is given to end.
const PORT_TAKEN: Duration = Duration::from_millis(500);

/// What a cluster can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// TimescaleDB is preloaded, its telemetry off.
    Timescale,
    /// PostgreSQL alone: the extension cannot be created.
    Plain,
}

/// A running cluster, or a share of one.
pub struct PostgresCluster {
    port: u16,
    kind: Kind,
}

enum Kind {
    Private(Private),
    Shared {
        /// What the names of this share's databases end with.
        suffix: String,
        made: Mutex<Vec<String>>,
    },
}

/// The files and the process of a private cluster.
struct Private {
    folder: tempfile::TempDir,
    bin: PathBuf,
    as_root: bool,
    flavour: Flavour,
    port: u16,
    postmaster: Option<Child>,
}

impl PostgresCluster {
    /// Makes and starts a private cluster: for a test that stops, kills or configures it, or looks into its folder.
    ///
    /// # Errors
    /// When PostgreSQL or TimescaleDB is missing (run scripts/test, which installs them), or does not start.
    pub fn start(flavour: Flavour) -> Result<Self> {
        let bin = find_bin()?;
        if flavour == Flavour::Timescale {
            check_timescaledb(&bin)?;
        }
        let folder = tempfile::Builder::new().prefix("tidemark-postgres-").tempdir()?;
        let mut private = Private { folder, bin, as_root: is_root()?, flavour, port: 0, postmaster: None };
        private.initialise()?;
        private.restart()?;
        let cluster = Self { port: private.port, kind: Kind::Private(private) };
        cluster.admin("postgres")?.execute(&format!("CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'"), &[])?;
        Ok(cluster)
    }

    /// A share of the run's cluster: databases made through it are its own, and go with it.
    ///
    /// # Errors
    /// As [`PostgresCluster::start`].
    pub fn shared(flavour: Flavour) -> Result<Self> {
        let port = crate::shared::port(flavour)?;
        Ok(Self { port, kind: Kind::Shared { suffix: crate::shared::suffix(), made: Mutex::default() } })
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

    /// What a database is called in the server. `postgres` is everybody's.
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

    /// Kills one process that serves a connection of the databases' owner with SIGKILL, the `pick`-th of those there are; PostgreSQL
    /// then ends all others and recovers. `None` when there is no such connection.
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

impl Private {
    fn kill_hard(&mut self) -> Result<()> {
        self.postmaster_pid()?;
        // Every process of a cluster works in its folder: so a child made between a listing and its kill is found, too, whoever its parent
        // is by then. It would live on and hold the cluster's memory.
        let data = self.data().canonicalize()?;
        wait_for("killed PostgreSQL processes to go", Duration::from_secs(20), || {
            let pids = processes_in(&data)?;
            if pids.is_empty() {
                return Ok(Some(()));
            }
            // One may have ended by itself meanwhile; what counts is that all are gone.
            Command::new("kill").arg("-9").args(pids.iter().map(u32::to_string)).stderr(Stdio::null()).status()?;
            Ok(None)
        })?;
        self.reap()
    }

    fn restart(&mut self) -> Result<()> {
        let mut failure = anyhow!("BUG: no attempt was made");
        let first = self.port == 0;
        for _ in 0..START_ATTEMPTS {
            if first {
                self.port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            }
            match self.start_once() {
                Ok(()) => return Ok(()),
                // It runs and does not answer: another one beside it would not help.
                Err(error) if self.postmaster.as_mut().is_some_and(|it| matches!(it.try_wait(), Ok(None))) => {
                    return Err(error);
                }
                Err(error) => failure = error,
            }
            if !first {
                pause(PORT_TAKEN);
            }
        }
        if first {
            self.port = 0;
        }
        Err(failure)
    }

    fn start_once(&mut self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.postmaster = Some(command.spawn().context("postgres does not start")?);
        wait_for("PostgreSQL to take connections", Duration::from_secs(60), || {
            if let Some(status) = self.postmaster.as_mut().map(Child::try_wait).transpose()?.flatten() {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                bail!("PostgreSQL ended ({status}):\n{}", last_lines(&log));
            }
            Ok(PgClient::connect(self.port, ADMIN, "postgres").ok().map(|_| ()))
        })
    }

    fn initialise(&self) -> Result<()> {
        let passwords = self.folder.path().join("password");
        std::fs::write(&passwords, format!("{PASSWORD}\n"))?;
        if self.as_root {
            output_of(Command::new("chown").arg("-R").arg("postgres").arg(self.folder.path()))
                .context("PostgreSQL refuses to run as root and there is no user postgres; run scripts/test")?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(self.data()).args(["-U", ADMIN, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]);
        initdb.arg("--no-sync").arg("--pwfile").arg(&passwords);
        output_of(&mut initdb)?;
        let mut settings = String::from(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 64MB\nmax_connections = 60\n\
             timezone = 'Pacific/Chatham'\ndatestyle = 'german'\nlog_min_messages = warning\n",
        );
        if self.flavour == Flavour::Timescale {
            settings += "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\n\
                         max_worker_processes = 16\ntimescaledb.max_background_workers = 2\n";
        }
        let file = self.data().join("postgresql.conf");
        let defaults = std::fs::read_to_string(&file)?;
        std::fs::write(&file, defaults + &settings)?;
        Ok(())
    }

    /// A program of PostgreSQL, run as the user it wants.
    fn command(&self, program: &str) -> Command {
        let path = self.bin.join(program);
        let mut command = if self.as_root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        // The folder of the test may be closed to the user postgres.
        command.current_dir(self.folder.path());
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn postmaster_pid(&self) -> Result<u32> {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).context("PostgreSQL is not running")?;
        text.lines().next().and_then(|line| line.parse().ok()).context("postmaster.pid has no process id")
    }

    fn reap(&mut self) -> Result<()> {
        if let Some(mut child) = self.postmaster.take() {
            child.wait()?;
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        let Some(postmaster) = &mut self.postmaster else { return Ok(()) };
        // Ctrl-C reaches it as well as us.
        if postmaster.try_wait()?.is_some() {
            return Ok(());
        }
        let mut stop = self.command("pg_ctl");
        stop.arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "-t", "20", "stop"]);
        output_of(&mut stop)?;
        self.reap()
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("private PostgreSQL on port {}: {error:#}", self.port);
            let _ = self.kill_hard();
        }
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.log())
        {
            eprintln!("the PostgreSQL log ends:\n{}", last_lines(&log));
        }
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

/// A connection for tests, without async.
pub struct PgClient {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl PgClient {
    pub(crate) fn connect(port: u16, user: &str, database: &str) -> Result<Self> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user(user).password(PASSWORD).dbname(database);
        Self::connect_with(&config)
    }

    /// Connects to the database of a URL.
    ///
    /// # Errors
    /// When the URL is not one, or the server cannot be reached.
    pub fn connect_url(url: &str) -> Result<Self> {
        // The driver's message on a bad URL does not repeat it.
        Self::connect_with(&url.parse().context("not a URL of a PostgreSQL database")?)
    }

    fn connect_with(config: &tokio_postgres::Config) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            // Ends with the runtime, which ends with the client.
            tokio::spawn(connection);
            anyhow::Ok(client)
        })?;
        Ok(Self { runtime, client })
    }

    /// Rows of a statement.
    ///
    /// # Errors
    /// The database's.
    pub fn query(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.runtime.block_on(self.client.query(sql, values)).with_context(|| sql.to_owned())
    }

    /// The first column of the only row of a statement.
    ///
    /// # Errors
    /// The database's; or when the value has another type.
    pub fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> Result<T> {
        let row = self.runtime.block_on(self.client.query_one(sql, &[])).with_context(|| sql.to_owned())?;
        row.try_get(0).with_context(|| sql.to_owned())
    }

    /// Runs a statement and returns how many rows it concerned.
    ///
    /// # Errors
    /// The database's.
    pub fn execute(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        self.runtime.block_on(self.client.execute(sql, values)).with_context(|| sql.to_owned())
    }

    /// Runs several statements.
    ///
    /// # Errors
    /// The database's.
    pub fn batch(&self, sql: &str) -> Result<()> {
        self.runtime.block_on(self.client.batch_execute(sql)).with_context(|| sql.to_owned())
    }
}

impl fmt::Debug for PgClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PgClient")
    }
}

/// The path of a program of PostgreSQL, `psql` for example.
///
/// # Errors
/// When PostgreSQL is not on this machine.
pub fn program(name: &str) -> Result<PathBuf> {
    Ok(find_bin()?.join(name))
}

pub(crate) fn find_bin() -> Result<PathBuf> {
    let complete = |dir: &Path| ["initdb", "postgres", "pg_ctl"].iter().all(|name| dir.join(name).is_file());
    if let Some(dir) = std::env::var_os("TIDEMARK_PG_BIN") {
        let dir = PathBuf::from(dir);
        if complete(&dir) {
            return Ok(dir);
        }
        bail!("TIDEMARK_PG_BIN={} does not hold initdb, postgres and pg_ctl; correct or unset it", dir.display());
    }
    if let Ok(text) = output_of(Command::new("pg_config").arg("--bindir")) {
        let dir = PathBuf::from(text.trim());
        if complete(&dir) {
            return Ok(dir);
        }
    }
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let version = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let dir = entry.path().join("bin");
        if let Some(version) = version.filter(|_| complete(&dir)) {
            found.push((version, dir));
        }
    }
    let newest = found.into_iter().max().map(|(_, dir)| dir);
    newest.context(
        "PostgreSQL's initdb, postgres and pg_ctl are not on this machine; run scripts/test, which installs them",
    )
}

/// Whether this is root, as whom PostgreSQL refuses to run.
pub(crate) fn is_root() -> Result<bool> {
    Ok(output_of(Command::new("id").arg("-u"))?.trim() == "0")
}

fn check_timescaledb(bin: &Path) -> Result<()> {
    let share = output_of(Command::new(bin.join("pg_config")).arg("--sharedir"))?;
    if Path::new(share.trim()).join("extension/timescaledb.control").is_file() {
        return Ok(());
    }
    bail!("TimescaleDB is not installed for the PostgreSQL in {}; run scripts/test, which installs it", bin.display())
}

fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, last_lines(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The processes whose current folder this is; zombies have none.
fn processes_in(folder: &Path) -> Result<Vec<u32>> {
    let processes = std::fs::read_dir("/proc").context("killing all of PostgreSQL at once needs /proc")?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a process is there, and not a zombie.
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
