//! What the program tells systemd, heard on a socket such as systemd gives it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::program::server;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// systemd, as far as a service hears and sees it.
struct Manager {
    socket: UnixDatagram,
    service: Child,
    /// All that was told.
    told: String,
}

impl Manager {
    fn start(folder: &Path, args: &[&str], watchdog: Option<Duration>) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut command = server(folder, &[&["serve", "--listen", "127.0.0.1:0", "--drain-grace", "0"], args].concat());
        command.env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(every) = watchdog {
            command.env("WATCHDOG_USEC", every.as_micros().to_string());
        }
        Self { socket, service: command.spawn().unwrap(), told: String::new() }
    }

    /// Reads what is told up to a line that begins so; that line.
    fn hears(&mut self, begin: &str) -> String {
        let mut message = [0; 4096];
        loop {
            let read = self.socket.recv(&mut message).unwrap_or_else(|error| panic!("{begin}: {error}: {}", self.told));
            let message = String::from_utf8_lossy(&message[..read]);
            self.told.push_str(&message);
            if let Some(line) = message.lines().find(|line| line.starts_with(begin)) {
                return line.to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.service.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

#[test]
fn systemd_hears_ready_when_it_listens_alive_for_as_long_as_it_lives_and_stopping_at_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path(), &["--drain-timeout", "7"], Some(Duration::from_millis(100)));
    manager.hears("READY=1");
    let status = manager.told.lines().find_map(|line| line.strip_prefix("STATUS=listening on http://")).unwrap();
    let mut stream = std::net::TcpStream::connect(status).expect("it listens when it says so");
    std::io::Write::write_all(&mut stream, b"GET /readyz HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(stream).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    (0..3).for_each(|_| drop(manager.hears("WATCHDOG=1")));

    // One that hangs says nothing: what it said before is heard, and then no more.
    manager.signal("STOP");
    manager.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut message = [0; 4096];
    let still = (0..1000).take_while(|_| manager.socket.recv(&mut message).is_ok()).count();
    assert!(still < 1000, "a stopped process goes on telling");
    manager.socket.set_read_timeout(Some(SOON)).unwrap();
    manager.signal("CONT");
    manager.hears("WATCHDOG=1");

    manager.signal("HUP");
    manager.hears("RELOADING=1");
    manager.hears("READY=1");

    manager.signal("TERM");
    manager.hears("STOPPING=1");
    let extended = manager.told.lines().find(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")).map(str::to_owned);
    assert_eq!(extended.as_deref(), Some("EXTEND_TIMEOUT_USEC=17000000"), "0 s of grace, 7 s, and 10 s to tidy up");
    assert_eq!(manager.service.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_that_waits_for_its_database_is_not_ready() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u@{}/d", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut manager = Manager::start(folder.path(), &["--database", &url], None);
    let _asked = silent.accept().unwrap();
    manager.signal("TERM");
    manager.hears("STOPPING=1");
    assert!(
        manager.told.contains("STATUS=opening the database") && !manager.told.contains("READY"),
        "{}",
        manager.told
    );
}
