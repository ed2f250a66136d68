//! A connection whose peer must take what is written to it.
//!
//! A peer that asks and never reads holds what it was answered in memory, for ever. So a connection fails once bytes
//! wait to be written and the peer took none for so long. A slow peer is none of these: the system says that there is
//! room again only when much of its buffer is free, which takes minutes at 300 bytes a second, so at the deadline the
//! bytes are offered once more.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// Most bytes that the system keeps of an answer that its peer does not take.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Bounds what the system keeps for each peer of a listener.
pub(super) fn bound_kept(listener: &TcpListener) {
    #[cfg(unix)]
    if let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(listener, KEPT_BYTES_MAX) {
        tracing::debug!("the size of a socket's buffer cannot be set: {error}");
    }
    // A connection has the size that its listener has.
    #[cfg(windows)]
    if let Err(error) = socket2::SockRef::from(listener).set_send_buffer_size(KEPT_BYTES_MAX) {
        tracing::debug!("the size of a socket's buffer cannot be set: {error}");
    }
}

/// A stream that fails when its peer takes nothing for too long.
#[derive(Debug)]
pub(super) struct Deadlined<S> {
    stream: S,
    timeout: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    outgoing: Arc<Outgoing>,
}

/// A stream to a peer, past what the runtime knows of it.
pub(super) trait Peer {
    /// Offers bytes now, whether there was word of room for them or not; how many were taken.
    fn offer(&self, bytes: &[u8]) -> usize;
    /// The bytes that were not taken are not kept when the stream is dropped.
    fn forget(&self);
}

impl Peer for TcpStream {
    #[cfg(unix)]
    fn offer(&self, bytes: &[u8]) -> usize {
        use rustix::net::{SendFlags, send};
        let flags = SendFlags::DONTWAIT;
        // Apple's systems have no such flag; Rust's programs ignore the signal there as everywhere.
        #[cfg(not(target_vendor = "apple"))]
        let flags = flags | SendFlags::NOSIGNAL;
        send(self, bytes, flags).unwrap_or(0)
    }

    #[cfg(windows)]
    fn offer(&self, bytes: &[u8]) -> usize {
        socket2::SockRef::from(self).send(bytes).unwrap_or(0)
    }

    fn forget(&self) {
        // It is closed, whether this works or not.
        let _ = self.set_zero_linger();
    }
}

/// What is on its way to a peer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    stalled: AtomicBool,
    bytes: AtomicU64,
}

impl Outgoing {
    /// Whether bytes wait to be taken.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// How many the system took in all.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn took(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl<S: Peer> Deadlined<S> {
    /// Fails after `timeout`; `outgoing` says what is on its way.
    pub(super) const fn new(stream: S, timeout: Duration, outgoing: Arc<Outgoing>) -> Self {
        Self { stream, timeout, waiting: None, outgoing }
    }

    pub(super) const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Notes what became of a write of `bytes`, and fails when the time to wait is over.
    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.outgoing.stalled.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(written) = &written {
            self.outgoing.took(*written.as_ref().unwrap_or(&0));
            self.waiting = None;
        }
        if written.is_ready() {
            return written;
        }
        let timeout = self.timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if waiting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        match self.stream.offer(bytes) {
            0 => {
                self.stream.forget();
                let message = format!("the peer has taken nothing for {} s", timeout.as_secs_f32());
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
            taken => {
                self.outgoing.stalled.store(false, Ordering::Relaxed);
                self.outgoing.took(taken);
                waiting.as_mut().reset(Instant::now() + timeout);
                Poll::Ready(Ok(taken))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deadlined<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Peer + Unpin> AsyncWrite for Deadlined<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written, bytes, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        let first = bytes.iter().find(|bytes| !bytes.is_empty()).map_or(&[][..], |bytes| bytes);
        self.written(written, first, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Both ends of a connection. The peer's system takes little that the peer has not read.
    async fn both(timeout: Duration) -> (Deadlined<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = tokio::net::TcpSocket::new_v4().unwrap();
        peer.set_recv_buffer_size(64 << 10).unwrap();
        let peer = peer.connect(listener.local_addr().unwrap()).await.unwrap();
        (Deadlined::new(listener.accept().await.unwrap().0, timeout, Arc::default()), peer)
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_cut_off() {
        let (mut server, _peer) = both(Duration::from_millis(200)).await;
        let error = server.write_all(&vec![7; 64 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_slow_peer_is_not_although_the_system_sees_no_room() {
        let (mut server, mut peer) = both(Duration::from_millis(300)).await;
        // Much less in the time than a third of the system's buffer, of which it says nothing until it is free.
        let writing = tokio::spawn(async move { server.write_all(&vec![7; 64 << 20]).await });
        let mut room = vec![0; 100 << 10];
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            peer.read_exact(&mut room).await.unwrap();
        }
        assert!(!writing.is_finished(), "{:?}", writing.await);
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(60), peer.read_to_end(&mut rest)).await.unwrap().unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(rest.len() + 10 * room.len(), 64 << 20);
    }
}
