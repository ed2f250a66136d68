//! A code for a station, as the command line and the endpoint make it: the part for the database, and the part for the
//! station.

use tidemark_core::joincode::{JoinCode, Pin};
use tidemark_core::url::{ServerUrl, UrlError};

use crate::clock::random_bytes;
use crate::stations::{NewStation, secret_hash};

/// Longest name of a station, a reader or an operator, in bytes.
pub const NAME_BYTES_MAX: usize = 200;
/// How long a code can be used unless told otherwise, in milliseconds: a week.
pub const EXPIRES_MS: i64 = 7 * 86_400_000;

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCode {
    /// The URL is none that a station could reach a server under.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Entropy,
}

/// A code that was not given out yet.
#[derive(Clone)]
pub struct FreshCode {
    /// The part for the database.
    pub station: NewStation,
    /// The part for the station.
    pub code: JoinCode,
}

impl FreshCode {
    /// Makes a code for a station of this name, for a server that it reaches under `url`.
    ///
    /// # Errors
    /// See [`NoCode`].
    pub fn make(name: &str, url: &str, expires_ms: i64, now_ms: i64) -> Result<Self, NoCode> {
        let url = ServerUrl::parse(url)?;
        let secret = random_bytes::<32>().map_err(|_| NoCode::Entropy)?;
        let station = NewStation {
            name: name.to_owned(),
            code_hash: secret_hash(&secret),
            code_expires_at_ms: now_ms.saturating_add(expires_ms),
            now_ms,
        };
        Ok(Self { station, code: JoinCode { url: url.as_str().to_owned(), secret, pin: None } })
    }

    /// Has the station know the server by the certificate of this pin, where it reaches it by TLS.
    #[must_use]
    pub fn with_pin(mut self, pin: Option<Pin>) -> Self {
        self.code.pin = pin.filter(|_| self.code.url.starts_with("https://"));
        self
    }
}

/// A name that an operator gives, without the space around it; `None` for one that is too long, empty, or would do
/// something to the text around it.
#[must_use]
pub fn checked_name(name: &str) -> Option<&str> {
    let name = name.trim();
    let is_one = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    is_one.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_names_a_server_and_only_its_hash_is_for_the_database() {
        let fresh = FreshCode::make("north", "https://hq.example/", 10, 5).unwrap();
        assert_eq!(fresh.code.url, "https://hq.example");
        assert_eq!(fresh.station.code_hash, secret_hash(&fresh.code.secret));
        assert_eq!(fresh.station.code_expires_at_ms, 15);
        let pin = Some(Pin([7; 32]));
        assert_eq!(fresh.with_pin(pin).code.pin, pin);
        assert_eq!(FreshCode::make("north", "http://10.0.0.1", 10, 5).unwrap().with_pin(pin).code.pin, None);
        for (url, error) in [
            ("", UrlError::Scheme("none".into())),
            ("hq.example", UrlError::Scheme("none".into())),
            ("http://", UrlError::Host),
            ("https://hq example", UrlError::Characters),
            ("https://hq\u{1b}[2J", UrlError::Characters),
            ("https://chief:word@hq.example", UrlError::UserInfo),
        ] {
            assert_eq!(FreshCode::make("north", url, 10, 5).err().unwrap(), NoCode::Url(error), "{url}");
        }
    }

    #[test]
    fn a_name_is_one_short_line() {
        assert_eq!(checked_name(" north hut "), Some("north hut"));
        for name in ["", "  ", "a\nb", "\u{1b}[2J", &"x".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(checked_name(name), None, "{name:?}");
        }
    }
}
