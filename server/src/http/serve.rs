//! The door: every connection is taken, until the server stops.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connections::Connections;
use super::deadline::bound_kept;
use super::endpoint::Endpoint;
use super::talk::talk;
use crate::descriptors;
use crate::supervision::{spawn_once, supervised};
use crate::tls::Tls;

/// The time the system gets to close a connection that makes room for another.
const CLOSING: Duration = Duration::from_millis(5);
/// The time until the next try, after a connection that could not be taken.
const NEXT_TRY: Duration = Duration::from_millis(100);

/// Serves connections until `stop` says so and the grace time is over, then waits for the running requests.
/// With a certificate, over TLS.
pub async fn serve(
    listener: TcpListener,
    endpoint: Arc<Endpoint>,
    tls: Option<Arc<Tls>>,
    mut stop: watch::Receiver<bool>,
) {
    bound_kept(&listener);
    let door = Door {
        connections: Connections::new(
            endpoint.limits.clone(),
            Arc::clone(endpoint.ingest.metrics()),
            endpoint.proxies.clone(),
        ),
        endpoint,
        tls,
        open: watch::Sender::new(()),
    };
    tokio::select! {
        never = door.keep_open(&listener) => match never {},
        _ = stop.wait_for(|stop| *stop) => {}
    }
    door.endpoint.stopping.begin();
    tokio::select! {
        never = door.keep_open(&listener) => match never {},
        () = tokio::time::sleep(door.endpoint.limits().drain_grace) => {}
    }
    drop(listener);
    door.endpoint.stopping.end_uploads();
    if tokio::time::timeout(door.endpoint.limits().drain_timeout, door.open.closed()).await.is_err() {
        tracing::warn!("requests were still running when the time to stop was over");
    }
}

/// Takes connections in.
struct Door {
    connections: Arc<Connections>,
    endpoint: Arc<Endpoint>,
    tls: Option<Arc<Tls>>,
    /// Every connection holds a receiver.
    open: watch::Sender<()>,
}

impl Door {
    /// Takes connections, also after a fault of this program.
    async fn keep_open(&self, listener: &TcpListener) -> std::convert::Infallible {
        supervised(self.endpoint.panics(), "taking connections", || self.take_all(listener)).await
    }

    /// Takes every connection that comes: nobody waits for another to go.
    async fn take_all(&self, listener: &TcpListener) -> std::convert::Infallible {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer.ip()),
                Err(error) if descriptors::is_shortage(&error) => {
                    let closed = self.connections.make_room();
                    tokio::time::sleep(if closed { CLOSING } else { NEXT_TRY }).await;
                }
                // The peer is gone again.
                Err(error) if is_of_peer(&error) => tracing::debug!("a connection was not taken: {error}"),
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(NEXT_TRY).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: IpAddr) {
        let Some(seat) = self.connections.enter(peer) else { return };
        let _ = stream.set_nodelay(true);
        let (endpoint, tls, open) = (Arc::clone(&self.endpoint), self.tls.clone(), self.open.subscribe());
        spawn_once(self.endpoint.panics(), "serving a connection", async move {
            talk(stream, tls.as_deref(), endpoint, seat).await;
            drop(open);
        });
    }
}

fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
