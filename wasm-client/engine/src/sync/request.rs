//! One HTTP exchange with a server, and the one place that makes its request.

use serde::Serialize;
use tidemark_core::frame;
use tidemark_core::protocol::{FRAME_MEDIA_TYPE, path};
use tidemark_core::schema::Fingerprint;
use tidemark_core::url::ServerUrl;

use super::Untrusted;
use crate::error::Secret;

/// A request has this long, and for a frame the time it needs at [`SLOWEST_BYTES_PER_MS`] on top.
pub(crate) const TIMEOUT_MS: u64 = 30_000;
/// The slowest network on which a frame still gets through: 4 KB/s.
const SLOWEST_BYTES_PER_MS: u64 = 4;

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Without a body.
    Get,
    /// With one.
    Post,
}

/// A request to perform: one HTTP exchange, without following redirects.
#[derive(Debug, Clone)]
pub struct Request {
    /// Names the request in [`Engine::on_reply`] and [`Engine::on_failure`]; 0 where nothing is named by it.
    ///
    /// [`Engine::on_reply`]: crate::sync::Engine::on_reply
    /// [`Engine::on_failure`]: crate::sync::Engine::on_failure
    pub id: u64,
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: String,
    /// Goes into `Authorization: Bearer …`.
    pub token: Option<Secret>,
    /// Media type of the body.
    pub content_type: Option<&'static str>,
    /// Of a frame, the fingerprint of its schema: goes into `Tidemark-Schema`.
    pub schema: Option<Fingerprint>,
    /// Of a frame that is sent before the reply to the one before it came, the last change of that one: goes into
    /// `Tidemark-After`.
    pub after: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
    /// Give up after this long, in milliseconds.
    pub timeout_ms: u64,
}

impl Request {
    /// A question that the path says whole.
    #[must_use]
    pub fn get(server: &ServerUrl, path: &str, token: &Secret) -> Self {
        Self {
            id: 0,
            method: Method::Get,
            url: server.join(path),
            token: Some(token.clone()),
            content_type: None,
            schema: None,
            after: None,
            body: Vec::new(),
            timeout_ms: TIMEOUT_MS,
        }
    }

    /// A message of ours as JSON; without a token where the message itself proves who asks.
    pub(crate) fn json(server: &ServerUrl, path: &str, token: Option<&Secret>, message: &impl Serialize) -> Self {
        let body = serde_json::to_vec(message).expect("BUG: the messages of the protocol serialise");
        Self::post(server, path, token, "application/json", body)
    }

    /// A batch.
    pub(crate) fn frame(server: &ServerUrl, token: &Secret, frame: Vec<u8>) -> Self {
        let timeout_ms = TIMEOUT_MS + frame.len() as u64 / SLOWEST_BYTES_PER_MS;
        let schema = frame::fingerprint_of(&frame);
        Self { schema, ..Self::post(server, path::PUSH, Some(token), FRAME_MEDIA_TYPE, frame).within_ms(timeout_ms) }
    }

    fn post(server: &ServerUrl, path: &str, token: Option<&Secret>, media: &'static str, body: Vec<u8>) -> Self {
        Self {
            id: 0,
            method: Method::Post,
            url: server.join(path),
            token: token.cloned(),
            content_type: Some(media),
            schema: None,
            after: None,
            body,
            timeout_ms: TIMEOUT_MS,
        }
    }

    /// The same with another limit of time, in milliseconds.
    #[must_use]
    pub fn within_ms(self, timeout_ms: u64) -> Self {
        Self { timeout_ms, ..self }
    }

    /// The same with a number.
    #[must_use]
    pub(crate) fn numbered(self, id: u64) -> Self {
        Self { id, ..self }
    }
}

/// The answer of a server.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The header `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// The body; a transport reads at most [`tidemark_core::limits::MESSAGE_BYTES_MAX`] of it.
    pub body: Vec<u8>,
}

/// How far a request came that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Nowhere: no connection was made, so it cost the server nothing, and it is asked again soon.
    Unreached,
    /// The time was over: then less is sent at once.
    Timeout,
    /// To no server that is trusted, or to one that does not trust the station: nothing was asked.
    Untrusted(Untrusted),
    /// The connection broke, and nobody knows how far it came.
    Broken,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How far the request came.
    pub kind: FailureKind,
    /// The words of the transport: where the server was looked for, and the words of the system.
    pub message: String,
}
