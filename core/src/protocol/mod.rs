//! The messages around the frame, as JSON. Errors are RFC 9457 problem documents.

mod contact;
pub mod path;
mod problem;
mod remedy;

pub use self::contact::{ContactReply, ContactRequest};
pub use self::problem::{Problem, ProblemCode, UnavailableReason};
pub use self::remedy::{Remedy, RemedyJson};

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::ids::StationNumber;
use crate::limits::FrameLimits;
use crate::reject::RejectCode;

/// Media type of a frame in a request body.
pub const FRAME_MEDIA_TYPE: &str = "application/vnd.tidemark.frame";
/// The header of a push that says the fingerprint of its frame's schema, hex, so that a server which does not take it
/// can say so before the body. It proves nothing: the frame's own fingerprint counts.
pub const SCHEMA_HEADER: &str = "tidemark-schema";
/// The header of a push that was sent before the reply to the one before it came: the last change of that one, as a
/// decimal number. The server holds the push until that change is durable, or nothing is under way that makes it so. A
/// server that does not know the header takes pushes as they come, and refuses a second that overtook the first as a
/// gap.
pub const AFTER_HEADER: &str = "tidemark-after";
/// Media type of an error.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// `POST /v1/join`: a station asks for its number.
///
/// The station makes its token itself and keeps it before asking, so that a lost reply is repaired by asking again
/// with the same words.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The secret of the join code, hex of 32 bytes.
    pub secret: String,
    /// The station file's uuid, canonical text.
    pub station_uuid: String,
    /// The token this station will use from now on, hex of 32 bytes. The server keeps its hash only.
    pub token: String,
    /// Fingerprint of the station's schema, hex.
    pub fingerprint: String,
    /// The number the station has already, when it asks for nothing but another token: with a code of `station rotate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub station: Option<StationNumber>,
    /// The uuid of the station the file was, canonical text, when it asks for a number because the server does not
    /// know its token: a server that knows this uuid has the file's rows already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_uuid: Option<String>,
}

/// Reply to a join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// The number of the station.
    pub station: StationNumber,
    /// The name the server's operator gave it.
    pub name: String,
    /// The bounds of one frame.
    pub limits: FrameLimits,
}

/// `GET /v1/station`: where the station's log stands upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationReply {
    /// The number of the station.
    pub station: StationNumber,
    /// The name the server's operator gave it.
    pub name: String,
    /// Last seq durable upstream.
    pub tidemark: u64,
    /// The chain there.
    pub chain: Chain,
    /// The bounds of one frame.
    pub limits: FrameLimits,
    /// The server's clock, milliseconds since 1970 UTC.
    pub server_time_ms: i64,
}

/// Reply to `POST /v1/push` when the changes are durable, whether by this request or an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushReply {
    /// Last seq durable upstream.
    pub tidemark: u64,
    /// The chain there.
    pub chain: Chain,
    /// Changes of this batch applied now.
    pub applied: u32,
    /// Changes of this batch that had been applied before.
    pub duplicate: u32,
    /// Every change of this batch that was rejected, now or before, in seq order. Changes rejected on the station are
    /// not repeated.
    pub rejected: Vec<RejectedChange>,
    /// The bounds of the next frame.
    pub limits: FrameLimits,
}

/// One rejected change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedChange {
    /// Its seq.
    pub seq: u64,
    /// Why.
    pub code: RejectCode,
    /// What, where, what to do.
    pub message: String,
}

/// `POST /v1/rejects`: a station asks what became of its rejects upstream, and says what became of them there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectsRequest {
    /// Seqs of rejects that are open on the station; at most [`crate::limits::ASKED_REJECTS_MAX`].
    pub open: Vec<u64>,
    /// Rejects of the station's own making that are settled there; as many at most. Of them the server knows nothing
    /// but the number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settled: Vec<SettledReject>,
}

/// Reply to [`RejectsRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectsReply {
    /// Those of them that are not open any more upstream.
    pub settled: Vec<SettledReject>,
    /// Those of them that ceased to be open so long ago that how is not kept any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<u64>,
}

/// A rejected change that is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledReject {
    /// Its seq.
    pub seq: u64,
    /// How.
    pub fate: RejectFate,
}

/// The way a rejected change ceased to be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectFate {
    /// Its image was applied after all.
    Replayed,
    /// A later change of its row took its place.
    Superseded,
    /// Somebody gave it up.
    Discarded,
}
