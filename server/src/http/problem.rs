//! Replies: JSON, and RFC 9457 problems.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tidemark_core::protocol::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};

pub(super) type Reply = Response<Full<Bytes>>;

fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 with a JSON document.
pub(super) fn json(message: &impl Serialize) -> Reply {
    match serde_json::to_vec(message) {
        Ok(body) => reply(StatusCode::OK, "application/json", body),
        Err(error) => problem(&Problem::new(ProblemCode::Internal, format!("the reply cannot be written: {error}"))),
    }
}

/// 200 with text.
pub(super) fn text(body: impl Into<Bytes>) -> Reply {
    reply(StatusCode::OK, "text/plain; charset=utf-8", body)
}

/// A problem with its status.
pub(super) fn problem(problem: &Problem) -> Reply {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = reply(status, PROBLEM_MEDIA_TYPE, body);
    if problem.code == ProblemCode::Unauthorized {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
