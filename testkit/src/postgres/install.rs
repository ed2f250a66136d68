//! The PostgreSQL of this machine, and what it can do.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The abilities of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// TimescaleDB is preloaded, its telemetry off.
    Timescale,
    /// PostgreSQL alone: the extension cannot be created.
    Plain,
}

/// The path of a program of PostgreSQL, `psql` for example.
///
/// # Errors
/// When PostgreSQL is not on this machine.
pub fn program(name: &str) -> Result<PathBuf> {
    Ok(find_bin()?.join(name))
}

pub(super) fn find_bin() -> Result<PathBuf> {
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

/// True for root, as whom PostgreSQL refuses to run.
pub(super) fn is_root() -> Result<bool> {
    Ok(output_of(Command::new("id").arg("-u"))?.trim() == "0")
}

pub(super) fn check_timescaledb(bin: &Path) -> Result<()> {
    let share = output_of(Command::new(bin.join("pg_config")).arg("--sharedir"))?;
    if Path::new(share.trim()).join("extension/timescaledb.control").is_file() {
        return Ok(());
    }
    bail!("TimescaleDB is not installed for the PostgreSQL in {}; run scripts/test, which installs it", bin.display())
}

pub(super) fn output_of(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, last_lines(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
