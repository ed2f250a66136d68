//! The words of a request: its query, and its JSON.

use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tidemark_core::protocol::{Problem, ProblemCode};

use super::super::asked::Asked;
use super::super::memory::Holder;

/// The refusal of a request that is not well formed.
pub(super) fn bad(what: impl std::fmt::Display) -> Problem {
    Problem::new(ProblemCode::BadRequest, format!("the request is not well formed: {what}"))
}

/// The JSON of a request's body; of none, `{}`.
///
/// # Errors
/// When it is not that of `T`. What stands in it is not repeated: it may be a token.
pub(super) async fn body<T: DeserializeOwned>(asked: &mut Asked<'_>) -> Result<T, Problem> {
    let held = asked.body(Holder::Unknown(asked.address())).await?;
    let bytes: &[u8] = if held.bytes.is_empty() { b"{}" } else { &held.bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| bad(format_args!("its JSON does not fit, at line {} column {}", error.line(), error.column())))
}

/// A part of a path or of a query, decoded.
///
/// # Errors
/// When it is not UTF-8.
pub(super) fn decoded(text: &str) -> Result<String, Problem> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| bad("it is not UTF-8"))
}

/// A query.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// The query of a request.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub(super) fn of(asked: &Asked<'_>) -> Result<Self, Problem> {
        let query = asked.request.uri().query().unwrap_or_default();
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(&value.replace('+', " "))?))
        });
        Ok(Self(pairs.collect::<Result<_, Problem>>()?))
    }

    /// The value of a name; an empty one is none.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(word, _)| word == name)?;
        Some(self.0.swap_remove(at).1).filter(|value| !value.is_empty())
    }

    /// A number of a name, within bounds.
    ///
    /// # Errors
    /// When it is no number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let parse = |word: String| word.parse().map_err(|_| bad(format_args!("{name}={word:?} is no number")));
        self.take(name).map(parse).transpose()
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// When something is.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            Some((name, _)) => Err(bad(format_args!("{name:?} is not asked for here, or stands there twice"))),
            None => Ok(()),
        }
    }
}
