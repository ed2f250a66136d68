//! Connections: taken up to a bound, each served by hyper, and brought to an end when the server stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::BodyExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::endpoint::Endpoint;
use super::linger::Lingering;
use super::router::is_unread;

/// Serves connections until `stop` says so, then waits for the running requests.
pub async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(endpoint.limits.connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &connections) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, permit)) = accepted else { continue };
        let peer = stream.peer_addr().ok();
        let left = Arc::new(AtomicBool::new(false));
        let service = {
            let (endpoint, left) = (Arc::clone(&endpoint), Arc::clone(&left));
            service_fn(move |request: Request<Incoming>| {
                let (endpoint, left) = (Arc::clone(&endpoint), Arc::clone(&left));
                let mut request = request.map(|body| body.map_err(Into::into).boxed());
                if let Some(peer) = peer {
                    request.extensions_mut().insert(peer);
                }
                async move {
                    let reply = endpoint.answer(request).await;
                    left.store(is_unread(&reply), Ordering::Relaxed);
                    Ok::<_, std::convert::Infallible>(reply)
                }
            })
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(endpoint.limits.head_timeout)
            .max_header_size(32 << 10)
            .serve_connection(TokioIo::new(Lingering::new(stream, left)), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(endpoint.limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still running when the time to stop was over");
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            // Out of file descriptors, or a connection that is gone again: the next one may do better.
            tracing::warn!("cannot accept a connection: {error}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            None
        }
    }
}
