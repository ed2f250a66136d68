//! `GET /v1/reports/…`: reports for programs, by a reader's token.

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use tidemark_core::protocol::{Problem, ProblemCode, Remedy, path};

use super::asked::{Asked, address_of};
use super::caller::{knows, token};
use super::problem::Reply;
use super::tokens::Word;

use crate::ingest::store_problem;
use crate::reports::query::{Answered, QueryError, answer, is_report};
use crate::reports::{Format, ReportError};
use crate::stations::secret_hash;

/// The path is a report's.
pub(super) fn owns(at: &str) -> bool {
    at.strip_prefix(path::REPORTS).is_some_and(is_report)
}

/// Answers.
pub(super) async fn report(asked: Asked<'_>) -> Result<Reply, Problem> {
    let (endpoint, request) = (asked.endpoint, &*asked.request);
    let upstream = endpoint.ingest.upstream();
    let Some(store) = upstream.reports() else {
        return Err(Problem::new(ProblemCode::NotFound, ReportError::OtherSchema.to_string()));
    };
    let token_hash = secret_hash(&token(request)?);
    let (address, now_ms) = (address_of(request), endpoint.ingest.clock().now_ms());
    endpoint.tokens.tries(Word::Token, address, now_ms)?;
    let reader = upstream.ledger().reader_by_token(token_hash).await.map_err(store_problem)?;
    let unknown = || {
        let detail = "the server does not know this token; reports are read with a reader's";
        Problem::new(ProblemCode::Unauthorized, detail).helped_by(Remedy::AddReader)
    };
    let Some(reader) = reader else {
        return Err(unknown());
    };
    endpoint.tokens.was_known(Word::Token, address);
    if reader.revoked_at_ms.is_some() {
        return Err(Problem::new(ProblemCode::Revoked, format!("reader {:?} was revoked", reader.name)));
    }
    knows(endpoint, request, token_hash, &format_args!("{:?}", reader.name))?;
    let name = request.uri().path().trim_start_matches(path::REPORTS);
    let query = request.uri().query().unwrap_or_default();
    let answered = answer(store, name, query, endpoint.ingest.clock().now_ms()).await;
    let Answered { text, format, lang } = answered.map_err(problem_of)?;
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if format != Format::Json {
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(lang.words().tag));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A page with charts is markup and style, nothing else.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(reply)
}

fn problem_of(error: QueryError) -> Problem {
    match error {
        QueryError::Bad(detail) => Problem::new(ProblemCode::BadRequest, detail),
        QueryError::Missing(detail) => Problem::new(ProblemCode::NotFound, detail),
        QueryError::Store(error) => store_problem(error),
    }
}
