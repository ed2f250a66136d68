//! `GET /v1/history` and `POST /v1/rejoin`: a file finds out where its history parted from its number's, and goes on
//! under another.

use std::sync::Arc;

use tidemark_core::decision::Cursor;
use tidemark_core::protocol::{Problem, ProblemCode, Remedy};
use tidemark_core::rejoin::{HISTORY_PRINTS_MAX, HistoryReply, Prints, RejoinReply, RejoinRequest};
use tidemark_core::schema::Fingerprint;
use tidemark_core::value::{parse_uuid, unhex};

use super::asked::Asked;
use super::join::{exhausted, expired, unknown, used};
use super::memory::Holder;
use super::push::number_of;
use crate::ingest::store_problem;
use crate::rejoin::{Parting, RejoinAsk, RejoinOutcome};
use crate::stations::{JoinAsk, StationRecord, secret_hash};

/// `after=SEQ`, and nothing else.
pub(super) async fn history(asked: Asked<'_>, former: Arc<StationRecord>) -> Result<HistoryReply, Problem> {
    let endpoint = asked.endpoint;
    let query = asked.request.uri().query();
    let after = query.and_then(|query| query.strip_prefix("after=")).and_then(|seq| seq.parse::<u64>().ok());
    let after = after
        .filter(|after| i64::try_from(*after).is_ok_and(|after| after < i64::MAX))
        .ok_or_else(|| Problem::new(ProblemCode::BadRequest, "the history is asked for with ?after=SEQ"))?;
    let station = number_of(&former)?;
    let history =
        endpoint.ingest.upstream().history(station, after, HISTORY_PRINTS_MAX).await.map_err(store_problem)?;
    let replaced_by = match former.revoked_at_ms {
        Some(_) => endpoint.ingest.upstream().replaced_by(station).await.map_err(store_problem)?,
        None => None,
    };
    let history = history
        .ok_or_else(|| Problem::new(ProblemCode::Internal, format!("the server has no cursor of station {station}")))?;
    Ok(HistoryReply {
        station,
        tidemark: history.cursor.seq,
        chain: history.cursor.chain,
        revoked: former.revoked_at_ms.is_some() && replaced_by.is_none(),
        first_seq: history.first_seq,
        prints: Prints(history.prints),
    })
}

pub(super) async fn rejoin(mut asked: Asked<'_>, former: Arc<StationRecord>) -> Result<RejoinReply, Problem> {
    let endpoint = asked.endpoint;
    let number = number_of(&former)?;
    let held = asked.body(Holder::Station(number)).await?;
    let bad =
        |what: &str| Problem::new(ProblemCode::BadRequest, format!("the request to rejoin is not well formed: {what}"));
    // The parser's message would quote the text, which holds secrets.
    let request: RejoinRequest = serde_json::from_slice(&held.bytes)
        .map_err(|error| bad(&format!("not the JSON of one, at line {} column {}", error.line(), error.column())))?;
    let secret = unhex::<32>(&request.secret).ok_or_else(|| bad("`secret` is not 64 hex digits"))?;
    let token = unhex::<32>(&request.token).ok_or_else(|| bad("`token` is not 64 hex digits"))?;
    let uuid = parse_uuid(request.station_uuid.as_bytes()).ok_or_else(|| bad("`station_uuid` is not a uuid"))?;
    let fingerprint =
        Fingerprint::from_hex(&request.fingerprint).ok_or_else(|| bad("`fingerprint` is not 64 hex digits"))?;
    if i64::try_from(request.tidemark).is_err() || i64::try_from(request.common).is_err() {
        return Err(bad("a seq is below 2⁶³"));
    }
    let ingest = &endpoint.ingest;
    let ask = RejoinAsk {
        join: JoinAsk {
            code_hash: secret_hash(&secret),
            uuid,
            token_hash: secret_hash(&token),
            now_ms: ingest.clock().now_ms(),
        },
        former: number,
        former_name: former.name.clone(),
        cursor: Cursor { seq: request.tidemark, chain: request.chain },
        parting: Parting { common: request.common, next: request.next },
        must_replace: request.must_replace,
    };
    ingest.accepts(fingerprint).await?;
    let outcome = ingest.upstream().rejoin(&ask).await.map_err(store_problem)?;
    if let RejoinOutcome::Rejoined { number, name, replaces } = outcome {
        endpoint.tokens.expect(ask.join.token_hash);
        tracing::info!(station = %number, %name, former = %ask.former, replaces, common = request.common, "rejoined");
        return Ok(RejoinReply { station: number, name, replaces, limits: ingest.limits() });
    }
    Err(refusal(outcome, &ask))
}

fn refusal(outcome: RejoinOutcome, ask: &RejoinAsk) -> Problem {
    let (former, old) = (ask.former, &ask.former_name);
    let mut remedy = None;
    let detail = match outcome {
        RejoinOutcome::Rejoined { .. } => unreachable!("BUG: answered before"),
        RejoinOutcome::Moved(cursor) => {
            let detail =
                format!("station {former} stands at change {} by now: compare the histories again", cursor.seq);
            return Problem::new(ProblemCode::Moved, detail).at(cursor);
        }
        RejoinOutcome::Unknown => return unknown(),
        RejoinOutcome::Used => return used(),
        RejoinOutcome::Expired => return expired(),
        RejoinOutcome::Exhausted => return exhausted(),
        RejoinOutcome::Revoked => "the station of this join code was revoked by the server's operator".to_owned(),
        RejoinOutcome::ReplacesAnother(other) => format!(
            "this code is for the file of station {other:?}, and this file is station {old:?}: use the code there, or have one made for this file"
        ),
        RejoinOutcome::MustReplace => {
            remedy = Some(Box::new(Remedy::ReplaceStation { station: old.clone() }));
            format!(
                "this file's log does not say all that happened, so its rows must be compared with those of station {former}, and only who \
                 replaces that station may correct them"
            )
        }
        RejoinOutcome::AlreadyReplaced => {
            remedy = Some(Box::new(Remedy::ReplaceNone));
            format!("station {old:?} was replaced by another file already")
        }
        RejoinOutcome::Continued(other) => format!(
            "the changes of this file after change {} went on already as station {other:?}: this is an older copy of that station's file, and \
             sending them again would double them. Put a newer copy of that file in its place, or insert what only this file has into another file",
            ask.parting.common
        ),
    };
    Problem { remedy, ..Problem::new(ProblemCode::CannotRejoin, detail) }
}
