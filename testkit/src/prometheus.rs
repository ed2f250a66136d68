//! A real Prometheus: it scrapes what a test names, and is asked over its HTTP API; and promtool beside it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::world::wait_for;

/// How often another port is tried, when somebody took the first meanwhile.
const START_ATTEMPTS: u32 = 3;

/// The path of `prometheus` or `promtool`: in `TIDEMARK_TEST_PROMETHEUS_BIN`, on the PATH, or where
/// scripts/setup-prometheus puts it.
///
/// # Errors
/// When it is not on this machine.
pub fn program(name: &str) -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("TIDEMARK_TEST_PROMETHEUS_BIN").map(PathBuf::from).into_iter().collect();
    folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    folders.extend(cache.map(|cache| cache.join("tidemark/prometheus/usr/bin")));
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.with_context(|| format!("{name} is not on this machine; run scripts/setup-prometheus, which fetches it"))
}

/// A Prometheus that runs until it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    addr: SocketAddr,
    log: PathBuf,
    /// Its configuration and data, where it has a folder of its own.
    folder: Option<tempfile::TempDir>,
}

impl Prometheus {
    /// Starts one by what is delivered, `prometheus.yml` and `alerts.yml` in the folder `delivered`, that reads this
    /// address instead of the one there, four times a second.
    ///
    /// # Errors
    /// When what is delivered has not what is to be replaced, or it does not start.
    pub fn reading(delivered: &Path, target: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rules = delivered.join("alerts.yml").canonicalize()?.display().to_string();
        let mut configuration = std::fs::read_to_string(delivered.join("prometheus.yml"))?;
        for (written, here) in [
            ("alerts.yml", rules.as_str()),
            ("127.0.0.1:9464", &target.to_string()),
            ("_interval: 15s", "_interval: 250ms"),
        ] {
            if !configuration.contains(written) {
                bail!("{}/prometheus.yml has no {written:?}", delivered.display());
            }
            configuration = configuration.replace(written, here);
        }
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration)?;
        let mut started = Self::start(folder.path(), &file)?;
        started.folder = Some(folder);
        Ok(started)
    }

    /// Starts one on a free port, with its data in `folder`, by the configuration file there.
    ///
    /// # Errors
    /// When there is none on this machine, or it does not start.
    pub fn start(folder: &Path, configuration: &Path) -> Result<Self> {
        let mut failure = None;
        for _ in 0..START_ATTEMPTS {
            match Self::start_once(folder, configuration) {
                Ok(started) => return Ok(started),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.context("BUG: no attempt was made")?)
    }

    fn start_once(folder: &Path, configuration: &Path) -> Result<Self> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = folder.join("prometheus.log");
        let file = std::fs::File::create(&log)?;
        let child = Command::new(program("prometheus")?)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={addr}"))
            .arg("--log.level=warn")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("prometheus does not start")?;
        let mut started = Self { child, addr, log, folder: None };
        wait_for("Prometheus to be ready", Duration::from_secs(60), || {
            if let Some(status) = started.child.try_wait()? {
                bail!("Prometheus ended ({status}):\n{}", std::fs::read_to_string(&started.log).unwrap_or_default());
            }
            Ok(started.get("/-/ready").ok().filter(|(status, _)| *status == 200).map(|_| ()))
        })?;
        Ok(started)
    }

    /// What its API answers to a path below `/api/v1/`: JSON.
    ///
    /// # Errors
    /// When it does not answer with 200; says what it answered.
    pub fn api(&self, path: &str) -> Result<String> {
        match self.get(&format!("/api/v1/{path}"))? {
            (200, body) => Ok(body),
            (status, body) => bail!("{path}: {status} {body}"),
        }
    }

    /// What it answers to a query now: JSON.
    ///
    /// # Errors
    /// When it refuses the query.
    pub fn query(&self, query: &str) -> Result<String> {
        let escape = |b: u8| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") };
        self.api(&format!("query?query={}", query.bytes().map(escape).collect::<String>()))
    }

    /// The values of the series that a query finds now.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub fn values(&self, query: &str) -> Result<Vec<f64>> {
        let answer: serde_json::Value = serde_json::from_str(&self.query(query)?)?;
        let found = answer["data"]["result"].as_array().with_context(|| format!("{query}: {answer}"))?;
        let value = |series: &serde_json::Value| series["value"][1].as_str()?.parse().ok();
        found.iter().map(|series| value(series).with_context(|| format!("{query}: {series}"))).collect()
    }

    fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // Of HTTP/1.0, so that nothing comes in chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.addr)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok((status, body.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of Prometheus:\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
