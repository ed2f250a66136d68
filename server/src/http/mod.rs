//! The endpoint: HTTP/1 by hyper. Everything a client sends is bounded in bytes and in time.

mod body;
mod cors;
mod digest;
mod join;
mod linger;
mod load;
mod origin;
mod problem;
mod push;
mod rejects;
mod rejoin;
mod reports;
mod router;
mod site;
mod station;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use self::cors::Cors;
use self::linger::Lingering;
use self::load::Load;
pub use self::origin::{Origin, OriginError};
pub use self::site::{MOUNT, Site};
use crate::config::HttpLimits;
use crate::ingest::Ingest;
use crate::panics::Panics;

/// Bytes of bodies are counted in units of this many, so that they fit a semaphore.
pub(crate) const BODY_UNIT_BYTES: usize = 1024;

/// A request's body: hyper's own when it came over a socket, any other in a simulation.
pub type RequestBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What a request is answered with.
pub struct Endpoint {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) limits: HttpLimits,
    /// Units of body bytes that may be in memory.
    pub(crate) body_units: Arc<Semaphore>,
    /// Batches that may be decoded and applied at once.
    pub(crate) turns: Arc<Semaphore>,
    /// Surveys that may run at once.
    pub(crate) surveys: Arc<Semaphore>,
    load: Load,
    /// Which web pages of other origins may read the answers.
    cors: Cors,
    /// The field notebook.
    site: Arc<Site>,
}

impl Endpoint {
    /// An endpoint for one upstream, without a notebook, and for no web page of another origin.
    #[must_use]
    pub fn new(ingest: Arc<Ingest>, limits: HttpLimits) -> Self {
        let body_units = Arc::new(Semaphore::new(limits.body_bytes_total.div_ceil(BODY_UNIT_BYTES)));
        let turns = Arc::new(Semaphore::new(limits.applies_max));
        let surveys = Arc::new(Semaphore::new(limits.surveys_max));
        Self {
            ingest,
            limits,
            body_units,
            turns,
            surveys,
            load: Load::default(),
            cors: Cors::default(),
            site: Arc::default(),
        }
    }

    /// Lets the pages of these origins use it.
    #[must_use]
    pub fn with_origins(self, origins: Vec<Origin>) -> Self {
        Self { cors: Cors::new(origins), ..self }
    }

    /// Serves a notebook.
    #[must_use]
    pub fn with_site(self, site: Arc<Site>) -> Self {
        Self { site, ..self }
    }

    /// The panics of this program while it answered.
    #[must_use]
    pub fn panics(&self) -> &Panics {
        self.ingest.panics()
    }

    /// Answers one request. [`serve`] does this with each that comes in over a socket.
    pub async fn answer(&self, request: Request<RequestBody>) -> Response<Full<Bytes>> {
        router::route(self, request).await
    }
}

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
        let left = Arc::new(AtomicBool::new(false));
        let service = {
            let (endpoint, left) = (Arc::clone(&endpoint), Arc::clone(&left));
            service_fn(move |request: Request<Incoming>| {
                let (endpoint, left) = (Arc::clone(&endpoint), Arc::clone(&left));
                let request = request.map(|body| body.map_err(Into::into).boxed());
                async move {
                    let reply = endpoint.answer(request).await;
                    left.store(router::is_unread(&reply), Ordering::Relaxed);
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
