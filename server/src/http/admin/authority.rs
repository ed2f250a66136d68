//! Who asks: an operator, by their token or by the cookie of a session in a browser.
//!
//! A browser sends a cookie by itself, also for a page of somebody else. So the cookie is for this site alone
//! (`SameSite=Strict`); and what changes something needs a header that no form can send and that a page of another
//! origin may not, and must not come from another origin.

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, Request};
use tidemark_core::protocol::{Problem, ProblemCode};
use tidemark_core::value::unhex;

use super::super::asked::{Asked, address_of, is_of_proxy};
use super::super::caller::{knows, token};
use super::super::connections::Encrypted;
use super::super::endpoint::RequestBody;
use super::super::tokens::Word;
use crate::ingest::store_problem;
use crate::ledger::operators::Operator;
use crate::stations::secret_hash;

/// The cookie of a session.
pub(super) const COOKIE_NAME: &str = "tidemark-operator";
/// The header of a page that changes something.
const ADMIN: HeaderName = HeaderName::from_static("tidemark-admin");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// A proxy that is believed, and speaks TLS for the server, says so by it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The refusal where there are no operators: as of any path that is not there.
pub(in super::super) fn nothing_here() -> Problem {
    Problem::new(ProblemCode::NotFound, "there is nothing here; is this the address of the Tidemark server?")
}

/// The operator who asks.
///
/// # Errors
/// When there is none, or the request may come from somebody else's page.
pub(super) async fn operator(asked: &Asked<'_>, now_ms: i64) -> Result<Operator, Problem> {
    let (endpoint, request) = (asked.endpoint, &*asked.request);
    let upstream = endpoint.ingest.upstream();
    let address = address_of(request);
    let operator;
    let secret_hash = if request.headers().contains_key(AUTHORIZATION) {
        let token_hash = secret_hash(&token(request)?);
        endpoint.tokens.tries(Word::Operator, address, now_ms)?;
        operator = upstream.ledger().operator_by_token(token_hash).await.map_err(store_problem)?;
        token_hash
    } else {
        let Some(secret) = session_secret(request.headers()) else {
            let detail = "the request has neither an operator's token nor a session's cookie";
            return Err(unknown(detail));
        };
        if request.method() != Method::GET {
            own_page(request)?;
        }
        let secret_hash = secret_hash(&secret);
        endpoint.tokens.tries(Word::Operator, address, now_ms)?;
        operator = upstream.ledger().operator_by_session(secret_hash, now_ms).await.map_err(store_problem)?;
        secret_hash
    };
    let Some(operator) = operator else {
        return Err(unknown("the server knows no operator by this token or session, or the session has ended"));
    };
    endpoint.tokens.was_known(Word::Operator, address);
    admitted(operator).inspect(|operator| {
        // A connection that is full of busy requests is no reason to turn an operator away.
        let _ = knows(endpoint, request, secret_hash, &format_args!("{:?}", operator.name));
    })
}

/// The operator, unless revoked.
pub(super) fn admitted(operator: Operator) -> Result<Operator, Problem> {
    match operator.revoked_at_ms {
        Some(_) => Err(Problem::new(ProblemCode::Revoked, format!("operator {:?} was revoked", operator.name))),
        None => Ok(operator),
    }
}

/// The refusal of somebody whom nobody knows.
pub(super) fn unknown(detail: &str) -> Problem {
    Problem::new(ProblemCode::Unauthorized, detail)
}

/// The secret of a session that a request's cookies have.
pub(super) fn session_secret(headers: &HeaderMap) -> Option<[u8; 32]> {
    let cookies =
        headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let mut values =
        cookies.filter_map(|cookie| cookie.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('=')).map(unhex::<32>);
    values.next().flatten()
}

/// Refuses what a page of somebody else may have sent.
///
/// # Errors
/// [`ProblemCode::Forbidden`].
pub(super) fn own_page(request: &Request<RequestBody>) -> Result<(), Problem> {
    let headers = request.headers();
    let no = |detail: &str| Err(Problem::new(ProblemCode::Forbidden, detail));
    if headers.get(ADMIN).is_none_or(|value| value != "1") {
        return no("the request lacks the header `Tidemark-Admin: 1`, which pages of this server send");
    }
    if headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin") {
        return no("the browser says that a page of another origin sent this");
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => Ok(()),
        (Some(origin), None) if origin.to_str().is_ok_and(|origin| is_of_host(origin, request)) => Ok(()),
        _ => no("the page that sent this is not of this server; a proxy before it must pass on the header `Host`"),
    }
}

/// The origin is the one that the request was sent to.
fn is_of_host(origin: &str, request: &Request<RequestBody>) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    host_of(request).is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

/// The host and port that a request was sent to: of its header, or over HTTP/2 of its address.
pub(super) fn host_of(request: &Request<RequestBody>) -> Option<&str> {
    let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| request.uri().authority().map(hyper::http::uri::Authority::as_str))
}

/// Whether the browser reached the server by TLS, its own or that of a proxy before it.
pub(super) fn is_secure(request: &Request<RequestBody>) -> bool {
    let by_proxy = is_of_proxy(request) && request.headers().get(FORWARDED_PROTO).is_some_and(|proto| proto == "https");
    by_proxy || request.extensions().get::<Encrypted>().is_some()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request<RequestBody> {
        let mut request = Request::builder().uri("/v1/admin/rejects/replay").method("POST");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Empty::<Bytes>::new().map_err(|never| match never {}).boxed()).unwrap()
    }

    #[test]
    fn only_a_page_of_this_server_changes_something_by_a_cookie() {
        let own = ("tidemark-admin", "1");
        for good in [
            &[own][..],
            &[own, ("host", "hq.example:8787"), ("origin", "http://HQ.example:8787")],
            &[own, ("host", "hq.example"), ("origin", "https://hq.example"), ("sec-fetch-site", "same-origin")],
        ] {
            own_page(&request(good)).unwrap();
        }
        for bad in [
            &[][..],
            &[("tidemark-admin", "0")],
            &[own, ("sec-fetch-site", "cross-site")],
            &[own, ("sec-fetch-site", "same-site")],
            &[own, ("sec-fetch-site", "none")],
            &[own, ("host", "hq.example"), ("origin", "https://hq.example.evil.example")],
            &[own, ("host", "hq.example"), ("origin", "https://evil.example")],
            &[own, ("host", "hq.example"), ("origin", "null")],
            &[own, ("origin", "https://hq.example")],
            &[own, ("host", "hq.example"), ("origin", "https://hq.example"), ("origin", "https://evil.example")],
        ] {
            assert_eq!(own_page(&request(bad)).unwrap_err().code, ProblemCode::Forbidden, "{bad:?}");
        }
    }

    #[test]
    fn a_session_is_read_from_among_other_cookies() {
        let secret = |cookies: &[(&str, &str)]| session_secret(request(cookies).headers());
        let good = format!("theme=dark; tidemark-operator={}; tidemark-operators=1", "07".repeat(32));
        assert_eq!(secret(&[("cookie", &good)]), Some([7; 32]));
        assert_eq!(secret(&[("cookie", "a=b"), ("cookie", &good)]), Some([7; 32]));
        for none in ["", "tidemark-operator", "tidemark-operator=", "tidemark-operator=07", "x-tidemark-operator=07"] {
            assert_eq!(secret(&[("cookie", none)]), None, "{none}");
        }
    }
}
