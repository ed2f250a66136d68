//! A session in a browser: begun by an operator's token, which is not kept there; ended by hand, after half a day, or
//! with the operator.

use http_body_util::Full;
use hyper::header::{HeaderValue, SET_COOKIE};
use hyper::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tidemark_core::protocol::{Problem, ProblemCode};
use tidemark_core::value::{hex, unhex};

use super::super::asked::Asked;
use super::super::problem::Reply;
use super::super::tokens::Word;
use super::authority::{COOKIE_NAME, admitted, is_secure, own_page, session_secret, unknown};
use super::words::body;
use crate::clock::random_bytes;
use crate::fleet::acts::NewSession;
use crate::ingest::store_problem;
use crate::stations::secret_hash;

/// How long a session lasts, in seconds: a working day.
const SESSION_S: i64 = 12 * 3600;

/// Whose session it is.
#[derive(Serialize)]
pub(super) struct Session<'o> {
    pub(super) operator: &'o str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    token: String,
}

/// `POST /v1/admin/session`.
pub(super) async fn begin(asked: &mut Asked<'_>, now_ms: i64) -> Result<Reply, Problem> {
    own_page(asked.request)?;
    let (endpoint, address) = (asked.endpoint, asked.address());
    endpoint.tokens.tries(Word::Operator, address, now_ms)?;
    let Begin { token } = body(asked).await?;
    let _turn = endpoint.operators.turn().await?;
    let none = || unknown("the server knows no operator by this token");
    let token = unhex::<32>(token.trim()).ok_or_else(none)?;
    let upstream = endpoint.ingest.upstream();
    let operator =
        upstream.ledger().operator_by_token(secret_hash(&token)).await.map_err(store_problem)?.ok_or_else(none)?;
    endpoint.tokens.was_known(Word::Operator, address);
    let operator = admitted(operator)?;
    let secret = random_bytes::<32>()
        .map_err(|_| Problem::new(ProblemCode::Internal, "the operating system gives no random bytes"))?;
    let expires_at_ms = now_ms.saturating_add(SESSION_S * 1_000);
    let session = NewSession {
        operator: operator.name,
        secret_hash: secret_hash(&secret),
        from: from(asked),
        now_ms,
        expires_at_ms,
    };
    upstream.begin_session(&session).await.map_err(store_problem)?;
    Ok(with_cookie(&hex(&secret), SESSION_S, is_secure(asked.request)))
}

/// `DELETE /v1/admin/session`.
pub(super) async fn end(asked: &Asked<'_>, by: &str, now_ms: i64) -> Result<Reply, Problem> {
    if let Some(secret) = session_secret(asked.request.headers()) {
        let upstream = asked.endpoint.ingest.upstream();
        upstream.end_session(secret_hash(&secret), &from(asked), by, now_ms).await.map_err(store_problem)?;
    }
    Ok(with_cookie("", 0, is_secure(asked.request)))
}

/// Where a request came from, for the audit.
fn from(asked: &Asked<'_>) -> String {
    asked.address().map(|address| address.to_string()).unwrap_or_default()
}

/// 204 with the cookie.
fn with_cookie(value: &str, age_s: i64, secure: bool) -> Reply {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE_NAME}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}");
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}
