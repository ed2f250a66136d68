//! Which request goes where, and whose it is.

use std::fmt::{self, Display};

use http_body_util::Full;
use hyper::body::Body as _;
use hyper::header::{ALLOW, AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tidemark_core::protocol::{Problem, ProblemCode, Remedy};
use tidemark_core::value::unhex;

use super::problem::{Reply, json, problem, text};
use super::{Endpoint, RequestBody, cors, digest, join, push, rejects, rejoin, reports, site, station};
use crate::ingest::store_problem;
use crate::panics::{caught, fault};
use crate::stations::{StationRecord, secret_hash};

/// Answers one request.
pub(super) async fn route(endpoint: &Endpoint, mut request: Request<RequestBody>) -> Reply {
    let mut reply = if cors::is_preflight(&request) {
        no_content(endpoint.cors.preflight(request.headers()))
    } else {
        match caught(answer(endpoint, &mut request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(refusal)) => refuse(endpoint, &refusal, &request),
            Err(panic) => {
                let doing = format!("answering {} {}", request.method(), request.uri().path());
                let caller = request.extensions().get::<Caller>();
                endpoint.ingest.panics().caught(doing, caller.map(|caller| caller as &dyn Display), &*panic);
                // Nobody knows how far the body was read.
                let mut reply = problem(&fault());
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static(UNREAD));
                reply
            }
        }
    };
    endpoint.cors.mark(request.headers(), reply.headers_mut());
    reply
}

/// Says no, at once: what the client is still sending is not waited for.
fn refuse(endpoint: &Endpoint, refusal: &Problem, request: &Request<RequestBody>) -> Reply {
    let mut reply = problem(refusal);
    let headers = reply.headers_mut();
    if !request.body().is_end_stream() {
        headers.insert(CONNECTION, HeaderValue::from_static(UNREAD));
    }
    match refusal.code {
        ProblemCode::MethodNotAllowed => headers.extend(allow(request.uri().path())),
        ProblemCode::Unavailable => {
            let wait_s = endpoint.load.retry_after_s(endpoint.ingest.clock().now_ms());
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
        }
        _ => {}
    }
    reply
}

/// What `Connection` says in the answer to a request that was not read to its end.
const UNREAD: &str = "close";

/// Whether an answer says so.
pub(super) fn is_unread(reply: &Reply) -> bool {
    reply.headers().get(CONNECTION).is_some_and(|value| value == UNREAD)
}

fn no_content(headers: HeaderMap) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    *reply.headers_mut() = headers;
    reply
}

/// The methods that a path takes, as `Allow` tells them; empty where nothing is.
fn allow(path: &str) -> HeaderMap {
    let methods = match path {
        "/healthz" | "/readyz" | "/v1/history" | "/v1/station" | "/v1/schema" => "GET, OPTIONS",
        "/v1/join" | "/v1/push" | "/v1/rejoin" | "/v1/digest" | "/v1/rejects" => "POST, OPTIONS",
        "*" => "GET, HEAD, POST, OPTIONS",
        _ if reports::owns(path) => "GET, OPTIONS",
        _ if site::owns(path) => "GET, HEAD, OPTIONS",
        _ => return HeaderMap::new(),
    };
    HeaderMap::from_iter([(ALLOW, HeaderValue::from_static(methods))])
}

async fn answer(endpoint: &Endpoint, request: &mut Request<RequestBody>) -> Result<Reply, Problem> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/healthz") => Ok(text("ok\n")),
        (&Method::GET, "/readyz") => ready(endpoint).await,
        (&Method::POST, "/v1/join") => Ok(json(&join::join(endpoint, request.body_mut()).await?)),
        (&Method::POST, "/v1/push") => {
            let station = authenticate(endpoint, request).await?;
            Ok(json(&push::push(endpoint, &station, request.body_mut()).await?))
        }
        (&Method::POST, "/v1/digest") => {
            let station = authenticate(endpoint, request).await?;
            Ok(json(&digest::digest(endpoint, &station, request.body_mut()).await?))
        }
        (&Method::POST, "/v1/rejects") => {
            let station = authenticate(endpoint, request).await?;
            Ok(json(&rejects::rejects(endpoint, &station, request.body_mut()).await?))
        }
        (&Method::GET, "/v1/station") => {
            let station = authenticate(endpoint, request).await?;
            Ok(json(&station::station(endpoint, &station).await?))
        }
        (&Method::POST, "/v1/rejoin") => {
            let former = authenticate_former(endpoint, request).await?;
            Ok(json(&rejoin::rejoin(endpoint, &former, request.body_mut()).await?))
        }
        (&Method::GET, "/v1/history") => {
            let former = authenticate_former(endpoint, request).await?;
            Ok(json(&rejoin::history(endpoint, &former, request.uri().query()).await?))
        }
        (&Method::GET, "/v1/schema") => {
            authenticate(endpoint, request).await?;
            Ok(text(endpoint.ingest.schema().source().to_owned()))
        }
        (&Method::GET, path) if reports::owns(path) => reports::report(endpoint, request).await,
        (&Method::GET | &Method::HEAD, path) if site::owns(path) || (path == "/" && !endpoint.site.is_empty()) => {
            endpoint.site.answer(path, request.uri().query(), request.headers())
        }
        (method, path) => {
            let allow = allow(path);
            if allow.is_empty() {
                let detail = "there is nothing here; is this the address of the Tidemark server?";
                return Err(Problem::new(ProblemCode::NotFound, detail));
            }
            if method == Method::OPTIONS {
                return Ok(no_content(allow));
            }
            Err(Problem::new(ProblemCode::MethodNotAllowed, format!("{path} does not take {method}")))
        }
    }
}

/// Whose request it is, noted in it once that is known.
#[derive(Debug, Clone)]
struct Caller(String);

impl Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The station whose token the request carries.
async fn authenticate(endpoint: &Endpoint, request: &mut Request<RequestBody>) -> Result<StationRecord, Problem> {
    let token_hash = secret_hash(&token(request)?);
    let station = station_of_token(endpoint, request, token_hash).await?;
    match (station.revoked_at_ms, station.number) {
        (Some(_), Some(number)) => Err(endpoint.ingest.revoked(number).await),
        _ if !station.takes(&token_hash) => Err(token_ended(&station)),
        _ => Ok(station),
    }
}

/// The station that a file was before: as [`authenticate`], but a token that ended, or whose station did, is still good to prove where a
/// file comes from. What the file may become says the code.
async fn authenticate_former(
    endpoint: &Endpoint,
    request: &mut Request<RequestBody>,
) -> Result<StationRecord, Problem> {
    let token_hash = secret_hash(&token(request)?);
    station_of_token(endpoint, request, token_hash).await
}

/// What a station hears whose token was taken away for another one.
fn token_ended(station: &StationRecord) -> Problem {
    let number = station.number.map_or_else(String::new, |number| format!("{number} "));
    let detail = format!(
        "the token of station {number}{:?} was taken away by the server's operator, who has a code for a new one",
        station.name
    );
    Problem::new(ProblemCode::Revoked, detail).helped_by(Remedy::TakeToken)
}

/// The station of a request's token, whether it opens anything or not. Looked up by the token's hash, so no comparison leaks how much of it
/// was right.
async fn station_of_token(
    endpoint: &Endpoint,
    request: &mut Request<RequestBody>,
    token_hash: [u8; 32],
) -> Result<StationRecord, Problem> {
    let upstream = endpoint.ingest.upstream();
    let station = upstream.station_by_token(token_hash).await.map_err(store_problem)?;
    let unknown = || {
        let detail = "the server does not know this token";
        Problem::new(ProblemCode::Unauthorized, detail).helped_by(Remedy::RejoinAnew)
    };
    let station = station.ok_or_else(unknown)?;
    let caller = station.number.map_or_else(|| station.name.clone(), |number| number.to_string());
    request.extensions_mut().insert(Caller(caller));
    Ok(station)
}

/// The token that a request carries.
pub(super) fn token(request: &Request<RequestBody>) -> Result<[u8; 32], Problem> {
    let unauthorized = |detail: &str| Problem::new(ProblemCode::Unauthorized, detail);
    let none = || unauthorized("the request has no token").helped_by(Remedy::Join);
    let header = request.headers().get(AUTHORIZATION).ok_or_else(none)?;
    let token = header.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).and_then(unhex::<32>);
    token.ok_or_else(|| unauthorized("the token is not of the form `Bearer` and 64 hex digits"))
}

async fn ready(endpoint: &Endpoint) -> Result<Reply, Problem> {
    let differences = endpoint.ingest.upstream().ready().await.map_err(store_problem)?;
    if differences.is_empty() {
        return Ok(text("ready\n"));
    }
    tracing::error!("the upstream database does not match the schema: {}", differences.join("; "));
    Err(Problem::new(
        ProblemCode::Unavailable,
        "the upstream database does not match the schema; the server's log says how",
    ))
}
