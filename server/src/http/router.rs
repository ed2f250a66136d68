//! A request's way: to its route and back, with a panic caught and a refusal made a problem.

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body as _;
use hyper::header::{ALLOW, CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode, UnavailableReason};
use tokio::time::Instant;
use tracing::Instrument as _;
#[cfg(feature = "otel")]
use tracing::field::Empty;

use super::access::{Ended, REQUEST_ID};
use super::asked::{Asked, address_of, is_of_proxy};
use super::caller::{Caller, authenticate, authenticate_former, token};
use super::connections::NoRoom;
use super::cors;
use super::endpoint::{Endpoint, RequestBody};
use super::forwarded::{Leave, Party};
use super::noted::Noted;
use super::problem::{Reply, problem};
use super::routes::{self, Answers, Route, Verb};
use crate::notices::Who;
use crate::panics::{caught, fault};
use crate::spans::span;
use crate::stations::secret_hash;

impl Endpoint {
    /// Answers one request. [`super::serve()`] does this with each that comes in over a socket.
    pub async fn answer(&self, request: Request<RequestBody>) -> Response<Full<Bytes>> {
        route(self, request).await
    }
}

/// Answers one request, counts it and writes its line.
async fn route(endpoint: &Endpoint, mut request: Request<RequestBody>) -> Reply {
    let (began, requests) = (Instant::now(), &endpoint.ingest.metrics().requests);
    let _running = requests.begin();
    let (id, noted) = (endpoint.access.id(request.headers(), is_of_proxy(&request)), Arc::<Noted>::default());
    request.extensions_mut().insert(Arc::clone(&noted));
    let span = span!("request", route = routes::name(request.uri().path()), id, station = Empty, status = Empty);
    let mut is_quiet = routes::is_probe(request.uri().path());
    let mut reply = if cors::is_preflight(&request) {
        no_content(endpoint.cors.preflight(request.headers()))
    } else {
        let answering = caught(answer_in_turn(endpoint, &mut request)).instrument(span.clone());
        match answering.await {
            Ok(Ok(reply)) => reply,
            Ok(Err(refusal)) => {
                is_quiet |= endpoint.ingest.notices().refused(&refusal, &who(&request));
                requests.refused(refusal.status, &word(refusal.code), &refusal.reason.map(word).unwrap_or_default());
                refuse(endpoint, &refusal, &request)
            }
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
    // What is left of it must not be taken for the next request.
    if !request.body().is_end_stream() {
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static(UNREAD));
    }
    endpoint.cors.mark(request.headers(), reply.headers_mut());
    if let Ok(id) = HeaderValue::from_str(&id) {
        reply.headers_mut().insert(REQUEST_ID, id);
    }
    let (route, sent) = (routes::name(request.uri().path()), reply.body().size_hint().lower());
    let (status, took) = (reply.status().as_u16(), began.elapsed());
    let who = who(&request);
    span.record("status", status).record("station", who.number.map(StationNumber::get));
    requests.answered(route, status, took, noted.received_bytes(), sent);
    endpoint.access.write(&id, request.method(), &who, &noted, Ended { route, status, sent, took, is_quiet });
    reply
}

/// The word of a code or a reason, as it travels.
fn word(unit: impl Serialize) -> String {
    serde_json::to_value(unit).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Says no, at once: what the client is still sending is not waited for, and who is known takes a place among those who
/// come back.
fn refuse(endpoint: &Endpoint, refusal: &Problem, request: &Request<RequestBody>) -> Reply {
    let mut reply = problem(refusal);
    let headers = reply.headers_mut();
    match refusal.code {
        ProblemCode::MethodNotAllowed => headers.extend(allowed(request.uri().path()).map(allow).unwrap_or_default()),
        ProblemCode::Unavailable => {
            let now_ms = endpoint.ingest.clock().now_ms();
            let station = request.extensions().get::<Caller>().and_then(|caller| caller.number);
            let wait_s = endpoint.load.retry_after_s(station, now_ms) + longer_s(refusal.reason);
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
        }
        ProblemCode::TooManyRequests => drop(headers.insert(RETRY_AFTER, HeaderValue::from(TRY_AGAIN_S))),
        _ => {}
    }
    reply
}

/// After how many seconds somebody who asked too often may ask again.
const TRY_AGAIN_S: i64 = 5;

/// Whoever asks, as far as that is known.
fn who(request: &Request<RequestBody>) -> Who {
    let caller = request.extensions().get::<Caller>();
    Who {
        number: caller.and_then(|caller| caller.number),
        name: caller.map(|caller| caller.name.clone()),
        peer: address_of(request).map(|address| address.to_string()),
    }
}

/// How much longer than for a busy server one waits for what takes longer to pass, in seconds.
const fn longer_s(reason: Option<UnavailableReason>) -> i64 {
    match reason {
        Some(
            UnavailableReason::DatabaseAway
            | UnavailableReason::DatabaseReadOnly
            | UnavailableReason::DatabaseFull
            | UnavailableReason::DatabaseLocked
            | UnavailableReason::DatabaseFault,
        ) => 3,
        // Somebody has to migrate it.
        Some(UnavailableReason::DatabaseDiffers) => 8,
        _ => 0,
    }
}

/// The word of `Connection` in the answer to a request that was not read to its end.
const UNREAD: &str = "close";

/// An answer says so.
pub(super) fn is_unread(reply: &Reply) -> bool {
    reply.headers().get(CONNECTION).is_some_and(|value| value == UNREAD)
}

fn no_content(headers: HeaderMap) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    *reply.headers_mut() = headers;
    reply
}

/// The methods that a path takes, as `Allow` tells them; `None` where nothing is.
fn allowed(path: &str) -> Option<&'static str> {
    match path {
        "*" => Some("GET, HEAD, POST, OPTIONS"),
        _ => routes::at(path).map(|route| route.verb.allowed()),
    }
}

fn allow(methods: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(ALLOW, HeaderValue::from_static(methods))])
}

/// The refusal of what must wait for others from the same address.
fn crowded() -> Problem {
    let detail = "as many requests without a known token run as may at once from this address; try again soon";
    Problem::new(ProblemCode::TooManyRequests, detail)
}

/// The leave of a request to run; `None` for one that came over no proxy, whose connection is bounded.
fn leave(endpoint: &Endpoint, request: &Request<RequestBody>) -> Result<Option<Arc<Leave>>, Problem> {
    let Some(address) = address_of(request).filter(|_| is_of_proxy(request)) else { return Ok(None) };
    // Stations that are known are not held up by strangers at their address.
    let known = token(request).ok().map(|token| secret_hash(&token)).filter(|hash| endpoint.tokens.is_known(hash));
    let party = known.map_or(Party::Stranger(address), Party::Token);
    endpoint.forwarded.enter(party, &endpoint.limits(), Instant::now()).map(Some).map_err(|NoRoom| crowded())
}

/// Answers within the bounds of those for whom proxies ask.
async fn answer_in_turn(endpoint: &Endpoint, request: &mut Request<RequestBody>) -> Result<Reply, Problem> {
    let Some(leave) = leave(endpoint, request)? else { return answer(endpoint, request).await };
    request.extensions_mut().insert(Arc::clone(&leave));
    tokio::select! {
        biased;
        () = leave.gives_way() => Err(crowded()),
        reply = answer(endpoint, request) => reply,
    }
}

async fn answer(endpoint: &Endpoint, request: &mut Request<RequestBody>) -> Result<Reply, Problem> {
    let path = request.uri().path();
    if let Some(route) = routes::at(path).filter(|route| route.verb.is(request.method())) {
        return by(route, endpoint, request).await;
    }
    // The way to the notebook, where there is one.
    if path == "/" && Verb::Look.is(request.method()) && !endpoint.site.is_empty() {
        return endpoint.site.answer(path, request.uri().query(), request.headers());
    }
    let Some(methods) = allowed(path) else {
        let detail = "there is nothing here; is this the address of the Tidemark server?";
        return Err(Problem::new(ProblemCode::NotFound, detail));
    };
    if request.method() == Method::OPTIONS {
        return Ok(no_content(allow(methods)));
    }
    let detail = format!("{path} does not take {}", request.method());
    Err(Problem::new(ProblemCode::MethodNotAllowed, detail))
}

/// Lets a route answer within the time that a request may take in all.
async fn by(route: &'static Route, endpoint: &Endpoint, request: &mut Request<RequestBody>) -> Result<Reply, Problem> {
    let answering = admitted(route, endpoint, request);
    tokio::time::timeout(endpoint.limits().request_timeout, answering).await.map_err(|_| {
        let detail = "the server could not answer within the time a request may take; try again";
        Problem::unavailable(UnavailableReason::ServerBusy, detail)
    })?
}

/// Lets a route answer, once it is known that who asks may.
async fn admitted(
    route: &'static Route,
    endpoint: &Endpoint,
    request: &mut Request<RequestBody>,
) -> Result<Reply, Problem> {
    let limits = endpoint.limits();
    let time = match route.answers {
        Answers::Anyone(_) | Answers::Operator(_) => limits.anyone_timeout,
        _ => limits.request_timeout,
    };
    let until = Instant::now() + time;
    let asked = |request| Asked { endpoint, request, body_max: route.body_max, until };
    match route.answers {
        Answers::Anyone(handler) | Answers::Reader(handler) | Answers::Operator(handler) => {
            handler(asked(request)).await
        }
        Answers::Station(handler) => {
            let station = authenticate(endpoint, request).await?;
            handler(asked(request), station).await
        }
        Answers::Former(handler) => {
            let former = authenticate_former(endpoint, request).await?;
            handler(asked(request), former).await
        }
    }
}
