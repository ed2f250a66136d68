//! `/v1/admin/stations/…`: one station with its history, and what is done to stations. A station that has joined is
//! named by its number; one that has not, or any, by its name.

use serde::{Deserialize, Serialize};
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode};

use super::super::asked::Asked;
use super::super::endpoint::Endpoint;
use super::super::site::MOUNT;
use super::authority::{host_of, is_secure};
use super::rejects::{Listed, listed};
use super::words::{bad, body, decoded};
use crate::fleet::acts::RenameOutcome;
use crate::fleet::invitation::{EXPIRES_MS, FreshCode, NAME_BYTES_MAX, NoCode, checked_name};
use crate::fleet::qr;
use crate::fleet::view::{self, Station};
use crate::ingest::store_problem;
use crate::ledger::operators::{Act, ActFilter, ActsOn};
use crate::ledger::rejects::RejectFilter;
use crate::ledger::stations::{StationBy, StationRecord};
use crate::stations::RotateOutcome;

/// Most batches, rejects and acts of one station in an answer.
const PUSHES_MAX: u32 = 100;
const REJECTS_MAX: u32 = 50;
const ACTS_MAX: u32 = 50;

/// A batch of the station's.
#[derive(Serialize)]
struct Push {
    at_ms: i64,
    first: u64,
    last: u64,
    applied: u64,
    rejected: u64,
    bytes: u64,
    ms: u64,
}

/// One station.
#[derive(Serialize)]
pub(super) struct StationReply {
    station: Station,
    pushes: Vec<Push>,
    rejects: Vec<Listed>,
    audit: Vec<Act>,
}

/// A code for a station.
#[derive(Serialize)]
pub(super) struct Invited {
    name: String,
    code: String,
    /// The field notebook's page that takes the code; none for a station that has joined.
    notebook: Option<String>,
    expires_at_ms: i64,
    /// The page's address as a QR code: its rows, dark modules as `1`.
    qr: Option<Vec<String>>,
}

/// A station's name, after it was given one.
#[derive(Serialize)]
pub(super) struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    name: String,
    #[serde(default)]
    url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[serde(default)]
    url: Option<String>,
}

fn none(one: &str) -> Problem {
    Problem::new(ProblemCode::NotFound, format!("there is no station {one:?}"))
}

fn taken(name: &str) -> Problem {
    Problem::new(ProblemCode::Conflict, format!("there is a station {name:?} already"))
}

/// The station that a path names.
async fn named(endpoint: &Endpoint, one: &str) -> Result<StationRecord, Problem> {
    let one = decoded(one)?;
    let mut ledger = endpoint.ingest.upstream().ledger();
    let by_name = ledger.station(StationBy::Name(&one)).await.map_err(store_problem)?;
    let number = one.parse().ok().and_then(|number| StationNumber::new(number).ok());
    let by_number = match number {
        Some(number) => ledger.station(StationBy::Number(number)).await.map_err(store_problem)?,
        None => None,
    };
    match (by_number, by_name) {
        (Some(numbered), Some(named)) if numbered.name != named.name => {
            let detail = format!(
                "{one} is the number of station {:?} and the name of another: rename that one on the server's machine",
                numbered.name
            );
            Err(Problem::new(ProblemCode::Conflict, detail))
        }
        (Some(record), _) | (None, Some(record)) => Ok(record),
        (None, None) => Err(none(&one)),
    }
}

/// `GET /v1/admin/stations/N`.
pub(super) async fn station(endpoint: &Endpoint, one: &str, now_ms: i64) -> Result<StationReply, Problem> {
    let record = named(endpoint, one).await?;
    let upstream = endpoint.ingest.upstream();
    let stations = view::stations(upstream.as_ref(), Some(&endpoint.fleet), now_ms).await.map_err(store_problem)?;
    let Some(station) = stations.into_iter().find(|station| station.name == record.name) else {
        return Err(none(&record.name));
    };
    let of = ActsOn { number: record.number, name: record.name };
    let of = ActFilter { station: Some(of), before: None, limit: ACTS_MAX };
    let audit = upstream.ledger().acts(&of).await.map_err(store_problem)?;
    let Some(number) = record.number else {
        return Ok(StationReply { station, pushes: Vec::new(), rejects: Vec::new(), audit });
    };
    let pushes = upstream.ledger().pushes(number, PUSHES_MAX).await.map_err(store_problem)?;
    let push = |push: crate::ledger::fleet::Pushed| Push {
        at_ms: push.at_ms,
        first: push.first_seq,
        last: push.last_seq,
        applied: push.applied,
        rejected: push.rejected,
        bytes: push.bytes,
        ms: push.ms,
    };
    let filter = RejectFilter { station: Some(number), limit: Some(REJECTS_MAX), ..RejectFilter::default() };
    let rejects = listed(endpoint, filter).await?;
    Ok(StationReply { station, pushes: pushes.into_iter().map(push).collect(), rejects, audit })
}

/// A code for a station, for the URL that was given, or else the one the operator's browser is at.
fn fresh(asked: &Asked<'_>, name: &str, url: Option<String>, now_ms: i64) -> Result<FreshCode, Problem> {
    let here = || {
        let scheme = if is_secure(asked.request) { "https" } else { "http" };
        host_of(asked.request).map(|host| format!("{scheme}://{host}"))
    };
    let url = url.or_else(here).ok_or_else(|| bad("it says no URL, and none is known"))?;
    let fresh = FreshCode::make(name, &url, EXPIRES_MS, now_ms).map_err(|error| match error {
        NoCode::Url(_) => bad(error),
        NoCode::Entropy => Problem::new(ProblemCode::Internal, error.to_string()),
    })?;
    Ok(fresh.with_pin(asked.endpoint.pin))
}

fn invited(fresh: &FreshCode, joins: bool) -> Invited {
    let code = fresh.code.encode();
    let notebook = joins.then(|| format!("{}{MOUNT}#join={code}", fresh.code.url));
    Invited {
        name: fresh.station.name.clone(),
        qr: notebook.as_deref().and_then(qr::rows),
        notebook,
        code,
        expires_at_ms: fresh.station.code_expires_at_ms,
    }
}

fn checked(name: &str) -> Result<&str, Problem> {
    checked_name(name)
        .ok_or_else(|| bad(format_args!("a station's name has 1 to {NAME_BYTES_MAX} bytes and no control characters")))
}

/// `POST /v1/admin/stations`.
pub(super) async fn add(asked: &mut Asked<'_>, by: &str, now_ms: i64) -> Result<Invited, Problem> {
    let Add { name, url } = body(asked).await?;
    let name = checked(&name)?;
    let fresh = fresh(asked, name, url, now_ms)?;
    let upstream = asked.endpoint.ingest.upstream();
    match upstream.invite_station(&fresh.station, by).await.map_err(store_problem)? {
        true => Ok(invited(&fresh, true)),
        false => Err(taken(name)),
    }
}

/// `POST /v1/admin/stations/N/rename`.
pub(super) async fn rename(asked: &mut Asked<'_>, one: &str, by: &str, now_ms: i64) -> Result<Named, Problem> {
    let Rename { name } = body(asked).await?;
    let to = checked(&name)?;
    let record = named(asked.endpoint, one).await?;
    let upstream = asked.endpoint.ingest.upstream();
    match upstream.rename_station(&record.name, to, by, now_ms).await.map_err(store_problem)? {
        RenameOutcome::Renamed => Ok(Named { name: to.to_owned() }),
        RenameOutcome::NoSuchStation => Err(none(&record.name)),
        RenameOutcome::NameTaken => Err(taken(to)),
    }
}

/// `POST /v1/admin/stations/N/rotate`.
pub(super) async fn rotate(asked: &mut Asked<'_>, one: &str, by: &str, now_ms: i64) -> Result<Invited, Problem> {
    let Rotate { url } = body(asked).await?;
    let record = named(asked.endpoint, one).await?;
    let fresh = fresh(asked, &record.name, url, now_ms)?;
    let upstream = asked.endpoint.ingest.upstream();
    match upstream.rotate_station_by(&fresh.station, by).await.map_err(store_problem)? {
        RotateOutcome::Rotated(_) => Ok(invited(&fresh, false)),
        RotateOutcome::Invited => Ok(invited(&fresh, true)),
        RotateOutcome::NoSuchStation => Err(none(&record.name)),
        RotateOutcome::Replaced(successor) => Err(Problem::new(
            ProblemCode::Conflict,
            format!("station {:?} was replaced by station {successor} and has ended for good", record.name),
        )),
    }
}

/// `POST /v1/admin/stations/N/revoke`.
pub(super) async fn revoke(endpoint: &Endpoint, one: &str, by: &str, now_ms: i64) -> Result<Named, Problem> {
    let record = named(endpoint, one).await?;
    let upstream = endpoint.ingest.upstream();
    match upstream.revoke_station_by(&record.name, by, now_ms).await.map_err(store_problem)? {
        true => Ok(Named { name: record.name }),
        false => Err(none(&record.name)),
    }
}
