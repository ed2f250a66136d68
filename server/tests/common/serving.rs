//! A server as a process of its own, with its log in a file.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than a server takes to end, and shorter than what must not be waited for.
const SOON: Duration = Duration::from_secs(15);

/// A server that runs until it is dropped.
pub struct Serving {
    child: Child,
    log: tempfile::NamedTempFile,
    pub addr: SocketAddr,
    /// As it says it itself: `http://127.0.0.1:1234`.
    pub url: String,
}

impl Serving {
    /// Starts one, and waits until it listens.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log.reopen().unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = || std::fs::read_to_string(log.path()).unwrap();
        let url =
            line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}{}", said())).to_owned();
        let addr = url.rsplit_once("//").unwrap().1.parse().unwrap();
        Self { child, log, addr, url }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// Waits until it has logged a text for the `times`th time.
    #[track_caller]
    pub fn says(&self, text: &str, times: usize) {
        for _ in 0..600 {
            if self.log().matches(text).count() >= times {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it does not say {text:?}: {}", self.log());
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; its exit code and its log.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, String) {
        (ended(&mut self.child), self.log())
    }

    /// Ends it in good order, and takes what it logged.
    #[track_caller]
    pub fn stop(self) -> String {
        self.signal("TERM");
        let (code, log) = self.end();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// The files it has open would be seen here.
    pub fn proc(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }
}

/// Waits for the end of a program; its exit code, `None` when a signal ended it.
#[track_caller]
pub fn ended(child: &mut Child) -> Option<i32> {
    for _ in 0..SOON.as_millis() / 20 {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not end");
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
