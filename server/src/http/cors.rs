//! CORS: the headers that tell a browser which pages of other origins may use this server (the Fetch standard).
//!
//! The answers only tell the browser what the page may see; they keep nobody out who is not a browser. Whose request
//! it is, is said by the token. A page of the server's own origin needs none of it. Its browser sends `Origin` with
//! every POST too, and behind a proxy the server does not know its own origin: so no request is refused for its
//! `Origin`.

use std::sync::Mutex;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request};

use super::origin::Origin;
use crate::live::Live;

/// A page on the internet asks to reach a server in a private network (the Private Network Access draft; Chromium).
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The time for which a browser may remember the answer to its preflight, in seconds: as long as Chromium does at most.
const MAX_AGE_S: &str = "7200";
/// Most refused origins that are told at level info; anybody can make them up.
const TOLD_MAX: usize = 32;
/// Most bytes shown of one.
const SHOWN_BYTES_MAX: usize = 100;

/// Whose pages may talk to this server from a browser.
#[derive(Debug)]
pub(super) struct Cors {
    allowed: Live<Vec<Origin>>,
    /// Refused origins that the log tells of already.
    told: Mutex<Vec<Vec<u8>>>,
}

impl Default for Cors {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Cors {
    pub(super) fn new(allowed: Vec<Origin>) -> Self {
        Self { allowed: allowed.into(), told: Mutex::new(Vec::new()) }
    }

    /// From now on these.
    pub(super) fn set(&self, allowed: Vec<Origin>) {
        self.allowed.set(allowed);
    }

    /// The headers of the answer to a preflight, besides what [`Cors::mark`] adds to every answer. Nothing for an
    /// origin that is not allowed: then the browser does not send the request.
    pub(super) fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut answer = HeaderMap::new();
        if self.granted(asked).is_none() {
            self.tell(asked);
            return answer;
        }
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        answer.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type, tidemark-schema"),
        );
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
        if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true") {
            answer.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        answer
    }

    /// Adds to any answer what lets the page read it, status and all; an error that the page cannot read would look
    /// like no network.
    pub(super) fn mark(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        if self.allowed.get().is_empty() {
            return;
        }
        // Also where the request has no origin: a cache must not hand this answer to a page that has one.
        answer.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.granted(asked) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
        }
    }

    /// The origin of the request, when it is allowed. Two origins are none.
    fn granted(&self, asked: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = asked.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        self.allowed.get().iter().any(|allowed| origin == allowed.as_str()).then(|| origin.clone())
    }

    /// Tells the operator what a browser refuses to its page, each origin once: otherwise nobody here would see it.
    fn tell(&self, asked: &HeaderMap) {
        let origin = asked.get(ORIGIN).map_or(&b""[..], HeaderValue::as_bytes);
        let origin = &origin[..origin.len().min(SHOWN_BYTES_MAX)];
        let shown = origin.escape_ascii();
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.len() < TOLD_MAX && !told.iter().any(|told| told == origin) {
            told.push(origin.to_vec());
            // A page without an origin, of a file or a sandbox, cannot be let in by name.
            if origin == b"null" {
                tracing::info!("a page without an origin may not use this server; serve the page over HTTP");
            } else {
                tracing::info!(
                    "a page of {shown} may not use this server; if it should, serve with --allow-origin {shown}"
                );
            }
        } else {
            tracing::debug!("a page of {shown} may not use this server");
        }
    }
}

/// The request is a preflight: a browser asks what a page may do, before it sends the page's own request.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "https://app.example";

    fn cors() -> Cors {
        Cors::new(vec![APP.parse().unwrap(), "http://localhost:5173".parse().unwrap()])
    }

    fn headers(headers: &[(&str, &str)]) -> HeaderMap {
        let header = |&(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(header) {
            map.append::<HeaderName>(name, value);
        }
        map
    }

    fn marked(cors: &Cors, asked: &[(&str, &str)]) -> HeaderMap {
        let mut answer = HeaderMap::new();
        cors.mark(&headers(asked), &mut answer);
        answer
    }

    #[test]
    fn an_allowed_origin_may_read_every_answer() {
        for origin in [APP, "http://localhost:5173"] {
            let expected = headers(&[
                ("vary", "Origin"),
                ("access-control-allow-origin", origin),
                ("access-control-expose-headers", "Retry-After"),
            ]);
            assert_eq!(marked(&cors(), &[("origin", origin)]), expected);
        }
    }

    #[test]
    fn any_other_origin_may_not() {
        for origin in [
            "https://app.example.evil.example",
            "https://evil.example",
            "https://app.example:8443",
            "http://app.example",
            "https://APP.example",
            "https://app.example/",
            "null",
            "",
        ] {
            assert_eq!(marked(&cors(), &[("origin", origin)]), headers(&[("vary", "Origin")]), "{origin}");
        }
        let two = [("origin", APP), ("origin", "https://evil.example")];
        assert_eq!(marked(&cors(), &two), headers(&[("vary", "Origin")]));
        assert_eq!(marked(&cors(), &[]), headers(&[("vary", "Origin")]), "a cache must know");
    }

    #[test]
    fn without_a_list_answers_are_as_they_were() {
        assert_eq!(marked(&Cors::default(), &[("origin", APP)]), HeaderMap::new());
        assert_eq!(Cors::default().preflight(&headers(&[("origin", APP)])), HeaderMap::new());
    }

    #[test]
    fn vary_is_added_to() {
        let mut answer = headers(&[("vary", "Accept-Encoding")]);
        cors().mark(&headers(&[("origin", APP)]), &mut answer);
        assert_eq!(answer.get_all(VARY).iter().collect::<Vec<_>>(), ["Accept-Encoding", "Origin"]);
    }

    #[test]
    fn a_preflight_says_what_the_page_may_send() {
        let said = [
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-allow-headers", "authorization, content-type, tidemark-schema"),
            ("access-control-max-age", "7200"),
        ];
        assert_eq!(cors().preflight(&headers(&[("origin", APP)])), headers(&said));
        let private = [("origin", APP), ("access-control-request-private-network", "true")];
        let reached = [&said[..], &[("access-control-allow-private-network", "true")]].concat();
        assert_eq!(cors().preflight(&headers(&private)), headers(&reached));
        let stranger = [("origin", "https://evil.example"), ("access-control-request-private-network", "true")];
        assert_eq!(cors().preflight(&headers(&stranger)), HeaderMap::new());
    }

    #[test]
    fn the_log_tells_of_each_origin_once_and_not_without_end() {
        let cors = cors();
        for n in 0..3 * TOLD_MAX {
            let _ = cors.preflight(&headers(&[("origin", &format!("https://e{}.example", n / 2))]));
        }
        assert_eq!(cors.told.lock().unwrap().len(), TOLD_MAX);
        let _ = cors.preflight(&headers(&[("origin", &"x".repeat(30_000))]));
        assert!(cors.told.lock().unwrap().iter().all(|told| told.len() <= SHOWN_BYTES_MAX));
    }
}
