//! The end of a connection whose request was answered before all of it was read.
//!
//! A socket that is closed while bytes are on their way to it resets the connection, and the reset may overtake the
//! answer: the client would see a broken pipe in place of a refusal. So what still comes is taken from the wire and
//! thrown away, for a moment and within bounds, after the answer is sent and its end is said (RFC 9112, 9.6). A
//! client that hears the answer stops sending; one that does not is cut off at the bound.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Most bytes that are thrown away: about what is on its way when the client hears the answer.
const BYTES_MAX: usize = 256 << 10;
/// Longest time.
const TIME: Duration = Duration::from_secs(2);

/// A stream that is not closed in the face of who is still sending.
#[derive(Debug)]
pub(super) struct Lingering<S> {
    stream: S,
    left: Arc<AtomicBool>,
    time: Duration,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Ending {
    until: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<S> Lingering<S> {
    /// `left` says, when the connection ends, whether a part of a request was not read; without one it is closed at
    /// once.
    pub(super) const fn new(stream: S, left: Arc<AtomicBool>) -> Self {
        Self { stream, left, time: TIME, ending: None }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing more comes from here, then reads and forgets.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, left, time, ending } = &mut *self;
        if ending.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        if !left.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let ending = ending.get_or_insert_with(|| Ending { until: Box::pin(tokio::time::sleep(*time)), bytes: 0 });
        let mut room = [0; 8 << 10];
        while ending.bytes < BYTES_MAX && ending.until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => ending.bytes += buf.filled().len(),
                // It has heard, or it is gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn lingering(stream: DuplexStream, left: bool, time: Duration) -> Lingering<DuplexStream> {
        Lingering { time, ..Lingering::new(stream, Arc::new(AtomicBool::new(left))) }
    }

    #[tokio::test]
    async fn what_still_comes_is_taken_within_bounds() {
        let (mut client, server) = duplex(64 << 10);
        let mut server = lingering(server, true, Duration::from_secs(60));
        server.write_all(b"no").await.unwrap();
        let sending = tokio::spawn(async move {
            let mut sent = 0;
            while let Ok(bytes) = client.write(&[7; 10_000]).await {
                sent += bytes;
            }
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            (sent, answer)
        });
        server.shutdown().await.unwrap();
        drop(server);
        let (sent, answer) = sending.await.unwrap();
        assert_eq!(answer, b"no");
        assert!((BYTES_MAX..BYTES_MAX + (80 << 10)).contains(&sent), "{sent}");
    }

    #[tokio::test]
    async fn who_neither_sends_nor_closes_is_waited_for_a_moment_only() {
        let (client, server) = duplex(1_000);
        lingering(server, true, Duration::from_millis(20)).shutdown().await.unwrap();
        drop(client);
    }

    #[tokio::test]
    async fn who_has_heard_is_not_waited_for() {
        let forever = Duration::from_secs(1 << 30);
        let (mut client, server) = duplex(1_000);
        let mut server = lingering(server, true, forever);
        server.write_all(b"yes").await.unwrap();
        let hearing = tokio::spawn(async move {
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        });
        server.shutdown().await.unwrap();
        assert_eq!(hearing.await.unwrap(), b"yes");
        // Nor who was read to the end.
        let (client, server) = duplex(1_000);
        lingering(server, false, forever).shutdown().await.unwrap();
        drop(client);
    }
}
