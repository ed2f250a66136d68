//! Join codes: what an operator hands to a station. One word that carries the server's URL, a secret, a check against
//! slips and, where no public authority vouches for the server, the pin of a certificate to know it by.
//!
//! `tide1-` and the lower-case hex of: 32 bytes secret, the URL's bytes, 4 bytes of blake3 over both. With a pin it is
//! `tide2-`, the pin's 32 bytes stand between secret and URL, and the check is over these six characters, too: a slip
//! in the one digit that tells both forms apart is noticed. Codes of both forms are read for ever.

use thiserror::Error;

use crate::value::hex;

const PREFIX: &str = "tide1-";
/// Of a code with a pin.
const PREFIX_PINNED: &str = "tide2-";
const SECRET_BYTES: usize = 32;
const PIN_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// The pin of a certificate: SHA-256 of its DER. A station that has one takes exactly a server in whose chain that
/// certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin(pub [u8; PIN_BYTES]);

impl Pin {
    /// Its 64 hex digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Reads 64 hex digits, also in pairs with colons between them, as `openssl x509 -fingerprint -sha256` prints them.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        crate::value::unhex::<PIN_BYTES>(&digits.to_ascii_lowercase()).map(Self)
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A parsed join code.
///
/// ```
/// use tidemark_core::joincode::{JoinCode, JoinCodeError};
/// let code = JoinCode { url: "https://tide.example".into(), secret: [9; 32], pin: None };
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
    /// The certificate to know the server by; `None` where an authority that the station's system trusts vouches for
    /// it. A browser does its own TLS, and passes over it.
    pub pin: Option<Pin>,
}

/// The reason why a word is no join code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JoinCodeError {
    /// It does not begin as one.
    #[error("not a join code: one begins with `{PREFIX}` or `{PREFIX_PINNED}`")]
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
        bytes.extend_from_slice(self.pin.as_ref().map_or(&[][..], |pin| &pin.0));
        bytes.extend_from_slice(self.url.as_bytes());
        let check = check(self.pin.is_some(), &bytes);
        bytes.extend_from_slice(&check);
        let prefix = if self.pin.is_some() { PREFIX_PINNED } else { PREFIX };
        format!("{prefix}{}", hex(&bytes))
    }

    /// Reads a word; white space around it is ignored.
    ///
    /// # Errors
    /// When it has another form or its check does not match.
    pub fn decode(word: &str) -> Result<Self, JoinCodeError> {
        let word = word.trim();
        if !word.is_empty() && [PREFIX, PREFIX_PINNED].iter().any(|prefix| prefix.starts_with(word)) {
            return Err(JoinCodeError::Damaged);
        }
        let (digits, pin_bytes) = match (word.strip_prefix(PREFIX), word.strip_prefix(PREFIX_PINNED)) {
            (Some(digits), _) => (digits.as_bytes(), 0),
            (_, Some(digits)) => (digits.as_bytes(), PIN_BYTES),
            _ => return Err(JoinCodeError::Form),
        };
        let least = SECRET_BYTES + pin_bytes + CHECK_BYTES;
        if digits.len() > 8192 || !digits.len().is_multiple_of(2) || digits.len() / 2 <= least {
            return Err(JoinCodeError::Damaged);
        }
        let bytes = digits
            .chunks_exact(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(crate::value::unhex::<1>).map(|[byte]| byte))
            .collect::<Option<Vec<u8>>>()
            .ok_or(JoinCodeError::Damaged)?;
        let (body, said) = bytes.split_at(bytes.len() - CHECK_BYTES);
        if check(pin_bytes > 0, body) != *said {
            return Err(JoinCodeError::Damaged);
        }
        let (secret, rest) = body.split_at(SECRET_BYTES);
        let (pin, url) = rest.split_at(pin_bytes);
        Ok(Self {
            pin: pin.try_into().ok().map(Pin),
            url: String::from_utf8(url.to_vec()).map_err(|_| JoinCodeError::Damaged)?,
            secret: secret.try_into().map_err(|_| JoinCodeError::Damaged)?,
        })
    }
}

/// The check of a code with or without a pin.
fn check(is_pinned: bool, body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    if is_pinned {
        hasher.update(PREFIX_PINNED.as_bytes());
    }
    let hash = hasher.update(body).finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.as_bytes()[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_anywhere_is_noticed() {
        for pin in [None, Some(Pin([0xa5; 32]))] {
            let code = JoinCode { url: "http://127.0.0.1:8787".into(), secret: [9; 32], pin };
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
    }

    #[test]
    fn a_code_of_one_form_is_never_read_as_one_of_the_other() {
        for (pin, other) in [(None, "tide2-"), (Some(Pin([b'h'; 32])), "tide1-")] {
            // Long enough that a pin could be cut from it.
            let url = "https://a-server-with-a-long-name.plant.example:8787".to_owned();
            let word = JoinCode { url, secret: [9; 32], pin }.encode();
            let slipped = format!("{other}{}", &word[other.len()..]);
            assert_eq!(JoinCode::decode(&slipped).err(), Some(JoinCodeError::Damaged), "{slipped}");
        }
    }

    #[test]
    fn codes_as_they_were_given_out_are_read_for_ever() {
        let (secret, url) = ("09".repeat(32), "687474703a2f2f68");
        let first = JoinCode::decode(&format!("tide1-{secret}{url}557718be")).unwrap();
        assert_eq!((first.url.as_str(), first.secret, first.pin), ("http://h", [9; 32], None));
        let pinned = JoinCode::decode(&format!("tide2-{secret}{}{url}7dddfc19", "a5".repeat(32))).unwrap();
        assert_eq!((pinned.url.as_str(), pinned.pin), ("http://h", Some(Pin([0xa5; 32]))));
        assert_eq!(Pin::from_hex(&"A5:".repeat(32)), pinned.pin);
    }

    #[test]
    fn a_code_that_is_cut_off_anywhere_is_told_from_a_word_that_is_none() {
        let word = JoinCode { url: "http://127.0.0.1:8787".into(), secret: [9; 32], pin: None }.encode();
        for end in 1..word.len() {
            assert_eq!(JoinCode::decode(&word[..end]).err(), Some(JoinCodeError::Damaged), "{}", &word[..end]);
        }
        for none in ["", " ", "hello", "http://127.0.0.1:8787", "tide3-00", &word[1..]] {
            assert_eq!(JoinCode::decode(none).err(), Some(JoinCodeError::Form), "{none}");
        }
    }
}
