//! Answers requests for the notebook.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use tidemark_core::protocol::{Problem, ProblemCode};

use super::super::problem::Reply;
use super::files::{INDEX, JAVASCRIPT, MOUNT, Site};
use super::negotiate;

/// The content security policy of the page. Only files of this server run, none of them written into the page, so
/// text that a station shows can never become a program. `'wasm-unsafe-eval'` lets WebAssembly be compiled, and
/// nothing else. `connect-src` is open: a join code may carry another server's address, and which one is not known
/// here; it is the one way on which data is meant to leave. It goes with every file, as workers follow the policy of
/// their own script, not of the page.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' https: http:; worker-src 'self'; style-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Says which addresses a service worker of these scripts may answer for (Service Workers, section 6.5).
const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");
/// The folder above the script's own: the addresses from which [`redirect`] leads to the notebook lie there.
/// Relative, as that one.
const ABOVE: &str = "../";

/// The path is the notebook's.
pub(in super::super) fn owns(path: &str) -> bool {
    path.starts_with(MOUNT) || path == MOUNT.trim_end_matches('/')
}

impl Site {
    /// Answers GET or HEAD of a path that [`owns`] (its body is left out of an answer to HEAD by hyper), or of `/`,
    /// the way there.
    pub(in super::super) fn answer(
        &self,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Reply, Problem> {
        let missing = |detail: String| Problem::new(ProblemCode::NotFound, detail);
        if self.is_empty() {
            return Err(missing(
                "this server was built without the field notebook: run scripts/build-web and build the server again, or serve with --web DIR"
                    .into(),
            ));
        }
        let Some(below) = path.strip_prefix(MOUNT) else {
            // Relative, so that it is right behind a proxy, too, that serves all of this below a path of its own.
            let query = query.map_or_else(String::new, |query| format!("?{query}"));
            return Ok(redirect(&format!("{}{query}", &MOUNT[1..])));
        };
        let mut name = percent_decode_str(below).decode_utf8_lossy().into_owned();
        if name.is_empty() || name.ends_with('/') {
            name.push_str(INDEX);
        }
        let Some(mut reply) = self.served(&name, headers, POLICY) else {
            return Err(missing(format!("the field notebook has no such file; it begins at {MOUNT}")));
        };
        if self.files.get(&name).is_some_and(|file| file.media_type == JAVASCRIPT) {
            reply.headers_mut().insert(SERVICE_WORKER_ALLOWED, HeaderValue::from_static(ABOVE));
        }
        Ok(reply)
    }

    /// Answers with the file of a name below the mount, under a content security policy; `None` when there is none.
    pub(in super::super) fn served(&self, name: &str, headers: &HeaderMap, policy: &'static str) -> Option<Reply> {
        let file = self.files.get(name)?;
        let (coded, coding) = negotiate::choose(file, headers);
        let had = negotiate::has(headers, &coded.etag);
        let mut reply = Response::new(Full::new(if had { Bytes::new() } else { coded.bytes.clone() }));
        let answer = reply.headers_mut();
        answer.insert(ETAG, coded.etag.clone());
        answer.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        answer.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        if !had {
            answer.insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
            if let Some(coding) = coding {
                answer.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
        }
        if had {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
        }
        Some(guarded(reply))
    }
}

/// Leads to another address.
pub(in super::super) fn redirect(to: &str) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    if let Ok(to) = HeaderValue::from_str(to) {
        reply.headers_mut().insert(LOCATION, to);
    }
    guarded(reply)
}

/// Adds the headers of every answer. The browser asks each time whether a file is still the same, so a page is never
/// made of files of two versions for longer than a reload; being there without a network is the service worker's
/// part.
fn guarded(mut reply: Reply) -> Reply {
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}
