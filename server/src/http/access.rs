//! The access log: one line for each request, with an id by which it is found again elsewhere.
//!
//! A line says who asked for which route, and what became of it; of a push also which changes, and their verdicts.
//! It says nothing that a peer wrote, but for a well-formed id of a proxy that is believed: no path, no query, no
//! header. What
//! asks all the time whether the server is well is told at the level `debug`; so are refusals beyond the first of a
//! cause and minute, which [`Notices`](crate::notices::Notices) sums up. Who asks more than a budget is counted and
//! told in one line a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use hyper::header::HeaderMap;
use tidemark_core::ids::StationNumber;
use tokio::time::Instant;

use super::noted::Noted;
use crate::clock::random_bytes;
use crate::notices::Who;

/// The header of the id, in a request and in its answer.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// Longest id of a proxy that is taken over.
const ID_BYTES_MAX: usize = 128;
/// Lines a second, and so many at once, about requests of those who are not known; and about stations'.
const STRANGERS: Budget = Budget { per_second: 10.0, burst: 100.0 };
const STATIONS: Budget = Budget { per_second: 500.0, burst: 2_000.0 };
/// The time between two lines about those that had none.
const APART: Duration = Duration::from_secs(60);

/// How it ended, and how loud that is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) route: &'static str,
    pub(super) status: u16,
    pub(super) sent: u64,
    pub(super) took: Duration,
    /// Nobody wants to read of it: somebody looked whether the server is well, or it is summed up elsewhere.
    pub(super) is_quiet: bool,
}

#[derive(Debug, Clone, Copy)]
struct Budget {
    per_second: f64,
    burst: f64,
}

/// The lines that may be written now, and those that were not.
#[derive(Debug, Default)]
struct Account {
    spent: f64,
    at: Option<Instant>,
    left_out: u64,
    told: Option<Instant>,
}

impl Account {
    /// Whether there is a line for one more.
    fn has(&mut self, budget: Budget, now: Instant) -> bool {
        let passed = self.at.map_or(Duration::ZERO, |at| now.duration_since(at));
        self.spent = (self.spent - passed.as_secs_f64() * budget.per_second).max(0.0);
        self.at = Some(now);
        if self.spent + 1.0 > budget.burst {
            self.left_out += 1;
            return false;
        }
        self.spent += 1.0;
        true
    }

    /// How many had no line, when it is time to tell.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.left_out == 0 || self.told.is_some_and(|told| now < told + APART) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// The access log of an endpoint.
#[derive(Debug)]
pub(super) struct AccessLog {
    /// Tells the ids of this run from those of another.
    run: u32,
    next: AtomicU64,
    strangers: Mutex<Account>,
    stations: Mutex<Account>,
}

impl Default for AccessLog {
    fn default() -> Self {
        let run = u32::from_be_bytes(random_bytes().unwrap_or_default());
        Self { run, next: AtomicU64::new(1), strangers: Mutex::default(), stations: Mutex::default() }
    }
}

impl AccessLog {
    /// The id of a request: a new one, or the one that a proxy says, if that is believed and the id well formed. Nobody
    /// else chooses by which id a line is found, or makes two of them look like one.
    pub(super) fn id(&self, headers: &HeaderMap, is_of_proxy: bool) -> String {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let own = || format!("{:08x}-{:x}", self.run, self.next.fetch_add(1, Ordering::Relaxed));
        let given = text(REQUEST_ID).filter(|id| is_id(id)).or_else(|| text("traceparent").and_then(trace_id));
        given.filter(|_| is_of_proxy).map_or_else(own, str::to_owned)
    }

    /// Writes the line of a request.
    pub(super) fn write(&self, id: &str, method: &Method, who: &Who, noted: &Noted, ended: Ended) {
        let is_told = !ended.is_quiet && self.has_line(who.name.is_some());
        if !is_told && !tracing::enabled!(target: "tidemark_server::access", tracing::Level::DEBUG) {
            return;
        }
        let station = who.number.map(StationNumber::get);
        let (name, peer) = (who.name.as_deref(), who.peer.as_ref().map(tracing::field::display));
        let Ended { route, status, sent, took, .. } = ended;
        let ms = (took.as_micros() as f64 / 100.0).round() / 10.0;
        let pushed = noted.changes();
        let (first, last) = pushed.map(|pushed| (pushed.first, pushed.last)).unzip();
        let verdicts = pushed.and_then(|pushed| pushed.verdicts);
        let applied = verdicts.map(|(applied, ..)| applied);
        let duplicate = verdicts.map(|(_, duplicate, _)| duplicate);
        let rejected = verdicts.map(|(.., rejected)| rejected);
        let method = method_text(method);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "tidemark_server::access",
                    id, peer, station, name, method, route, status, received = noted.received_bytes(), sent, ms, first, last,
                    applied, duplicate, rejected, "request"
                )
            };
        }
        if is_told { line!(info) } else { line!(debug) }
    }

    fn has_line(&self, is_known: bool) -> bool {
        let (account, budget) = if is_known { (&self.stations, STATIONS) } else { (&self.strangers, STRANGERS) };
        let now = Instant::now();
        account.lock().unwrap_or_else(PoisonError::into_inner).has(budget, now)
    }

    /// Tells how many requests had no line of their own.
    pub(super) fn tell_due(&self) {
        for (account, whose) in [(&self.strangers, "of peers without a token"), (&self.stations, "of stations")] {
            let due = account.lock().unwrap_or_else(PoisonError::into_inner).due(Instant::now());
            if let Some(left_out) = due {
                tracing::info!(requests = left_out, "requests {whose} had no line of their own: there were too many");
            }
        }
    }
}

/// What it asked for. A method that nobody knows is a word of the peer.
fn method_text(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn is_id(text: &str) -> bool {
    let is_of_id = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'=' | b'-');
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_id)
}

/// The trace's id in a `traceparent` ([W3C Trace Context][1], version 00).
///
/// [1]: https://www.w3.org/TR/trace-context/#traceparent-header
fn trace_id(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    let is_set = |text: &str| text.bytes().any(|b| b != b'0');
    let is_whole = parts.next().is_none() && version == "00" && is_hex(flags, 2);
    (is_whole && is_hex(trace, 32) && is_hex(parent, 16) && is_set(trace) && is_set(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn an_id_of_a_proxy_is_taken_over_when_it_is_well_formed() {
        let log = AccessLog::default();
        for (pairs, id) in [
            (vec![("x-request-id", "abc-1.2:3=_Z")], "abc-1.2:3=_Z"),
            (vec![("traceparent", TRACE)], "4bf92f3577b34da6a3ce929d0e0e4736"),
            (vec![("x-request-id", "no space"), ("traceparent", TRACE)], "4bf92f3577b34da6a3ce929d0e0e4736"),
            (vec![("x-request-id", "first"), ("traceparent", TRACE)], "first"),
        ] {
            assert_eq!(log.id(&headers(&pairs), true), id, "{pairs:?}");
            assert_ne!(log.id(&headers(&pairs), false), id, "a stranger chooses none: {pairs:?}");
        }
    }

    #[test]
    fn one_that_is_not_gives_way_to_a_new_one_and_no_two_of_these_are_equal() {
        let log = AccessLog::default();
        let long = "x".repeat(129);
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let mut ids = std::collections::HashSet::new();
        for (name, value) in [
            ("x-request-id", ""),
            ("x-request-id", "a b"),
            ("x-request-id", "a\"b"),
            ("x-request-id", &long),
            ("traceparent", "00-4bf9"),
            ("traceparent", zeros),
            ("traceparent", &TRACE.to_uppercase()),
            ("traceparent", &format!("{TRACE}-x")),
        ] {
            let id = log.id(&headers(&[(name, value)]), true);
            assert!(is_id(&id) && id.len() < 26 && !value.contains(&id), "{name}: {value}: {id}");
            assert!(ids.insert(id));
        }
        assert_ne!(AccessLog::default().run, log.run, "another run has others");
    }

    #[test]
    fn who_asks_too_much_is_counted_and_told_once_a_minute() {
        let (mut account, start) = (Account::default(), Instant::now());
        let told = (0..1_000).filter(|_| account.has(STRANGERS, start)).count();
        assert_eq!((told, account.due(start)), (100, Some(900)));
        assert!(!account.has(STRANGERS, start));
        assert_eq!(account.due(start + APART / 2), None);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| account.has(STRANGERS, later)).count(), 10);
        assert_eq!((account.due(start + APART), account.due(start + APART)), (Some(991), None));
    }
}
