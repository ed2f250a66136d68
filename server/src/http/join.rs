//! `POST /v1/join`: a code in, a number out.

use tidemark_core::protocol::{JoinReply, JoinRequest, Problem, ProblemCode, Remedy};
use tidemark_core::schema::Fingerprint;
use tidemark_core::value::{parse_uuid, unhex};

use super::asked::Asked;
use super::memory::Holder;
use super::tokens::Word;
use crate::ingest::store_problem;
use crate::stations::{JoinAsk, JoinOutcome, StationRecord, secret_hash};

pub(super) async fn join(mut asked: Asked<'_>) -> Result<JoinReply, Problem> {
    let endpoint = asked.endpoint;
    let address = asked.address();
    let held = asked.body(Holder::Unknown(address)).await?;
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
    let (ingest, renews) = (&endpoint.ingest, request.station);
    let ask = JoinAsk {
        code_hash: secret_hash(&secret),
        uuid,
        token_hash: secret_hash(&token),
        now_ms: ingest.clock().now_ms(),
    };
    // The code first: who has none learns nothing of the schema.
    endpoint.tokens.tries(Word::Code, address, ask.now_ms)?;
    if !ingest.upstream().knows_code(ask.code_hash).await.map_err(store_problem)? {
        return Err(unknown());
    }
    endpoint.tokens.was_known(Word::Code, address);
    ingest.accepts(fingerprint).await?;
    if let Some(former) = &request.former_uuid {
        let former = parse_uuid(former.as_bytes()).ok_or_else(|| bad("`former_uuid` is not a uuid"))?;
        let known = ingest.upstream().station_by_uuid(former).await.map_err(store_problem)?;
        if let Some(station) = known {
            return Err(knows_another_token(&station));
        }
    }
    let outcome = match renews {
        Some(number) => ingest.upstream().renew(&ask, number).await,
        None => ingest.upstream().join(&ask).await,
    };
    match outcome.map_err(store_problem)? {
        JoinOutcome::Joined { number, name } => {
            endpoint.tokens.expect(ask.token_hash);
            tracing::info!(station = %number, %name, again = renews.is_some(), "joined");
            Ok(JoinReply { station: number, name, limits: ingest.limits() })
        }
        JoinOutcome::Unknown => Err(unknown()),
        JoinOutcome::Used => Err(used()),
        JoinOutcome::Expired => Err(expired()),
        JoinOutcome::Revoked => Err(Problem::new(
            ProblemCode::Revoked,
            "the station of this join code was revoked by the server's operator",
        )),
        JoinOutcome::ForRejoin(name) => {
            let detail = format!("this code is for the file of station {name:?}, to go on with under a new number");
            let remedy = Remedy::RejoinThere { station: name };
            Err(Problem::new(ProblemCode::CannotRejoin, detail).helped_by(remedy))
        }
        JoinOutcome::ForNew(name) => {
            let detail = format!("this code is for a new station, {name:?}, and this file is one already");
            Err(Problem::new(ProblemCode::JoinCodeUsed, detail).helped_by(Remedy::RenewToken))
        }
        JoinOutcome::JoinedAs(name) => {
            let detail =
                format!("this file joined before, as station {name:?}, by another code: it needs no second one");
            Err(Problem::new(ProblemCode::JoinCodeUsed, detail).joined_before())
        }
        JoinOutcome::Exhausted => Err(exhausted()),
    }
}

/// A file asks for a number because the server does not know its token; it knows the file.
fn knows_another_token(station: &StationRecord) -> Problem {
    let number = station.number.map_or_else(String::new, |number| format!("{number} "));
    let detail = format!(
        "the server knows this file, as station {number}{:?}, by another token: was its database put back to a backup from before that was changed? \
         Every row would be there twice",
        station.name
    );
    Problem::new(ProblemCode::CannotRejoin, detail).helped_by(Remedy::RenewToken)
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
