//! A small HTTP/1 client over a kept connection that goes out from a chosen address of loopback. It sends a body and
//! listens at the same time, as a station must: a server may refuse before it has read all.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::door::{Door, Stream};

/// More than any answer of the siege's questions has.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// When to come back, where the server says so.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
    closes: bool,
}

impl Answer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// When it is none of the kind.
    pub fn json<T: for<'a> Deserialize<'a>>(&self) -> anyhow::Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The answer in short, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(300).collect();
        format!("{} {body}", self.status)
    }
}

/// A client with at most one connection.
#[derive(Debug)]
pub struct Client {
    server: Door,
    from: IpAddr,
    kept: Option<Stream>,
}

impl Client {
    /// One that has not connected yet.
    #[must_use]
    pub fn new(server: impl Into<Door>, from: IpAddr) -> Self {
        Self { server: server.into(), from, kept: None }
    }

    /// Ends the connection; the next request makes another.
    pub fn hang_up(&mut self) {
        self.kept = None;
    }

    /// Asks, and gives up after a time.
    ///
    /// # Errors
    /// The network's, or no answer in time. The connection is given up then.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
        limit: Duration,
    ) -> io::Result<Answer> {
        let auth = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: siege\r\n{auth}Content-Length: {length}\r\n\r\n");
        let asked = timeout(limit, self.exchange(head.as_bytes(), body)).await;
        asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn exchange(&mut self, head: &[u8], body: &[u8]) -> io::Result<Answer> {
        if let Some(kept) = self.kept.take() {
            match self.exchange_on(kept, head, body).await {
                // The server had closed it meanwhile, as it may.
                Err(error) if error.kind() != io::ErrorKind::InvalidData => {}
                answered => return answered,
            }
        }
        let stream = self.server.connect(self.from, None).await?;
        self.exchange_on(stream, head, body).await
    }

    async fn exchange_on(&mut self, stream: Stream, head: &[u8], body: &[u8]) -> io::Result<Answer> {
        let (mut reading, mut writing) = tokio::io::split(stream);
        let mut sent = false;
        let answer = {
            let sending = async {
                writing.write_all(head).await?;
                writing.write_all(body).await?;
                writing.flush().await
            };
            let hearing = answer(&mut reading);
            tokio::pin!(sending, hearing);
            let mut failed = false;
            loop {
                tokio::select! {
                    result = &mut sending, if !sent && !failed => match result {
                        Ok(()) => sent = true,
                        // What the server said before it closed may still be read.
                        Err(_) => failed = true,
                    },
                    answer = &mut hearing => break answer?,
                }
            }
        };
        if sent && !answer.closes {
            self.kept = Some(reading.unsplit(writing));
        }
        Ok(answer)
    }
}

/// Reads one answer; interim ones are passed over.
///
/// # Errors
/// The network's, the end before an answer, or bytes that are no answer.
pub async fn answer(reading: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if reading.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("not an answer: {head:?}"));
        let status: u16 = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        bytes.drain(..end + 4);
        if status < 200 {
            continue;
        }
        let header = |name: &str| {
            let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let length = header("content-length").and_then(|value| value.parse::<usize>().ok());
        if length.is_some_and(|length| length > ANSWER_BYTES_MAX) {
            return Err(wrong());
        }
        while bytes.len() < length.unwrap_or(ANSWER_BYTES_MAX) {
            if reading.read_buf(&mut bytes).await? == 0 {
                if length.is_some() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                break;
            }
        }
        let closes = length.is_none() || header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let retry_after = header("retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs);
        return Ok(Answer { status, retry_after, body: bytes, closes });
    }
}
