//! Join codes: what an operator hands to a station. One word that carries the server's URL, a secret, and a check
//! against slips.
//!
//! `tide1-` and the lower-case hex of: 32 bytes secret, the URL's bytes, 4 bytes of blake3 over both.

use thiserror::Error;

use crate::value::hex;

const PREFIX: &str = "tide1-";
const SECRET_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// A parsed join code.
///
/// ```
/// use tidemark_core::joincode::{JoinCode, JoinCodeError};
/// let code = JoinCode { url: "https://tide.example".into(), secret: [9; 32] };
/// let word = code.encode();
/// assert_eq!(JoinCode::decode(&format!(" {word}\n"))?.url, "https://tide.example");
/// assert_eq!(JoinCode::decode(&word[..word.len() - 2]).err(), Some(JoinCodeError::Damaged));
/// # Ok::<(), JoinCodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct JoinCode {
    /// The server's public URL, `http://…` or `https://…`.
    pub url: String,
    /// The single-use secret.
    pub secret: [u8; SECRET_BYTES],
}

/// The reason why a word is no join code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JoinCodeError {
    /// It does not begin as one.
    #[error("not a join code: one begins with `{PREFIX}`")]
    Form,
    /// It is not whole, or a character of it was changed.
    #[error("the join code is damaged: its end or its beginning is missing, or a character of it was changed")]
    Damaged,
}

impl JoinCode {
    /// The word to hand out.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = self.secret.to_vec();
        bytes.extend_from_slice(self.url.as_bytes());
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(&check.as_bytes()[..CHECK_BYTES]);
        format!("{PREFIX}{}", hex(&bytes))
    }

    /// Reads a word; white space around it is ignored.
    ///
    /// # Errors
    /// When it has another form or its check does not match.
    pub fn decode(word: &str) -> Result<Self, JoinCodeError> {
        let word = word.trim();
        if !word.is_empty() && PREFIX.starts_with(word) {
            return Err(JoinCodeError::Damaged);
        }
        let digits = word.strip_prefix(PREFIX).ok_or(JoinCodeError::Form)?.as_bytes();
        if digits.len() > 8192 || !digits.len().is_multiple_of(2) || digits.len() / 2 <= SECRET_BYTES + CHECK_BYTES {
            return Err(JoinCodeError::Damaged);
        }
        let bytes = digits
            .chunks_exact(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(crate::value::unhex::<1>).map(|[byte]| byte))
            .collect::<Option<Vec<u8>>>()
            .ok_or(JoinCodeError::Damaged)?;
        let (body, check) = bytes.split_at(bytes.len() - CHECK_BYTES);
        if blake3::hash(body).as_bytes()[..CHECK_BYTES] != *check {
            return Err(JoinCodeError::Damaged);
        }
        let (secret, url) = body.split_at(SECRET_BYTES);
        Ok(Self {
            url: String::from_utf8(url.to_vec()).map_err(|_| JoinCodeError::Damaged)?,
            secret: secret.try_into().map_err(|_| JoinCodeError::Damaged)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_anywhere_is_noticed() {
        let code = JoinCode { url: "http://127.0.0.1:8787".into(), secret: [9; 32] };
        let word = code.encode();
        assert!(JoinCode::decode(&format!(" {word}\n")).is_ok_and(|read| read == code));
        for at in 0..word.len() {
            let mut slipped = word.clone().into_bytes();
            slipped[at] = if slipped[at] == b'0' { b'1' } else { b'0' };
            let slipped = String::from_utf8(slipped).unwrap();
            assert!(JoinCode::decode(&slipped).is_err(), "{slipped}");
            assert!(JoinCode::decode(&word[..at]).is_err());
        }
    }

    #[test]
    fn a_code_that_is_cut_off_anywhere_is_told_from_a_word_that_is_none() {
        let word = JoinCode { url: "http://127.0.0.1:8787".into(), secret: [9; 32] }.encode();
        for end in 1..word.len() {
            assert_eq!(JoinCode::decode(&word[..end]).err(), Some(JoinCodeError::Damaged), "{}", &word[..end]);
        }
        for none in ["", " ", "hello", "http://127.0.0.1:8787", "tide2-00", &word[1..]] {
            assert_eq!(JoinCode::decode(none).err(), Some(JoinCodeError::Form), "{none}");
        }
    }
}
