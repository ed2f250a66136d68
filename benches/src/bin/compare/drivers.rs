//! Peers that are programs of their own: the drivers in benches/peers, which say in JSON what they did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tidemark_e2e::process::{Ended, Running};

use crate::checksum::Content;
use crate::options::Peers;
use crate::standings::Measured;

/// How long a peer may take for its rows.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a driver said.
#[derive(Debug)]
pub struct Said {
    /// Rows, seconds and the peer's version.
    pub measured: Measured,
    /// What it read back, where it is not a table of PostgreSQL.
    pub content: Option<Content>,
}

impl Peers {
    /// One of the ways of Python's programs.
    ///
    /// # Errors
    /// When it fails, or says nothing that is understood.
    pub fn python(&self, way: &str, url: &str, csv: &str, limit: u64) -> Result<Said> {
        said(&self.python, &[&driver("postgres_ways.py"), way, url, csv, &limit.to_string()])
    }

    /// A driver in JavaScript; `what` are its arguments before the file.
    ///
    /// # Errors
    /// When it fails, or says nothing that is understood.
    pub fn node(&self, script: &str, what: &[&str], csv: &str, limit: u64) -> Result<Said> {
        let (driver, limit) = (driver(script), limit.to_string());
        let mut args = vec![driver.as_str()];
        args.extend(what);
        args.extend([csv, &limit]);
        said(&self.node, &args)
    }

    /// The path of a program or folder among the peers.
    ///
    /// # Errors
    /// When scripts/setup-peers did not get it.
    pub fn path(&self, name: &str) -> Result<String> {
        let path = self.root.join(name);
        ensure!(path.exists(), "not on this machine: scripts/setup-peers says why");
        Ok(path.to_string_lossy().into_owned())
    }
}

fn driver(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name).to_string_lossy().into_owned()
}

fn said(program: &Path, args: &[&str]) -> Result<Said> {
    ensure!(program.exists(), "not on this machine: scripts/setup-peers says why");
    let folder = tempfile::tempdir()?;
    let ended = ended(program, args, folder.path(), &BTreeMap::new())?;
    let told: Value = serde_json::from_str(ended.last_line()).with_context(|| ended.output())?;
    let rows = told["rows"].as_u64().context("the driver told no rows")?;
    let seconds = told["seconds"].as_f64().context("the driver told no seconds")?;
    let with = told["with"].as_str().map(str::to_owned);
    let content = told["checksum"].as_str().map(|sum| Content { rows, sum: sum.to_owned() });
    Ok(Said { measured: Measured { with, ..Measured::new(rows, seconds) }, content })
}

/// Runs a program to its end, with more patience than tests have.
///
/// # Errors
/// When it fails or does not end; it is told to stop then.
pub fn ended(program: &Path, args: &[&str], folder: &Path, env: &BTreeMap<String, String>) -> Result<Ended> {
    let mut running = Running::spawn(program, args, folder, env)?;
    let begin = Instant::now();
    while !running.has_ended()? {
        if begin.elapsed() > PATIENCE {
            running.terminate()?;
            bail!("not done within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let ended = running.wait()?;
    if ended.code != Some(0) {
        // The command line has a password, and the last words say most.
        let output = ended.output();
        let words: Vec<&str> = output.split_whitespace().collect();
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        bail!("{name} ended with {:?}: … {}", ended.code, words[words.len().saturating_sub(40)..].join(" "));
    }
    Ok(ended)
}
