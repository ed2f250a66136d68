//! The messages around the frame, as JSON. Errors are RFC 9457 problem documents.

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::ids::StationNumber;
use crate::limits::FrameLimits;
use crate::reject::RejectCode;

/// Media type of a frame in a request body.
pub const FRAME_MEDIA_TYPE: &str = "application/vnd.tidemark.frame";
/// Media type of an error.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// `POST /v1/join`: a station asks for its number.
///
/// The station makes its token itself and keeps it before asking, so that a lost reply is repaired by asking again with the same words.
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
    /// The uuid of the station the file was, canonical text, when it asks for a number because the server does not know its token: a server that
    /// knows this uuid has the file's rows already.
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
    /// Every change of this batch that was rejected, now or before, in seq order. Changes rejected on the station are not repeated.
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
    /// Rejects of the station's own making that are settled there; as many at most. Of them the server knows nothing but the number.
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

/// What became of a rejected change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledReject {
    /// Its seq.
    pub seq: u64,
    /// How.
    pub fate: RejectFate,
}

/// How a rejected change ceased to be open.
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

/// What went wrong with a request, as programs match on it: the `code` of a [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemCode {
    /// 400: the frame is not one (truncated, altered, future version); sending the same bytes again is useless.
    BadFrame,
    /// 400: the message is not JSON of the right form.
    BadRequest,
    /// 401: no token, or none this server knows.
    Unauthorized,
    /// 403: the station was revoked.
    Revoked,
    /// 403: the frame is of another station than the token's.
    WrongStation,
    /// 403: no such join code.
    JoinCodeUnknown,
    /// 403: another station used the join code; or, with `joined_before`, the file that asks joined before by another code.
    JoinCodeUsed,
    /// 403: the join code's time is over.
    JoinCodeExpired,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
    /// 409: changes before the batch are missing; `expected` names the next seq.
    Gap,
    /// 409: the batch continues another history.
    Forked,
    /// 409: the server's tidemark is not where the rejoining file found it; `tidemark` and `chain` say where it is.
    Moved,
    /// 409: this file cannot rejoin with this code.
    CannotRejoin,
    /// 409: the server does not know the schema of the frame or the joining station.
    UnknownSchema,
    /// 409: the server knows the schema, and cannot take it any more.
    IncompatibleSchema,
    /// 409: there are no station numbers left.
    StationsExhausted,
    /// 413: more bytes or rows than the server takes at once; `limits` says how many.
    TooLarge,
    /// 408: the body came too slowly, or not to its end.
    Timeout,
    /// 500: a fault of the server.
    Internal,
    /// 503: the server or its database cannot take it now; try again later.
    Unavailable,
}

/// An RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:tidemark:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// What, where and what to do.
    pub detail: String,
    /// For programs.
    pub code: ProblemCode,
    /// With [`ProblemCode::Gap`] and [`ProblemCode::Forked`]: the server's tidemark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tidemark: Option<u64>,
    /// With [`ProblemCode::Gap`] and [`ProblemCode::Forked`]: the chain there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Chain>,
    /// With [`ProblemCode::TooLarge`]: the bounds of one frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Box<FrameLimits>>,
    /// With [`ProblemCode::JoinCodeUsed`]: it is the file that asks which joined before, by another code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined_before: bool,
}

impl ProblemCode {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadFrame | Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Revoked | Self::WrongStation | Self::JoinCodeUnknown | Self::JoinCodeUsed | Self::JoinCodeExpired => {
                403
            }
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Gap
            | Self::Forked
            | Self::Moved
            | Self::CannotRejoin
            | Self::UnknownSchema
            | Self::IncompatibleSchema
            | Self::StationsExhausted => 409,
            Self::TooLarge => 413,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

impl Problem {
    /// A problem with nothing but a code and its detail.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let name = serde_json::to_value(code).expect("BUG: a unit variant serialises");
        Self {
            kind: format!("urn:tidemark:problem:{}", name.as_str().expect("BUG: a unit variant is a string")),
            status: code.status(),
            detail: detail.into(),
            code,
            tidemark: None,
            chain: None,
            limits: None,
            joined_before: false,
        }
    }

    /// Adds where the server stands.
    #[must_use]
    pub fn at(mut self, cursor: crate::decision::Cursor) -> Self {
        self.tidemark = Some(cursor.seq);
        self.chain = Some(cursor.chain);
        self
    }

    /// Adds that the asking file joined before.
    #[must_use]
    pub const fn joined_before(mut self) -> Self {
        self.joined_before = true;
        self
    }

    /// Adds the bounds of one frame.
    #[must_use]
    pub fn with_limits(mut self, limits: FrameLimits) -> Self {
        self.limits = Some(Box::new(limits));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_back_and_omits_what_it_has_not() {
        let problem = Problem::new(ProblemCode::BadFrame, "the frame ends at byte 7 of 152");
        let json = serde_json::to_string(&problem).unwrap();
        assert_eq!(
            json,
            r#"{"type":"urn:tidemark:problem:bad-frame","status":400,"detail":"the frame ends at byte 7 of 152","code":"bad-frame"}"#
        );
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
    }
}
