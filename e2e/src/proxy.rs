//! A network that fails on purpose: an HTTP proxy on loopback that does to each exchange what a script says.
//!
//! Only requests to one path (`/v1/push` unless told otherwise) take an act from the script; the others pass. When the
//! script is empty everything passes. Each exchange has its own connection to the server, so a fault concerns nothing
//! else.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::world::wait_for;

/// No message of a test is larger.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// What happens to one exchange.
#[derive(Debug, Clone)]
pub enum Act {
    /// Nothing: request and reply pass.
    Pass,
    /// The server answers, and the reply is lost with the connection.
    DropReply,
    /// The connection to the server breaks after this many bytes of the body, and so does the client's.
    CutBody(usize),
    /// The reply is cut after this many bytes.
    CutReply(usize),
    /// The server answers, and the reply waits until [`Gate::open`] or until the proxy ends.
    HoldReply(Gate),
    /// The server gets the request twice, one after the other; the second reply passes.
    Repeat,
    /// The server gets the request twice at the same time; one of the replies passes.
    RepeatAtOnce,
    /// The connection is closed before the server hears of it.
    Close,
    /// The proxy answers by itself with this status and no body, as gateways do.
    Answer(u16),
}

/// A reply on hold.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    holds: bool,
    open: bool,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until a reply is on hold: the server has answered, the client does not know.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn wait_until_held(&self, limit: Duration) -> Result<()> {
        wait_for("a reply to hold", limit, || Ok(lock(&self.0.0).holds.then_some(())))
    }

    /// Lets the reply go on.
    pub fn open(&self) {
        lock(&self.0.0).open = true;
        self.0.1.notify_all();
    }

    fn hold(&self, ended: &AtomicBool) {
        let mut state = lock(&self.0.0);
        state.holds = true;
        while !state.open && !ended.load(Ordering::Relaxed) {
            let wait = self.0.1.wait_timeout(state, Duration::from_millis(100));
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// One exchange that took an act from the script, or could have.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Bytes of the request's body.
    pub body_bytes: usize,
    /// The server's last status; `None` when the server was not asked or did not answer.
    pub status: Option<u16>,
    /// The work done.
    pub act: Act,
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    path: String,
    script: Mutex<VecDeque<Act>>,
    otherwise: Mutex<Act>,
    exchanges: Mutex<Vec<Exchange>>,
    ended: AtomicBool,
}

/// A running proxy. Dropping it ends it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy to a server; `/v1/push` is what its script concerns.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::start_for("/v1/push", upstream)
    }

    /// Starts a proxy whose script concerns another path.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start_for(path: &str, upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            path: path.to_owned(),
            script: Mutex::default(),
            otherwise: Mutex::new(Act::Pass),
            exchanges: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || {
                    // A client or server that goes away is this proxy's daily bread.
                    let _ = serve(&client, &shared);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// The URL to give to stations.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Leads to another server from now on.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *lock(&self.shared.upstream) = upstream;
    }

    /// Adds acts for the next exchanges.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        lock(&self.shared.script).extend(acts);
    }

    /// What happens when the script is empty; [`Act::Pass`] at first.
    pub fn otherwise(&self, act: Act) {
        *lock(&self.shared.otherwise) = act;
    }

    /// How many acts of the script are still to come.
    #[must_use]
    pub fn acts_left(&self) -> usize {
        lock(&self.shared.script).len()
    }

    /// The exchanges on the script's path so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared.exchanges).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.address)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut client: &TcpStream, shared: &Shared) -> Result<()> {
    client.set_nodelay(true)?;
    while let Some(request) = Message::read(&mut client, true)? {
        let concerned = request.start_line().split(' ').nth(1) == Some(shared.path.as_str());
        let act = if concerned {
            let scripted = lock(&shared.script).pop_front();
            scripted.unwrap_or_else(|| lock(&shared.otherwise).clone())
        } else {
            Act::Pass
        };
        let upstream = *lock(&shared.upstream);
        let ask = || exchange(upstream, &request);
        let reply = match &act {
            Act::Close => None,
            Act::CutBody(bytes) => {
                let mut server = TcpStream::connect(upstream)?;
                server.write_all(&request.head)?;
                server.write_all(&request.body[..request.body.len().min(*bytes)])?;
                server.flush()?;
                server.shutdown(Shutdown::Write)?;
                // The server hears the end before the connection is gone altogether.
                let _ = server.read(&mut [0]);
                None
            }
            Act::Answer(status) => Some(Message::answer(*status)),
            Act::Pass | Act::DropReply | Act::CutReply(_) | Act::HoldReply(_) => ask().ok(),
            Act::Repeat => ask().and_then(|_| ask()).ok(),
            Act::RepeatAtOnce => std::thread::scope(|scope| {
                let other = scope.spawn(ask);
                let reply = ask();
                let other = other.join();
                reply.ok().or_else(|| other.ok().and_then(Result::ok))
            }),
        };
        if concerned {
            let status = reply.as_ref().map(Message::status);
            let body_bytes = request.body.len();
            lock(&shared.exchanges).push(Exchange { body_bytes, status, act: act.clone() });
        }
        // Without a reply the client's connection breaks, as it would without the proxy.
        let Some(reply) = reply else { return Ok(()) };
        match &act {
            Act::DropReply => return Ok(()),
            Act::CutReply(bytes) => {
                let whole = [&reply.head[..], &reply.body].concat();
                client.write_all(&whole[..whole.len().min(*bytes)])?;
                return Ok(());
            }
            Act::HoldReply(gate) => gate.hold(&shared.ended),
            _ => {}
        }
        client.write_all(&reply.head)?;
        client.write_all(&reply.body)?;
        if reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            return Ok(());
        }
    }
    Ok(())
}

fn exchange(upstream: SocketAddr, request: &Message) -> Result<Message> {
    let mut server = TcpStream::connect(upstream)?;
    server.set_nodelay(true)?;
    server.write_all(&request.head)?;
    server.write_all(&request.body)?;
    loop {
        let reply = Message::read(&mut server, false)?.context("the server closed the connection")?;
        // 100 Continue and its like come before the answer.
        if reply.status() >= 200 {
            return Ok(reply);
        }
    }
}

/// One HTTP/1.1 message as bytes: the head with its empty line, and the body as it was framed.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    fn answer(status: u16) -> Self {
        let head = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        Self { head: head.into_bytes(), body: Vec::new() }
    }

    /// Reads one; `None` when the connection ends before the first byte.
    fn read(from: &mut impl Read, is_request: bool) -> Result<Option<Self>> {
        let mut message = Self { head: Vec::new(), body: Vec::new() };
        let mut byte = [0];
        // Byte by byte, so that nothing of the next message is taken; heads are small.
        while !message.head.ends_with(b"\r\n\r\n") {
            if from.read(&mut byte)? == 0 {
                if message.head.is_empty() {
                    return Ok(None);
                }
                bail!("the connection ended inside a head");
            }
            message.head.push(byte[0]);
            if message.head.len() > 64 << 10 {
                bail!("the head is larger than 64 KiB");
            }
        }
        let chunked = message.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        if chunked {
            message.read_chunks(from)?;
        } else if let Some(length) = message.header("content-length") {
            let length: usize = length.parse().context("content-length is no number")?;
            message.read_body(from, length)?;
        } else if !is_request && message.status() >= 200 && !matches!(message.status(), 204 | 304) {
            from.take(MESSAGE_BYTES_MAX as u64).read_to_end(&mut message.body)?;
        }
        Ok(Some(message))
    }

    fn read_body(&mut self, from: &mut impl Read, bytes: usize) -> Result<()> {
        if self.body.len() + bytes > MESSAGE_BYTES_MAX {
            bail!("the message is larger than {MESSAGE_BYTES_MAX} bytes");
        }
        let start = self.body.len();
        self.body.resize(start + bytes, 0);
        Ok(from.read_exact(&mut self.body[start..])?)
    }

    fn read_chunks(&mut self, from: &mut impl Read) -> Result<()> {
        loop {
            let start = self.body.len();
            while !self.body[start..].ends_with(b"\r\n") {
                self.read_body(from, 1)?;
            }
            let line = String::from_utf8_lossy(&self.body[start..]).into_owned();
            let digits = line.trim().split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16).context("a chunk's size is no number")?;
            if size > MESSAGE_BYTES_MAX {
                bail!("a chunk is larger than {MESSAGE_BYTES_MAX} bytes");
            }
            // The chunk and its line end; after the last chunk only the line end (no trailers are sent here).
            self.read_body(from, size + 2)?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn start_line(&self) -> String {
        let end = self.head.iter().position(|&byte| byte == b'\r').unwrap_or(0);
        String::from_utf8_lossy(&self.head[..end]).into_owned()
    }

    fn status(&self) -> u16 {
        self.start_line().split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head);
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each request with how many it has had.
    fn counting_server() -> Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            let mut count = 0;
            for client in listener.incoming().flatten() {
                let mut client = client;
                if let Ok(Some(_)) = Message::read(&mut client, true) {
                    count += 1;
                    let text = format!("n={count}");
                    let _ = write!(client, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                }
            }
        });
        Ok(address)
    }

    fn post(address: SocketAddr, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "POST /v1/push HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        let reply = Message::read(&mut stream, false)?.context("no reply")?;
        Ok(String::from_utf8(reply.body)?)
    }

    #[test]
    fn each_act_does_to_an_exchange_what_its_name_says() -> Result<()> {
        let proxy = Proxy::start(counting_server()?)?;
        let send = || post(proxy.address, "0123456789");
        proxy.script([Act::Pass, Act::DropReply, Act::CutBody(4), Act::Repeat, Act::Close, Act::Answer(503)]);
        assert_eq!(send()?, "n=1");
        assert!(send().is_err(), "the reply is dropped");
        assert!(send().is_err(), "the body is cut");
        assert_eq!(send()?, "n=4", "2 was dropped, the cut one never counted, 3 was repeated");
        assert!(send().is_err(), "closed");
        assert_eq!(send()?, "", "answered by the proxy");
        assert_eq!(send()?, "n=5", "the script is at its end");
        let statuses: Vec<_> = proxy.exchanges().iter().map(|exchange| exchange.status).collect();
        assert_eq!(statuses, [Some(200), Some(200), None, Some(200), None, Some(503), Some(200)]);
        Ok(())
    }

    #[test]
    fn a_held_reply_waits_for_its_gate() -> Result<()> {
        let proxy = Proxy::start(counting_server()?)?;
        let gate = Gate::new();
        proxy.script([Act::HoldReply(gate.clone())]);
        let address = proxy.address;
        let sender = std::thread::spawn(move || post(address, "x"));
        gate.wait_until_held(Duration::from_secs(5))?;
        assert!(!sender.is_finished());
        gate.open();
        assert_eq!(sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??, "n=1");
        Ok(())
    }
}
