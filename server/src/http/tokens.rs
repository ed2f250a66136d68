//! Whom a token belongs to, without asking the database more than it takes.
//!
//! The database is asked about a token so often in a second; whoever asks more often is answered by what it said last,
//! for a second at most, on every server: so long may a revoked token be taken still, and in ordinary use not at all.
//! Tokens and codes that nobody has are asked for so often from one address and no more. A token that was a station's
//! not long ago, or is in the list of stations that is read every minute, is asked for in any case, so that a stranger
//! at the same address shuts no station out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark_core::protocol::{Problem, ProblemCode};

use super::address::Address;
use crate::live::Live;
use crate::stations::StationRecord;

/// How long the database's answer is good, in milliseconds.
const FRESH_MS: i64 = 1_000;
/// How often in that time it is asked about one token all the same.
const ASKED_MAX: u32 = 8;
/// Most tokens that are remembered: 16 MiB of them.
const TOKENS_MAX: usize = 1 << 16;
/// Most of them that are stations' and were not asked about.
pub(super) const EXPECTED_MAX: usize = TOKENS_MAX / 2;
/// Most addresses whose failed attempts are remembered.
const ADDRESSES_MAX: usize = 1 << 14;

/// How often one address may try words that nobody knows: so many at once, and so many a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    pub burst: u32,
    pub per_second: u32,
}

/// What is tried. Each has attempts of its own, so that strangers with tokens keep nobody from joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Token,
    Code,
    Operator,
    Metrics,
}

/// The tokens that were asked about.
#[derive(Debug)]
pub(super) struct Tokens {
    attempts: Live<Attempts>,
    known: Mutex<HashMap<[u8; 32], Known>>,
    tried: Mutex<HashMap<(Address, Word), Tried>>,
}

/// A token that is, or was, a station's.
#[derive(Debug, Clone)]
struct Known {
    /// Whose, as the database said last; `None` while it was not asked.
    station: Option<Arc<StationRecord>>,
    asked_at_ms: i64,
    /// How often it was asked in the second that began then.
    asked: (i64, u32),
    /// The answer to whoever has it, if it opens nothing any more.
    refusal: Option<Box<Problem>>,
}

/// The attempts of one address, which wear off.
#[derive(Debug, Clone, Copy)]
struct Tried {
    attempts: f64,
    at_ms: i64,
}

impl Tokens {
    pub(super) fn new(attempts: Attempts) -> Self {
        Self { attempts: attempts.into(), known: Mutex::default(), tried: Mutex::default() }
    }

    /// From now on an address may try so often.
    pub(super) fn set(&self, attempts: Attempts) {
        self.attempts.set(attempts);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tried(&self) -> MutexGuard<'_, HashMap<(Address, Word), Tried>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The station of a token that is asked about often, as the database said within the last second, and the refusal
    /// that it heard then.
    pub(super) fn fresh(&self, token_hash: &[u8; 32], now_ms: i64) -> Option<(Arc<StationRecord>, Option<Problem>)> {
        let mut known = self.known();
        let known = known.get_mut(token_hash)?;
        if !(0..FRESH_MS).contains(&now_ms.saturating_sub(known.asked_at_ms)) {
            // Nor is it when a clock that was set back comes to that second again.
            known.asked_at_ms = i64::MIN;
            return None;
        }
        if known.asked.1 < ASKED_MAX {
            return None;
        }
        Some((Arc::clone(known.station.as_ref()?), known.refusal.as_deref().cloned()))
    }

    /// The station of a token, as the database said at any time.
    pub(super) fn remembered(&self, token_hash: &[u8; 32]) -> Option<Arc<StationRecord>> {
        self.known().get(token_hash)?.station.clone()
    }

    /// Whether the token is, or was, a station's.
    pub(super) fn is_known(&self, token_hash: &[u8; 32]) -> bool {
        self.known().contains_key(token_hash)
    }

    /// Counts that somebody at this address tries a word that nobody may know.
    ///
    /// # Errors
    /// When they tried too often.
    pub(super) fn tries(&self, word: Word, address: Option<Address>, now_ms: i64) -> Result<(), Problem> {
        let Some(address) = address else { return Ok(()) };
        let bounds = self.attempts.get();
        let mut tried = self.tried();
        if tried.len() >= ADDRESSES_MAX {
            tried.retain(|_, tried| tried.left(bounds, now_ms) > 0.0);
        }
        let attempts = tried.get(&(address, word)).map_or(0.0, |tried| tried.left(bounds, now_ms)) + 1.0;
        if attempts > f64::from(bounds.burst) {
            let detail = "too many tokens or codes that nobody knows were tried from this address; try again later";
            return Err(Problem::new(ProblemCode::TooManyRequests, detail));
        }
        // Of more addresses than that none is held to anything; their connections are bounded all the same.
        if tried.len() < ADDRESSES_MAX || tried.contains_key(&(address, word)) {
            tried.insert((address, word), Tried { attempts, at_ms: now_ms });
        }
        Ok(())
    }

    /// The word that was tried last is known to somebody: it does not count.
    pub(super) fn was_known(&self, word: Word, address: Option<Address>) {
        let Some(address) = address else { return };
        if let Some(tried) = self.tried().get_mut(&(address, word)) {
            tried.attempts = (tried.attempts - 1.0).max(0.0);
        }
    }

    /// The database knows whose token it is, as of when it was asked.
    pub(super) fn note(&self, token_hash: [u8; 32], station: &Arc<StationRecord>, now_ms: i64) {
        let before = self.known().get(&token_hash).map_or((i64::MIN, 0), |known| known.asked);
        let is_same_second = (0..FRESH_MS).contains(&now_ms.saturating_sub(before.0));
        let asked = if is_same_second { (before.0, before.1.saturating_add(1)) } else { (now_ms, 1) };
        let station = Some(Arc::clone(station));
        self.remember(token_hash, Known { station, asked_at_ms: now_ms, asked, refusal: None });
    }

    /// What whoever has this token hears, for as long as the database's answer about it is good.
    pub(super) fn refuses(&self, token_hash: &[u8; 32], refusal: &Problem) {
        if let Some(known) = self.known().get_mut(token_hash) {
            known.refusal = Some(Box::new(refusal.clone()));
        }
    }

    /// This is a station's token. What the database says of it is not known yet.
    pub(super) fn expect(&self, token_hash: [u8; 32]) {
        if !self.is_known(&token_hash) {
            self.remember(
                token_hash,
                Known { station: None, asked_at_ms: i64::MIN, asked: (i64::MIN, 0), refusal: None },
            );
        }
    }

    fn remember(&self, token_hash: [u8; 32], token: Known) {
        let mut known = self.known();
        if known.len() >= TOKENS_MAX && !known.contains_key(&token_hash) {
            // The half that was asked about longest ago goes.
            let mut times: Vec<i64> = known.values().map(|known| known.asked_at_ms).collect();
            let half = times.len() / 2;
            let (_, &mut middle, _) = times.select_nth_unstable(half);
            let mut kept = 0;
            known.retain(|_, known| {
                let keep = known.asked_at_ms > middle || known.asked_at_ms == middle && kept < half;
                kept += usize::from(keep);
                keep
            });
        }
        known.insert(token_hash, token);
    }

    /// The database knows nobody by this token any more.
    pub(super) fn forget(&self, token_hash: &[u8; 32]) {
        self.known().remove(token_hash);
    }
}

impl Tried {
    /// Those that have not worn off; none when the clock was set back.
    fn left(&self, attempts: Attempts, now_ms: i64) -> f64 {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        if passed_ms < 0 {
            return 0.0;
        }
        (self.attempts - passed_ms as f64 / 1_000.0 * f64::from(attempts.per_second)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(bytes: [u8; 4]) -> Address {
        Address::of(bytes.into())
    }

    fn record() -> Arc<StationRecord> {
        Arc::new(StationRecord {
            name: "north".to_owned(),
            number: None,
            uuid: None,
            token_hash: Some([1; 32]),
            token_ended_at_ms: None,
            code_expires_at_ms: 0,
            joined_at_ms: None,
            revoked_at_ms: None,
        })
    }

    #[test]
    fn attempts_of_one_address_end_and_come_back_with_time() {
        let tokens = Tokens::new(Attempts { burst: 3, per_second: 1 });
        let (one, two) = (Some(address([10, 0, 0, 1])), Some(address([10, 0, 0, 2])));
        for _ in 0..3 {
            tokens.tries(Word::Token, one, 0).unwrap();
        }
        assert_eq!(tokens.tries(Word::Token, one, 0).unwrap_err().code, ProblemCode::TooManyRequests);
        tokens.tries(Word::Token, two, 0).unwrap();
        tokens.tries(Word::Code, one, 0).unwrap();
        tokens.was_known(Word::Token, one);
        tokens.tries(Word::Token, one, 0).unwrap();
        assert!(tokens.tries(Word::Token, one, 0).is_err());
        tokens.tries(Word::Token, one, 1_100).unwrap();
        assert!(tokens.tries(Word::Token, one, 1_100).is_err());
        assert!(tokens.tries(Word::Token, one, -9_000_000).is_ok(), "a clock that was set back shuts nobody out");
    }

    #[test]
    fn an_answer_is_good_for_a_second_and_memory_is_bounded() {
        let tokens = Tokens::new(Attempts { burst: 3, per_second: 1 });
        let asked_often = || (0..ASKED_MAX).for_each(|_| tokens.note([1; 32], &record(), 5_000));
        (1..ASKED_MAX).for_each(|_| tokens.note([1; 32], &record(), 5_000));
        assert!(tokens.fresh(&[1; 32], 5_000).is_none(), "in ordinary use the database is asked");
        tokens.note([1; 32], &record(), 5_000);
        let refusal = Problem::new(ProblemCode::Revoked, "ask them");
        assert_eq!(tokens.fresh(&[1; 32], 5_999).unwrap(), (record(), None));
        tokens.refuses(&[1; 32], &refusal);
        assert_eq!(tokens.fresh(&[1; 32], 5_999).unwrap(), (record(), Some(refusal)));
        assert!(tokens.fresh(&[1; 32], 4_999).is_none());
        assert!(tokens.fresh(&[1; 32], 5_999).is_none(), "the clock was set back");
        asked_often();
        assert!(tokens.fresh(&[1; 32], 5_999).is_some() && tokens.fresh(&[1; 32], 6_000).is_none());
        assert_eq!(tokens.remembered(&[1; 32]), Some(record()));
        for n in 1..TOKENS_MAX as i64 + 9 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            tokens.note(hash, &record(), 6_000 + n % 7);
        }
        assert!((TOKENS_MAX / 2..=TOKENS_MAX).contains(&tokens.known().len()));
        assert!(!tokens.is_known(&[1; 32]), "the oldest went");
    }

    #[test]
    fn a_token_that_is_expected_is_asked_about_and_not_believed() {
        let tokens = Tokens::new(Attempts { burst: 0, per_second: 1 });
        tokens.expect([1; 32]);
        assert!(tokens.is_known(&[1; 32]) && tokens.remembered(&[1; 32]).is_none());
        assert!(tokens.fresh(&[1; 32], 0).is_none() && tokens.fresh(&[1; 32], i64::MAX).is_none());
    }
}
