//! The routes: each path once, with its method, how much of a body it takes, who may ask, and what answers.

use std::pin::Pin;
use std::sync::Arc;

use hyper::Method;
use serde::Serialize;
use tidemark_core::limits::{CONTACT_REQUEST_BYTES_MAX, DIGEST_REQUEST_BYTES_MAX, REJECTS_REQUEST_BYTES_MAX};
use tidemark_core::protocol::{Problem, path};

use super::asked::{Asked, BodyMax};
use super::problem::{Reply, json};
use super::{admin, contact, digest, facts, join, page, push, rejects, rejoin, reports, scrape, site, station};
use crate::stations::StationRecord;

/// Longest request to join or to rejoin, in bytes: a few hex words.
const JOIN_REQUEST_BYTES_MAX: usize = 4096;

/// The handler of a route, and who may ask it.
pub(super) enum Answers {
    /// Anybody may.
    Anyone(fn(Asked<'_>) -> Answer<'_>),
    /// A station, by its token.
    Station(fn(Asked<'_>, Arc<StationRecord>) -> Answer<'_>),
    /// A file that was this station, by that station's token, which may have ended.
    Former(fn(Asked<'_>, Arc<StationRecord>) -> Answer<'_>),
    /// A program that may read reports, by a reader's token: the handler knows the readers.
    Reader(fn(Asked<'_>) -> Answer<'_>),
    /// An operator, by a token or a session: the handler knows the operators.
    Operator(fn(Asked<'_>) -> Answer<'_>),
}

/// An answer on its way.
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send + 'a>>;

/// A path, or all below one that somebody else names.
enum At {
    Path(&'static str),
    All(fn(&str) -> bool),
}

/// The methods of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    /// GET, and HEAD for the same without a body.
    Look,
    /// What operators do: the handler knows which path takes which.
    Operate,
}

impl Verb {
    pub(super) fn is(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET,
            Self::Post => method == Method::POST,
            Self::Look => method == Method::GET || method == Method::HEAD,
            Self::Operate => [Method::GET, Method::POST, Method::DELETE].contains(method),
        }
    }

    /// The methods as `Allow` tells them.
    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Get => "GET, OPTIONS",
            Self::Post => "POST, OPTIONS",
            Self::Look => "GET, HEAD, OPTIONS",
            Self::Operate => "GET, POST, DELETE, OPTIONS",
        }
    }
}

/// One route.
pub(super) struct Route {
    at: At,
    pub(super) verb: Verb,
    pub(super) body_max: BodyMax,
    pub(super) answers: Answers,
}

const fn get(path: &'static str, answers: Answers) -> Route {
    Route { at: At::Path(path), verb: Verb::Get, body_max: BodyMax::Bytes(0), answers }
}

const fn post(path: &'static str, body_max: BodyMax, answers: Answers) -> Route {
    Route { at: At::Path(path), verb: Verb::Post, body_max, answers }
}

const fn below(owns: fn(&str) -> bool, verb: Verb, answers: Answers) -> Route {
    Route { at: At::All(owns), verb, body_max: BodyMax::Bytes(0), answers }
}

/// All routes.
static ROUTES: [Route; 17] = [
    get(path::HEALTH, Answers::Anyone(|_| Box::pin(async { facts::alive() }))),
    get(path::STARTED, Answers::Anyone(|_| Box::pin(async { facts::alive() }))),
    get(
        path::READY,
        Answers::Anyone(|asked| {
            Box::pin(async move {
                asked.endpoint.stopping.refuse()?;
                facts::ready(asked).await
            })
        }),
    ),
    get(path::METRICS, Answers::Anyone(|asked| Box::pin(async move { scrape::scrape(&asked) }))),
    post(path::JOIN, BodyMax::Bytes(JOIN_REQUEST_BYTES_MAX), Answers::Anyone(|asked| as_json(join::join(asked)))),
    post(path::PUSH, BodyMax::Frame, Answers::Station(|asked, station| as_json(push::push(asked, station)))),
    post(
        path::DIGEST,
        BodyMax::Bytes(DIGEST_REQUEST_BYTES_MAX),
        Answers::Station(|asked, station| as_json(digest::digest(asked, station))),
    ),
    post(
        path::REJECTS,
        BodyMax::Bytes(REJECTS_REQUEST_BYTES_MAX),
        Answers::Station(|asked, station| as_json(rejects::rejects(asked, station))),
    ),
    post(
        path::CONTACT,
        BodyMax::Bytes(CONTACT_REQUEST_BYTES_MAX),
        Answers::Station(|asked, station| as_json(contact::contact(asked, station))),
    ),
    get(path::STATION, Answers::Station(|asked, station| as_json(station::station(asked, station)))),
    get(path::SCHEMA, Answers::Station(|asked, _| Box::pin(async move { facts::schema(&asked) }))),
    get(path::HISTORY, Answers::Former(|asked, former| as_json(rejoin::history(asked, former)))),
    post(
        path::REJOIN,
        BodyMax::Bytes(JOIN_REQUEST_BYTES_MAX),
        Answers::Former(|asked, former| as_json(rejoin::rejoin(asked, former))),
    ),
    below(reports::owns, Verb::Get, Answers::Reader(|asked| Box::pin(reports::report(asked)))),
    below(page::owns, Verb::Look, Answers::Anyone(|asked| Box::pin(page::page(asked)))),
    Route {
        at: At::All(admin::owns),
        verb: Verb::Operate,
        body_max: BodyMax::Bytes(admin::REQUEST_BYTES_MAX),
        answers: Answers::Operator(|asked| Box::pin(admin::admin(asked))),
    },
    below(site::owns, Verb::Look, Answers::Anyone(|asked| Box::pin(async move { facts::notebook(&asked) }))),
];

/// The route of a path.
pub(super) fn at(path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| match route.at {
        At::Path(own) => own == path,
        At::All(owns) => owns(path),
    })
}

/// The names of what lies below a path that somebody else names, each before those that it begins with.
const BELOW: [(&str, &str); 4] = [
    ("/v1/reports/", "/v1/reports/…"),
    ("/v1/admin", "/v1/admin/…"),
    ("/notebook", "/notebook/…"),
    ("/admin", "/admin/…"),
];

/// The name of a path's route in metrics and in the log: one of a few, whatever is asked for.
pub(super) fn name(path: &str) -> &'static str {
    match at(path).map(|route| &route.at) {
        Some(At::Path(own)) => own,
        Some(At::All(_)) => BELOW.iter().find(|(begin, _)| path.starts_with(begin)).map_or("other", |(_, name)| name),
        None => "other",
    }
}

/// Whether somebody asks there all the time how the server is.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, path::HEALTH | path::STARTED | path::READY | path::METRICS)
}

fn as_json<'a, T: Serialize>(answer: impl Future<Output = Result<T, Problem>> + Send + 'a) -> Answer<'a> {
    Box::pin(async move { Ok(json(&answer.await?)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_protocol_has_one_route_and_is_documented() {
        let page = include_str!("../../../docs/FORMAT.md");
        let of = |route: &Route| match route.at {
            At::Path(path) => Some((path, route.verb)),
            At::All(_) => None,
        };
        let paths: Vec<_> = ROUTES.iter().filter_map(of).collect();
        for (at, verb) in &paths {
            assert_eq!(paths.iter().filter(|(other, _)| other == at).count(), 1, "{at}");
            let method = if *verb == Verb::Post { "POST" } else { "GET" };
            assert!(!at.starts_with(path::ROOT) || page.contains(&format!("`{method} {at}")), "{method} {at}");
        }
    }
}
