//! The server's URL: checked where it is given, to a station, a browser or for a join code, so that a slip is an error
//! there and not a silent wait.

use std::net::IpAddr;

use thiserror::Error;

use crate::limits::URL_BYTES_MAX;

/// A checked base URL, `http://` or `https://`, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

/// Why a text is no server URL. A password in it is never repeated.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error(
        "the server's URL must begin with http:// or https://, this one has {0}; example: https://tidemark.example.org"
    )]
    Scheme(String),
    /// No host.
    #[error("the server's URL has no host; example: https://tidemark.example.org")]
    Host,
    /// A user name or password.
    #[error("the server's URL must not hold a user name or password; a station proves itself with its own token")]
    UserInfo,
    /// A port that is none.
    #[error("the port in the server's URL is not a number from 1 to 65535")]
    Port,
    /// Query, fragment, blanks or control characters.
    #[error("the server's URL has characters that do not belong there (blanks, ?, #, or characters beyond ASCII)")]
    Characters,
    /// It is too long.
    #[error("the server's URL has {0} bytes; it may have {URL_BYTES_MAX}")]
    Length(usize),
}

impl ServerUrl {
    /// Checks a URL.
    ///
    /// ```
    /// use tidemark_core::url::{ServerUrl, UrlError};
    /// let url = ServerUrl::parse("https://sea.example.org/tide/").unwrap();
    /// assert_eq!(url.join("/v1/push"), "https://sea.example.org/tide/v1/push");
    /// assert!(matches!(ServerUrl::parse("ftp://sea.example.org"), Err(UrlError::Scheme(_))));
    /// ```
    ///
    /// # Errors
    /// The fault of it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::Length(text.len()));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::Scheme("none".into()))?;
        let lower = scheme.to_ascii_lowercase();
        if lower != "http" && lower != "https" {
            // Only what can be a scheme is repeated: a URL without one may begin with a secret.
            let is_scheme =
                scheme.len() <= 20 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
            return Err(UrlError::Scheme(if is_scheme { format!("{scheme}://") } else { "another".into() }));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if !rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b)) {
            return Err(UrlError::Characters);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, tail) = v6.split_once(']').ok_or(UrlError::Host)?;
                (host, tail.strip_prefix(':').or(if tail.is_empty() { None } else { Some("?") }))
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(UrlError::Host);
        }
        if port
            .is_some_and(|port| !port.bytes().all(|b| b.is_ascii_digit()) || !port.parse::<u16>().is_ok_and(|p| p > 0))
        {
            return Err(UrlError::Port);
        }
        Ok(Self(format!("{lower}://{}", rest.trim_end_matches('/'))))
    }

    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of an endpoint.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether it names the machine that it is used on.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// Whether what travels can be read on the way: plain HTTP to another machine.
    #[must_use]
    pub fn is_plain_remote(&self) -> bool {
        !self.is_https() && !self.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_are_normalised() {
        for (given, kept) in [
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
            (" HTTPS://sea.example.org/ ", "https://sea.example.org"),
            ("http://[::1]:80/a/b//", "http://[::1]:80/a/b"),
        ] {
            assert_eq!(ServerUrl::parse(given).map(|url| url.0), Ok(kept.to_owned()));
        }
    }

    #[test]
    fn slips_are_named_and_secrets_are_not_repeated() {
        for (given, error) in [
            ("postgresql://u:hunter2@db/x", UrlError::Scheme("postgresql://".into())),
            ("sea.example.org:8787", UrlError::Scheme("none".into())),
            ("u:hunter2@sea://x", UrlError::Scheme("another".into())),
            ("http://", UrlError::Host),
            ("http://:80", UrlError::Host),
            ("http://[::1", UrlError::Host),
            ("https://u:hunter2@sea.example.org", UrlError::UserInfo),
            ("http://sea.example.org:0", UrlError::Port),
            ("http://sea.example.org:65536", UrlError::Port),
            ("http://sea.example.org:", UrlError::Port),
            ("http://[::1]x", UrlError::Port),
            ("http://sea example.org", UrlError::Characters),
            ("http://sea.example.org/?a", UrlError::Characters),
            ("http://sea.example.org/\r\nx: y", UrlError::Characters),
            (&format!("http://{}", "x".repeat(URL_BYTES_MAX)), UrlError::Length(URL_BYTES_MAX + 7)),
        ] {
            let found = ServerUrl::parse(given).expect_err(given);
            assert_eq!(found, error, "{given}");
            assert!(!found.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn plain_http_to_another_machine_is_noticed() {
        let plain = |url| ServerUrl::parse(url).unwrap().is_plain_remote();
        assert!(plain("http://sea.example.org") && plain("http://localhost.example.org"));
        assert!(plain("http://127.example.org") && plain("http://10.0.0.1:8787") && plain("http://[fe80::1]"));
        assert!(!plain("https://sea.example.org") && !plain("http://localhost:1") && !plain("http://127.0.0.1"));
    }

    #[test]
    fn a_loopback_url_is_known_by_its_host() {
        let is_loopback = |url| ServerUrl::parse(url).unwrap().is_loopback();
        for url in ["https://localhost/", "http://LocalHost:1", "http://[::1]:8787/x", "http://127.9.9.9"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://localhost.example", "https://hq.example/127.0.0.1", "http://127.evil.example"] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
