//! The built programs `tidemark` and `tidemark-server`, and others, as child processes, which a test may kill at any
//! moment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};

pub use tidemark_testkit::python::python;

use crate::world::wait_for;

/// How long a program may run before the harness takes it for stuck.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The path of a built program of this workspace, built first when it is missing or older than its sources.
///
/// # Errors
/// When cargo cannot build it.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    let folder = folder.as_ref().map_err(|message| anyhow!("{message}"))?;
    Ok(folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
}

/// Finds the folder of the programs beside the running test, and builds them when needed.
fn build() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let mut folder = test.parent().context("a test has a folder")?;
    if folder.file_name() == Some(OsStr::new("deps")) {
        folder = folder.parent().context("deps has a parent")?;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a package has a workspace")?;
    let sources = newest(
        &["core", "wasm-client/engine", "wasm-client/station", "migrations", "server"].map(|room| workspace.join(room)),
    );
    let fresh = |name: &str| {
        let built = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        built.metadata().and_then(|data| data.modified()).is_ok_and(|built| Some(built) >= sources)
    };
    if fresh("tidemark") && fresh("tidemark-server") {
        return Ok(folder.to_owned());
    }
    let profile = match folder.file_name().and_then(OsStr::to_str).context("the target folder has a name")? {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).args([
        "build",
        "--quiet",
        "--bins",
        "-p",
        "tidemark-station",
        "-p",
        "tidemark-server",
    ]);
    cargo.arg("--profile").arg(profile).arg("--target-dir").arg(folder.parent().context("a profile has a folder")?);
    let output = cargo.stdin(Stdio::null()).output().context("cargo does not start")?;
    if !output.status.success() {
        bail!("{cargo:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(folder.to_owned())
}

/// The time of the newest file that goes into a program.
fn newest(rooms: &[PathBuf]) -> Option<SystemTime> {
    let mut newest = None;
    let mut todo = rooms.to_vec();
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                if name != "tests" && name != "target" {
                    todo.push(path);
                }
            } else if path.extension().is_some_and(|ext| ext == "rs" || ext == "toml" || ext == "sql") {
                newest = newest.max(entry.metadata().and_then(|data| data.modified()).ok());
            }
        }
    }
    newest
}

/// A script of the folder `tests/python`.
#[must_use]
pub fn python_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// Starts the shrinkage system as it is without Tidemark, `shrinkage_system.py`, or another Python script of the tests.
///
/// # Errors
/// When it cannot be started.
pub fn start_python(script: &str, args: &[&str], folder: &Path) -> Result<Running> {
    let script = python_script(script);
    let script = script.to_str().context("the path of a script is text")?;
    let env = BTreeMap::from([("PYTHONUTF8".to_owned(), "1".to_owned())]);
    Running::spawn(&python()?, &[&[script], args].concat(), folder, &env)
}

/// What a program printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The command line, for messages.
    pub command: String,
}

impl Ended {
    /// Both outputs.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The last line of standard output that is not empty.
    #[must_use]
    pub fn last_line(&self) -> &str {
        self.stdout.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default()
    }

    /// Checks that it ended with this code.
    ///
    /// # Errors
    /// When it did not; the message holds all it printed.
    pub fn expect_code(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        let ended = self.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        bail!("{} ended with {ended}, not {code}\n{}", self.command, self.output())
    }

    /// Checks that it succeeded.
    ///
    /// # Errors
    /// When it did not; the message holds all it printed.
    pub fn success(self) -> Result<Self> {
        self.expect_code(0)
    }

    /// Checks that it failed with exit code 1 and that standard error says why.
    ///
    /// # Errors
    /// When it did not fail so, or a word of `says` is missing.
    pub fn fails_saying(self, says: &[&str]) -> Result<Self> {
        let ended = self.expect_code(1)?;
        for word in says {
            if !ended.stderr.contains(word) {
                bail!("{} does not say {word:?}:\n{}", ended.command, ended.output());
            }
        }
        if ended.output().contains("panicked at") {
            bail!("{} panicked:\n{}", ended.command, ended.output());
        }
        Ok(ended)
    }
}

/// A program that is running. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    stdout: Reader,
    stderr: Reader,
}

#[derive(Debug)]
struct Reader {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn new(source: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { text, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.so_far()
    }
}

impl Running {
    /// Starts a program of this workspace with nothing on its standard input.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn start(name: &str, args: &[&str], folder: &Path, env: &BTreeMap<String, String>) -> Result<Self> {
        Self::spawn(&program(name)?, args, folder, env)
    }

    /// Starts any program with nothing on its standard input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(path: &Path, args: &[&str], folder: &Path, env: &BTreeMap<String, String>) -> Result<Self> {
        let mut command = Command::new(path);
        command.args(args).current_dir(folder);
        // What the developer has set must not reach a test.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("TIDEMARK_")) {
            command.env_remove(key);
        }
        command.env_remove("RUST_LOG").envs(env);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| path.display().to_string())?;
        let stdout = Reader::new(child.stdout.take().context("BUG: stdout is piped")?);
        let stderr = Reader::new(child.stderr.take().context("BUG: stderr is piped")?);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self { child, command: format!("{name} {}", args.join(" ")), stdout, stderr })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far, both outputs.
    #[must_use]
    pub fn output_so_far(&self) -> String {
        format!("{}{}", self.stdout.so_far(), self.stderr.so_far())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// The operating system's.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for a line of standard output that `find` recognises.
    ///
    /// # Errors
    /// When the program ends before, or prints none in time.
    pub fn wait_for_line<T>(&mut self, what: &str, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        wait_for(what, limit, || {
            // A last line without its end may still grow.
            let text = self.stdout.so_far();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            if let Some(found) = whole.lines().find_map(&find) {
                return Ok(Some(found));
            }
            if self.has_ended()? {
                bail!("{} ended before {what}:\n{}{}", self.command, self.stdout.all(), self.stderr.all());
            }
            Ok(None)
        })
        .with_context(|| self.output_so_far())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it is still running after [`PATIENCE`]; it is killed then.
    pub fn wait(mut self) -> Result<Ended> {
        let ended = wait_for(&format!("{} to end", self.command), PATIENCE, || Ok(self.child.try_wait()?));
        match ended {
            Ok(status) => Ok(self.ended(status)),
            Err(error) => Err(error.context(self.output_so_far())),
        }
    }

    /// Kills it with SIGKILL, at once.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(mut self) -> Result<Ended> {
        self.child.kill()?;
        let status = self.child.wait()?;
        Ok(self.ended(status))
    }

    /// Asks it to stop with SIGTERM and waits.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(self) -> Result<Ended> {
        self.signal("TERM")?;
        self.wait()
    }

    /// Sends it a signal by name, `STOP` or `CONT` for example.
    ///
    /// # Errors
    /// When there is no program `kill`.
    pub fn signal(&self, name: &str) -> Result<()> {
        Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status()?;
        Ok(())
    }

    fn ended(&mut self, status: ExitStatus) -> Ended {
        Ended {
            code: status.code(),
            stdout: self.stdout.all(),
            stderr: self.stderr.all(),
            command: std::mem::take(&mut self.command),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program of this workspace to its end.
///
/// # Errors
/// When it cannot be started or does not end in time. Its exit code is the caller's to judge.
pub fn run(name: &str, args: &[&str], folder: &Path, env: &BTreeMap<String, String>) -> Result<Ended> {
    Running::start(name, args, folder, env)?.wait()
}

/// A running `tidemark-server serve`.
#[derive(Debug)]
pub struct ServerProcess {
    /// The process.
    pub process: Running,
    /// Where it listens.
    pub address: SocketAddr,
    /// It has a certificate.
    is_secure: bool,
}

impl ServerProcess {
    /// Starts it and waits until it listens. `address` may have port 0.
    ///
    /// # Errors
    /// When it ends before it listens.
    pub fn start(args: &[&str], address: SocketAddr, folder: &Path, env: &BTreeMap<String, String>) -> Result<Self> {
        let listen = address.to_string();
        // Nobody is to be sent elsewhere before it stops.
        let args: Vec<&str> =
            ["serve", "--listen", &listen, "--drain-grace", "0"].iter().chain(args).copied().collect();
        let mut process = Running::start("tidemark-server", &args, folder, env)?;
        let said = process.wait_for_line("`listening on http…`", Duration::from_secs(60), |line| {
            let (scheme, rest) = line.split_once("listening on http")?.1.split_once("://")?;
            let address = rest.split_whitespace().next()?.trim_end_matches('/').parse().ok()?;
            Some((address, scheme == "s"))
        })?;
        let (address, is_secure) = said;
        Ok(Self { process, address, is_secure })
    }

    /// Where it answers for its metrics, once it has said so.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        let listening = |line: &str| line.split_once("metrics: http://")?.1.strip_suffix("/metrics")?.parse().ok();
        self.process.output_so_far().lines().find_map(listening)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http{}://{}", if self.is_secure { "s" } else { "" }, self.address)
    }
}
