//! `GET /v1/reports/product|models|trend|top`: reports for programs, by a reader's token.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use percent_encoding::percent_decode_str;
use tidemark_core::protocol::{Problem, ProblemCode, Remedy};

use super::problem::Reply;
use super::router::token;
use super::{Endpoint, RequestBody};
use crate::ingest::store_problem;
use crate::reports::words::Lang;
use crate::reports::{Format, Question, ReportError, ask, render};
use crate::stations::secret_hash;

/// Where reports are.
pub(super) const REPORTS: &str = "/v1/reports/";
/// How many days a trend goes back unless told otherwise.
const DAYS: u32 = 30;
/// How many products are the top ones unless told otherwise.
const TOP: u32 = 10;

/// Whether a path is a report's.
pub(super) fn owns(path: &str) -> bool {
    path.strip_prefix(REPORTS).is_some_and(|name| matches!(name, "product" | "models" | "trend" | "top"))
}

/// Answers.
pub(super) async fn report(endpoint: &Endpoint, request: &Request<RequestBody>) -> Result<Reply, Problem> {
    let upstream = endpoint.ingest.upstream();
    let Some(store) = upstream.reports() else {
        return Err(Problem::new(ProblemCode::NotFound, ReportError::OtherSchema.to_string()));
    };
    let reader = store.reader_by_token(secret_hash(&token(request)?)).await.map_err(store_problem)?;
    let unknown = || {
        let detail = "the server does not know this token; reports are read with a reader's";
        Problem::new(ProblemCode::Unauthorized, detail).helped_by(Remedy::AddReader)
    };
    let reader = reader.ok_or_else(unknown)?;
    if reader.revoked_at_ms.is_some() {
        return Err(Problem::new(ProblemCode::Revoked, format!("reader {:?} was revoked", reader.name)));
    }
    let name = request.uri().path().trim_start_matches(REPORTS);
    let (question, format, lang) = question(name, request.uri().query().unwrap_or_default())?;
    let answer =
        ask(store, &question, endpoint.ingest.clock().now_ms()).await.map_err(|error| problem_of(error, lang))?;
    let mut reply = Response::new(Full::new(Bytes::from(render(&answer, format, lang))));
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

fn problem_of(error: ReportError, lang: Lang) -> Problem {
    let code = match error {
        ReportError::Days(_) | ReportError::Count(_) | ReportError::Day(_) => ProblemCode::BadRequest,
        ReportError::Unknown(_) | ReportError::OtherSchema => ProblemCode::NotFound,
        ReportError::Store(error) => return store_problem(error),
    };
    Problem::new(code, lang.error(&error))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::BadRequest, detail)
}

/// The words of a query, each taken once.
struct Words(Vec<(String, String)>);

impl Words {
    fn parse(query: &str) -> Result<Self, Problem> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            let decoded = percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned);
            decoded.map_err(|_| bad("the query is not UTF-8"))
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let words = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self(words.collect::<Result<_, Problem>>()?))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(word, _)| word == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn number(&mut self, name: &str, default: u32) -> Result<u32, Problem> {
        let Some(word) = self.take(name) else { return Ok(default) };
        word.parse().map_err(|_| bad(format!("{name}={word:?} is no number")))
    }

    /// Nothing may be left.
    fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            Some((name, _)) => Err(bad(format!("{name:?} is not asked for here, or stands there twice"))),
            None => Ok(()),
        }
    }
}

/// A report's name and query as a question, and the form and language of its answer.
fn question(report: &str, query: &str) -> Result<(Question, Format, Lang), Problem> {
    let mut words = Words::parse(query)?;
    let format = words.take("format").map_or(Ok(Format::Json), |word| word.parse()).map_err(bad)?;
    let lang = words.take("lang").map_or(Ok(Lang::En), |word| word.parse()).map_err(bad)?;
    let question = match report {
        "product" => Question::Product { name: words.take("name") },
        "models" => Question::Models,
        "trend" => Question::Trend {
            product: words.take("product").ok_or_else(|| bad("name the product: ?product=NAME"))?,
            days: words.number("days", DAYS)?,
            until: words.take("until"),
            model: words.take("model"),
        },
        _ => Question::Top { count: words.number("n", TOP)? },
    };
    words.end()?;
    Ok((question, format, lang))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_strictly() {
        let ask = |report, query| question(report, query).map_err(|problem| problem.detail);
        let trend = ask("trend", "product=%D0%A1%D0%B8%D0%BD%D0%B5%D1%86+1&days=7&format=csv").unwrap();
        let wanted = Question::Trend { product: "Синец 1".into(), days: 7, until: None, model: None };
        assert_eq!(trend, (wanted, Format::Csv, Lang::En));
        assert_eq!(ask("top", "").unwrap(), (Question::Top { count: TOP }, Format::Json, Lang::En));
        assert_eq!(ask("models", "lang=ru&format=html").unwrap(), (Question::Models, Format::Html, Lang::Ru));
        for (report, query) in [
            ("trend", ""),
            ("top", "n=-1"),
            ("top", "n=5&n=6"),
            ("top", "m=5"),
            ("models", "format=pdf"),
            ("models", "lang=de"),
            ("models", "lang=ru&lang=en"),
            ("product", "name=%FF"),
        ] {
            assert!(ask(report, query).is_err(), "{report}?{query}");
        }
    }
}
