//! HTTP, blocking, with TLS by rustls.

mod early;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tidemark_client::sync::{Failure, FailureKind, Method, Reply, Request, Transport};
use tidemark_core::limits::MESSAGE_BYTES_MAX;
use tidemark_core::protocol::{AFTER_HEADER, SCHEMA_HEADER, path};
use ureq::Agent;
use ureq::http::Response;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Body, Error};

pub use self::tls::{Identity, TlsFileError, TlsOptions, read_ca};
use self::tls::{Noted, TlsConnector};

/// A connection is made within this time or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that sends nothing for so long is gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A body from this size on is sent once the server has agreed to it by its head (`Expect: 100-continue`): a refusal
/// then costs a head. What a shorter one costs is less than the way back and forth.
const EXPECT_BYTES_MIN: usize = 256 << 10;
/// A server, or a proxy before it, that does not answer such a head is sent the body after so long.
const EXPECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The status of one that does not let itself be asked.
const EXPECTATION_FAILED: u16 = 417;

/// The machine's network.
#[derive(Debug)]
pub struct HttpTransport {
    agent: Agent,
    options: TlsOptions,
    /// Large bodies wait for the server's word. Not once such a request ended without an answer, or in a proxy that
    /// does not know how: then they would never pass.
    expects: bool,
    /// Something was sent of the request in hand: there is a connection.
    reached: Arc<AtomicBool>,
    /// Why the request in hand has no safe connection.
    untrusted: Noted,
}

impl Default for HttpTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpTransport {
    /// A transport that keeps its connection between requests, and trusts the authorities of this system.
    #[must_use]
    pub fn new() -> Self {
        Self::with(TlsOptions::default())
    }

    /// One that trusts whom it is told.
    #[must_use]
    pub fn with(options: TlsOptions) -> Self {
        Self::waiting(EXPECT_TIMEOUT, options)
    }

    /// Another one to the same servers, with a connection of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::with(self.options.clone())
    }

    /// One whose large bodies wait this long for the server's word.
    fn waiting(expect_timeout: Duration, options: TlsOptions) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_await_100(Some(expect_timeout))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .user_agent(concat!("tidemark/", env!("CARGO_PKG_VERSION")))
            .build();
        let (reached, untrusted) = (Arc::default(), Noted::default());
        let tls = TlsConnector::new(options.clone(), Arc::clone(&untrusted));
        let connector = early::connector(Arc::clone(&reached), tls);
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Self { agent, options, expects: true, reached, untrusted }
    }

    /// An exchange; a large body waits for the server's word, unless that is known not to work.
    fn exchange_asking(&mut self, request: &Request) -> Result<Reply, Error> {
        if !self.expects || request.body.len() < EXPECT_BYTES_MIN {
            return self.exchange(request, false);
        }
        match self.exchange(request, true) {
            Ok(reply) if reply.status == EXPECTATION_FAILED => {
                self.expects = false;
                self.exchange(request, false)
            }
            outcome => {
                self.expects = outcome.is_ok() || !self.reached.load(Ordering::Relaxed);
                outcome
            }
        }
    }

    fn exchange(&self, request: &Request, expects: bool) -> Result<Reply, Error> {
        self.reached.store(false, Ordering::Relaxed);
        let timeout = Some(Duration::from_millis(request.timeout_ms));
        let bearer = request.token.as_ref().map(|token| format!("Bearer {}", token.to_hex()));
        let response = match request.method {
            Method::Get => {
                let mut get = self.agent.get(&request.url).config().timeout_global(timeout).build();
                if let Some(bearer) = bearer {
                    get = get.header("authorization", bearer);
                }
                get.call()?
            }
            Method::Post => {
                let mut post = self.agent.post(&request.url).config().timeout_global(timeout).build();
                if let Some(bearer) = bearer {
                    post = post.header("authorization", bearer);
                }
                if let Some(content_type) = request.content_type {
                    post = post.header("content-type", content_type);
                }
                if let Some(schema) = request.schema {
                    post = post.header(SCHEMA_HEADER, schema.to_hex());
                }
                if let Some(after) = request.after {
                    post = post.header(AFTER_HEADER, after);
                }
                if expects {
                    post = post.header("expect", "100-continue");
                }
                post.send(&request.body[..])?
            }
        };
        read(response)
    }
}

fn read(response: Response<Body>) -> Result<Reply, Error> {
    let (head, mut body) = response.into_parts();
    let retry_after = head.headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = body.with_config().limit(MESSAGE_BYTES_MAX as u64).read_to_vec()?;
    Ok(Reply { status: head.status.as_u16(), retry_after, body })
}

impl Transport for HttpTransport {
    fn send(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.untrusted.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.exchange_asking(request).map_err(|error| {
            // Only scheme, host and port: what a person checks first.
            let server = request.url.find(path::ROOT).map_or(request.url.as_str(), |end| &request.url[..end]);
            if let Some((fact, more)) = self.untrusted.lock().unwrap_or_else(PoisonError::into_inner).take() {
                let more = more.map(|more| format!(" ({more})")).unwrap_or_default();
                let message = format!("no safe connection to the server at {server}: {fact}{more}");
                return Failure { kind: FailureKind::Untrusted(fact), message };
            }
            let kind = match error {
                _ if !self.reached.load(Ordering::Relaxed) => FailureKind::Unreached,
                Error::Timeout(_) => FailureKind::Timeout,
                _ => FailureKind::Broken,
            };
            Failure { kind, message: format!("cannot reach the server at {server}: {error}") }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now_ms;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    /// Answers one connection with these bytes and closes it.
    fn answering(reply: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/station", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(&reply);
        });
        url
    }

    fn get(url: String) -> Result<Reply, Failure> {
        let request = Request {
            id: 1,
            method: Method::Get,
            url,
            token: None,
            content_type: None,
            schema: None,
            after: None,
            body: Vec::new(),
            timeout_ms: 2_000,
        };
        HttpTransport::new().send(&request)
    }

    #[test]
    fn a_status_is_a_reply_and_redirects_are_not_followed() {
        let url = answering(b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno".to_vec());
        let reply = get(url).unwrap();
        assert_eq!((reply.status, reply.retry_after.as_deref(), &reply.body[..]), (503, Some("7"), &b"no"[..]));
        let url =
            answering(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec());
        assert_eq!(get(url).unwrap().status, 302);
    }

    #[test]
    fn a_body_without_end_is_given_up_at_the_bound() {
        let mut reply = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        reply.resize(reply.len() + MESSAGE_BYTES_MAX + 1, b' ');
        let failure = get(answering(reply)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Broken, "{failure}");
    }

    #[test]
    fn silence_is_a_timeout_and_a_cut_body_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let failure = get(format!("http://{}/v1/station", listener.local_addr().unwrap())).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout, "{failure}");
        let failure = get(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec())).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Broken, "{failure}");
    }

    fn post(url: String, bytes: usize) -> Result<Reply, Failure> {
        HttpTransport::new().send(&request(url, bytes))
    }

    fn request(url: String, bytes: usize) -> Request {
        Request {
            id: 1,
            method: Method::Post,
            url,
            token: None,
            content_type: None,
            schema: None,
            after: None,
            body: vec![7; bytes],
            timeout_ms: 20_000,
        }
    }

    /// Takes the head and the first bytes of a request, says this, and closes while the rest is still being sent.
    fn refusing(reply: &'static [u8], stay: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/push", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(reply);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            std::thread::sleep(stay);
        });
        url
    }

    #[test]
    fn a_refusal_before_the_body_was_read_is_heard_though_the_pipe_breaks() {
        const BUSY: &[u8] =
            b"HTTP/1.1 503 Busy\r\nretry-after: 9\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy";
        for stay_ms in [0, 200] {
            // More than all buffers between the two hold.
            let reply = post(refusing(BUSY, Duration::from_millis(stay_ms)), 64 << 20).unwrap();
            assert_eq!((reply.status, reply.retry_after.as_deref(), &reply.body[..]), (503, Some("9"), &b"busy"[..]));
        }
        // One that ends with the connection.
        let reply = post(refusing(b"HTTP/1.0 503 Busy\r\n\r\nbusy", Duration::ZERO), 64 << 20).unwrap();
        assert_eq!((reply.status, &reply.body[..]), (503, &b"busy"[..]));
    }

    #[test]
    fn a_connection_that_breaks_without_an_answer_is_a_failure() {
        for reply in [&b""[..], b"HTTP/1.1 503 Bu"] {
            let failure = post(refusing(reply, Duration::ZERO), 64 << 20).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Broken);
            assert!(failure.message.starts_with("cannot reach the server at "), "{failure}");
        }
    }

    /// Reads one request on this connection: its head, and how many bytes of its body came before it fell silent for so
    /// long, or whole. Says `before` once the head is there, and `after` at the end.
    fn read_upload(mut stream: std::net::TcpStream, before: &[u8], quiet: Duration, after: &[u8]) -> (String, usize) {
        let mut read = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        let head_end = loop {
            let count = stream.read(&mut buffer).unwrap();
            read.extend_from_slice(&buffer[..count]);
            if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let head = String::from_utf8(read[..head_end].to_vec()).unwrap().to_lowercase();
        stream.write_all(before).unwrap();
        stream.set_read_timeout(Some(quiet)).unwrap();
        let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
        let mut body = read.len() - head_end;
        while body < length {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => body += count,
                _ => break,
            }
        }
        let _ = stream.write_all(after);
        (head, body)
    }

    /// A server that reads one upload, and says what it got of it.
    fn taking(before: &'static [u8], quiet: Duration, after: &'static [u8]) -> (String, Receiver<(String, usize)>) {
        taking_each(vec![(before, quiet, after)])
    }

    /// The same with a connection after another.
    fn taking_each(connections: Vec<(&'static [u8], Duration, &'static [u8])>) -> (String, Receiver<(String, usize)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/push", listener.local_addr().unwrap());
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for (before, quiet, after) in connections {
                let (stream, _) = listener.accept().unwrap();
                tell.send(read_upload(stream, before, quiet, after)).unwrap();
            }
        });
        (url, told)
    }

    const DONE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";

    #[test]
    fn a_large_body_waits_until_its_head_was_taken_and_a_refusal_costs_a_head() {
        const BUSY: &[u8] =
            b"HTTP/1.1 503 Busy\r\nretry-after: 9\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbusy";
        let (url, told) = taking(BUSY, Duration::from_millis(500), b"");
        // However late the server's thread is.
        let reply = HttpTransport::waiting(Duration::from_secs(15), TlsOptions::default())
            .send(&request(url, 8 << 20))
            .unwrap();
        assert_eq!((reply.status, reply.retry_after.as_deref(), &reply.body[..]), (503, Some("9"), &b"busy"[..]));
        let (head, body) = told.recv().unwrap();
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        assert!(body < 64 << 10, "{body} bytes of a refused body were sent");
        // One that agrees gets it.
        let (url, told) = taking(b"HTTP/1.1 100 Continue\r\n\r\n", Duration::from_secs(10), DONE);
        assert_eq!(post(url, 8 << 20).unwrap().status, 200);
        assert_eq!(told.recv().unwrap().1, 8 << 20);
    }

    #[test]
    fn who_never_says_continue_gets_the_body_soon() {
        let (url, told) = taking(b"", Duration::from_secs(10), DONE);
        let began_ms = now_ms();
        assert_eq!(post(url, 8 << 20).unwrap().status, 200);
        assert_eq!(told.recv().unwrap().1, 8 << 20);
        let took = Duration::from_millis((now_ms() - began_ms).unsigned_abs());
        assert!(took >= EXPECT_TIMEOUT, "{took:?}: it did not wait");
        assert!(took < EXPECT_TIMEOUT * 8, "{took:?}");
        // A small body is not kept waiting.
        let (url, told) = taking(b"", Duration::from_secs(10), DONE);
        assert_eq!(post(url, EXPECT_BYTES_MIN - 1).unwrap().status, 200);
        assert!(!told.recv().unwrap().0.contains("expect"));
    }

    #[test]
    fn a_proxy_that_cannot_be_asked_before_gets_the_body_without() {
        const FAILED: &[u8] = b"HTTP/1.1 417 Expectation Failed\r\nconnection: close\r\ncontent-length: 4\r\n\r\nwhat";
        let (moment, long) = (Duration::from_millis(50), Duration::from_secs(10));
        // It says so; or it ends without a word.
        for (first, sends) in [((FAILED, moment, &b""[..]), 1), ((&b""[..], moment, &b""[..]), 2)] {
            let (url, told) = taking_each(vec![first, (b"", long, DONE), (b"", long, DONE)]);
            let mut transport = HttpTransport::waiting(Duration::from_secs(15), TlsOptions::default());
            let request = request(url, EXPECT_BYTES_MIN);
            for _ in 1..sends {
                assert_eq!(transport.send(&request).unwrap_err().kind, FailureKind::Broken);
            }
            assert_eq!(transport.send(&request).unwrap().status, 200);
            assert!(told.recv().unwrap().0.contains("expect: 100-continue\r\n"));
            // Nor is it asked any more.
            for again in [false, true] {
                if again {
                    assert_eq!(transport.send(&request).unwrap().status, 200);
                }
                let (head, body) = told.recv().unwrap();
                assert_eq!((head.contains("expect"), body), (false, EXPECT_BYTES_MIN), "{head}");
            }
        }
    }

    #[test]
    fn a_frames_schema_and_what_it_follows_stand_in_the_head() {
        let (url, told) = taking(b"", Duration::from_secs(10), DONE);
        let schema = Some(tidemark_core::schema::Fingerprint([0xab; 32]));
        let request = Request { schema, after: Some(41), ..request(url, 3) };
        assert_eq!(HttpTransport::new().send(&request).unwrap().status, 200);
        let (head, _) = told.recv().unwrap();
        assert!(head.contains(&format!("\r\ntidemark-schema: {}\r\n", "ab".repeat(32))), "{head}");
        assert!(head.contains("\r\ntidemark-after: 41\r\n"), "{head}");
    }

    #[test]
    fn nobody_there_names_the_server_and_cost_it_nothing() {
        // Port 1 is tcpmux's, and nobody's.
        let server = "http://127.0.0.1:1";
        let failure = get(format!("{server}/v1/station")).unwrap_err();
        assert!(failure.message.starts_with(&format!("cannot reach the server at {server}: ")), "{failure}");
        assert_eq!(failure.kind, FailureKind::Unreached);
        let failure = get("http://nobody.invalid/v1/station".into()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unreached, "{failure}");
    }
}
