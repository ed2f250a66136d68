//! Whom a token belongs to, without asking the database more than it takes.
//!
//! What the database said of a token is good for a second, on every server: so long may a revoked one be taken still.
//! Tokens and codes that nobody has are asked for so often from one address and no more; a token that was a station's
//! not long ago, or when the server started, is asked for in any case, so that a stranger at the same address shuts no
//! station out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark_core::protocol::{Problem, ProblemCode};

use super::address::Address;
use crate::stations::StationRecord;

/// How long the database's answer is good, in milliseconds.
const FRESH_MS: i64 = 1_000;
/// Most tokens that are remembered: 16 MiB of them.
const TOKENS_MAX: usize = 1 << 16;
/// Most addresses whose failed attempts are remembered.
const ADDRESSES_MAX: usize = 1 << 14;

/// How often one address may ask with words that nobody knows: so many at once, and so many a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempts {
    pub burst: u32,
    pub per_second: u32,
}

/// The tokens that were asked about.
#[derive(Debug)]
pub(super) struct Tokens {
    attempts: Attempts,
    known: Mutex<HashMap<[u8; 32], Known>>,
    failed: Mutex<HashMap<Address, Failed>>,
}

#[derive(Debug, Clone)]
struct Known {
    station: Arc<StationRecord>,
    asked_at_ms: i64,
}

/// The failed attempts of one address, which wear off.
#[derive(Debug, Clone, Copy)]
struct Failed {
    attempts: f64,
    at_ms: i64,
}

impl Tokens {
    pub(super) fn new(attempts: Attempts) -> Self {
        Self { attempts, known: Mutex::default(), failed: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<Address, Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The station of a token, as the database said within the last second.
    pub(super) fn fresh(&self, token_hash: &[u8; 32], now_ms: i64) -> Option<Arc<StationRecord>> {
        let known = self.known();
        let known = known.get(token_hash)?;
        // A clock that was set back makes no answer last longer.
        let is_fresh = (0..FRESH_MS).contains(&now_ms.saturating_sub(known.asked_at_ms));
        is_fresh.then(|| Arc::clone(&known.station))
    }

    /// Whether the database may be asked about a token for somebody at this address.
    ///
    /// # Errors
    /// When too many from there had none that anybody knows, and this one was not known before.
    pub(super) fn may_ask(&self, token_hash: &[u8; 32], address: Option<Address>, now_ms: i64) -> Result<(), Problem> {
        if self.known().contains_key(token_hash) { Ok(()) } else { self.may_try(address, now_ms) }
    }

    /// Whether somebody at this address may try a word that nobody may know.
    ///
    /// # Errors
    /// When they failed too often.
    pub(super) fn may_try(&self, address: Option<Address>, now_ms: i64) -> Result<(), Problem> {
        let Some(address) = address else { return Ok(()) };
        let failed = self.failed();
        let attempts = failed.get(&address).map_or(0.0, |failed| failed.left(self.attempts, now_ms));
        if attempts + 1.0 <= f64::from(self.attempts.burst) {
            return Ok(());
        }
        let detail = "too many tokens or codes that nobody knows were tried from this address; try again later";
        Err(Problem::new(ProblemCode::TooManyRequests, detail))
    }

    /// The database knows whose token it is, as of when it was asked.
    pub(super) fn note(&self, token_hash: [u8; 32], station: &Arc<StationRecord>, now_ms: i64) {
        let mut known = self.known();
        if known.len() >= TOKENS_MAX && !known.contains_key(&token_hash) {
            // The half that was asked about longest ago.
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
        known.insert(token_hash, Known { station: Arc::clone(station), asked_at_ms: now_ms });
    }

    /// These are tokens of stations. What the database says of each is not known yet.
    pub(super) fn expect(&self, stations: impl Iterator<Item = StationRecord>) {
        let mut known = self.known();
        for station in stations {
            let Some(token_hash) = station.token_hash else { continue };
            if known.len() >= TOKENS_MAX {
                return;
            }
            known.entry(token_hash).or_insert_with(|| Known { station: Arc::new(station), asked_at_ms: i64::MIN });
        }
    }

    /// The database knows nobody by this token any more.
    pub(super) fn forget(&self, token_hash: &[u8; 32]) {
        self.known().remove(token_hash);
    }

    /// Somebody at this address tried a word that nobody knows.
    pub(super) fn note_failed(&self, address: Option<Address>, now_ms: i64) {
        let Some(address) = address else { return };
        let mut failed = self.failed();
        if failed.len() >= ADDRESSES_MAX {
            failed.retain(|_, failed| failed.left(self.attempts, now_ms) > 0.0);
        }
        // Of more addresses than that none is held to anything; their connections are bounded all the same.
        if failed.len() < ADDRESSES_MAX || failed.contains_key(&address) {
            let of = failed.entry(address).or_insert(Failed { attempts: 0.0, at_ms: now_ms });
            *of = Failed { attempts: of.left(self.attempts, now_ms) + 1.0, at_ms: now_ms };
        }
    }
}

impl Failed {
    /// Those that have not worn off.
    fn left(&self, attempts: Attempts, now_ms: i64) -> f64 {
        let passed_s = now_ms.saturating_sub(self.at_ms).max(0) as f64 / 1_000.0;
        (self.attempts - passed_s * f64::from(attempts.per_second)).max(0.0)
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
            tokens.may_try(one, 0).unwrap();
            tokens.note_failed(one, 0);
        }
        assert_eq!(tokens.may_try(one, 0).unwrap_err().code, ProblemCode::TooManyRequests);
        tokens.may_try(two, 0).unwrap();
        tokens.note([1; 32], &record(), 0);
        tokens.may_ask(&[1; 32], one, 0).unwrap();
        assert!(tokens.may_ask(&[2; 32], one, 0).is_err());
        tokens.may_try(one, 1_100).unwrap();
        tokens.note_failed(one, 1_100);
        assert!(tokens.may_try(one, 1_100).is_err());
    }

    #[test]
    fn an_answer_is_good_for_a_second_and_memory_is_bounded() {
        let tokens = Tokens::new(Attempts { burst: 3, per_second: 1 });
        tokens.note([1; 32], &record(), 5_000);
        assert_eq!(tokens.fresh(&[1; 32], 5_999).unwrap().name, "north");
        assert!(tokens.fresh(&[1; 32], 6_000).is_none() && tokens.fresh(&[1; 32], 4_999).is_none());
        for n in 1..TOKENS_MAX as i64 + 9 {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            tokens.note(hash, &record(), 6_000 + n % 7);
        }
        assert!((TOKENS_MAX / 2..=TOKENS_MAX).contains(&tokens.known().len()));
        assert!(!tokens.known().contains_key(&[1; 32]), "the oldest went");
    }

    #[test]
    fn a_token_that_is_expected_is_asked_about_and_not_believed() {
        let tokens = Tokens::new(Attempts { burst: 0, per_second: 1 });
        let from = Some(address([10, 0, 0, 1]));
        assert!(tokens.may_ask(&[1; 32], from, 0).is_err());
        tokens.expect(std::iter::once(StationRecord::clone(&record())));
        assert_eq!(tokens.may_ask(&[1; 32], from, 0), Ok(()));
        assert!(tokens.fresh(&[1; 32], 0).is_none() && tokens.fresh(&[1; 32], i64::MAX).is_none());
    }
}
