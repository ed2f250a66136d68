//! A refusal: an RFC 9457 problem document, with a code and facts for programs.

use serde::{Deserialize, Serialize};

use super::remedy::{self, Remedy};
use crate::chain::Chain;
use crate::limits::FrameLimits;

/// The cause of a problem, as programs match on it: the `code` of a [`Problem`].
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
    /// 403: another station used the join code; or, with `joined_before`, the file that asks joined before by another
    /// code.
    JoinCodeUsed,
    /// 403: the join code's time is over.
    JoinCodeExpired,
    /// 403: what changes something by an operator's session was not sent by a page of the server.
    Forbidden,
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
    /// 409: what an operator wants does not fit what is there: a name is taken, a station was replaced.
    Conflict,
    /// 409: there are no station numbers left.
    StationsExhausted,
    /// 413: more bytes or rows than the server takes at once; `limits` says how many.
    TooLarge,
    /// 408: the body came too slowly, or not to its end.
    Timeout,
    /// 429: whoever asks from there asked too often without being known; try again later.
    TooManyRequests,
    /// 500: a fault of the server.
    Internal,
    /// 503: the server or its database cannot take it now; try again later.
    Unavailable,
}

/// The reason of [`ProblemCode::Unavailable`]: for what the station waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnavailableReason {
    /// The server has as much to do as it takes on at once.
    ServerBusy,
    /// The server is being stopped.
    ServerStopping,
    /// The server's database does not answer, or lets nobody in.
    DatabaseAway,
    /// The server's database is starting or ending.
    DatabaseStarting,
    /// The server's database takes no writes: it is read-only, or a standby.
    DatabaseReadOnly,
    /// The server's database has no room left on its disk.
    DatabaseFull,
    /// Somebody holds a lock in the server's database.
    DatabaseLocked,
    /// The server's database has as many connections as it takes.
    DatabaseBusy,
    /// The server's database has damage or faults of its own.
    DatabaseFault,
    /// The server's database is not as the schema wants it.
    DatabaseDiffers,
    /// One that this build does not know.
    #[serde(other)]
    Other,
}

/// An RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:tidemark:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// Says to people what happened and where. It names no command: what helps is [`Problem::remedy`].
    pub detail: String,
    /// For programs.
    pub code: ProblemCode,
    /// With [`ProblemCode::Gap`] and [`ProblemCode::Forked`]: the server's tidemark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tidemark: Option<u64>,
    /// With [`ProblemCode::Gap`] and [`ProblemCode::Forked`]: the chain there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Box<Chain>>,
    /// With [`ProblemCode::TooLarge`]: the bounds of one frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Box<FrameLimits>>,
    /// With [`ProblemCode::JoinCodeUsed`]: it is the file that asks which joined before, by another code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined_before: bool,
    /// With [`ProblemCode::Unavailable`]: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<UnavailableReason>,
    /// The cause in the words of whatever failed, for the log of the server that made the problem; it does not travel.
    #[serde(skip)]
    pub for_log: Option<Box<String>>,
    /// The remedy, where somebody must do something. A way out that this build does not know reads as none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "remedy::known")]
    pub remedy: Option<Box<Remedy>>,
}

impl ProblemCode {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadFrame | Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Revoked
            | Self::WrongStation
            | Self::JoinCodeUnknown
            | Self::JoinCodeUsed
            | Self::JoinCodeExpired
            | Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Gap
            | Self::Forked
            | Self::Moved
            | Self::CannotRejoin
            | Self::UnknownSchema
            | Self::IncompatibleSchema
            | Self::Conflict
            | Self::StationsExhausted => 409,
            Self::TooLarge => 413,
            Self::TooManyRequests => 429,
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
            kind: format!("urn:tidemark:problem:{}", name.as_str().expect("BUG: a unit variant is a string")).into(),
            status: code.status(),
            detail: detail.into(),
            code,
            tidemark: None,
            chain: None,
            limits: None,
            joined_before: false,
            reason: None,
            for_log: None,
            remedy: None,
        }
    }

    /// A [`ProblemCode::Unavailable`] for this reason.
    #[must_use]
    pub fn unavailable(reason: UnavailableReason, detail: impl Into<String>) -> Self {
        Self { reason: Some(reason), ..Self::new(ProblemCode::Unavailable, detail) }
    }

    /// Adds words for the log of the server.
    #[must_use]
    pub fn because(mut self, words: impl Into<String>) -> Self {
        self.for_log = Some(Box::new(words.into()));
        self
    }

    /// Adds where the server stands.
    #[must_use]
    pub fn at(mut self, cursor: crate::decision::Cursor) -> Self {
        self.tidemark = Some(cursor.seq);
        self.chain = Some(Box::new(cursor.chain));
        self
    }

    /// Adds that the asking file joined before.
    #[must_use]
    pub const fn joined_before(mut self) -> Self {
        self.joined_before = true;
        self
    }

    /// Adds what helps.
    #[must_use]
    pub fn helped_by(mut self, remedy: Remedy) -> Self {
        self.remedy = Some(Box::new(remedy));
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

    #[test]
    fn a_reason_travels_and_one_of_another_version_is_told_apart_from_none() {
        let problem = Problem::unavailable(UnavailableReason::DatabaseReadOnly, "the database is read-only");
        let json = serde_json::to_string(&problem).unwrap();
        assert!(json.ends_with(r#","code":"unavailable","reason":"database-read-only"}"#), "{json}");
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
        let later = json.replace("database-read-only", "database-asleep");
        assert_eq!(serde_json::from_str::<Problem>(&later).unwrap().reason, Some(UnavailableReason::Other));
        let none = Problem::new(ProblemCode::Unavailable, "later").because("role tidemark may not log in");
        let none = serde_json::to_string(&none).unwrap();
        assert!(!none.contains("reason") && !none.contains("role"), "{none}");
    }

    #[test]
    fn a_remedy_travels_and_one_of_another_version_is_passed_over() {
        let remedy = Remedy::RejoinBeside { station: "north".into() };
        let problem = Problem::new(ProblemCode::Revoked, "replaced").helped_by(remedy);
        let json = serde_json::to_string(&problem).unwrap();
        assert!(json.ends_with(r#","remedy":{"code":"rejoin-beside","station":"north"}}"#), "{json}");
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
        let unhelped = Problem::new(ProblemCode::Revoked, "replaced");
        for other in [
            r#"{"code":"turn-it-off","times":[2]}"#,
            r#"{"code":"rejoin-beside"}"#,
            r#"{"code":"join","more":{"a":1}}"#,
            "null",
        ] {
            let json = json.replace(r#"{"code":"rejoin-beside","station":"north"}"#, other);
            let read = serde_json::from_str::<Problem>(&json).unwrap();
            let known = other.contains("more").then(|| Box::new(Remedy::Join));
            assert_eq!(read, Problem { remedy: known, ..unhelped.clone() }, "{other}");
        }
        for remedy in [
            Remedy::Join,
            Remedy::TakeToken,
            Remedy::RenewToken,
            Remedy::RejoinAnew,
            Remedy::RejoinThere { station: "north".into() },
            Remedy::RejoinBeside { station: "north".into() },
            Remedy::ReplaceStation { station: "north".into() },
            Remedy::ReplaceNone,
            Remedy::AddReader,
        ] {
            let problem = unhelped.clone().helped_by(remedy);
            let json = serde_json::to_string(&problem).unwrap();
            assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem, "{json}");
        }
        let older = serde_json::to_string(&unhelped).unwrap();
        assert!(!older.contains("remedy"), "{older}");
        assert_eq!(serde_json::from_str::<Problem>(&older).unwrap(), unhelped);
    }
}
