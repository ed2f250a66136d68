//! A server as a process of its own, with its log in a file.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that runs until it is dropped.
pub struct Serving {
    child: Child,
    log: tempfile::NamedTempFile,
    pub addr: SocketAddr,
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
        let addr = line.trim_end().rsplit_once("//").unwrap_or_else(|| panic!("{line}{}", said())).1.parse().unwrap();
        Self { child, log, addr }
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

    /// The files it has open would be seen here.
    pub fn proc(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
