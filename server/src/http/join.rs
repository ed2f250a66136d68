//! `POST /v1/join`: a code in, a number out.

use tidemark_core::protocol::{JoinReply, JoinRequest, Problem, ProblemCode};
use tidemark_core::schema::Fingerprint;
use tidemark_core::value::{parse_uuid, unhex};

use super::{Endpoint, RequestBody, body};
use crate::ingest::store_problem;
use crate::stations::{JoinAsk, JoinOutcome, secret_hash};

/// Longest request to join, in bytes: four hex words.
const REQUEST_BYTES_MAX: usize = 4096;

pub(super) async fn join(endpoint: &Endpoint, body: &mut RequestBody) -> Result<JoinReply, Problem> {
    let held = body::read(endpoint, body, REQUEST_BYTES_MAX).await?;
    let bad =
        |what: &str| Problem::new(ProblemCode::BadRequest, format!("the request to join is not well formed: {what}"));
    // The parser's message would quote the text, which holds secrets.
    let request: JoinRequest = serde_json::from_slice(&held.bytes)
        .map_err(|error| bad(&format!("not the JSON of one, at line {} column {}", error.line(), error.column())))?;
    let secret = unhex::<32>(&request.secret).ok_or_else(|| bad("`secret` is not 64 hex digits"))?;
    let token = unhex::<32>(&request.token).ok_or_else(|| bad("`token` is not 64 hex digits"))?;
    let uuid = parse_uuid(request.station_uuid.as_bytes()).ok_or_else(|| bad("`station_uuid` is not a uuid"))?;
    let fingerprint =
        Fingerprint::from_hex(&request.fingerprint).ok_or_else(|| bad("`fingerprint` is not 64 hex digits"))?;
    let ingest = &endpoint.ingest;
    let ask = JoinAsk {
        code_hash: secret_hash(&secret),
        uuid,
        token_hash: secret_hash(&token),
        now_ms: ingest.clock().now_ms(),
    };
    // The code first: who has none learns nothing of the schema.
    if !ingest.upstream().knows_code(ask.code_hash).await.map_err(store_problem)? {
        return Err(unknown());
    }
    ingest.accepts(fingerprint).await?;
    let refused = |code, detail: String| Err(Problem::new(code, detail));
    match ingest.upstream().join(&ask).await.map_err(store_problem)? {
        JoinOutcome::Joined { number, name } => {
            tracing::info!(station = %number, %name, "joined");
            Ok(JoinReply { station: number, name, limits: ingest.limits() })
        }
        JoinOutcome::Unknown => Err(unknown()),
        JoinOutcome::Used => Err(used()),
        JoinOutcome::Expired => Err(expired()),
        JoinOutcome::Revoked => {
            refused(ProblemCode::Revoked, "the station of this join code was revoked by the server's operator".into())
        }
        JoinOutcome::ForRejoin(name) => refused(
            ProblemCode::CannotRejoin,
            format!(
                "this code is for the file of station {name:?}, to go on with under a new number: use it there with `tidemark rejoin CODE`"
            ),
        ),
        JoinOutcome::JoinedAs(name) => {
            let detail =
                format!("this file joined before, as station {name:?}, by another code: it needs no second one");
            Err(Problem::new(ProblemCode::JoinCodeUsed, detail).joined_before())
        }
        JoinOutcome::Exhausted => Err(exhausted()),
    }
}

pub(super) fn unknown() -> Problem {
    Problem::new(
        ProblemCode::JoinCodeUnknown,
        "the server does not know this join code: was it made for another server? Its operator makes a new one",
    )
}

pub(super) fn used() -> Problem {
    Problem::new(
        ProblemCode::JoinCodeUsed,
        "another station used this join code; ask the server's operator for one of your own",
    )
}

pub(super) fn expired() -> Problem {
    Problem::new(ProblemCode::JoinCodeExpired, "the join code's time is over; ask the server's operator for a new one")
}

pub(super) fn exhausted() -> Problem {
    Problem::new(ProblemCode::StationsExhausted, "the server has given all its 2,097,151 station numbers")
}
