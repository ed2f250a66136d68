//! PostgreSQL's own programs. What they need to know of the database goes through their environment: a password never
//! stands on a command line, where everybody on the machine reads it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio_postgres::config::{ChannelBinding, Host, TargetSessionAttrs};

use crate::database::PostgresUrl;
use crate::database::encryption::Roots;

/// A program is looked at so often, until it has ended.
const POLL: Duration = Duration::from_millis(20);
/// So much of a program's last words is repeated.
const SAID_BYTES_MAX: usize = 4000;

/// The path of a program that knows servers of this major version: in the folder TIDEMARK_PG_BIN names, else on the
/// PATH, where `pg_config` says, or where packages put it.
pub(super) fn find(name: &str, server_major: u32) -> anyhow::Result<PathBuf> {
    let mut seen = Vec::new();
    for folder in folders() {
        let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !path.is_file() {
            continue;
        }
        match major(&path) {
            Some(version) if version >= server_major => return Ok(path),
            Some(version) => seen.push(format!("{} is of version {version}", path.display())),
            None => seen.push(format!("{} does not run", path.display())),
        }
    }
    let seen = if seen.is_empty() { String::new() } else { format!(" ({})", seen.join("; ")) };
    bail!(
        "there is no {name} for PostgreSQL {server_major} here{seen}: install its client programs (Debian: postgresql-client-{server_major}), or \
         set TIDEMARK_PG_BIN to the folder that holds them"
    )
}

fn folders() -> Vec<PathBuf> {
    if let Some(folder) = std::env::var_os("TIDEMARK_PG_BIN").filter(|folder| !folder.is_empty()) {
        return vec![folder.into()];
    }
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let config = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output();
    if let Some(output) = config.ok().filter(|output| output.status.success()) {
        folders.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    let installed: &[(&str, &str)] = if cfg!(windows) {
        &[(r"C:\Program Files\PostgreSQL", "")]
    } else {
        &[("/usr/lib/postgresql", ""), ("/usr", "pgsql-")]
    };
    for &(parent, begins) in installed {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(begins));
        let mut found: Vec<PathBuf> = named.map(|entry| entry.path().join("bin")).collect();
        found.sort();
        folders.extend(found.into_iter().rev());
    }
    folders
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is of version 15.
fn major(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once(") ")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What is set for other programs must not lead this one elsewhere, nor protect its way less.
const FOREIGN: [&str; 24] = [
    "PGSERVICE",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGCLIENTENCODING",
    "PGTZ",
    "PGDATESTYLE",
    "PGSSLMODE",
    "PGREQUIRESSL",
    "PGSSLNEGOTIATION",
    "PGSSLCOMPRESSION",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLCERTMODE",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLSNI",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
    "PGREQUIREPEER",
    "PGREQUIREAUTH",
    "PGCHANNELBINDING",
    "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS",
];

/// A file that nobody has, in place of those that libpq looks for in the home of whoever runs it.
const NO_FILE: &str = if cfg!(windows) { r"NUL\none" } else { "/dev/null/none" };

/// The way to the server, protected as that of the server's own connections: all the hosts, in their order.
fn way(command: &mut Command, url: &PostgresUrl) {
    let targets = url.targets();
    let mut hosts = OsString::new();
    for (at, target) in targets.iter().enumerate() {
        if at > 0 {
            hosts.push(",");
        }
        match &target.host {
            Host::Tcp(name) => hosts.push(name),
            #[cfg(unix)]
            Host::Unix(path) => hosts.push(path),
        }
    }
    command.env("PGHOST", hosts);
    if targets.iter().any(|target| target.addr.is_some()) {
        let addrs: Vec<String> =
            targets.iter().map(|target| target.addr.map_or_else(String::new, |addr| addr.to_string())).collect();
        command.env("PGHOSTADDR", addrs.join(","));
    }
    let ports: Vec<String> = targets.iter().map(|target| target.port.to_string()).collect();
    command.env("PGPORT", ports.join(","));
    command.env(
        "PGTARGETSESSIONATTRS",
        match url.attributes() {
            TargetSessionAttrs::ReadWrite => "read-write",
            TargetSessionAttrs::ReadOnly => "read-only",
            _ => "any",
        },
    );
    let encryption = &url.encryption;
    command.env("PGSSLMODE", encryption.mode.name());
    match &encryption.roots {
        // With `require` libpq would go by the authorities in somebody's home.
        Roots::Nobody => drop(command.env("PGSSLROOTCERT", NO_FILE)),
        Roots::File(file) => drop(command.env("PGSSLROOTCERT", file)),
        // Programs before 16 do not know `system`, and all know a file.
        Roots::System => {
            let file = openssl_probe::probe().cert_file.unwrap_or_else(|| "system".into());
            command.env("PGSSLROOTCERT", file);
        }
    }
    match &encryption.client {
        Some(client) => command.env("PGSSLCERT", &client.cert).env("PGSSLKEY", &client.key),
        None => command.env("PGSSLCERT", NO_FILE).env("PGSSLKEY", NO_FILE),
    };
    match url.get_channel_binding() {
        ChannelBinding::Disable => drop(command.env("PGCHANNELBINDING", "disable")),
        ChannelBinding::Require => drop(command.env("PGCHANNELBINDING", "require")),
        _ => {}
    }
    if encryption.direct {
        command.env("PGSSLNEGOTIATION", "direct");
    }
}

/// A program that is told by its environment which database to use, and how to protect the way to it.
pub(super) fn command(program: &Path, config: &PostgresUrl) -> Command {
    let mut command = Command::new(program);
    for name in FOREIGN {
        command.env_remove(name);
    }
    way(&mut command, config);
    if let Some(user) = config.get_user() {
        command.env("PGUSER", user);
    }
    if let Some(name) = config.database() {
        command.env("PGDATABASE", name);
    }
    if let Some(password) = config.get_password() {
        #[cfg(unix)]
        command.env("PGPASSWORD", <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(password));
        #[cfg(not(unix))]
        command.env("PGPASSWORD", String::from_utf8_lossy(password).as_ref());
    }
    command.env("PGAPPNAME", "tidemark-server").env("PGCONNECT_TIMEOUT", "10").env("LC_MESSAGES", "C");
    command
}

/// A program that runs. Dropped before its end, it is killed.
pub(super) struct Running {
    child: Child,
    name: String,
    said: File,
}

impl Running {
    /// Starts a program; what it says goes to a file, so that it never waits for a reader.
    pub(super) fn start(mut command: Command) -> anyhow::Result<Self> {
        let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let said = tempfile::tempfile().context("no temporary file")?;
        command.stdin(Stdio::null()).stderr(said.try_clone()?);
        let child = command.spawn().with_context(|| format!("{name} does not start"))?;
        Ok(Self { child, name, said })
    }

    /// Its standard output, when that is a pipe.
    pub(super) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for its end without a thread.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return self.judge(status);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn judge(&mut self, status: ExitStatus) -> anyhow::Result<()> {
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        self.said.rewind()?;
        (&self.said).take(1 << 20).read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID_BYTES_MAX)..]).trim().to_owned();
        bail!("{} failed ({status}): {said}", self.name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_go_the_same_way_with_the_same_protection_and_no_password_on_the_command_line() {
        let url = "postgresql://u:s3cr3t@a:1,b:2/d?sslmode=verify-full&sslrootcert=ca.pem&sslcert=c.crt&sslkey=c.key";
        let command = command(Path::new("pg_dump"), &url.parse().unwrap());
        let set = |name: &str| {
            let value = command.get_envs().find(|(there, _)| *there == name).and_then(|(_, value)| value);
            value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
        };
        for (name, value) in [
            ("PGHOST", "a,b"),
            ("PGPORT", "1,2"),
            ("PGTARGETSESSIONATTRS", "read-write"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "ca.pem"),
            ("PGSSLCERT", "c.crt"),
            ("PGSSLKEY", "c.key"),
            ("PGPASSWORD", "s3cr3t"),
            ("PGDATABASE", "d"),
        ] {
            assert_eq!(set(name), value, "{name}");
        }
        assert_eq!(command.get_args().count(), 0);
        let plain = super::command(Path::new("pg_dump"), &"postgresql://u@localhost/d".parse().unwrap());
        // Another program's variables are taken away, not passed on.
        assert!(plain.get_envs().any(|(name, value)| name == "PGSERVICE" && value.is_none()));
        // What protects the login is asked for there, too.
        let bound = "postgresql://u@h/d?sslmode=require&channel_binding=require".parse().unwrap();
        let bound = super::command(Path::new("pg_dump"), &bound);
        assert!(bound.get_envs().any(|(name, value)| name == "PGCHANNELBINDING" && value == Some("require".as_ref())));
    }
}
