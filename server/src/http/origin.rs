//! An origin: where a web page came from, as browsers write it in `Origin` (the HTML standard, "serialization of an
//! origin").

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use crate::database::hide_password;

/// Scheme, host and port of a page: `https://app.example`, `http://localhost:5173`. Kept as browsers send it (lower
/// case, no default port), so that a request's `Origin` is compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// A word that is no origin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{word:?} is not an origin to allow: {wrong}")]
pub struct OriginError {
    /// The word as it was written; a password in it is hidden.
    word: String,
    /// The mistake, and what to write instead.
    wrong: String,
}

/// The refusal of `*`, with what to do.
const NO_WILDCARD: &str = "the list says whose pages may send data to this server, so each is named in full (https://app.example, https://forms.example:8443); there are no wildcards";
/// The refusal of `null`.
const NO_NULL: &str = "browsers send `Origin: null` for pages opened from files and for sandboxed frames of any site, so it says nothing of where a page is from; serve the page over http or https";

impl Origin {
    /// The origin as it stands in a request.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(word: &str) -> Result<Self, OriginError> {
        serialized(word).map(Self).map_err(|wrong| OriginError { word: hide_password(word), wrong })
    }
}

/// The origin as a browser writes it, or what is wrong with it.
fn serialized(word: &str) -> Result<String, String> {
    if word.contains('*') {
        return Err(NO_WILDCARD.into());
    }
    if word == "null" {
        return Err(NO_NULL.into());
    }
    let Some((scheme, rest)) = word.split_once("://") else {
        return Err("write scheme://host or scheme://host:port, as in https://app.example".into());
    };
    let scheme = scheme.to_ascii_lowercase();
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.chars().all(in_scheme) {
        return Err(format!("{scheme:?} is no scheme; write https://host or http://host"));
    }
    if matches!(scheme.as_str(), "file" | "data" | "blob" | "about" | "javascript") {
        return Err(NO_NULL.into());
    }
    if let Some(at) = rest.find(['/', '?', '#', '\\']) {
        return Err(format!("an origin ends with its host or port; write {scheme}://{}", &rest[..at]));
    }
    if rest.contains('@') {
        return Err("an origin has no user name".into());
    }
    let (host, port) = split_port(rest)?;
    let host = host_as_sent(host)?;
    let default = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Ok(match port.filter(|_| port != default) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

fn split_port(rest: &str) -> Result<(&str, Option<u16>), String> {
    // The colons of an IPv6 address stand in brackets.
    let name_end = rest.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = rest[name_end..].find(':') else { return Ok((rest, None)) };
    let (host, port) = (&rest[..name_end + colon], &rest[name_end + colon + 1..]);
    let number = if port.bytes().all(|b| b.is_ascii_digit()) { port.parse().ok() } else { None };
    match number {
        Some(number) if number > 0 => Ok((host, Some(number))),
        _ => Err(format!("{port:?} is no port; a port is a number from 1 to 65535")),
    }
}

/// The host as browsers send it: in lower case, an IPv6 address in its shortest form.
fn host_as_sent(host: &str) -> Result<String, String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| format!("{address:?} is no IPv6 address"))?;
        let [.., high, low] = address.segments();
        // Rust writes these with dots, browsers do not.
        return Ok(match address.to_ipv4_mapped() {
            Some(_) => format!("[::ffff:{high:x}:{low:x}]"),
            None => format!("[{address}]"),
        });
    }
    if !host.is_ascii() {
        return Err(format!("write the host {host:?} in ASCII, as browsers send it (xn--…)"));
    }
    let host = host.to_ascii_lowercase();
    // A dot at the end is part of the name, and makes another origin.
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(&host).split('.').collect();
    let in_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if labels.iter().any(|label| label.is_empty() || !label.chars().all(in_label)) {
        return Err(format!("{host:?} is no host name or address"));
    }
    let last = labels.last().copied().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err(format!("{host:?} is no IPv4 address"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_send_it() {
        for (word, sent) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("http://app.example:443", "http://app.example:443"),
            ("https://app.example:8443", "https://app.example:8443"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://192.168.0.7:8787", "http://192.168.0.7:8787"),
            ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
            ("http://[::FFFF:10.0.0.1]", "http://[::ffff:a00:1]"),
            ("https://xn--80a1acny.example", "https://xn--80a1acny.example"),
            ("https://under_score.example.", "https://under_score.example."),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ] {
            assert_eq!(word.parse::<Origin>().map(|origin| origin.0).as_deref(), Ok(sent), "{word}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_what_to_write() {
        for (word, said) in [
            ("*", "no wildcards"),
            ("https://*.example", "no wildcards"),
            ("null", "Origin: null"),
            ("file:///home/page.html", "Origin: null"),
            ("app.example", "write scheme://host"),
            ("https:/app.example", "write scheme://host"),
            ("", "write scheme://host"),
            ("://app.example", "is no scheme"),
            ("1https://app.example", "is no scheme"),
            ("https://app.example/", "write https://app.example"),
            ("https://app.example/notebook", "write https://app.example"),
            ("https://app.example?x", "write https://app.example"),
            ("https://anna:s3cr3t@app.example", "no user name"),
            ("https://", "is no host name"),
            ("https://:443", "is no host name"),
            ("https://app..example", "is no host name"),
            ("https://app example", "is no host name"),
            ("https://склад.example", "in ASCII"),
            ("https://1.2.3", "is no IPv4 address"),
            ("https://1.2.3.256", "is no IPv4 address"),
            ("https://[::g]", "is no IPv6 address"),
            ("https://[::1", "is no port"),
            ("https://app.example:", "is no port"),
            ("https://app.example:0", "is no port"),
            ("https://app.example:65536", "is no port"),
            ("https://app.example:+1", "is no port"),
        ] {
            let error = word.parse::<Origin>().unwrap_err().to_string();
            assert!(error.contains(said), "{word}: {error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }
}
