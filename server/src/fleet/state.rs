//! The state of a station, as operators see it.

use serde::{Deserialize, Serialize};
use tidemark_core::limits::SILENT_AFTER_MS;

use crate::ledger::lineage::Fork;
use crate::stations::StationRecord;

/// A fork is shown for so long, in milliseconds, also where the station's number has pushed since: one of the copies is
/// still there. It is shown no longer once a file went on from it under another number.
const FORK_SHOWN_MS: i64 = 24 * 3_600_000;

/// The state of a station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was in contact within the last hour.
    Active,
    /// It was not.
    Silent,
    /// A file of this number continues another history.
    Forked,
    /// Its access was taken away.
    Revoked,
    /// It has a code and did not join yet.
    Invited,
}

/// What the state of a station is told from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs {
    /// When it was in contact last, milliseconds since 1970 UTC.
    pub last_contact_ms: Option<i64>,
    /// When it pushed last, milliseconds since 1970 UTC.
    pub last_push_ms: Option<i64>,
    /// The last batch that continued another history.
    pub fork: Option<Fork>,
    /// When a file last went on from its number under another one, milliseconds since 1970 UTC.
    pub continued_at_ms: Option<i64>,
}

impl State {
    /// The state of a station at a time, milliseconds since 1970 UTC.
    #[must_use]
    pub fn of(record: &StationRecord, signs: &Signs, now_ms: i64) -> Self {
        if record.revoked_at_ms.is_some() {
            return Self::Revoked;
        }
        if record.number.is_none() {
            return Self::Invited;
        }
        let is_forked = signs.fork.is_some_and(|fork| {
            let seen_at_ms = fork.seen_at_ms;
            let is_settled = signs.continued_at_ms.is_some_and(|at_ms| at_ms >= seen_at_ms);
            let pushed_since = signs.last_push_ms.is_some_and(|at_ms| at_ms > seen_at_ms);
            !is_settled && (!pushed_since || now_ms.saturating_sub(seen_at_ms) < FORK_SHOWN_MS)
        });
        if is_forked {
            return Self::Forked;
        }
        let silent_after_ms = i64::try_from(SILENT_AFTER_MS).unwrap_or(i64::MAX);
        match signs.last_contact_ms {
            Some(at_ms) if now_ms.saturating_sub(at_ms) <= silent_after_ms => Self::Active,
            _ => Self::Silent,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Silent => "silent",
            Self::Forked => "forked",
            Self::Revoked => "revoked",
            Self::Invited => "invited",
        }
    }

    /// Which are shown first.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Silent => 0,
            Self::Forked => 1,
            Self::Active => 2,
            Self::Invited => 3,
            Self::Revoked => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidemark_core::ids::StationNumber;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn record(number: Option<u32>, revoked_at_ms: Option<i64>) -> StationRecord {
        StationRecord {
            name: "north".to_owned(),
            number: number.map(|number| StationNumber::new(number).unwrap()),
            uuid: None,
            token_hash: None,
            token_ended_at_ms: None,
            code_expires_at_ms: 0,
            joined_at_ms: None,
            revoked_at_ms,
        }
    }

    #[test]
    fn an_hour_without_contact_is_silence() {
        let of = |last_contact_ms| {
            State::of(&record(Some(1), None), &Signs { last_contact_ms, ..Signs::default() }, 10 * HOUR_MS)
        };
        assert_eq!(of(Some(9 * HOUR_MS)), State::Active);
        assert_eq!(of(Some(9 * HOUR_MS - 1)), State::Silent);
        assert_eq!(of(Some(11 * HOUR_MS)), State::Active, "another server's clock is ahead");
        assert_eq!(of(None), State::Silent);
    }

    #[test]
    fn what_has_ended_or_not_begun_is_neither_silent_nor_forked() {
        let fork = Some(Fork { seq: 1, seen_at_ms: 5 });
        let signs = Signs { fork, ..Signs::default() };
        assert_eq!(State::of(&record(Some(1), Some(1)), &signs, 9), State::Revoked);
        assert_eq!(State::of(&record(None, None), &signs, 9), State::Invited);
        assert_eq!(State::of(&record(None, Some(1)), &signs, 9), State::Revoked);
    }

    #[test]
    fn a_fork_is_shown_until_it_is_settled_or_old_and_the_number_goes_on() {
        let seen_at_ms = 10 * HOUR_MS;
        let of = |last_push_ms, continued_at_ms, now_ms| {
            let fork = Some(Fork { seq: 7, seen_at_ms });
            let signs = Signs { last_contact_ms: Some(now_ms), last_push_ms, fork, continued_at_ms };
            State::of(&record(Some(1), None), &signs, now_ms)
        };
        assert_eq!(of(Some(seen_at_ms - 1), None, seen_at_ms + 1000 * HOUR_MS), State::Forked, "nothing came since");
        assert_eq!(
            of(Some(seen_at_ms + 1), None, seen_at_ms + HOUR_MS),
            State::Forked,
            "the other copy is still there"
        );
        assert_eq!(of(Some(seen_at_ms + 1), None, seen_at_ms + 24 * HOUR_MS), State::Active);
        assert_eq!(of(Some(1), Some(seen_at_ms), seen_at_ms + HOUR_MS), State::Active, "the copy rejoined");
        assert_eq!(of(Some(1), Some(seen_at_ms - 1), seen_at_ms + HOUR_MS), State::Forked, "it forked again");
    }
}
