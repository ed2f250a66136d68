//! What the log says of refusals, rejects and handshakes that fail: one line for each cause and minute, however many
//! meet it.
//!
//! The first of a cause is told at once, with whom it met and why. Those that follow are counted, and told in one line
//! when the minute is over. That the database is well again is one line, too.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tidemark_core::ids::StationNumber;
use tidemark_core::protocol::{Problem, ProblemCode, RejectedChange, UnavailableReason};
use tokio::time::Instant;

use crate::tls::HandshakeFailure;

/// The time that one line is for.
const MINUTE: Duration = Duration::from_secs(60);
/// How long all has to go well before it is told.
const WELL_FOR: Duration = Duration::from_secs(3);
/// Who is counted apart from others, at most; and named.
const COUNTED_MAX: usize = 1024;
const NAMED_MAX: usize = 8;

/// Whom it met, as far as that is known.
#[derive(Debug, Clone, Default)]
pub struct Who {
    /// The station's number.
    pub number: Option<StationNumber>,
    /// Its name.
    pub name: Option<String>,
    /// The address that asked.
    pub peer: Option<String>,
}

impl Who {
    /// The station, by all that is known of it.
    fn station(&self) -> Option<String> {
        match (self.number, &self.name) {
            (Some(number), Some(name)) => Some(format!("{number} {name:?}")),
            (Some(number), None) => Some(number.to_string()),
            (None, Some(name)) => Some(format!("{name:?}")),
            (None, None) => None,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.station(), &self.peer) {
            (Some(station), _) => f.write_str(&station),
            (None, Some(peer)) => write!(f, "{peer}"),
            (None, None) => f.write_str("somebody"),
        }
    }
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Refused(ProblemCode, Option<UnavailableReason>),
    Rejected,
    Handshake(HandshakeFailure),
}

impl Cause {
    /// Whether it ends when the database is well.
    const fn is_an_outage(self) -> bool {
        matches!(
            self,
            Self::Refused(
                _,
                Some(
                    UnavailableReason::DatabaseAway
                        | UnavailableReason::DatabaseStarting
                        | UnavailableReason::DatabaseReadOnly
                        | UnavailableReason::DatabaseFull
                        | UnavailableReason::DatabaseBusy
                        | UnavailableReason::DatabaseFault
                )
            )
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn name(unit: impl Serialize) -> String {
            serde_json::to_value(unit).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
        }
        match self {
            Self::Refused(code, Some(reason)) => write!(f, "refused with {} {}", code.status(), name(reason)),
            Self::Refused(code, None) => write!(f, "refused with {} {}", code.status(), name(code)),
            Self::Rejected => f.write_str("changes were rejected"),
            Self::Handshake(failure) => write!(f, "a TLS handshake failed: {failure}"),
        }
    }
}

/// What is counted of a cause.
#[derive(Debug)]
struct Tally {
    /// The last line was written then.
    told: Instant,
    /// What came since.
    repeats: u64,
    by: HashMap<String, u64>,
    /// The changes, of rejects.
    changes: u64,
    /// The outage began then,
    began: Instant,
    /// and since then all goes well.
    well: Option<Instant>,
    /// That it does was told since the last line.
    told_well: bool,
}

/// The causes of refusals, and what was told of them.
#[derive(Debug, Default)]
pub struct Notices(Mutex<Vec<(Cause, Tally)>>);

impl Notices {
    fn held(&self) -> MutexGuard<'_, Vec<(Cause, Tally)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one; `true` when it is to be told at once.
    fn note(&self, cause: Cause, who: &Who, changes: u64, now: Instant) -> bool {
        let mut held = self.held();
        let Some((_, tally)) = held.iter_mut().find(|(known, _)| *known == cause) else {
            let tally = Tally {
                told: now,
                repeats: 0,
                by: HashMap::new(),
                changes: 0,
                began: now,
                well: None,
                told_well: false,
            };
            held.push((cause, tally));
            return true;
        };
        if tally.told_well || tally.well.take().is_some_and(|well| now >= well + WELL_FOR) {
            tally.began = now;
        }
        if tally.repeats == 0 && now >= tally.told + MINUTE {
            (tally.told, tally.told_well) = (now, false);
            return true;
        }
        tally.repeats += 1;
        tally.changes += changes;
        let who = who.to_string();
        if tally.by.len() < COUNTED_MAX || tally.by.contains_key(&who) {
            *tally.by.entry(who).or_default() += 1;
        }
        false
    }

    /// A request was refused; `true` when it is only counted here, for a line that comes later.
    pub fn refused(&self, problem: &Problem, who: &Who) -> bool {
        let told = matches!(
            problem.code,
            ProblemCode::Unauthorized
                | ProblemCode::Revoked
                | ProblemCode::WrongStation
                | ProblemCode::JoinCodeUnknown
                | ProblemCode::JoinCodeUsed
                | ProblemCode::JoinCodeExpired
                | ProblemCode::Timeout
                | ProblemCode::TooLarge
                | ProblemCode::TooManyRequests
                | ProblemCode::Internal
                | ProblemCode::Unavailable
        );
        let cause = Cause::Refused(problem.code, problem.reason);
        if !told {
            return false;
        }
        let is_first = self.note(cause, who, 0, Instant::now());
        if is_first {
            let words = problem.for_log.as_deref().unwrap_or(&problem.detail);
            let station = who.station().map(tracing::field::display);
            let peer = who.peer.as_ref().map(tracing::field::display);
            if problem.code == ProblemCode::Internal {
                tracing::error!(station, peer, "{cause}: {words}");
            } else {
                tracing::warn!(station, peer, "{cause}: {words}");
            }
        }
        !is_first
    }

    /// A handshake failed. Who came is known by the address alone.
    pub fn handshake_failed(&self, failure: HandshakeFailure, who: &Who) {
        let cause = Cause::Handshake(failure);
        if failure.is_told() && self.note(cause, who, 0, Instant::now()) {
            tracing::warn!(peer = who.peer.as_ref().map(tracing::field::display), "{cause}");
        }
    }

    /// Changes of a batch were rejected.
    pub fn rejected(&self, station: StationNumber, rejected: &[RejectedChange]) {
        let who = Who { number: Some(station), ..Who::default() };
        if rejected.is_empty() || !self.note(Cause::Rejected, &who, rejected.len() as u64, Instant::now()) {
            return;
        }
        let mut codes: Vec<(&str, usize)> = Vec::new();
        for change in rejected {
            match codes.iter_mut().find(|(code, _)| *code == change.code.as_str()) {
                Some((_, count)) => *count += 1,
                None => codes.push((change.code.as_str(), 1)),
            }
        }
        let codes: Vec<String> = codes.iter().map(|(code, count)| format!("{count} {code}")).collect();
        tracing::warn!(
            %station,
            "changes were rejected: {}; `tidemark-server rejects list` shows them",
            codes.join(", ")
        );
    }

    /// The database took a write.
    pub fn well(&self) {
        let now = Instant::now();
        for (cause, tally) in self.held().iter_mut() {
            if cause.is_an_outage() && tally.well.is_none() {
                tally.well = Some(now);
            }
        }
    }

    /// The lines that are due: that the database is well again, and what came again.
    fn due(&self, now: Instant) -> (Option<String>, Vec<String>) {
        let mut held = self.held();
        let (mut well_again, mut lines) = (None, Vec::new());
        let well = |tally: &Tally| tally.well.filter(|well| now >= *well + WELL_FOR && !tally.told_well);
        let ended: Vec<(Cause, Instant, Instant)> =
            held.iter().filter_map(|(cause, tally)| Some((*cause, tally.began, well(tally)?))).collect();
        // An outage has several causes, one after the other.
        let still = held.iter().any(|(cause, tally)| cause.is_an_outage() && tally.well.is_none());
        if let (false, Some(began), Some(well)) =
            (still, ended.iter().map(|(_, began, _)| *began).min(), ended.iter().map(|(.., well)| *well).max())
        {
            let lasted = well.saturating_duration_since(began).as_secs_f32();
            well_again = Some(format!("the database is well again, after {lasted:.0} s"));
            for (cause, _, _) in ended {
                held.iter_mut().filter(|(known, _)| *known == cause).for_each(|(_, tally)| tally.told_well = true);
            }
        }
        for (cause, tally) in held.iter_mut().filter(|(_, tally)| tally.repeats > 0 && now >= tally.told + MINUTE) {
            lines.push(summary(*cause, tally, now));
            (tally.told, tally.told_well) = (now, false);
            (tally.repeats, tally.changes) = (0, 0);
            tally.by.clear();
        }
        held.retain(|(cause, tally)| now < tally.told + MINUTE || (cause.is_an_outage() && !tally.told_well));
        (well_again, lines)
    }

    /// Tells what is due, every second, for as long as somebody holds the notices.
    pub async fn tell(notices: std::sync::Weak<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Some(notices) = notices.upgrade() else { return };
            notices.tell_due();
        }
    }

    /// Tells what is due.
    fn tell_due(&self) {
        let (well, lines) = self.due(Instant::now());
        lines.iter().for_each(|line| tracing::warn!("{line}"));
        if let Some(well) = well {
            tracing::info!("{well}");
        }
    }
}

fn summary(cause: Cause, tally: &Tally, now: Instant) -> String {
    let mut by: Vec<(&String, &u64)> = tally.by.iter().collect();
    by.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let named: Vec<String> = by.iter().take(NAMED_MAX).map(|(who, count)| format!("{who} ({count})")).collect();
    let rest = if by.len() > NAMED_MAX { ", …" } else { "" };
    let more = if by.len() >= COUNTED_MAX { "at least " } else { "" };
    let changes = if cause == Cause::Rejected { format!(", {} changes", tally.changes) } else { String::new() };
    format!(
        "{cause}, again: {} times in the last {} s{changes}, {more}{} who asked: {}{rest}",
        tally.repeats,
        now.saturating_duration_since(tally.told).as_secs(),
        by.len(),
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(n: u32) -> Who {
        Who { number: StationNumber::new(n).ok(), name: Some(format!("s{n}")), peer: None }
    }

    const READ_ONLY: Cause = Cause::Refused(ProblemCode::Unavailable, Some(UnavailableReason::DatabaseReadOnly));
    const UNKNOWN: Cause = Cause::Refused(ProblemCode::Unauthorized, None);

    #[test]
    fn a_thousand_refusals_in_a_minute_are_two_lines_and_a_cause_that_is_over_is_forgotten() {
        let notices = Notices::default();
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let told: usize = (0..1000).map(|n| usize::from(notices.note(UNKNOWN, &who(1 + n % 12), 0, at(1)))).sum();
        assert_eq!((told, notices.due(at(59)).1.len()), (1, 0));
        let (_, lines) = notices.due(at(61));
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert!(line.starts_with("refused with 401 unauthorized, again: 999 times in the last 60 s, 12 who"), "{line}");
        assert!(line.contains(r#"2 "s2" (84), "#) && line.ends_with(", …"), "{line}");
        assert_eq!((notices.due(at(122)).1.len(), notices.held().len()), (0, 0));
        assert!(notices.note(UNKNOWN, &who(1), 0, at(123)), "told at once again");
    }

    #[test]
    fn that_the_database_is_well_again_is_one_line_however_it_flutters() {
        let notices = Notices::default();
        let start = Instant::now();
        let at = |s: f32| start + Duration::from_secs_f32(s);
        let well = |s: f32| notices.held().iter_mut().for_each(|(_, tally)| _ = tally.well.get_or_insert(at(s)));
        assert!(notices.note(READ_ONLY, &who(1), 0, at(0.0)));
        let mut lines = Vec::new();
        // It comes and goes every second for half a minute, and then is well.
        for second in 1..30_u8 {
            let now = f32::from(second);
            well(now);
            let (well, mut again) = notices.due(at(now + 0.3));
            lines.append(&mut again);
            lines.extend(well);
            assert!(!notices.note(READ_ONLY, &who(2), 0, at(now + 0.5)));
        }
        assert_eq!(lines, Vec::<String>::new());
        well(30.0);
        assert_eq!(notices.due(at(32.0)), (None, Vec::new()), "not yet");
        assert_eq!(notices.due(at(33.1)).0.as_deref(), Some("the database is well again, after 30 s"));
        assert_eq!(notices.due(at(40.0)), (None, Vec::new()));
        let (_, summed) = notices.due(at(60.5));
        assert!(summed.len() == 1 && summed[0].contains("29 times"), "{summed:?}");
    }

    #[test]
    fn memory_is_bounded_by_who_is_counted_apart() {
        let notices = Notices::default();
        let now = Instant::now();
        for n in 0..3 * COUNTED_MAX as u32 {
            notices.note(UNKNOWN, &who(n + 1), 0, now);
        }
        assert_eq!(notices.held()[0].1.by.len(), COUNTED_MAX);
        let (_, lines) = notices.due(now + MINUTE);
        assert!(lines[0].contains("at least 1024 who asked"), "{lines:?}");
    }
}
