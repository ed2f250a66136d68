//! The one who asks: the station whose token a request carries.

use std::fmt::{self, Display};
use std::sync::Arc;

use hyper::Request;
use hyper::header::AUTHORIZATION;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode, Remedy};
use tidemark_core::value::unhex;

use super::address::Address;
use super::asked::address_of;
use super::connections::{NoRoom, Seat};
use super::endpoint::{Endpoint, RequestBody};
use super::forwarded::Leave;
use super::tokens::Word;
use crate::ingest::store_problem;
use crate::stations::{StationRecord, secret_hash};

/// The one who asks, noted in a request once it is known.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) number: Option<StationNumber>,
    pub(super) name: String,
}

impl Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{number}"),
            None => f.write_str(&self.name),
        }
    }
}

/// The station whose token the request carries.
pub(super) async fn authenticate(
    endpoint: &Endpoint,
    request: &mut Request<RequestBody>,
) -> Result<Arc<StationRecord>, Problem> {
    let token_hash = secret_hash(&token(request)?);
    let (station, refusal) = station_of_token(endpoint, request, token_hash).await?;
    let refusal = match (refusal, station.revoked_at_ms, station.number) {
        (Some(refusal), ..) => refusal,
        (None, Some(_), Some(number)) => endpoint.ingest.revoked(number).await,
        _ if !station.takes(&token_hash) => token_ended(&station),
        _ => {
            knows(endpoint, request, token_hash, &format_args!("{:?}", station.name))?;
            if let Some(number) = station.number {
                endpoint.fleet.heard(number, endpoint.ingest.clock().now_ms());
            }
            return Ok(station);
        }
    };
    if refusal.code == ProblemCode::Revoked {
        endpoint.tokens.refuses(&token_hash, &refusal);
    }
    Err(refusal)
}

/// Notes that the connection is that of a valid token: it counts with that token's from now on.
///
/// # Errors
/// When the token has as many as it may, all of them busy.
pub(super) fn knows(
    endpoint: &Endpoint,
    request: &Request<RequestBody>,
    token_hash: [u8; 32],
    who: &dyn Display,
) -> Result<(), Problem> {
    let (seat, leave) = (request.extensions().get::<Arc<Seat>>(), request.extensions().get::<Arc<Leave>>());
    let of_connection = seat.map_or(Ok(()), |seat| seat.belongs_to(token_hash, who));
    let of_request = || leave.map_or(Ok(()), |leave| leave.belongs_to(token_hash, &endpoint.limits()));
    of_connection.and_then(|()| of_request()).map_err(|NoRoom| {
        let detail = "as many requests with this token run as may at once; try again soon";
        Problem::new(ProblemCode::TooManyRequests, detail)
    })
}

/// The station that a file was before: as [`authenticate`], but a token that ended, or whose station did, is still
/// good to prove where a file comes from. What the file may become says the code.
pub(super) async fn authenticate_former(
    endpoint: &Endpoint,
    request: &mut Request<RequestBody>,
) -> Result<Arc<StationRecord>, Problem> {
    let token_hash = secret_hash(&token(request)?);
    let (station, _) = station_of_token(endpoint, request, token_hash).await?;
    Ok(station)
}

/// The refusal of a token that was taken away for another one.
fn token_ended(station: &StationRecord) -> Problem {
    let number = station.number.map_or_else(String::new, |number| format!("{number} "));
    let detail = format!(
        "the token of station {number}{:?} was taken away by the server's operator, who has a code for a new one",
        station.name
    );
    Problem::new(ProblemCode::Revoked, detail).helped_by(Remedy::TakeToken)
}

/// The station of a request's token, whether it opens anything or not, and the refusal that whoever has it heard within
/// the last second. Looked up by the token's hash, so no comparison leaks how much of it was right.
async fn station_of_token(
    endpoint: &Endpoint,
    request: &mut Request<RequestBody>,
    token_hash: [u8; 32],
) -> Result<(Arc<StationRecord>, Option<Problem>), Problem> {
    let now_ms = endpoint.ingest.clock().now_ms();
    let mut called = |station: &StationRecord| {
        request.extensions_mut().insert(Caller { number: station.number, name: station.name.clone() });
    };
    if let Some((station, refusal)) = endpoint.tokens.fresh(&token_hash, now_ms) {
        called(&station);
        return Ok((station, refusal));
    }
    // Also when the database cannot be asked it is known who is told to wait.
    endpoint.tokens.remembered(&token_hash).iter().for_each(|station| called(station));
    let station = ask(endpoint, address_of(request), token_hash, now_ms).await?;
    request.extensions_mut().insert(Caller { number: station.number, name: station.name.clone() });
    Ok((station, None))
}

/// Asks the database whose token it is.
async fn ask(
    endpoint: &Endpoint,
    address: Option<Address>,
    token_hash: [u8; 32],
    now_ms: i64,
) -> Result<Arc<StationRecord>, Problem> {
    let tokens = &endpoint.tokens;
    let is_tried = !tokens.is_known(&token_hash);
    if is_tried {
        tokens.tries(Word::Token, address, now_ms)?;
    }
    let station = endpoint.ingest.upstream().station_by_token(token_hash).await.map_err(store_problem)?;
    let Some(station) = station.map(Arc::new) else {
        tokens.forget(&token_hash);
        let detail = "the server does not know this token";
        return Err(Problem::new(ProblemCode::Unauthorized, detail).helped_by(Remedy::RejoinAnew));
    };
    if is_tried {
        tokens.was_known(Word::Token, address);
    }
    tokens.note(token_hash, &station, now_ms);
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
