//! `/v1/admin/…`: what operators ask and do, as JSON. Off, like a path that is not there, unless there is an operator.
//!
//! | file | what lives there |
//! |---|---|
//! | `authority` | who asks: an operator's token, or the cookie of a session; requests that pages of others send |
//! | `session` | a session in a browser begins, and ends |
//! | `words` | the query of a request, and its JSON |
//! | `fleet`, `stations` | all stations, and one; what is done to them |
//! | `rejects` | what was rejected, applied again, given up |
//! | `figures` | what came in, the database, what operators did |

mod authority;
mod figures;
mod fleet;
mod rejects;
mod session;
mod stations;
mod words;

use hyper::Method;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;
use tidemark_core::protocol::{Problem, ProblemCode, path};

pub(super) use self::authority::nothing_here;
use super::asked::Asked;
use super::operators::in_time;
use super::problem::{Reply, json};

/// Most bytes of an operator's request.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The path is an operator's.
pub(super) fn owns(at: &str) -> bool {
    at.strip_prefix(path::ADMIN).is_some_and(|rest| !rest.is_empty())
}

/// Answers an operator.
pub(super) async fn admin(mut asked: Asked<'_>) -> Result<Reply, Problem> {
    let clock = std::sync::Arc::clone(asked.endpoint.ingest.clock());
    let answering = in_time(answer(&mut asked, clock.now_ms()));
    let mut reply = answering.await?;
    // Nothing of it is kept on a disk, or shown to whoever comes after.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

async fn answer(asked: &mut Asked<'_>, now_ms: i64) -> Result<Reply, Problem> {
    let at = asked.request.uri().path().strip_prefix(path::ADMIN).unwrap_or_default().to_owned();
    let segments: Vec<&str> = at.split('/').collect();
    let method = asked.request.method().clone();
    if !asked.endpoint.operators.is_on(&asked.endpoint.ingest).await? {
        return Err(authority::nothing_here());
    }
    if segments == ["session"] && method == Method::POST {
        return session::begin(asked, now_ms).await;
    }
    let operator = authority::operator(asked, now_ms).await?;
    // Who is not an operator takes none of their turns.
    let endpoint = asked.endpoint;
    let turn = endpoint.operators.turn().await?;
    let by = operator.name.as_str();
    if method == Method::GET {
        return match segments.as_slice() {
            ["session"] => Ok(json(&session::Session { operator: by })),
            ["fleet"] => seen(now_ms, fleet::fleet(asked.endpoint, now_ms).await),
            ["stations", one] => seen(now_ms, stations::station(asked.endpoint, one, now_ms).await),
            ["rejects"] => seen(now_ms, rejects::list(asked).await),
            ["rejects", id] => seen(now_ms, rejects::show(asked.endpoint, id).await),
            ["ingest"] => seen(now_ms, figures::ingest(asked, now_ms).await),
            ["database"] => seen(now_ms, figures::database(asked.endpoint, now_ms).await),
            ["audit"] => seen(now_ms, figures::audit(asked).await),
            _ => Err(other(&segments, &method)),
        };
    }
    match (&method, segments.as_slice()) {
        (&Method::DELETE, ["session"]) => session::end(asked, by, now_ms).await,
        (&Method::POST, ["stations"]) => found(stations::add(asked, by, now_ms).await),
        (&Method::POST, ["stations", one, "rename"]) => found(stations::rename(asked, one, by, now_ms).await),
        (&Method::POST, ["stations", one, "rotate"]) => found(stations::rotate(asked, one, by, now_ms).await),
        (&Method::POST, ["stations", one, "revoke"]) => found(stations::revoke(asked.endpoint, one, by, now_ms).await),
        (&Method::POST, ["rejects", "replay"]) => found(rejects::replay(asked, by, turn, now_ms).await),
        (&Method::POST, ["rejects", "discard"]) => found(rejects::discard(asked, by, turn, now_ms).await),
        _ => Err(other(&segments, &method)),
    }
}

/// What there is to see, and when: the times in it are of the server's clock, and who shows how long ago they were
/// needs to know what that says.
#[derive(Serialize)]
struct Seen<T> {
    now_ms: i64,
    #[serde(flatten)]
    answer: T,
}

fn seen<T: Serialize>(now_ms: i64, answer: Result<T, Problem>) -> Result<Reply, Problem> {
    found(answer.map(|answer| Seen { now_ms, answer }))
}

fn found<T: Serialize>(answer: Result<T, Problem>) -> Result<Reply, Problem> {
    answer.map(|answer| json(&answer))
}

/// The refusal of a path that is not there, or that takes another method.
fn other(segments: &[&str], method: &Method) -> Problem {
    match segments {
        ["session" | "fleet" | "rejects" | "ingest" | "database" | "audit" | "stations"]
        | ["stations", _]
        | ["stations", _, "rename" | "rotate" | "revoke"]
        | ["rejects", _] => {
            let detail = format!("{}{} does not take {method}", path::ADMIN, segments.join("/"));
            Problem::new(ProblemCode::MethodNotAllowed, detail)
        }
        _ => Problem::new(ProblemCode::NotFound, "there is nothing of that name for operators"),
    }
}
