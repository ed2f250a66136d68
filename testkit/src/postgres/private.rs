//! A cluster of one test: its files and its processes, which can be killed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use super::client::{PgClient, make_roles};
use super::install::{Flavour, check_timescaledb, find_bin, is_root, last_lines, output_of};
use super::roles::{ADMIN, PASSWORD};
use crate::world::{pause, wait_for};

/// The number of times a start is tried: another program may take the port before PostgreSQL does. Only the first start
/// may choose another.
const START_ATTEMPTS: u32 = 5;
/// The time that a connection which goes out from the port meanwhile is given to end.
const PORT_TAKEN: Duration = Duration::from_millis(500);

/// The files and the process of a private cluster.
pub(super) struct Private {
    pub(super) folder: tempfile::TempDir,
    bin: PathBuf,
    as_root: bool,
    flavour: Flavour,
    pub(super) port: u16,
    postmaster: Option<Child>,
}

impl Private {
    pub(super) fn start(flavour: Flavour) -> Result<Self> {
        let bin = find_bin()?;
        if flavour == Flavour::Timescale {
            check_timescaledb(&bin)?;
        }
        let folder = tempfile::Builder::new().prefix("tidemark-postgres-").tempdir()?;
        let mut private = Self { folder, bin, as_root: is_root()?, flavour, port: 0, postmaster: None };
        private.initialise()?;
        private.restart()?;
        make_roles(private.port)?;
        Ok(private)
    }

    pub(super) fn kill_hard(&mut self) -> Result<()> {
        self.postmaster_pid()?;
        // Every process of a cluster works in its folder: so a child made between a listing and its kill is found, too,
        // whoever its parent is by then. It would live on and hold the cluster's memory.
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

    /// Sends a signal to every process of the cluster.
    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        let pids = processes_in(&self.data().canonicalize()?)?;
        let status = Command::new("kill").arg(signal).args(pids.iter().map(u32::to_string)).status()?;
        if pids.is_empty() || !status.success() {
            bail!("no process of PostgreSQL takes {signal}");
        }
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<()> {
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

    /// A program of PostgreSQL, run as the user it wants. The program takes the place of the one that gives it that
    /// user: none stands beside it that stops when the program is stopped, and does not go on with it.
    fn command(&self, program: &str) -> Command {
        let path = self.bin.join(program);
        let mut command = if self.as_root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--init-groups", "--"]).arg(path);
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

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(super) fn postmaster_pid(&self) -> Result<u32> {
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

/// The processes whose current folder this is; zombies have none.
fn processes_in(folder: &Path) -> Result<Vec<u32>> {
    let processes = std::fs::read_dir("/proc").context("killing all of PostgreSQL at once needs /proc")?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    Ok(pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)).collect())
}
